"""What the sources tell becomes papers: one for each work, whatever the order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import record

from newsletter.papers.identity import aliases, fingerprint, title_key
from newsletter.papers.merge import Merged, merge
from newsletter.papers.models import PaperRecord, Sighting

DAY = datetime(2026, 8, 5, tzinfo=UTC)
LONG = "A title of five words"
OTHER = "Another title of six long words"


def seen(*records: PaperRecord, hours: float = 0) -> list[Sighting]:
    return [Sighting(each, DAY + timedelta(hours=hours)) for each in records]


def told(key: str, source: str = "file", **fields: object) -> PaperRecord:
    defaults: dict[str, object] = {"title": f"Paper {key}", "listed_at": DAY, "abstract": "", "url": "", "pdf_url": ""}
    return record(1, **(defaults | {"key": key, "source": source, "upvotes": None} | fields))


KEYS = (
    "arxiv:2608.00001", "arxiv:2608.00002", "doi:10.1101/2026.08.01.123456", "doi:10.64898/2026.08.01.123456",
    "doi:10.1038/x1", "doi:10.1038/x2", "title:1", "title:2", "feed:1", "feed:2",
)  # fmt: skip


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    some = st.sampled_from(KEYS)
    authors = st.sampled_from([(), ("Ada Example",), ("Bo Sample", "Ada Example"), ("Example, Ada",)])
    drawn = told(
        draw(some),
        draw(st.sampled_from(["arxiv", "arxiv-api", "biorxiv", "file", "huggingface", "feed:a", "feed:b"])),
        title=draw(st.sampled_from([LONG, LONG.upper(), OTHER, "Short"])),
        listed_at=draw(st.none() | st.sampled_from([DAY, DAY - timedelta(days=3), DAY - timedelta(days=900)])),
        also=tuple(draw(st.lists(some, max_size=1))),
        related=tuple(draw(st.lists(some.filter(lambda key: key.startswith("doi:")), max_size=1))),
        version=draw(st.integers(0, 2)),
        withdrawn=draw(st.booleans()),
        abstract=draw(st.sampled_from(["", "Said.", "Said otherwise."])),
        authors=draw(authors),
        url=draw(st.sampled_from(["", "https://a.example.org/"])),
        upvotes=draw(st.none() | st.integers(0, 2)),
        stars=draw(st.none() | st.integers(0, 2)),
    )
    return Sighting(drawn, DAY + timedelta(hours=draw(st.integers(0, 3))))


@settings(max_examples=150)
@given(st.data())
def test_any_order_of_records_gives_the_same_papers(data: st.DataObject) -> None:
    found = data.draw(st.lists(sightings(), max_size=8))
    assert facts(merge(found)) == facts(merge(data.draw(st.permutations(found))))


@settings(max_examples=150)
@given(st.lists(sightings(), max_size=8), st.integers(0, 8))
def test_merging_in_two_pulls_gives_what_one_gives(found: list[Sighting], cut: int) -> None:
    first = [each for paper in merge(found[:cut]) for each in paper.sightings]
    assert facts(merge([*first, *found[cut:]])) == facts(merge(found))


@given(st.lists(sightings(), max_size=8))
def test_no_record_is_lost_and_none_is_in_two_papers(found: list[Sighting]) -> None:
    merged = merge(found)
    places = [(each.record.source, each.record.key) for paper in merged for each in paper.sightings]
    assert sorted(places) == sorted({(each.record.source, each.record.key) for each in found})
    keys = [paper.record.key for paper in merged]
    assert len(set(keys)) == len(keys)
    for paper in merged:
        assert paper.same_as is None or (paper.same_as in keys and paper.same_as != paper.record.key)
    ids = [key for paper in merged for key in paper.ids]
    assert len(set(ids)) == len(ids)


def facts(merged: list[Merged]) -> set[tuple[object, ...]]:
    return {(paper.record, paper.ids, paper.titles, paper.first_listed_at, paper.same_as) for paper in merged}


def one(*found: Sighting) -> Merged:
    (paper,) = merge(found)
    return paper


def test_a_relisted_paper_keeps_its_first_listing_and_has_its_newest_votes() -> None:
    first = told("arxiv:2608.00001", "huggingface", upvotes=9, comments=2)
    again = replace(first, listed_at=DAY + timedelta(days=6), upvotes=4, comments=None)
    paper = one(*seen(first), *seen(again, hours=24 * 6))
    assert (paper.record.listed_at, paper.record.upvotes, paper.record.comments) == (DAY, 4, 2)


def test_a_new_version_updates_and_never_makes_a_new_paper() -> None:
    first = told("arxiv:2608.00001", "arxiv", title="First title", abstract="First.", version=1)
    second = replace(first, title="Second title", abstract="Second.", version=2, listed_at=None)
    for order in ([*seen(first), *seen(second, hours=1)], [*seen(second), *seen(first, hours=1)]):
        paper = one(*order)
        assert (paper.record.title, paper.record.abstract, paper.record.version) == ("Second title", "Second.", 2)
        assert paper.record.listed_at == DAY


def test_a_paper_that_no_source_lists_is_not_listed() -> None:
    assert one(*seen(told("arxiv:2608.00001", "arxiv", listed_at=None, version=3))).record.listed_at is None


def test_each_field_comes_from_whose_word_counts_most() -> None:
    daily = told(
        "arxiv:2608.00001", "huggingface", title="lossy x2", abstract="lossy", summary="Short.", authors=("B", "A"),
        organization="Lab", upvotes=7, comments=1, stars=3, listed_at=DAY + timedelta(days=1),
    )  # fmt: skip
    paper_itself = told(
        "arxiv:2608.00001", "arxiv-api", title="real x²", abstract="real", authors=("A", "B"), categories=("cs.LG",),
        version=1, listed_at=None, published_at=DAY - timedelta(days=2),
    )  # fmt: skip
    file = told("arxiv:2608.00001", "file", title="from a file", upvotes=1, stars=0)
    paper = one(*seen(daily, paper_itself, file))
    told_best = paper.record
    assert (told_best.title, told_best.abstract, told_best.authors) == ("real x²", "real", ("A", "B"))
    assert (told_best.summary, told_best.organization, told_best.categories) == ("Short.", "Lab", ("cs.LG",))
    assert (told_best.upvotes, told_best.comments, told_best.stars) == (7, 1, 3)
    assert (told_best.listed_at, paper.first_listed_at, told_best.source) == (DAY + timedelta(days=1), DAY, "file")


def test_what_is_announced_of_a_new_version_beats_what_was_told_in_full_of_the_old_one() -> None:
    old = told("arxiv:2608.00001", "arxiv-api", abstract="of version 1", categories=("cs.LG",), version=1)
    new = told("arxiv:2608.00001", "arxiv", abstract="of version 2", version=2, listed_at=None)
    assert one(*seen(old, new)).record.abstract == "of version 2"
    full = replace(old, abstract="of version 2, in full", version=2)
    assert one(*seen(old, new), *seen(full, hours=1)).record.abstract == "of version 2, in full"


def test_ids_are_united_and_the_best_one_names_the_paper() -> None:
    feed = told("feed:1", "feed:a", also=("doi:10.1038/x1",))
    other = told("doi:10.1038/x1", "feed:b", also=("arxiv:2608.00001",))
    paper = one(*seen(feed, other, told("arxiv:2608.00001", "huggingface")))
    assert paper.record.key == "arxiv:2608.00001"
    assert paper.ids == {"feed:1", "doi:10.1038/x1", "arxiv:2608.00001"}


def test_both_prefixes_of_a_preprints_doi_are_one_paper() -> None:
    old, new = "doi:10.1101/2026.08.01.123456", "doi:10.64898/2026.08.01.123456"
    assert aliases(old) == aliases(new) == ("preprint:2026.08.01.123456",)
    assert one(*seen(told(old, "biorxiv"), told(new, "feed:a"))).ids >= {old, new}


@pytest.mark.parametrize(
    ("bare", "full", "together"),
    [
        ({"authors": ("Ada Example",)}, {"authors": ("A. Example", "Bo Sample")}, True),
        ({"authors": ("Example, Ada",)}, {"authors": ("Ada Example",)}, True),
        ({"authors": ("José Example",)}, {"authors": ("Jose Example",)}, True),
        ({"authors": ("Cy Else",)}, {"authors": ("Ada Example",)}, False),
        ({"authors": ()}, {"authors": ("Ada Example",)}, True),  # the year decides
        ({"listed_at": DAY - timedelta(days=800)}, {"authors": ("Ada Example",)}, False),
        ({"listed_at": DAY - timedelta(days=300)}, {}, True),
        ({"title": LONG + "!"}, {}, True),
        ({"title": LONG.upper().replace(" ", "  ")}, {}, True),
        ({"title": LONG + " II"}, {}, False),
        ({"title": LONG + ", Part III"}, {"title": LONG + ", Part II"}, False),
        ({"title": "Technical Report"}, {"title": "Technical Report"}, False),
        ({"title": "Editorial"}, {"title": "Editorial"}, False),
    ],
)
def test_a_title_joins_a_paper_without_an_id_unless_something_speaks_against_it(
    bare: dict[str, object], full: dict[str, object], together: bool
) -> None:
    without = told("feed:1", "feed:a", **({"title": LONG} | bare))
    known = told("arxiv:2608.00001", "huggingface", **({"title": LONG} | full))
    assert len(merge(seen(without, known))) == (1 if together else 2)


def test_two_papers_with_ids_of_their_own_and_one_title_stay_two_and_the_later_one_is_the_same_work() -> None:
    preprint = told("arxiv:2608.00001", "arxiv", title=LONG, authors=("Ada Example",))
    journal = told("doi:10.1038/x1", "feed:a", title=LONG, authors=("A. Example",), listed_at=DAY + timedelta(days=90))
    first, second = merge(seen(journal, preprint))
    assert (first.record.key, first.same_as) == ("arxiv:2608.00001", None)
    assert (second.record.key, second.same_as) == ("doi:10.1038/x1", "arxiv:2608.00001")


def test_a_preprint_that_names_its_journals_doi_is_the_same_work_under_another_title() -> None:
    preprint = told("arxiv:2608.00001", "arxiv-api", related=("doi:10.1038/x1",))
    journal = told("doi:10.1038/x1", "feed:a", title="Renamed by the referees", listed_at=DAY - timedelta(days=1))
    found = {paper.record.key: paper.same_as for paper in merge(seen(preprint, journal))}
    assert found == {"doi:10.1038/x1": None, "arxiv:2608.00001": "doi:10.1038/x1"}


def test_withdrawn_counts_until_a_newer_version() -> None:
    taken_back = told("arxiv:2608.00001", "arxiv-api", version=2, withdrawn=True)
    daily = told("arxiv:2608.00001", "huggingface")
    assert one(*seen(daily, taken_back)).record.withdrawn
    assert not one(*seen(daily, taken_back, replace(taken_back, version=3, withdrawn=False))).record.withdrawn


@pytest.mark.parametrize("key", ["arxiv:2608.{:05d}", "feed:{}"])
def test_a_title_that_many_papers_bear_tells_nothing(key: str) -> None:
    same = [told(key.format(number), title=LONG) for number in range(50)]
    assert len([paper for paper in merge(seen(*same)) if paper.same_as is None]) == 1
    assert all(paper.same_as is None for paper in merge(seen(*same, told(key.format(50), title=LONG))))
    many = [told(key.format(number), title=LONG, authors=(f"Author{number} Of",)) for number in range(5_000)]
    assert len(merge(seen(*many))) == 5_000


def test_a_paper_that_is_renamed_stays_itself() -> None:
    old = told("arxiv:2608.00001", "arxiv", title=LONG, version=1)
    new = replace(old, title="Something else entirely this time", version=2, listed_at=None)
    entry = told("feed:1", "feed:a", title=LONG)
    journal = told("doi:10.1038/x1", "feed:b", title=LONG, listed_at=DAY + timedelta(days=2))
    first, second = merge([*seen(old, entry, journal), *seen(new, hours=1)])
    assert (first.record.title, first.ids) == (new.title, {"arxiv:2608.00001", "feed:1"})
    assert second.same_as == "arxiv:2608.00001"


@pytest.mark.parametrize(("days", "late"), [(10, True), (30, True), (31, False)])
def test_who_lists_a_paper_later_makes_it_a_candidate_again(days: int, late: bool) -> None:
    announced = told("arxiv:2608.00001", "arxiv")
    picked = told("arxiv:2608.00001", "huggingface", listed_at=DAY + timedelta(days=days), upvotes=150)
    paper = one(*seen(announced, picked))
    assert paper.record.listed_at == (picked.listed_at if late else DAY)
    assert paper.first_listed_at == DAY


def test_two_feeds_that_tell_of_one_paper_do_not_take_turns() -> None:
    a, b = (told("doi:10.1038/x1", name, title=name) for name in ("feed:a", "feed:b"))
    assert one(*seen(a), *seen(b, hours=1)).record.title == one(*seen(b), *seen(a, hours=1)).record.title == "feed:a"


def test_fingerprints_need_words() -> None:
    assert fingerprint("On the Way to It") == fingerprint("on the way — to it.")
    assert fingerprint("Too Few Words Here") is None
    assert fingerprint("") is None
    assert title_key("x", "Ada Example") == title_key("X!", "Example, Ada") != title_key("x")


def test_nothing_comes_of_nothing() -> None:
    assert merge([]) == []
