"""Tokens: short, signed, good for one purpose, and in one spelling only."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.errors import TokenError
from newsletter.signing import TOKEN_CHARS, Purpose, Signer

NOW = datetime(2026, 8, 5, 9, 0, tzinfo=UTC)
SIGNER = Signer(["a key for tests"])
WEEK = timedelta(days=7)
ids = st.integers(0, 2**64 - 1)
purposes = st.sampled_from(list(Purpose))


def refused(token: str, purpose: Purpose = Purpose.READ, signer: Signer = SIGNER, **limits: timedelta) -> bool:
    try:
        signer.unsign(purpose, token, now=NOW, **limits)
    except TokenError as exc:
        return str(exc) == "this link is not valid"
    return False


@given(ids, purposes, st.datetimes(datetime(1970, 1, 2), datetime(2105, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
@example(0, Purpose.READ, NOW)
def test_a_token_gives_back_its_id(id_: int, purpose: Purpose, made: datetime) -> None:
    token = SIGNER.sign(purpose, id_, now=made)
    assert len(token) == TOKEN_CHARS
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert SIGNER.unsign(purpose, token, now=made) == id_


@given(ids, purposes, purposes)
def test_a_token_is_good_for_its_own_purpose_only(id_: int, made: Purpose, used: Purpose) -> None:
    assert refused(SIGNER.sign(made, id_, now=NOW), used) == (made is not used)


def test_every_flipped_bit_is_refused() -> None:
    token = SIGNER.sign(Purpose.READ, 12_345, now=NOW)
    raw = base64.urlsafe_b64decode(token + "==")
    for place in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        assert refused(base64.urlsafe_b64encode(flipped).decode().rstrip("="))


def test_every_other_character_is_refused_at_every_place() -> None:
    """The last character has spare bits: four spellings decode to the same bytes, and only one is good."""
    token = SIGNER.sign(Purpose.READ, 12_345, now=NOW)
    others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n\0é"
    for place, char in enumerate(token):
        for other in others.replace(char, ""):
            assert refused(token[:place] + other + token[place + 1 :])


def test_a_token_that_is_cut_or_padded_is_refused() -> None:
    token = SIGNER.sign(Purpose.READ, 1, now=NOW)
    assert all(refused(token[:length]) for length in range(len(token)))
    assert all(refused(spelling) for spelling in (token + "=", token + "==", token + "A", " " + token, token + "\n"))


@given(st.text(max_size=60) | st.text(min_size=TOKEN_CHARS, max_size=TOKEN_CHARS))
@example("\ud800" * TOKEN_CHARS)
@example("A" * TOKEN_CHARS)
@example("=" * TOKEN_CHARS)
def test_no_text_is_taken_for_a_token(text: str) -> None:
    assert refused(text)


def test_a_token_signed_elsewhere_is_refused() -> None:
    assert refused(Signer(["another key"]).sign(Purpose.READ, 1, now=NOW))


def test_keys_can_be_changed_without_breaking_old_links() -> None:
    old, new, both = Signer(["old"]), Signer(["new"]), Signer(["new", "old"])
    token = old.sign(Purpose.READ, 7, now=NOW)
    assert both.unsign(Purpose.READ, token, now=NOW) == 7
    assert refused(token, signer=new)
    assert new.unsign(Purpose.READ, both.sign(Purpose.READ, 7, now=NOW), now=NOW) == 7


@pytest.mark.parametrize("keys", [[], [""], ["good", ""]])
def test_an_empty_key_signs_nothing(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="key"):
        Signer(keys)


@pytest.mark.parametrize(
    ("age", "good"),
    [
        (timedelta(0), True),
        (WEEK, True),
        (WEEK + timedelta(seconds=1), False),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
    ],
)
def test_a_token_has_its_time(age: timedelta, good: bool) -> None:
    assert refused(SIGNER.sign(Purpose.READ, 1, now=NOW - age), max_age=WEEK) != good


def test_without_a_limit_a_token_never_expires() -> None:
    assert not refused(SIGNER.sign(Purpose.READ, 1, now=NOW - timedelta(days=20_000)))


def test_the_fingerprint_is_steady_short_and_different_for_each_text_and_key() -> None:
    marks = {Signer([key]).fingerprint(text) for key in ("a", "b") for text in ("x", "y", "x\0", "")}
    assert len(marks) == 8
    assert {len(mark) for mark in marks} == {16}
    assert SIGNER.fingerprint("x") == SIGNER.fingerprint("x")


def test_no_fingerprint_helps_to_make_a_token() -> None:
    """The two uses of the key are kept apart, so that what a Message-ID shows signs nothing."""
    token = SIGNER.sign(Purpose.READ, 1, now=NOW)
    raw = base64.urlsafe_b64decode(token + "==")
    assert SIGNER.fingerprint(raw[:12].decode("latin-1")) != raw[12:20].hex()
