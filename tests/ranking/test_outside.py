"""A pick from outside what a reader asks for and likes."""

from dataclasses import replace

from newsletter.ranking.explain import Rule, explain
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interest, Interests, Pick, Rated, Wish

PAPERS = [
    *(Document(n, f"Enzymes, part {n}", f"They fold in {n} ways.", trend=0.1 + n / 100) for n in range(1, 6)),
    Document(6, "Telescopes", "See far galaxies.", trend=0.7),
    Document(7, "Knots", "Tied in four dimensions.", trend=0.9),
    Document(8, "Soup", "Cooked slowly.", trend=0.8),
]
ENZYMES = Interest("enzymes", ("enzymes",))
WISH = Wish(Interests((ENZYMES,)), 4, outside=True)


def picks(wish: Wish) -> tuple[Pick, ...]:
    return select(Pool(PAPERS), [wish])[0]


def test_the_hottest_paper_that_is_no_topic_of_theirs_comes_last_and_says_so() -> None:
    *others, last = picks(WISH)
    assert (last.paper_id, last.outside, last.matched) == (7, True, ())
    assert len(others) == 3
    assert all(pick.matched == ("enzymes",) and not pick.outside for pick in others)
    assert others == list(picks(replace(WISH, outside=False)))[:3]


def test_it_is_at_most_one_and_only_for_who_wants_it() -> None:
    everything = picks(replace(WISH, limit=50))
    assert [pick.outside for pick in everything].count(True) <= 1
    assert not any(pick.outside for pick in picks(replace(WISH, outside=False)))


def test_what_is_muted_or_was_seen_is_no_surprise() -> None:
    muting = replace(WISH, interests=replace(WISH.interests, mutes=("knots",)))
    assert picks(muting)[-1].paper_id == 8
    assert picks(replace(muting, seen=frozenset({8})))[-1].paper_id == 6


def test_who_has_no_topics_or_no_papers_of_theirs_gets_none() -> None:
    assert not any(pick.outside for pick in picks(replace(WISH, interests=Interests())))
    assert picks(replace(WISH, seen=frozenset(range(1, 6)), bar=0.9)) == ()
    assert [pick.outside for pick in picks(replace(WISH, limit=1))] == [False]


def test_who_wants_only_the_best_gets_it_beside_them() -> None:
    found = picks(replace(WISH, bar=0.7))
    assert [pick.outside for pick in found][-1:] == [True]
    assert all(pick.score >= 0.7 for pick in found[:-1])


def test_what_they_like_is_a_topic_too() -> None:
    liked = Rated("Galaxies", "Galaxies\nTelescopes see far.", 1.0)
    [*_, last] = picks(Wish(Interests(rated=(liked,)), 4, outside=True))
    assert last.outside
    assert last.paper_id != 6
    disliked = replace(liked, weight=-1.0, label="Knots", text="Knots\nTied in four dimensions.", key="k")
    both = Wish(Interests((ENZYMES,), rated=(disliked,)), 4, outside=True)
    assert picks(both)[-1].paper_id == 8


def test_it_costs_no_interest_its_share() -> None:
    niche = Interest("soup", ("soup",))
    found = picks(Wish(Interests((ENZYMES, niche)), 2, outside=True))
    assert [pick.matched for pick in found] == [("enzymes",), ("soup",)] or [pick.matched for pick in found] == [
        ("soup",),
        ("enzymes",),
    ]


def test_it_is_explained() -> None:
    _, found = explain(Pool(PAPERS), WISH)
    assert [each.rule for each in found[:4]] == [Rule.PICKED] * 3 + [Rule.OUTSIDE]


def test_a_paper_without_a_word_is_not_picked_twice() -> None:
    papers = [Document(1, "???", trend=0.99), *PAPERS[1:4]]
    [found] = select(Pool(papers), [replace(WISH, limit=5)])
    assert len({pick.paper_id for pick in found}) == len(found) == 4
    assert not any(pick.outside for pick in found)


def test_it_takes_nothing_of_an_interest_s_share_however_large_that_is() -> None:
    papers = [
        *(Document(n, f"Graphs, part {n}", trend=0.9) for n in range(1, 12)),
        *(Document(n, f"Soup, part {n}", trend=0.1) for n in range(20, 23)),
        Document(50, "Knots", trend=1.0),
    ]
    wish = Wish(Interests((Interest("graphs", ("graphs",)), Interest("soup", ("soup",)))), 8, outside=True)
    [found] = select(Pool(papers), [wish])
    assert [pick.matched for pick in found].count(("soup",)) >= 2
    assert found[-1].paper_id == 50


def test_where_all_papers_are_of_one_field_none_is_from_outside() -> None:
    papers = [Document(n, f"Protein folding, part {n}", f"It takes {n} ways.", trend=n / 100) for n in range(1, 60)]
    liked = Rated("Protein folding", "Protein folding\nIt takes many ways.", 1.0)
    [found] = select(Pool(papers), [Wish(Interests(rated=(liked,)), 5, outside=True)])
    assert not any(pick.outside for pick in found)
