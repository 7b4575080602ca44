"""Text from outside, safe to keep."""

import unicodedata
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.papers.textclean import Span, bare, clean, plain, shorten, spans, teaser, web_address

ANY_TEXT = st.text(st.characters())
# Runs of these are where cleaning twice could differ from cleaning once.
TRICKY = st.text(
    st.sampled_from("ae \t\n\x00\x1b\u200b\u0301\u0316\u202e\u2066\u2028\ud800\udc00\ufeff\u1100\u1161…-,.")
)
LIMITS = st.integers(1, 60)
LINKED = st.lists(
    st.sampled_from(
        ["[", "]", "(", ")", "](", "https://", "https://a.org/b", "HTTP://a.org", ".", ",", " ", "a", "@", "é", "。"]
    )
).map("".join)


@given(st.one_of(ANY_TEXT, TRICKY), LIMITS)
@example("e\u200b\u0301", 20)
@example("a \x00 b", 20)
@example("a" + "\u0301" * 50, 10)
@example("u\u0308\u0304" * 30, 20)
def test_clean_text_is_clean_and_stays_as_it_is(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert clean(cleaned, limit) == cleaned
    assert len(cleaned) <= limit
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in cleaned)
    assert not any(unicodedata.bidirectional(char) in {"LRO", "RLO", "LRE", "RLE", "PDF", "LRI"} for char in cleaned)
    cleaned.encode()


def test_accents_without_end_are_few() -> None:
    begun = process_time()
    assert (
        clean("a" + "\u0301\u0316" * 40_000 + " b", 20_000)
        == unicodedata.normalize("NFC", "a" + "\u0301\u0316" * 15) + " b"
    )
    assert process_time() - begun < 2


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_becomes_one_printable_line(hostile: str) -> None:
    assert len(clean(hostile, 300).splitlines()) == 1
    assert clean(hostile, 300).isprintable()


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("Encoder for Large Multimodal\n  Models", "Encoder for Large Multimodal Models"),
        ("a\x00b\x1b[31mc", "ab[31mc"),
        ("cut \ud83d here", "cut here"),
        ("safe \u202egnp.exe\u202c", "safe gnp.exe"),
        ("mark\u061c \u200e\u200fend", "mark end"),
        ("<b> &amp; {{7*7}} $x$ \\alpha", "<b> &amp; {{7*7}} $x$ \\alpha"),
        ("اردو می\u200cخواهم", "اردو می\u200cخواهم"),  # Persian needs its non-joiner
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),  # and a scientist her joiner
        ("Caf\u0065\u0301", "Café"),
    ],
)
def test_nothing_else_is_touched(raw: str, kept: str) -> None:
    assert clean(raw, 200) == kept


def test_a_megabyte_of_accents_is_cut_before_it_is_sorted() -> None:
    assert len(clean("a" + "\u0301\u0316" * 500_000, 1_000)) <= 1_000


@given(ANY_TEXT, LIMITS)
def test_shortened_text_says_that_it_is_shortened(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text if len(text) <= limit else short.endswith("…")


def test_text_is_cut_at_a_word_and_never_between_a_letter_and_its_accent() -> None:
    assert shorten("one two three four", 12) == "one two…"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"
    assert shorten("abcdefx\u0323\u0323yz", 9) == "abcdef…"


def test_a_teaser_is_whole_sentences_as_long_as_they_fit() -> None:
    abstract = "We do this. It works well! Does it scale? Yes. " + "And so on and on. " * 50
    assert teaser("", abstract, 45) == "We do this. It works well! Does it scale?"
    assert teaser("Said by the source.", abstract, 45) == "Said by the source."
    assert teaser("", "", 45) == ""
    assert teaser("", "拡散モデルを使う。速い。", 9) == "拡散モデルを使う。"


def test_a_teaser_holds_only_whole_undamaged_sentences_in_a_row() -> None:
    assert teaser("", "One is fine. We call it \\name today. Two is fine.", 90) == "One is fine."
    assert teaser("", "We call it \\name today. One is fine. Two is fine.", 90) == "One is fine. Two is fine."
    assert teaser("It is \\ours.", "One is fine.", 90) == "One is fine."
    assert teaser("", "Let xin R^n be. One is fine. Then R^(mtimes n) is.", 90) == ""
    assert teaser("", "Only \\ours.", 90) == ""


def test_a_long_first_sentence_is_cut_at_a_word_and_never_in_a_link() -> None:
    long = "This sentence goes on and on, as [the page](https://example.org/page) says, and on. Short."
    assert teaser("", long, 45) == "This sentence goes on and on, as the page…"
    assert teaser("", "Seen at https://example.org/a/very/long/address/of/a/page today.", 30) == "Seen at…"
    assert teaser("", "https://example.org/a/very/long/address/of/a/page is it.", 30) == ""


def test_an_address_behind_a_label_takes_no_room() -> None:
    said = "See [the page](https://example.org/a/long/address). Then more. "
    assert teaser("", said, 20) == said[: said.index(" Then")]
    assert teaser("", said.replace("long", "x" * 200), 20) == "See the page."


@given(st.one_of(ANY_TEXT, LINKED), st.one_of(ANY_TEXT, LINKED), LIMITS)
def test_a_teaser_is_never_longer_than_allowed(summary: str, abstract: str, limit: int) -> None:
    assert len(bare(teaser(summary, abstract, limit))) <= limit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("plain", (Span("plain"),)),
        (
            "See [Project](https://example.org/p_1).",
            (Span("See "), Span("Project", "https://example.org/p_1"), Span(".")),
        ),
        (
            "(at https://example.org/a_b/).",
            (Span("(at "), Span("https://example.org/a_b/", "https://example.org/a_b/"), Span(").")),
        ),
        (
            "https://example.org/x_(y), or",
            (Span("https://example.org/x_(y)", "https://example.org/x_(y)"), Span(", or")),
        ),
        (
            "[a](https://example.org/x_(y))",
            (Span("a", "https://example.org/x_(y)"),),
        ),
        ("([a](https://example.org/x)).", (Span("("), Span("a", "https://example.org/x"), Span(").")) ),
        (
            "[a](https://a.org/x),[b](https://b.org/y)",
            (Span("a", "https://a.org/x"), Span(","), Span("b", "https://b.org/y")),
        ),
        ("[a](https://a.org/x.", (Span("[a]("), Span("https://a.org/x", "https://a.org/x"), Span("."))),
        ("[a](javascript:alert(1)) [b](https://localhost/x)", (Span("[a](javascript:alert(1)) [b](https://localhost/x)"),)),
        ("[1] and [d_out, d_in] (x)", (Span("[1] and [d_out, d_in] (x)"),)),
        ("https://someone@example.org/", (Span("https://someone@example.org/"),)),
        ("好https://a.org/b。好", (Span("好"), Span("https://a.org/b", "https://a.org/b"), Span("。好"))),
    ],
)  # fmt: skip
def test_links_are_taken_out_of_running_text(text: str, expected: tuple[Span, ...]) -> None:
    assert spans(text) == expected


@given(st.one_of(ANY_TEXT, LINKED))
def test_only_plain_addresses_become_links(text: str) -> None:
    found = spans(text)
    assert all(span.text for span in found)
    assert all(span.url == web_address(span.url) for span in found)
    assert bare(text) == "".join(span.text for span in found)
    if not any(span.url != span.text for span in found if span.url):
        assert bare(text) == text


def test_a_mail_without_markup_names_the_address_once() -> None:
    text = "See [Project](https://example.org/p) or https://example.org/q."
    assert plain(text) == "See Project (https://example.org/p) or https://example.org/q."
    assert bare(text) == "See Project or https://example.org/q."


@pytest.mark.parametrize(
    "good",
    [
        "https://github.com/a/b",
        "http://example.org:8080/x?y=1&z=%20#top",
        "https://medium.com/@someone/a-post",
        "HTTPS://EXAMPLE.ORG/",
    ],
)
def test_plain_web_addresses_are_kept_as_they_are(good: str) -> None:
    assert web_address(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        [],
        {"url": "https://example.org"},
        "",
        "example.org",
        "/papers/1",
        "//example.org/x",
        "javascript:alert(1)",
        "JavaScript:alert(1)//https://example.org",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "data:text/html;base64,PHNjcmlwdD4=",
        "vbscript:x",
        "file:///etc/passwd",
        "ftp://example.org/x",
        "mailto:a@example.org",
        "https://",
        "https:example.org",
        "https://localhost/x",
        "https://github.com@evil.example/",
        "https://user:password@example.org/",
        "https://:password@example.org/",
        "https://example.org:port/",
        "https://example.org:99999/",
        "http://[::1/",
        'https://example.org/"onmouseover="alert(1)',
        "https://example.org/<script>",
        "https://example.org/a b",
        "https://example.org/a\r\nb",
        "https://example.org/\x00",
        "https://example.org\\@evil.example/",
        "https://еxample.org/",
        "https://example.org/\u202e",
        "https://example.org/" + "x" * 5_000,
    ],
)
def test_what_could_be_anything_but_a_link_is_left_out(bad: object) -> None:
    assert web_address(bad) == ""


@given(st.one_of(ANY_TEXT, ANY_TEXT.map(lambda tail: f"https://{tail}")))
def test_an_address_that_is_kept_is_plain(text: str) -> None:
    kept = web_address(text)
    assert kept in {"", text}
    assert kept.isascii()
    assert not set(kept) & set(" <>\"'\\\n\r\t\x00")


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("q" * 58 + "q\u0303abc", 60, "q" * 58 + "…"),
        ("\u0915\u093f" * 40, 6, "\u0915\u093f" * 2 + "…"),
        ("xx\U0001f468\u200d\U0001f469\u200d\U0001f467 and", 6, "xx…"),
        ("xx\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 and", 4, "xx…"),
        ("xx\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 and", 5, "xx\U0001f1e9\U0001f1ea…"),
        ("x\U0001f44b\U0001f3fd and so on", 3, "x…"),
    ],
)
def test_nothing_is_cut_inside_what_a_reader_sees_as_one_character(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short
