"""bioRxiv and medRxiv, page by page."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import SourceServer, biorxiv_page

from newsletter.errors import SourceError
from newsletter.papers.models import PaperRecord
from newsletter.papers.sources import Page
from newsletter.papers.sources.biorxiv import Biorxiv
from newsletter.papers.sources.http import Validators, Web

DAY = date(2026, 8, 4)
SOURCE = Biorxiv(Web(), "http://127.0.0.1:9")


def fetch(server: SourceServer, known: dict[str, Validators] | None = None) -> list[Page]:
    source = Biorxiv(Web(timeout_seconds=5, backoff_seconds=0, named=[server.url]), server.url)
    return list(source.fetch(DAY, now=datetime(2026, 8, 5, tzinfo=UTC), known=known or {}))


def served(total: int, page: int = 30) -> Callable[[str, dict[str, str]], tuple[int, bytes]]:
    def answer(path: str, _query: dict[str, str]) -> tuple[int, bytes]:
        cursor = int(path.split("/")[-2])
        return 200, json.dumps(biorxiv_page(cursor, min(page, total - cursor), total)).encode()

    return answer


def one(**more: Any) -> PaperRecord:
    (record,) = SOURCE.parse(json.dumps(biorxiv_page(1, 1, 1, **more)).encode(), DAY).records
    return record


def test_a_preprint_becomes_a_record() -> None:
    assert one() == PaperRecord(
        key="doi:10.64898/2026.08.04.700001",
        title="How cells of kind 1 divide in the dark",
        listed_at=datetime(2026, 8, 4, tzinfo=UTC),
        source="biorxiv",
        version=1,
        abstract="Cells divide. We watched them.",
        authors=("A. Example", "B. C. Sample"),
        categories=("cell biology",),
        organization="A Town University",
        url="https://www.biorxiv.org/content/10.64898/2026.08.04.700001v1",
        pdf_url="https://www.biorxiv.org/content/10.64898/2026.08.04.700001v1.full.pdf",
        published_at=datetime(2026, 8, 4, tzinfo=UTC),
    )


def test_a_later_version_is_no_new_listing() -> None:
    record = one(version="2")
    assert (record.version, record.listed_at, record.published_at) == (2, None, None)


def test_the_journals_doi_is_another_publication() -> None:
    assert one(published="10.1091/mbc.E25-09-0454").related == ("doi:10.1091/mbc.e25-09-0454",)
    assert one(published="NA").related == ()


def test_withdrawn_preprints_are_known() -> None:
    assert one(type="Withdrawn").withdrawn
    assert not one().withdrawn


@pytest.mark.parametrize("size", [30, 100])
def test_every_page_is_asked_for(web_server: SourceServer, size: int) -> None:
    web_server.routes["/details/biorxiv/2026-08-04/2026-08-04/"] = served(109, size)
    pages = fetch(web_server)
    keys = {record.key for page in pages for record in SOURCE.parse(page.body or b"", DAY).records}
    assert len(keys) == 109
    assert [path.split("/")[-2] for path in web_server.asked] == [str(n) for n in range(0, 109, size)]


def test_a_list_of_one_page_is_asked_for_conditionally(web_server: SourceServer) -> None:
    web_server.routes["/details/"] = served(3)
    (page,) = fetch(web_server)
    (again,) = fetch(web_server, {page.url: page.validators})
    assert (again.body, web_server.unmodified) == (None, 1)


def test_pages_that_stop_short_are_an_error_and_never_an_endless_loop(web_server: SourceServer) -> None:
    web_server.routes["/details/"] = lambda *_: (200, json.dumps(biorxiv_page(0, 0, 109)).encode())
    with pytest.raises(SourceError, match="stopped at 0 of 109 papers"):
        fetch(web_server)
    web_server.routes["/details/"] = lambda *_: (200, json.dumps(biorxiv_page(0, 30, 10**8)).encode())
    with pytest.raises(SourceError, match="more than 3000 papers"):
        fetch(web_server)


def test_a_day_without_preprints_is_no_error() -> None:
    nothing = b'{"messages": [{"status": "no posts found"}], "collection": []}'
    assert SOURCE.parse(nothing, DAY).received == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "nothing at all"),
        (b"  \n", "nothing at all"),
        (b"<html>", "not JSON"),
        (b"[]", "not a list of papers"),
        (b'{"messages": [{"status": "ok"}]}', "not a list of papers"),
        (
            b'{"messages": [{"status": "Error: interval is wrong"}], "collection": []}',
            "refused: Error: interval is wrong",
        ),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_trouble_inside_a_200_is_an_error_of_the_source(body: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        SOURCE.parse(body, DAY)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "bad_id"),
        ({}, "bad_id"),
        ({"doi": "10.1101/2026.08.01.1"}, "no_title"),
        ({"doi": "x", "title": "T"}, "bad_id"),
    ],
)
def test_one_bad_record_never_loses_the_others(item: Any, reason: str) -> None:
    page = biorxiv_page(1, 1, 2)
    page["collection"].append(item)
    parsed = SOURCE.parse(json.dumps(page).encode(), DAY)
    assert (len(parsed.records), parsed.dropped) == (1, {reason: 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.sampled_from(["doi", "title", "authors", "version", "date", "published", "category", "abstract", "type"]), JSON
)
def test_no_value_raises_or_disappears(name: str, value: Any) -> None:
    page = json.dumps(biorxiv_page(1, 1, 1, **{name: value})).encode()
    assert SOURCE.parse(page, DAY).received == 1
