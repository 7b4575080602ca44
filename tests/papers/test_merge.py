"""Records of the same paper become one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from samples import record

from newsletter.papers.merge import merge
from newsletter.papers.models import PaperRecord

DAY = datetime(2026, 8, 5, tzinfo=UTC)


@st.composite
def papers(draw: st.DrawFn) -> PaperRecord:
    return record(
        draw(st.integers(1, 4)),
        draw(st.sampled_from(["One title", "Another title"])),
        listed_at=DAY + timedelta(days=draw(st.integers(-3, 3))),
        source=draw(st.sampled_from(["file", "huggingface"])),
        abstract=draw(st.sampled_from(["", "Said."])),
        authors=draw(st.sampled_from([(), ("Ada",), ("Ada", "Bob")])),
        upvotes=draw(st.none() | st.integers(0, 9)),
        stars=draw(st.none() | st.integers(0, 9)),
    )


@given(st.data())
def test_order_changes_neither_papers_nor_votes_nor_days(data: st.DataObject) -> None:
    records = data.draw(st.lists(papers(), max_size=8))
    shuffled = data.draw(st.permutations(records))
    assert _facts(merge(records)) == _facts(merge(shuffled))


@given(st.lists(papers(), max_size=8))
def test_each_key_comes_once_and_none_is_lost(records: list[PaperRecord]) -> None:
    merged = merge(records)
    assert [each.key for each in merged] == list(dict.fromkeys(each.key for each in records))
    assert merge(merged) == merged


def test_what_one_record_lacks_comes_from_the_others() -> None:
    bare = record(1, "From a file", abstract="", url="", pdf_url="", upvotes=None)
    full = record(
        1, "From the list", source="huggingface", summary="Short.", authors=("Ada",), organization="Lab",
        code_url="https://github.com/a/b", published_at=DAY, upvotes=7, comments=2, stars=3,
    )  # fmt: skip
    (both,) = merge([bare, full])
    assert both == replace(full, title="From a file", source="file")


def test_what_the_first_record_has_is_not_overwritten() -> None:
    (both,) = merge([record(1, "First", abstract="First said."), record(1, "Second", abstract="Second said.")])
    assert (both.title, both.abstract) == ("First", "First said.")


def test_the_listing_is_the_earliest_and_counts_are_the_highest() -> None:
    early, late = DAY - timedelta(days=6), DAY
    for order in (1, -1):
        (both,) = merge(
            [record(1, listed_at=early, upvotes=9, comments=None), record(1, listed_at=late, upvotes=2, comments=0)][
                ::order
            ]
        )
        assert (both.listed_at, both.upvotes, both.comments) == (early, 9, 0)


def test_no_votes_are_not_zero_votes() -> None:
    (both,) = merge([record(1, upvotes=None), record(1, upvotes=None)])
    assert both.upvotes is None
    (zero,) = merge([record(1, upvotes=None), record(1, upvotes=0)])
    assert zero.upvotes == 0


def test_nothing_comes_of_nothing() -> None:
    assert merge([]) == []


def _facts(records: list[PaperRecord]) -> dict[str, tuple[object, ...]]:
    return {each.key: (each.listed_at, each.upvotes, each.stars, bool(each.abstract)) for each in records}
