"""Papers from JSON Lines: a bad line is named by its number and costs only itself."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.papers.models import PaperRecord, Parsed
from newsletter.papers.sources.jsonl import MAX_LINE_BYTES, parse_lines

NOW = datetime(2026, 8, 5, 9, tzinfo=UTC)
GOOD = b'{"title": "A good paper"}\n'
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "id", "title", "abstract", "summary", "authors", "categories", "keywords", "organization", "published_at",
    "url", "pdf_url", "code_url", "project_url", "picture_url", "upvotes", "comments", "stars",
)  # fmt: skip


def parse(lines: Iterable[bytes], listed_at: datetime | None = None) -> Parsed:
    """Return all chunks as one."""
    chunks = list(parse_lines(lines, listed_at, NOW))
    return Parsed(
        tuple(record for each in chunks for record in each.records),
        sum((each.dropped for each in chunks), Parsed().dropped),
        tuple(note for each in chunks for note in each.notes),
    )


def one(**value: Any) -> PaperRecord:
    (record,) = parse([json.dumps({"title": "A title"} | value).encode()]).records
    return record


@pytest.mark.parametrize("url", ["http://example.org/a.png", "javascript:alert(1)", "data:image/png;base64,AA", 7])
def test_a_picture_that_clients_would_not_load_is_left_out_with_a_word(url: object) -> None:
    parsed = parse([json.dumps({"title": "A title", "picture_url": url}).encode()])
    assert [each.picture_url for each in parsed.records] == [""]
    assert parsed.notes == ("line 1: picture_url is not an https address",)


def test_a_full_line_becomes_a_record_without_a_warning() -> None:
    line = {
        "id": "https://arxiv.org/abs/2608.00007v2", "title": "A title", "abstract": "Said.", "summary": "Short.",
        "authors": ["Wei Wang", "Wei Wang"], "categories": ["cs.LG", "cs.LG"], "keywords": ["x"], "organization": "Lab",
        "published_at": "2026-08-01", "url": "https://example.org/a", "code_url": "https://github.com/a/b",
        "project_url": "https://a.github.io", "picture_url": "https://example.org/a.png",
        "upvotes": 3, "comments": 0, "stars": 1,
    }  # fmt: skip
    parsed = parse([json.dumps(line).encode()])
    assert parsed.notes == ()
    assert parsed.records == (
        PaperRecord(
            key="arxiv:2608.00007",
            version=2,
            title="A title",
            listed_at=datetime(2026, 8, 1, tzinfo=UTC),
            source="file",
            abstract="Said.",
            summary="Short.",
            authors=("Wei Wang", "Wei Wang"),
            categories=("cs.LG",),
            keywords=("x",),
            organization="Lab",
            url="https://example.org/a",
            pdf_url="https://arxiv.org/pdf/2608.00007",
            code_url="https://github.com/a/b",
            project_url="https://a.github.io",
            picture_url="https://example.org/a.png",
            published_at=datetime(2026, 8, 1, tzinfo=UTC),
            upvotes=3,
            comments=0,
            stars=1,
        ),
    )


def test_a_title_is_enough() -> None:
    record = one()
    assert record.key.startswith("title:")
    assert (record.listed_at, record.url, record.upvotes) == (NOW, "", None)
    assert one(id=None).key == one(id="").key == record.key


def test_a_doi_links_to_its_resolver() -> None:
    assert (one(id="10.1101/A.b").key, one(id="10.1101/A.b").url) == ("doi:10.1101/a.b", "https://doi.org/10.1101/a.b")
    assert one(id='10.1101/"><script>').url == ""


def test_papers_count_as_listed_on_the_day_that_is_given_else_on_their_own() -> None:
    day = datetime(2026, 8, 3, tzinfo=UTC)
    line = b'{"title": "x", "published_at": "2026-07-01T12:00:00+02:00"}'
    assert parse([line], day).records[0].listed_at == day
    assert parse([line]).records[0].listed_at == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert one(published_at=(NOW + timedelta(days=90)).isoformat()).listed_at == NOW


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        (b"not json", "not JSON"),
        (b'{"title": "half', "not JSON"),
        (b"{'title': 'python'}", "not JSON"),
        (b'{"title": "x"} {"title": "y"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"title": "x", "stars": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"title": "\xff"}', "not UTF-8"),
        ('{"title": "x"}'.encode("utf-16"), "not UTF-8"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"{}", "no title"),
        (b'{"title": null}', "no title"),
        (b'{"title": 7}', "no title"),
        (b'{"title": " \\u0000\\u202e "}', "no title"),
        (b'{"title": "x", "id": "2503.0213"}', "id is neither an arXiv id nor a DOI"),
        (b'{"title": "x", "id": 2503.02130}', "id is neither an arXiv id nor a DOI"),
        (b'{"title": "x", "id": false}', "id is neither an arXiv id nor a DOI"),
        (b'{"title": "x", "id": []}', "id is neither an arXiv id nor a DOI"),
        (b'{"title": "x", "id": "10.1101/\\u0000"}', "id is neither an arXiv id nor a DOI"),
        (b'{"title": "x", "abstract": "' + b"y" * MAX_LINE_BYTES + b'"}', "longer than 1 MiB"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_bad_line_is_named_by_its_number_and_skipped(line: bytes, trouble: str) -> None:
    parsed = parse([GOOD, b"\n", line + b"\n", b'{"title": "Another good paper"}'])
    assert [record.title for record in parsed.records] == ["A good paper", "Another good paper"]
    assert parsed.notes == (f"line 3: {trouble} (skipped)",)
    assert parsed.dropped == {"bad_line": 1}
    assert parsed.received == 3


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ({"titel": "x"}, "unknown key 'titel' kept out"),
        ({"\u202ekey\x1b": 1}, "unknown key '\\u202ekey\\x1b' kept out"),
        ({"\ud800": 1}, "unknown key '\\ud800' kept out"),
        ({"published_at": "soon"}, "published_at is not a date"),
        ({"published_at": 2026}, "published_at is not a date"),
        ({"published_at": "0001-01-01"}, "published_at is not a date"),
        ({"url": "javascript:alert(1)"}, "url is not an http(s) address"),
        ({"code_url": "data:text/html,x"}, "code_url is not an http(s) address"),
        ({"pdf_url": ["https://example.org"]}, "pdf_url is not an http(s) address"),
        ({"upvotes": -1}, "upvotes is not a count"),
        ({"upvotes": True}, "upvotes is not a count"),
        ({"comments": 1.5}, "comments is not a count"),
        ({"stars": 10**12}, "stars is not a count"),
        ({"stars": "12"}, "stars is not a count"),
        ({"authors": "Ada Example, Bob Example"}, "authors is not a list of texts"),
        ({"authors": [{"name": "Ada"}]}, "authors is not a list of texts"),
        ({"keywords": {"a": 1}}, "keywords is not a list of texts"),
        ({"abstract": ["x"]}, "abstract is not a text"),
        ({"organization": {"name": "x"}}, "organization is not a text"),
    ],
    ids=repr,
)
def test_what_is_left_out_of_a_good_line_is_said(value: dict[str, Any], warning: str) -> None:
    parsed = parse([json.dumps({"title": "x"} | value).encode()])
    assert parsed.notes == (f"line 1: {warning}",)
    assert (len(parsed.records), parsed.dropped.total()) == (1, 0)


def test_a_thousand_unknown_keys_are_one_short_note() -> None:
    (note,) = parse([json.dumps({"title": "x"} | {"k" * 500 + str(n): n for n in range(1_000)}).encode()]).notes
    assert len(note) < 500


def test_files_of_every_make_are_read() -> None:
    bom, two = b"\xef\xbb\xbf", [GOOD.strip(), b'{"title": "\xe6\x8b\xa1\xe6\x95\xa3"}']
    for lines in (
        [bom + two[0] + b"\n", two[1] + b"\n"],
        [two[0] + b"\r\n", two[1] + b"\r\n", b"\r\n"],
        [two[0] + b"\n", two[1]],
        [b"\n", b"  \t\n", two[0] + b"\n", b"\n", two[1] + b"\n", b"\n"],
        [bom + b"\n", *two],
    ):
        parsed = parse(lines)
        assert [record.title for record in parsed.records] == ["A good paper", "拡散"]
        assert parsed.notes == ()


@pytest.mark.parametrize("lines", [[], [b""], [b"\n", b" \r\n"], [b"\xef\xbb\xbf"]], ids=repr)
def test_an_empty_file_is_no_papers_and_no_trouble(lines: list[bytes]) -> None:
    assert list(parse_lines(lines, None, NOW)) == []


def test_a_long_file_comes_in_chunks_with_the_numbers_of_its_lines() -> None:
    lines = (b'{"title": "Paper %d"}' % n if n % 10 else b"bad" for n in range(1, 96))
    chunks = list(parse_lines(lines, None, NOW, chunk=20))
    assert [each.received for each in chunks] == [20, 20, 20, 20, 15]
    assert [note for each in chunks for note in each.notes] == [f"line {n}0: not JSON (skipped)" for n in range(1, 10)]


def test_the_same_paper_twice_is_received_twice() -> None:
    parsed = parse([b'{"title": "x", "id": "2608.00001"}', b'{"title": "x", "id": "arXiv:2608.00001v2"}'])
    assert [record.key for record in parsed.records] == ["arxiv:2608.00001"] * 2


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_become_plain_lines(hostile: str) -> None:
    record = one(title=hostile, abstract=hostile, authors=[hostile], organization=hostile)
    assert all(text.isprintable() for text in (record.title, record.abstract, *record.authors, record.organization))


@given(st.lists(st.binary(max_size=40) | ANY_JSON.map(lambda value: json.dumps(value).encode()), max_size=6))
def test_no_line_raises_or_disappears(lines: list[bytes]) -> None:
    said = [line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()]
    assert parse(lines).received == len(said)


@given(st.dictionaries(st.sampled_from(KEYS), ANY_JSON), st.booleans())
def test_no_object_raises_or_disappears(value: dict[str, Any], titled: bool) -> None:
    parsed = parse([json.dumps(value | ({"title": "A title"} if titled else {})).encode()])
    assert parsed.received == 1
    repr(parsed).encode()
    " ".join(parsed.notes).encode()
    assert all(note.isprintable() for note in parsed.notes)
