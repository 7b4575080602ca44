"""One reader's selection, and what the mail says about itself."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import pytest
from conftest import NOW
from samples import record

from newsletter.issues.compose import DigestPick, Edition, Reader, Selection, interests
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper, PaperRecord
from newsletter.subscribers.preferences import Preferences

DAY = date(2026, 8, 5)


def edition(records: Sequence[PaperRecord], missing: frozenset[int] = frozenset()) -> Edition:
    papers = {
        number: Paper.model_validate(asdict(each) | {"id": number, "first_seen_at": NOW, "updated_at": NOW})
        for number, each in enumerate(records, 1)
    }
    candidates = [
        IssueCandidate(issue_id=1, paper_id=number, trend=0.5, upvotes=each.upvotes, comments=None)
        for number, each in enumerate(records, 1)
    ]
    return Edition(DAY, candidates, {number: paper for number, paper in papers.items() if number not in missing})


def chosen(edition_: Edition, seen: frozenset[int] = frozenset(), **wishes: object) -> Selection:
    (selection,) = edition_.choose([Reader(Preferences.model_validate(wishes), seen)])
    return selection


def opening(papers: int, seen: frozenset[int] = frozenset(), **wishes: object) -> str:
    of = edition([record(number) for number in range(1, papers + 1)])
    preferences = Preferences.model_validate(wishes)
    return of.compose(preferences, chosen(of, seen, **wishes)).opening


def subject(*titles: str) -> str:
    of = edition([record(number, title) for number, title in enumerate(titles, 1)])
    picks = tuple(DigestPick(number, 0.5, "new") for number in range(1, len(titles) + 1))
    return of.compose(Preferences(), Selection(len(titles), picks)).subject


def test_subject_is_the_first_title_and_how_many_more() -> None:
    assert subject("One paper") == "One paper"
    assert subject("One paper", "Another") == "One paper + 1 more"
    assert subject("One paper", "Another", "Third") == "One paper + 2 more"


def test_long_title_is_cut_at_a_word_in_the_subject() -> None:
    title = "A rather long title of a paper about diffusion models for the design of proteins"
    assert subject(title) == "A rather long title of a paper about diffusion models for…"
    assert subject(title, "Another").endswith("models for… + 1 more")
    assert len(subject("x" * 5_000)) == 60
    assert subject("y" * 60) == "y" * 60


def test_preheader_names_the_next_titles_or_else_begins_the_abstract() -> None:
    of = edition([record(n, f"Title {n}") for n in range(1, 6)])
    five = Selection(5, tuple(DigestPick(n, 0.5, "new") for n in range(1, 6)))
    assert of.compose(Preferences(), five).preheader == "Title 2; Title 3; Title 4"
    one = Selection(5, (DigestPick(3, 0.5, "new"),))
    assert of.compose(Preferences(), one).preheader == "This is what paper 3 says. It says it twice."
    bare = edition([record(1, "Bare", abstract="")])
    assert bare.compose(Preferences(), Selection(1, (DigestPick(1, 0.5, "new"),))).preheader == ""


def test_opening_line_counts_what_was_new_to_the_reader() -> None:
    assert opening(1) == "1 of 1 new paper, ranked by what is trending"
    assert opening(12, max_papers=3) == "3 of 12 new papers, ranked by what is trending"
    assert opening(12, frozenset({1, 2, 999}), max_papers=3) == "3 of 10 new papers, ranked by what is trending"


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        ({"topics": ("graphs",)}, "graphs"),
        ({"keywords": ("b", "c"), "topics": ("a",)}, "a, b, c"),
        (
            {"topics": ("a", "b"), "keywords": ("A",), "authors": ("Ada",), "categories": ("cs.CL",)},
            "a, b, Ada and 1 more",
        ),
        ({"topics": ("a", "b", "c", "d", "e")}, "a, b, c and 2 more"),
    ],
)
def test_opening_line_names_three_interests_in_the_readers_words(wishes: dict[str, object], named: str) -> None:
    assert opening(2, **wishes) == f"2 of 2 new papers, ranked for {named}"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({}, "You asked for up to 10 papers every day from 8:00, UTC time."),
        (
            {"max_papers": 1, "cadence": "weekdays", "hour": 0, "timezone": "Asia/Tokyo"},
            "You asked for up to 1 paper on weekdays from 0:00, Asia/Tokyo time.",
        ),
        ({"max_papers": 2, "cadence": "weekly"}, "You asked for up to 2 papers on Mondays from 8:00, UTC time."),
    ],
)
def test_mail_says_what_the_reader_asked_for(wishes: dict[str, object], said: str) -> None:
    of = edition([record(1)])
    assert of.compose(Preferences.model_validate(wishes), chosen(of)).why == said


@pytest.mark.parametrize(
    ("upvotes", "keywords", "reason"),
    [
        (None, (), "new"),
        (0, (), "new"),
        (1, (), "trending, 1 upvote"),
        (7, (), "trending, 7 upvotes"),
        (1, ("graph",), "matches “graph”, 1 upvote"),
        (None, ("graph", "robots", "proteins"), "matches “proteins” and “graph”"),
        (None, ("robots",), "new"),
    ],
)
def test_reason_says_what_matches_and_how_many_voted(
    upvotes: int | None, keywords: tuple[str, ...], reason: str
) -> None:
    of = edition([record(1, "Proteins, proteins", abstract="Graphs.", upvotes=upvotes)])
    assert [pick.reason for pick in chosen(of, keywords=keywords).picks] == [reason]


def test_nothing_new_is_a_selection_without_picks() -> None:
    of = edition([record(1), record(2)])
    assert chosen(of, frozenset({1, 2})) == Selection(0, ())
    assert chosen(of, mutes=("paper",)) == Selection(2, ())
    assert chosen(edition([])) == Selection(0, ())
    assert of.choose([]) == []


def test_candidate_whose_paper_is_gone_is_left_out() -> None:
    of = edition([record(1), record(2), record(3)], missing=frozenset({2}))
    assert {pick.paper_id for pick in chosen(of).picks} == {1, 3}
    assert chosen(of).considered == 2


def test_topic_stands_for_the_phrases_that_papers_use_and_any_other_for_itself() -> None:
    wanted = interests(Preferences(topics=("Diffusion", "knitting"), keywords=("lace",))).wanted
    assert wanted[0].label == "Diffusion"
    assert "flow matching" in wanted[0].phrases
    assert [(each.label, each.phrases) for each in wanted[1:]] == [("knitting", ("knitting",)), ("lace", ("lace",))]


def test_keywords_of_a_paper_are_muted_like_its_text() -> None:
    of = edition([record(1, keywords=("cryptography",)), record(2, authors=("Ada Example",)), record(3)])
    assert [pick.paper_id for pick in chosen(of, mutes=("Cryptography", "ada example")).picks] == [3]
