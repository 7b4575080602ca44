"""Hugging Face's daily list: what the bytes hold."""

import json
from datetime import UTC, date, datetime
from time import process_time
from typing import Any

import pytest
from fakes import HuggingFaceServer, listed
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.errors import SourceError
from newsletter.papers.models import MAX_ABSTRACT, MAX_COUNT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import Page
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.huggingface import HuggingFace

DAY = date(2026, 8, 5)
SOURCE = HuggingFace(Web(timeout_seconds=5, backoff_seconds=0), "http://127.0.0.1:9")
WRONG = (None, True, False, 0, -1, 1.5, 10**30, "", "text", "\x00", [], [None, 1, {}], {}, {"name": [1]})

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)
OUTER = ("title", "summary", "publishedAt", "numComments", "organization", "thumbnail")
INNER = (
    "title", "summary", "upvotes", "authors", "publishedAt", "ai_summary", "ai_keywords", "githubRepo",
    "githubStars", "projectPage", "organization",
)  # fmt: skip
ALMOST_ITEMS = st.fixed_dictionaries(
    {
        "paper": st.fixed_dictionaries(
            {"id": st.just("2608.00001") | st.just("2503.0213") | ANY_JSON},
            optional=dict.fromkeys(INNER, ANY_JSON),
        )
    },
    optional=dict.fromkeys(OUTER, ANY_JSON),
)


def fetch(source: HuggingFace, day: date) -> list[Page]:
    return list(source.fetch(day, now=datetime(2026, 8, 7, tzinfo=UTC), known={}))


def parse(items: Any) -> Parsed:
    return SOURCE.parse(json.dumps(items).encode(), DAY)


def one(**paper: Any) -> PaperRecord:
    item = listed(1, "A title", DAY)
    item["paper"] |= paper
    (record,) = parse([item]).records
    return record


def test_an_item_becomes_a_record() -> None:
    item = listed(
        7, "Sparse\n  attention", DAY, upvotes=12, abstract="It\nis sparse.", ai_summary="Sparse.",
        ai_keywords=["attention", "sparsity", "attention"], githubRepo="https://github.com/a/b", githubStars=41,
        projectPage="https://a.github.io/b", organization={"name": "lab", "fullname": "The Lab"},
    )  # fmt: skip
    item["thumbnail"] = "https://pictures.example.org/2608.00007.png"
    assert parse([item]).records == (
        PaperRecord(
            key="arxiv:2608.00007",
            title="Sparse attention",
            listed_at=datetime(2026, 8, 5, tzinfo=UTC),
            source="huggingface",
            abstract="It is sparse.",
            summary="Sparse.",
            authors=("Ada Example",),
            keywords=("attention", "sparsity"),
            organization="The Lab",
            url="https://arxiv.org/abs/2608.00007",
            pdf_url="https://arxiv.org/pdf/2608.00007",
            code_url="https://github.com/a/b",
            project_url="https://a.github.io/b",
            picture_url="https://pictures.example.org/2608.00007.png",
            published_at=datetime(2026, 8, 5, tzinfo=UTC),
            upvotes=12,
            comments=1,
            stars=41,
        ),
    )


def test_the_day_of_listing_is_the_one_that_was_asked_for() -> None:
    item = listed(1, "A title", DAY)
    item["publishedAt"] = item["paper"]["submittedOnDailyAt"] = "2026-08-04T20:00:00.000Z"
    assert parse([item]).records[0].listed_at == datetime(2026, 8, 5, tzinfo=UTC)


def test_an_empty_list_is_a_weekend_and_no_error() -> None:
    assert parse([]) == Parsed()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "no_paper"),
        ("2608.00001", "no_paper"),
        (2608.00001, "no_paper"),
        ([], "no_paper"),
        ({}, "no_paper"),
        ({"paper": None}, "no_paper"),
        ({"paper": []}, "no_paper"),
        ({"paper": {"title": "No id"}}, "bad_id"),
        ({"paper": {"id": 2503.0213, "title": "Float id"}}, "bad_id"),
        ({"paper": {"id": "2503.0213", "title": "Lost zero"}}, "bad_id"),
        ({"paper": {"id": "10.1101/x", "title": "Not of arXiv"}}, "bad_id"),
        ({"paper": {"id": "../../etc/passwd", "title": "A path"}}, "bad_id"),
        ({"paper": {"id": "2608.00001"}}, "no_title"),
        ({"paper": {"id": "2608.00001", "title": ["x"]}}, "no_title"),
        ({"paper": {"id": "2608.00001", "title": " \x00\u202e\u200b "}}, "no_title"),
    ],
)
def test_one_bad_record_never_loses_the_others(item: Any, reason: str) -> None:
    parsed = parse([listed(1, "Before", DAY), item, listed(2, "After", DAY)])
    assert [record.title for record in parsed.records] == ["Before", "After"]
    assert parsed.dropped == {reason: 1}
    assert parsed.received == 3
    assert parsed.notes == (f"2026-08-05 item 2: {reason.replace('_', ' ')}",)


def test_an_id_without_end_costs_only_itself() -> None:
    begun = process_time()
    endless = {"paper": {"id": "http" + "?" * 60_000 + "\nx", "title": "No end"}}
    assert parse([listed(1, "Before", DAY), endless]).dropped == {"bad_id": 1}
    assert process_time() - begun < 2


def test_a_thousand_bad_records_are_all_counted_and_the_first_are_named() -> None:
    parsed = parse([None] * 1_000)
    assert parsed.dropped == {"no_paper": 1_000}
    assert len(parsed.notes) == 20


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_field_of_the_wrong_type_costs_only_itself(name: str, value: Any) -> None:
    record = one(**{name: value})
    assert record.title in {"A title", "text"}
    assert record.upvotes is None or 0 <= record.upvotes <= MAX_COUNT


@pytest.mark.parametrize("value", [-1, 1.5, 7.0, True, False, "7", None, [7], MAX_COUNT + 1, 10**400])
def test_votes_that_are_no_count_are_no_votes(value: Any) -> None:
    record = one(upvotes=value, githubStars=value)
    assert (record.upvotes, record.stars) == (None, None)


def test_counts_at_the_edges_are_kept() -> None:
    assert (one(upvotes=0).upvotes, one(upvotes=MAX_COUNT).upvotes) == (0, MAX_COUNT)


def test_hidden_authors_stay_hidden_and_namesakes_stay_two() -> None:
    people = [
        {"name": "Wei Wang", "hidden": False},
        {"name": "Shy Person", "hidden": True},
        {"name": "  "},
        {"name": 7},
        "Just Text",
        None,
        {"name": "Wei\nWang"},
        {"name": "Bob"},
    ]
    assert one(authors=people).authors == ("Wei Wang", "Wei Wang", "Bob")


def test_six_hundred_authors_are_all_kept_and_ten_thousand_are_bounded() -> None:
    assert len(one(authors=[{"name": f"Author {n}"} for n in range(664)]).authors) == 664
    assert len(one(authors=[{"name": f"Author {n}"} for n in range(10_000)]).authors) == 1_000


def test_long_texts_are_cut_and_say_so() -> None:
    record = one(title="word " * 1_000, summary="x" * 50_000, ai_summary="y" * 5_000)
    assert len(record.title) <= MAX_TITLE
    assert len(record.abstract) <= MAX_ABSTRACT
    assert all(text.endswith("…") for text in (record.title, record.abstract, record.summary))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_titles_become_one_plain_line(hostile: str) -> None:
    assert one(title=hostile).title.isprintable()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "https://a b.org/", 7])
def test_links_that_are_not_web_addresses_are_left_out(url: Any) -> None:
    record = one(githubRepo=url, projectPage=url)
    assert (record.code_url, record.project_url) == ("", "")


@pytest.mark.parametrize(
    "when", ["yesterday", "2026-13-40", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", 17, ""]
)
def test_a_date_that_is_none_costs_only_itself(when: Any) -> None:
    assert one(publishedAt=when).published_at is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<!doctype html><html><body>Just a moment...</body></html>",
        b'[{"paper": {"id": "2608.00001", "title": "Half',
        b"[{}, {}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[" + b"9" * 10_000 + b"]",
        b'[{"paper": {"id": "2608.00001", "title": "\xff\xfe"}}]',
        b"\x1f\x8b\x08\x00",
        b"\x00" * 100,
        b'{"error": "Invalid date"}',
        b'{"papers": []}',
        b'"list"',
        b"null",
        b"42",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_an_answer_that_is_no_list_is_an_error_of_the_source(body: bytes) -> None:
    with pytest.raises(SourceError, match=r"not JSON|not a list"):
        SOURCE.parse(body, DAY)


def test_a_deeply_nested_item_costs_at_most_its_own_list() -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    parsed = parse([listed(1, "Before", DAY), deep, listed(2, "After", DAY, authors=deep, ai_keywords=deep)])
    assert [record.title for record in parsed.records] == ["Before", "After"]


@given(st.one_of(st.binary(), ANY_JSON.map(lambda value: json.dumps(value).encode())))
def test_no_bytes_raise_anything_but_source_error(body: bytes) -> None:
    try:
        parsed = SOURCE.parse(body, DAY)
    except SourceError:
        return
    assert parsed.received == len(json.loads(body))


@given(st.lists(ANY_JSON | ALMOST_ITEMS, max_size=5))
def test_no_item_raises_or_disappears(items: list[Any]) -> None:
    parsed = parse(items)
    assert parsed.received == len(items)
    for record in parsed.records:
        assert record.key == "arxiv:2608.00001"
        assert record.title.isprintable() or record.title
        repr(record).encode()
        assert all(not set(text) & set("\x00\n\r\u202e") for text in (record.title, record.abstract, *record.authors))


def test_fetch_asks_for_a_day_and_says_what_was_refused(huggingface: HuggingFaceServer) -> None:
    web = Web("admin@example.org", timeout_seconds=5, backoff_seconds=0, named=[huggingface.url])
    source = HuggingFace(web, huggingface.url)
    huggingface.days["2026-08-05"] = [listed(1, "A title", DAY)]
    (page,) = fetch(source, DAY)
    assert source.parse(page.body or b"", DAY).received == 1
    assert huggingface.asked == ["2026-08-05"]
    assert [agent.split("/")[0] for agent in huggingface.agents] == ["newsletter"]
    (page,) = fetch(source, date(2026, 8, 1))
    assert source.parse(page.body or b"", date(2026, 8, 1)) == Parsed()
    with pytest.raises(SourceError, match="answered 400 for 2026-08-08"):
        fetch(source, date(2026, 8, 8))


def test_a_paper_whose_only_page_is_its_code_has_code() -> None:
    page = "https://github.com/example/nets"
    assert (one(projectPage=page).code_url, one(projectPage=page).project_url) == (page, "")
    both = one(projectPage=page, githubRepo="https://github.com/example/other")
    assert (both.code_url, both.project_url) == ("https://github.com/example/other", page)
    assert one(projectPage="https://github.com/example").project_url == "https://github.com/example"
