"""One work, one key."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.papers.identity import canonical_key, title_key

ANY_TEXT = st.text(st.characters())  # with lone surrogates, as JSON can carry them


@pytest.mark.parametrize(
    "spelling",
    [
        "2608.17253",
        " 2608.17253\n",
        "2608.17253v3",
        "arXiv:2608.17253",
        "ARXIV:2608.17253v12",
        "oai:arXiv.org:2608.17253v1",
        "http://arxiv.org/abs/2608.17253v2",
        "https://www.arxiv.org/abs/2608.17253",
        "https://export.arxiv.org/abs/2608.17253",
        "https://arxiv.org/pdf/2608.17253v3",
        "https://arxiv.org/pdf/2608.17253v3.pdf",
        "https://arxiv.org/html/2608.17253v1",
        "https://huggingface.co/papers/2608.17253",
        "10.48550/arXiv.2608.17253",
        "10.48550/ARXIV.2608.17253",
        "doi:10.48550/arXiv.2608.17253",
        "https://doi.org/10.48550/arxiv.2608.17253",
    ],
)
def test_every_spelling_of_an_arxiv_id_is_one_key(spelling: str) -> None:
    assert canonical_key(spelling) == "arxiv:2608.17253"


@pytest.mark.parametrize(
    ("identifier", "key"),
    [
        ("0704.0001", "arxiv:0704.0001"),
        ("1412.9999v2", "arxiv:1412.9999"),
        ("1501.00001", "arxiv:1501.00001"),
        ("hep-th/9901001v2", "arxiv:hep-th/9901001"),
        ("https://arxiv.org/abs/cond-mat/0207270", "arxiv:cond-mat/0207270"),
        ("10.48550/arXiv.math/0309136", "arxiv:math/0309136"),
    ],
)
def test_ids_of_every_age_are_understood(identifier: str, key: str) -> None:
    assert canonical_key(identifier) == key


def test_a_subject_class_makes_no_other_paper() -> None:
    spellings = ("math/0309136", "math.GT/0309136", "math.GT/0309136v1", "10.48550/arxiv.math.gt/0309136")
    assert {canonical_key(each) for each in spellings} == {"arxiv:math/0309136"}


@pytest.mark.parametrize(
    "spelling",
    [
        "10.1101/2026.01.02.ABC",
        "doi:10.1101/2026.01.02.abc",
        "DOI:10.1101/2026.01.02.Abc",
        "https://doi.org/10.1101/2026.01.02.abc",
        "http://dx.doi.org/10.1101/2026.01.02.ABC",
    ],
)
def test_every_spelling_of_a_doi_is_one_key(spelling: str) -> None:
    assert canonical_key(spelling) == "doi:10.1101/2026.01.02.abc"


@pytest.mark.parametrize(
    "broken",
    [
        "",
        " ",
        "2503.0213",  # 2503.02130 after a float parser
        "1412.00001",  # five digits came in 2015
        "2613.00001",
        "2600.00001",
        "0703.0001",  # before the new ids began
        "26081.7253",
        "2608.172531",
        "2608.17253v",
        "2608.17253 2608.17254",
        "xx2608.17253",
        "https://example.org/abs/2608.17253",
        "javascript:2608.17253",
        "10.1101",
        "10.1101/",
        "10.1/short-prefix",
        "10.48550/arXiv.2503.0213",
        "２６０８.１７２５３",
        "٢٦٠٨.١٧٢٥٣",
    ],
)
def test_what_is_no_id_has_no_key(broken: str) -> None:
    assert canonical_key(broken) is None


@pytest.mark.parametrize("tail", ["\x00", "a\x1bb", "\ud800", "\u202eevil", "x" * 5_000, "a b"])
def test_a_doi_that_no_database_would_keep_is_none(tail: str) -> None:
    assert canonical_key(f"10.1234/{tail}") is None


@given(st.one_of(ANY_TEXT, ANY_TEXT.map(lambda tail: f"10.1234/{tail}"), ANY_TEXT.map(lambda tail: f"arxiv:{tail}")))
def test_a_key_is_short_and_plain_whatever_comes_in(identifier: str) -> None:
    key = canonical_key(identifier)
    assert key is None or (key.isascii() and key.isprintable() and " " not in key and len(key) < 600)


@given(st.from_regex(r"\A(\d{4}\.\d{4,5}|[a-z]{2,8}(-[a-z]{2})?/\d{7}|10\.\d{4}/[!-~]{1,20})\Z"))
def test_the_key_of_a_key_is_itself(identifier: str) -> None:
    key = canonical_key(identifier)
    if key is not None:
        assert canonical_key(key) == key


def test_titles_are_compared_by_their_words() -> None:
    same = ("Größe matters: A Study", "GRÖSSE  matters -- a study.", "“Größe” matters; a\n study")
    assert len({title_key(each) for each in same}) == 1
    assert len({title_key(each) for each in ("Part I", "Part II", "Part III", "拡散モデル", "הודעה")}) == 5


def test_titles_without_a_word_are_still_different_papers() -> None:
    assert len({title_key(each) for each in ("∞ → ∞", "!!!", "???", "\U0001f600", "\U0001f601")}) == 5


@given(ANY_TEXT)
@example("\ud800")
def test_any_title_has_a_key(title: str) -> None:
    assert len(title_key(title)) == len("title:") + 32
    assert title_key(title) == title_key(title)
