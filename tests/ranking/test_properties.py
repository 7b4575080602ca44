"""What holds of every ranking, whatever the papers and the readers."""

import math

from hypothesis import given
from hypothesis import strategies as st

from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.text import every_word, name_key
from newsletter.ranking.types import Document, Interest, Interests, Pick, Wish

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


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    ids = draw(st.lists(st.integers(1, 1_000), unique=True, max_size=8))
    return [
        Document(id_, draw(_text), draw(_text), draw(_names), draw(_names), draw(st.sampled_from((0.0, 0.3, 0.5, 1.0))))
        for id_ in ids
    ]


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    labels = draw(st.lists(_text, max_size=4))
    interests = Interests(
        tuple(Interest(label, (label, *draw(st.lists(_text, max_size=2)))) for label in labels),
        draw(_names),
        draw(_names),
        tuple(draw(st.lists(st.one_of(_text, st.sampled_from(("Ada Example", "J Smith", "cs.cl"))), max_size=2))),
    )
    return Wish(interests, draw(st.integers(0, 10)), frozenset(draw(st.sets(st.integers(1, 1_000), max_size=3))))


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
def test_picks_are_exactly_the_best_of_what_the_reader_may_see(papers: list[Document], wish: Wish) -> None:
    (found,) = select(Pool(papers), [wish])
    allowed = {document.id for document in papers if not _barred(document, wish)}
    assert {pick.paper_id for pick in found} <= allowed
    assert len(found) == len({pick.paper_id for pick in found}) == min(len(allowed), wish.limit)


@given(documents(), wishes())
def test_scores_are_numbers_from_0_to_1_and_fall_with_ties_to_the_hotter_and_older(
    papers: list[Document], wish: Wish
) -> None:
    (found,) = select(Pool(papers), [wish])
    trend = {document.id: document.trend for document in papers}
    assert all(math.isfinite(pick.score) and 0 <= pick.score <= 1 for pick in found)
    order = [(-pick.score, -trend[pick.paper_id], pick.paper_id) for pick in found]
    assert order == sorted(order)


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
def test_one_more_mute_never_brings_a_paper_in_or_up(papers: list[Document], wish: Wish, mute: str) -> None:
    wide = Wish(wish.interests, len(papers), wish.seen)
    interests = wish.interests
    muted = Interests(interests.wanted, interests.authors, interests.categories, (*interests.mutes, mute))
    before = select(Pool(papers), [wide])[0]
    after = select(Pool(papers), [Wish(muted, len(papers), wish.seen)])[0]
    left = {pick.paper_id for pick in after}
    assert after == tuple(pick for pick in before if pick.paper_id in left)
