"""Mail addresses: what is refused, how it is said, and which spellings are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.errors import InputError
from newsletter.subscribers.addresses import address_hash, address_key, parse_address, shown

BAD = (
    "",
    "   ",
    "nobody",
    "nobody@",
    "@example.org",
    "a@b@example.org",
    "a@localhost",
    "a@[127.0.0.1]",
    "a..b@example.org",
    ".a@example.org",
    "a@-example.org",
    "a@example.org.",
    "a@example..org",
    '"a b"@example.org',
    "Ada <ada@example.org>",
    "a@example.org, b@example.org",
    "jörg@example.org",
    "ａ@example.org",
    "a\x00b@example.org",
    "a\x7f@example.org",
    "a@example.org\r\nBcc: victim@example.org",
    "a@exam\nple.org",
    "\u202ea@example.org",
    "\ud800@example.org",
    "a@\ud800.org",
    "a" * 300 + "@example.org",
    "a" * 65 + "@example.org",
    "a@" + "b" * 64 + ".org",
    "a@" + ".".join(["b" * 60] * 5) + ".org",
)


@pytest.mark.parametrize("text", [*BAD, *HOSTILE], ids=ascii)
def test_bad_address_is_refused_in_one_short_line_that_shows_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_address(text)
    said = str(caught.value)
    assert said.startswith(shown(text) + " is not a mail address: ")
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize(
    ("typed", "mailed"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  ada@example.org\n", "ada@example.org"),
        ("Ada.L+papers@Example.ORG", "Ada.L+papers@example.org"),
        ("ada@MÜNCHEN.de", "ada@xn--mnchen-3ya.de"),
        ("ada@xn--mnchen-3ya.de", "ada@xn--mnchen-3ya.de"),
        ("ada@ｅxample.org", "ada@example.org"),
        ("=cmd@example.org", "=cmd@example.org"),
    ],
)
def test_good_address_keeps_its_local_part_and_gets_an_ascii_domain(typed: str, mailed: str) -> None:
    assert parse_address(typed) == mailed
    assert parse_address(mailed) == mailed


def test_two_spellings_of_an_address_have_one_key_and_one_hash() -> None:
    spellings = [parse_address(text) for text in ("Ada@Example.org", "ada@example.ORG", " ADA@EXAMPLE.ORG ")]
    assert len({address_key(each) for each in spellings}) == 1
    assert len({address_hash(each) for each in spellings}) == 1
    assert address_hash("ada@example.org") != address_hash("bob@example.org")


def test_hash_of_an_address_does_not_hold_the_address() -> None:
    assert "ada" not in address_hash("ada@example.org")
    assert len(address_hash("ada@example.org")) == 64


@given(st.text(max_size=200))
def test_any_text_is_either_an_address_or_a_line_that_says_why(text: str) -> None:
    said = ""
    try:
        address = parse_address(text)
    except InputError as exc:
        said = str(exc)
    assert said.isprintable()
    assert said or (address.isascii() and parse_address(address) == address)


@given(st.text())
def test_what_is_shown_of_any_text_fits_on_a_line(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 2 * 80 + 2
