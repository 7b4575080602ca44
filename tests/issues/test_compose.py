"""One reader's selection, and what the mail says about itself."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta

import pytest
from conftest import NOW
from hypothesis import given
from hypothesis import strategies as st
from samples import record

from newsletter.issues.compose import Edition, Reader, interests
from newsletter.issues.digest import OUTSIDE, Digest, DigestPick, Selection, Span
from newsletter.issues.models import IssueCandidate
from newsletter.issues.words import cadence_words
from newsletter.papers.models import Paper, PaperRecord
from newsletter.ranking.types import Rated
from newsletter.subscribers.preferences import Preferences

DAY = date(2026, 8, 5)


def edition(
    records: Sequence[PaperRecord],
    missing: frozenset[int] = frozenset(),
    *,
    span: Span = Span.DAY,
    since: date | None = None,
    news: Sequence[str] = (),
) -> Edition:
    papers = {
        number: Paper.model_validate(asdict(each) | {"id": number, "first_seen_at": NOW, "updated_at": NOW})
        for number, each in enumerate(records, 1)
    }
    candidates = [
        IssueCandidate(issue_id=1, paper_id=number, trend=0.5, upvotes=each.upvotes, comments=None)
        for number, each in enumerate(records, 1)
    ]
    there = {number: paper for number, paper in papers.items() if number not in missing}
    return Edition(DAY, candidates, there, news, span=span, since=since)


def chosen(
    edition_: Edition, seen: frozenset[int] = frozenset(), rated: tuple[Rated, ...] = (), **wishes: object
) -> Selection:
    (selection,) = edition_.choose([Reader(Preferences.model_validate(wishes), seen, rated)])
    return selection


def digest(edition_: Edition, rated: tuple[Rated, ...] = (), **wishes: object) -> Digest:
    return edition_.compose(Preferences.model_validate(wishes), chosen(edition_, rated=rated, **wishes))


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


def test_a_subject_is_never_the_one_of_the_mail_before() -> None:
    of = edition([record(1, "Correction"), record(2, "Correction"), record(3, "Something else")])
    readers = [Reader(Preferences(max_papers=3), frozenset(), subject=before) for before in ("", "Correction + 2 more")]
    first, second = (selection.subject for selection in of.choose(readers))
    assert (first, second) == ("Correction + 2 more", "Something else + 2 more")
    (alone,) = of.choose([Reader(Preferences(max_papers=1), frozenset({2, 3}), subject="Correction")])
    assert alone.subject == "Correction (5 August)"


def test_an_interest_that_is_named_twice_is_one_section_and_one_reason() -> None:
    of = edition([record(1, "A diffusion model"), record(2, "More diffusion, of another kind", abstract="Else.")])
    made = digest(of, topics=("diffusion",), keywords=("Diffusion",))
    assert len(made.sections) == 1
    assert {pick.reason.partition(",")[0].casefold() for pick in made.picks} == {"matches “diffusion”"}


def test_a_preheader_does_not_say_again_what_the_subject_says() -> None:
    of = edition([record(1, "Correction"), record(2, "Something else", abstract="")])
    [selection] = of.choose([Reader(Preferences(), frozenset(), subject="Correction + 1 more")])
    made = of.compose(Preferences(), selection)
    assert (made.subject, made.preheader) == ("Something else + 1 more", "Correction")


def test_a_readers_words_are_spelt_as_papers_are() -> None:
    of = edition([record(1, "Of \u00c5ngstr\u00f6m and ohm", upvotes=7)])
    made = digest(of, keywords=("\u212bngstro\u0308m",))
    assert made.picks[0].reason == "matches “\u00c5ngstr\u00f6m”, 7 upvotes"
    assert made.opening.endswith("ranked for \u00c5ngstr\u00f6m")
    assert made.sections[0].title == "\u00c5ngstr\u00f6m"


def test_words_from_right_to_left_turn_nothing_around_them() -> None:
    of = edition([record(1, "About البروتينات", upvotes=90)])
    made = digest(of, keywords=("البروتينات", "graphs"))
    assert made.picks[0].reason == "matches “\u2068البروتينات\u2069”, 90 upvotes"
    assert made.opening.endswith("ranked for \u2068البروتينات\u2069, graphs")
    assert "\u2068" not in digest(of, keywords=("graphs", "é漢字")).opening


def picked(*sections: str) -> tuple[DigestPick, ...]:
    return tuple(DigestPick(number, 0.5, "new", None, section) for number, section in enumerate(sections, 1))


def arranged(*sections: str) -> list[tuple[str, list[int]]]:
    made = Digest(DAY, "", "", "", "", picked(*sections)).sections
    return [(title, [pick.paper_id for pick in picks]) for title, picks in made]


def test_a_mail_has_a_section_for_each_interest_the_best_first() -> None:
    assert arranged("b", "a", "b") == [("b", [1, 3]), ("a", [2])]
    assert arranged("a", "", "a") == [("a", [1, 3]), ("Also for you", [2])]
    assert arranged("", "") == [("Chosen for you", [1, 2])]
    assert arranged() == []
    assert arranged(OUTSIDE, "a", "") == [("a", [2]), ("Also for you", [3]), ("Outside your usual topics", [1])]


def test_where_there_are_many_interests_those_with_one_paper_share_a_section() -> None:
    assert arranged("a", "b", "c", "d", "e") == [(name, [number]) for number, name in enumerate("abcde", 1)]
    assert arranged("a", "b", "c", "d", "e", "f", "f", "") == [("f", [6, 7]), ("Also for you", [1, 2, 3, 4, 5, 8])]


def test_a_niche_interest_has_its_section_beside_a_hot_field() -> None:
    hot = [record(number, f"Diffusion model number {number}", upvotes=200) for number in range(1, 40)]
    of = edition([*hot, record(40, "Lichens of the high Alps", abstract="Lichens.", upvotes=0)])
    sections = digest(of, topics=("diffusion",), keywords=("lichens",), max_papers=5).sections
    assert {title: len(picks) for title, picks in sections} == {"diffusion": 4, "lichens": 1}


def test_what_everybody_talks_about_is_named_beside_what_a_reader_asked_for() -> None:
    hot = [record(number, f"A talked-about thing, {name}", upvotes=100 - number)
           for number, name in enumerate(("proteins", "graphs", "robots", "speech", "maps"), 1)]  # fmt: skip
    of = edition([*hot, record(6, "About lichens", abstract="Lichens.", upvotes=1), record(7, "Unheard of", upvotes=0)])

    def named(*seen: int, **wishes: object) -> list[tuple[int, str]]:
        return list(chosen(of, frozenset(seen), max_papers=1, **wishes).trending)

    assert named(keywords=("lichens",)) == [(1, "99 upvotes"), (2, "98 upvotes"), (3, "97 upvotes")]
    assert named(2, keywords=("lichens",), mutes=("proteins",)) == [
        (3, "97 upvotes"),
        (4, "96 upvotes"),
        (5, "95 upvotes"),
    ]
    assert named(keywords=("graphs",))[:2] == [(1, "99 upvotes"), (3, "97 upvotes")], "no pick is named again"
    assert named(keywords=("lichens",), trending=False) == []
    assert named() == [], "whose picks are what is trending needs no second list"
    assert named(6, keywords=("lichens",), mutes=("thing", "unheard")) == [], "there is no mail to name anything in"


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
        (
            {"cadence": "days", "weekdays": ("wed", "mon")},
            "You asked for up to 10 papers on Monday and Wednesday from 8:00, UTC time.",
        ),
        (
            {"cadence": "above_bar"},
            "You asked for up to 10 papers whenever one scores above your bar of 60 from 8:00, UTC time.",
        ),
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
    nothing = "Nothing new for you on Wednesday, 5 August"
    assert chosen(of, frozenset({1, 2})) == Selection(0, (), subject=nothing)
    assert chosen(of, mutes=("paper",)) == Selection(2, (), subject=nothing)
    assert chosen(edition([])) == Selection(0, (), subject=nothing)
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


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ("sun", "on Sundays"),
        ("fri; mon", "on Monday and Friday"),
        ("mon,tue,wed,thu,fri,sat,sun", "on Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday"),
    ],
)
def test_chosen_days_are_named_in_the_order_of_the_week(days: str, said: str) -> None:
    assert cadence_words(Preferences.model_validate({"cadence": "days", "weekdays": days})) == said


def test_what_readers_write_about_their_work_is_looked_for_like_keywords_unless_they_named_it() -> None:
    preferences = Preferences(
        about="I work on protein design, lace and knitting.", keywords=("Lace",), authors=("Knitting",)
    )
    assert [each.label for each in interests(preferences).wanted] == ["Lace", "protein design"]
    of = edition([record(1, "Designs of proteins"), record(2, "Protein designs", upvotes=None)])
    assert chosen(of, about="I work on protein design").picks[0].reason == "matches “protein design”"


def test_opening_line_names_what_they_write_about_when_they_named_nothing() -> None:
    about = "protein design; lace; knitting; weaving"
    assert opening(1, about=about) == "1 of 1 new paper, ranked for protein design, lace, knitting and 1 more"
    assert opening(1, about=about, topics=("graphs",)) == "1 of 1 new paper, ranked for graphs"
    assert opening(1, about="I study.") == "1 of 1 new paper, ranked by what is trending"


WEAVING = Rated("Looms", "Looms\nWeaving wool on looms with warps and wefts.", 1.0)


@pytest.mark.parametrize(
    ("upvotes", "keywords", "title", "reason"),
    [
        (None, (), "Looms", "like “Looms”, which you liked"),
        (12, (), "Looms", "like “Looms”, which you liked, 12 upvotes"),
        (12, ("wool",), "Looms", "matches “wool”, like “Looms”, which you liked, 12 upvotes"),
        (None, (), "[Looms](https://example.org/x)\x02", "like “Looms”, which you liked"),
        (None, (), " ", "like a paper that you liked"),
        (
            None,
            (),
            "Looms " + "of a rather long title of a paper about wool and other matters",
            "like “Looms of a rather long title of a paper about wool and…”, which you liked",
        ),
    ],
)
def test_reason_names_the_liked_paper_that_it_is_like_after_the_wishes(
    upvotes: int | None, keywords: tuple[str, ...], title: str, reason: str
) -> None:
    of = edition([record(1, "Warps and wefts", abstract="Weaving wool on looms.", upvotes=upvotes)])
    (pick,) = chosen(of, rated=(replace(WEAVING, label=title),), keywords=keywords).picks
    assert pick.reason == reason


def test_opening_line_says_that_likes_decided_when_nothing_else_was_named() -> None:
    of = edition([record(1, "Warps and wefts", abstract="Weaving wool on looms."), record(2)])
    assert digest(of, (WEAVING,)).opening == "2 of 2 new papers, ranked by what you liked"
    assert digest(of, (WEAVING,), topics=("wool",)).opening == "2 of 2 new papers, ranked for wool"
    unlike = Rated("Zebras", "Zebras\nStripes.", 1.0)
    assert digest(of, (unlike,)).opening == "2 of 2 new papers, ranked by what is trending"
    disliked = replace(WEAVING, weight=-1.0)
    assert digest(of, (disliked,)).opening == "2 of 2 new papers, ranked by what is trending"
    assert [pick.paper_id for pick in chosen(of, rated=(disliked,)).picks] == [2, 1]


def test_bar_counts_only_for_who_wants_a_mail_above_it() -> None:
    of = edition([record(1, "Warps and wefts", abstract="Weaving wool on looms."), record(2)])
    wishes = {"keywords": ("wool",), "bar": 60}
    assert len(chosen(of, **wishes).picks) == 2
    above = chosen(of, cadence="above_bar", **wishes)
    assert [pick.paper_id for pick in above.picks] == [1]
    assert above.considered == 2
    assert chosen(of, cadence="above_bar", keywords=("wool",), bar=100).picks == ()


def test_news_alone_is_no_mail_for_who_wants_one_only_above_their_bar() -> None:
    of, nothing = edition([], news=("arXiv did not answer",)), Selection(0, ())
    for cadence, mail in (("daily", True), ("weekly", True), ("above_bar", False)):
        wishes = {"cadence": cadence, "source_news": True}
        assert of.worth_a_mail(Preferences.model_validate(wishes), nothing) is mail
    assert not of.worth_a_mail(Preferences(), nothing)


def test_week_and_catch_up_say_what_they_cover() -> None:
    records = [record(1), record(2)]
    week = edition(records, span=Span.WEEK)
    assert digest(week).opening == "2 of 2 papers of this week, ranked by what is trending"
    assert digest(week, max_papers=1).subject == edition(records).papers[2].title
    away = edition(records, span=Span.CATCH_UP, since=date(2026, 8, 3))
    said = digest(away, topics=("graphs",)).opening
    assert said == "While you were away: 2 of 2 papers since 3 August, ranked for graphs"
    one = edition(records[:1], span=Span.CATCH_UP, since=date(2025, 12, 30))
    assert digest(one).opening.startswith("While you were away: 1 of 1 paper since 30 December 2025, ranked")
    with pytest.raises(ValueError, match="first day"):
        edition(records, span=Span.CATCH_UP)


def test_edition_without_anything_says_for_how_long() -> None:
    news, wishes = ("arXiv did not answer",), {"source_news": True}
    today = digest(edition([], news=news), **wishes)
    assert today.opening == "Nothing new for you today. arXiv did not answer"
    assert today.subject == "Nothing new for you on Wednesday, 5 August", "not what the next day's says"
    week = digest(edition([], span=Span.WEEK, news=news), **wishes)
    assert week.opening == "Nothing new for you this week. arXiv did not answer"
    away = edition([], span=Span.CATCH_UP, since=date(2026, 8, 3), news=news)
    assert digest(away, **wishes).opening == "Nothing new for you since 3 August. arXiv did not answer"


_counts = st.one_of(st.none(), st.integers(0, 100))


@given(st.lists(st.tuples(_counts, _counts, _counts, st.floats(0, 1)), min_size=1, max_size=8), st.integers(0, 30))
def test_over_a_week_neither_age_nor_the_days_own_trend_counts(rows: list, days: int) -> None:
    def trends(span: Span, age: timedelta, *, cold: bool) -> list[float]:
        papers, candidates = {}, []
        for number, (upvotes, comments, stars, trend) in enumerate(rows, 1):
            values = asdict(record(number)) | {"id": number, "first_seen_at": NOW, "updated_at": NOW}
            papers[number] = Paper.model_validate(values | {"listed_at": NOW - age * number})
            candidates.append(
                IssueCandidate(
                    issue_id=1,
                    paper_id=number,
                    trend=0.0 if cold else trend,
                    upvotes=upvotes,
                    comments=comments,
                    stars=stars,
                )
            )
        of = Edition(DAY, candidates, papers, span=span, since=DAY - timedelta(days=30))
        return [each.trend for each in sorted(of.pool.documents, key=lambda document: document.id)]

    expected = trends(Span.WEEK, timedelta(0), cold=True)
    assert trends(Span.WEEK, timedelta(days=days), cold=False) == expected
    assert trends(Span.CATCH_UP, timedelta(days=days), cold=False) == expected
    assert trends(Span.DAY, timedelta(days=days), cold=False) == [trend for *_, trend in rows]


def test_best_of_a_week_is_what_was_talked_about_most_in_all_of_it() -> None:
    of = edition([record(1, upvotes=3), record(2, upvotes=90), record(3, upvotes=40)], span=Span.WEEK)
    assert [pick.paper_id for pick in chosen(of).picks] == [2, 3, 1]
