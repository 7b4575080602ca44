"""What holds of every ranking, whatever the papers and the readers."""

import math
from dataclasses import replace
from zlib import crc32

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from newsletter.ranking import pool as ranking_pool
from newsletter.ranking.meaning import Space
from newsletter.ranking.score import score
from newsletter.ranking.select import select
from newsletter.ranking.terms import count
from newsletter.ranking.text import every_word, name_key
from newsletter.ranking.types import Document, Interest, Interests, Pick, Rated, Wish

_WORDS = (
    "graph",
    "graphs",
    "Protein",
    "off-policy",
    "the",
    "LLMs",
    "LLM",
    "拡散",
    "モデル",
    "naïve",
    "C++",
    "!",
    "\x00",
)
_phrase = st.lists(st.sampled_from(_WORDS), max_size=4).map(" ".join)
_text = st.one_of(_phrase, st.text(max_size=20))
_names = st.lists(st.sampled_from(("Ada Example", "J. Smith", "j smith", "山田", "cs.CL", "")), max_size=3).map(tuple)


_MEANINGS = [
    None if numbers is None else np.array(numbers, dtype=np.float32)
    for numbers in (None, (1, 0, 0), (0.6, 0.8, 0), (0, 0, -1), (float("nan"), 1, 0), (1, 1))
]
_meaning = st.sampled_from(_MEANINGS)
SPACE = Space(np.zeros(3, dtype=np.float32), np.eye(3, dtype=np.float32))


def Pool(papers: list[Document]) -> ranking_pool.Pool:
    return ranking_pool.Pool(papers, None, SPACE)


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    ids = draw(st.lists(st.integers(1, 1_000), unique=True, max_size=8))
    return [
        Document(
            id_,
            draw(_text),
            draw(_text),
            draw(_names),
            draw(_names),
            draw(st.sampled_from((0.0, 0.3, 0.5, 1.0))),
            meaning=draw(_meaning),
        )
        for id_ in ids
    ]


def _known(rated: Rated) -> Rated:
    """Return a rated paper with its meaning: the same for all who rated it."""
    return replace(rated, meaning=_MEANINGS[crc32(rated.key.encode("utf-8", "surrogatepass")) % len(_MEANINGS)])


_ratings = st.lists(
    st.builds(lambda *said: _known(Rated(*said)), _text, _text, st.sampled_from((1.0, 0.5, -0.5, -1.0))),
    max_size=4,
).map(tuple)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    labels = draw(st.lists(_text, max_size=4))
    interests = Interests(
        tuple(Interest(label, (label, *draw(st.lists(_text, max_size=2)))) for label in labels),
        draw(_names),
        draw(_names),
        tuple(draw(st.lists(st.one_of(_text, st.sampled_from(("Ada Example", "J Smith", "cs.cl"))), max_size=2))),
        draw(_ratings),
    )
    seen = frozenset(draw(st.sets(st.integers(1, 1_000), max_size=3)))
    return Wish(interests, draw(st.integers(0, 10)), seen, outside=draw(st.booleans()))


def _holds(document: Document, phrase: str) -> bool:
    """Say the slow and plain way whether a paper holds a phrase."""
    wanted = every_word(phrase)
    if not wanted:
        sign = phrase.strip().casefold()
        return bool(sign) and sign in f"{document.title}\n{document.body}".casefold()
    return any(
        found[start : start + len(wanted)] == wanted
        for found in (every_word(document.title), every_word(document.body))
        for start in range(len(found))
    )


def _named(names: tuple[str, ...], wanted: str) -> bool:
    return bool(name_key(wanted)) and name_key(wanted) in {name_key(name) for name in names}


def _barred(document: Document, wish: Wish) -> bool:
    return document.id in wish.seen or any(
        _holds(document, mute) or _named(document.authors, mute) or _named(document.categories, mute)
        for mute in wish.interests.mutes
    )


@given(documents(), wishes())
def test_picks_are_what_the_reader_may_see_and_of_twins_only_one(papers: list[Document], wish: Wish) -> None:
    pool = Pool(papers)
    (found,) = select(pool, [wish])
    allowed = {document.id for document in papers if not _barred(document, wish)}
    picked = {pick.paper_id for pick in found}
    assert picked <= allowed
    assert len(found) == len(picked) <= wish.limit
    if len(found) < wish.limit:
        assert all(_twins(pool, picked, each) for each in allowed - picked)


def _twins(pool: ranking_pool.Pool, picked: set[int], paper_id: int) -> bool:
    """Say whether a paper is as good as the same as one that is picked."""
    place = {int(id_): column for column, id_ in enumerate(pool.ids)}
    return bool(pool.twins(place[paper_id]) & {place[each] for each in picked})


@given(documents(), wishes())
def test_scores_are_numbers_from_0_to_1_and_the_best_comes_first_of_equal_ones_the_hotter_and_older(
    papers: list[Document], wish: Wish
) -> None:
    (found,) = select(Pool(papers), [wish])
    trend = {document.id: document.trend for document in papers}
    assert all(math.isfinite(pick.score) and 0 <= pick.score <= 1 for pick in found)
    # at 0 stands, too, what the reader dislikes, the more the lower
    order = [(-pick.score, -trend[pick.paper_id], pick.paper_id) for pick in found if pick.score]
    assert order[:1] == sorted(order)[:1]


@given(documents(), wishes())
def test_reasons_name_what_the_reader_asked_for_and_the_paper_holds(papers: list[Document], wish: Wish) -> None:
    by_id = {document.id: document for document in papers}
    interests = wish.interests
    for pick in select(Pool(papers), [wish])[0]:
        document = by_id[pick.paper_id]
        reasons = {each.label for each in interests.wanted if any(_holds(document, one) for one in each.phrases)}
        reasons |= {name for name in interests.authors if _named(document.authors, name)}
        reasons |= {name for name in interests.categories if _named(document.categories, name)}
        assert set(pick.matched) <= reasons
        assert len(pick.matched) == min(len(reasons), 3)


@given(documents(), st.lists(wishes(), max_size=5), st.randoms(use_true_random=False))
def test_neither_the_batch_nor_the_order_of_papers_matters(papers: list[Document], batch: list[Wish], random) -> None:
    alone: list[tuple[Pick, ...]] = [select(Pool(papers), [wish])[0] for wish in batch]
    shuffled = random.sample(papers, len(papers))
    assert select(Pool(papers), batch) == select(Pool(shuffled), batch) == alone


@given(documents(), wishes(), st.sampled_from(_WORDS))
def test_one_more_mute_brings_nothing_in_that_says_anything_new(papers: list[Document], wish: Wish, mute: str) -> None:
    wide = Wish(wish.interests, len(papers), wish.seen)
    interests = wish.interests
    muted = replace(interests, mutes=(*interests.mutes, mute))
    pool = Pool(papers)
    before = {pick.paper_id for pick in select(pool, [wide])[0]}
    after = {pick.paper_id for pick in select(pool, [Wish(muted, len(papers), wish.seen)])[0]}
    gone = before - after
    assert all(_twins(pool, gone, each) for each in after - before), "or what says the same as what is hidden now"
    alone = Wish(Interests(mutes=(mute,)), 0)
    assert not {document.id for document in papers if _barred(document, alone)} & after


@given(documents(), wishes(), st.randoms(use_true_random=False))
def test_order_of_ratings_does_not_matter(papers: list[Document], wish: Wish, random) -> None:
    rated = wish.interests.rated
    shuffled = replace(wish, interests=replace(wish.interests, rated=tuple(random.sample(rated, len(rated)))))
    assert select(Pool(papers), [wish]) == select(Pool(papers), [shuffled])


@given(documents(), wishes(), st.sampled_from((0.0, 0.1, 0.25, 0.5, 1.0)))
def test_bar_leaves_out_exactly_what_scores_below_it(papers: list[Document], wish: Wish, bar: float) -> None:
    # what comes from outside need not reach it; and with room for all, nothing is there for being unlike the others
    wish = replace(wish, outside=False, limit=50)
    (everything,) = select(Pool(papers), [wish])
    (found,) = select(Pool(papers), [replace(wish, bar=bar)])
    assert {pick.paper_id: pick.score for pick in found} == {
        pick.paper_id: pick.score for pick in everything if pick.score >= bar
    }


def _ranked(papers: list[Document], wish: Wish, *rated: Rated) -> dict[int, tuple[int, float]]:
    """Return each paper's place and score."""
    interests, pool = replace(wish.interests, mutes=(), rated=rated), Pool(papers)
    [values] = score(pool, [Wish(interests, len(papers))]).values
    order = sorted(range(len(pool)), key=lambda column: -values[column])
    return {int(pool.ids[column]): (place, float(values[column])) for place, column in enumerate(order)}


def _rating(paper: Document, weight: float) -> Rated:
    return Rated(paper.title, paper.title + "\n" + paper.body, weight, meaning=paper.meaning)


@given(documents(), wishes(), st.data())
def test_like_never_lowers_what_is_just_like_it_and_a_dislike_never_raises_it(
    papers: list[Document], wish: Wish, data: st.DataObject
) -> None:
    assume(papers)
    paper = data.draw(st.sampled_from(papers))
    plain = replace(wish, interests=replace(wish.interests, wanted=(), authors=(), categories=()))
    for reader in (wish, plain):
        before, disliked = _ranked(papers, reader), _ranked(papers, reader, _rating(paper, -1.0))
        assert disliked[paper.id][1] <= before[paper.id][1]
        if len(count([(paper.title, paper.body)]).terms):
            assert _ranked(papers, reader, _rating(paper, 1.0))[paper.id][1] >= before[paper.id][1]
    assert _ranked(papers, plain, _rating(paper, 1.0))[paper.id][0] <= _ranked(papers, plain)[paper.id][0]
    assert _ranked(papers, plain, _rating(paper, -1.0))[paper.id][0] >= _ranked(papers, plain)[paper.id][0]


@given(documents(), wishes())
def test_pick_is_like_no_paper_or_one_that_was_liked(papers: list[Document], wish: Wish) -> None:
    liked = {each.label for each in wish.interests.rated if each.weight > 0}
    for pick in select(Pool(papers), [wish])[0]:
        assert pick.like.title is None or pick.like.title in liked
