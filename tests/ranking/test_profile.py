"""Papers that readers rated: what is like them rises or sinks, and says so."""

import random
from dataclasses import replace

import pytest
from samples import HOSTILE

from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interest, Interests, Likened, Pick, Rated, Wish

PROTEINS = Document(1, "Diffusion models for protein design", "We denoise backbones of enzymes.", trend=0.2)
AGENTS = Document(2, "A benchmark for language agents", "LLMs use tools on the web.", trend=0.9)
ROBOTS = Document(3, "Robots that fold laundry", "Hands learn to grasp soft cloth.", trend=0.5)
IMAGES = Document(4, "拡散モデルによる画像生成", "画像を作る", trend=0.6)
GRAPHS = Document(5, "Graphs", "", trend=0.0)
PAPERS = (PROTEINS, AGENTS, ROBOTS, IMAGES, GRAPHS)
ENZYMES = Rated("Enzymes by diffusion", "Enzymes by diffusion\nProtein design with models that denoise backbones.", 1.0)
LAUNDRY = Rated("Folding cloth", "Folding cloth\nA robot hand learns to grasp laundry.", 1.0)


def picks(*rated: Rated, papers: tuple[Document, ...] = PAPERS, keywords: tuple[str, ...] = ()) -> tuple[Pick, ...]:
    wanted = tuple(Interest(keyword, (keyword,)) for keyword in keywords)
    return select(Pool(papers), [Wish(Interests(wanted, rated=rated), 50)])[0]


def ids(*rated: Rated, **more: tuple[str, ...]) -> list[int]:
    return [pick.paper_id for pick in picks(*rated, **more)]


def unliked(rated: Rated) -> Rated:
    return replace(rated, weight=-1.0)


def test_what_is_like_a_liked_paper_comes_first_and_names_it() -> None:
    first, *others = picks(ENZYMES)
    assert (first.paper_id, first.matched, first.like.title) == (1, (), "Enzymes by diffusion")
    assert first.score > 0.75
    assert [(pick.paper_id, pick.like.title) for pick in others] == [(2, None), (4, None), (3, None), (5, None)]
    assert ids(ENZYMES, LAUNDRY)[:2] in ([1, 3], [3, 1])


def test_strong_likeness_alone_beats_a_paper_that_only_holds_a_keyword() -> None:
    assert ids(replace(ENZYMES, text=f"{PROTEINS.title}\n{PROTEINS.body}"), keywords=("tools",))[:2] == [1, 2]


def test_what_is_like_a_disliked_paper_sinks_below_what_is_unrelated_and_cold() -> None:
    hot = replace(PROTEINS, trend=1.0)
    papers = (hot, *PAPERS[1:])
    assert ids(papers=papers)[0] == 1
    assert ids(unliked(ENZYMES), papers=papers) == [2, 4, 3, 5, 1]
    assert ids(unliked(ENZYMES), papers=papers, keywords=("tools",)) == [2, 4, 3, 5, 1]
    assert ids(unliked(ENZYMES), papers=papers, keywords=("graphs",)) == [5, 2, 4, 3, 1]
    last = picks(unliked(ENZYMES), papers=papers)[-1]
    assert (last.paper_id, last.score, last.like) == (1, 0.0, Likened())
    assert last.parts.disliked > 0


def test_dislikes_leave_the_scores_of_unrelated_papers_alone() -> None:
    before = {pick.paper_id: pick for pick in picks()}
    after = {pick.paper_id: pick for pick in picks(unliked(ENZYMES))}
    assert [before[n] for n in (2, 3, 4, 5)] == [after[n] for n in (2, 3, 4, 5)]


def test_of_several_liked_papers_the_one_that_speaks_most_for_it_is_named() -> None:
    same = "Protein design, diffusion models, enzymes."
    weak, strong = Rated("Weak", same, 1.0), Rated("Strong", same, 2.0)
    assert picks(weak, strong)[0].like.title == picks(strong, weak)[0].like.title == "Strong"
    b, a = Rated("B", same, 1.0), Rated("A", same, 1.0)
    assert picks(b, a)[0].like.title == "A"


def test_disliked_paper_is_never_named() -> None:
    assert not any(pick.like.title for pick in picks(unliked(ENZYMES), unliked(LAUNDRY)))
    overruled = [ENZYMES, replace(ENZYMES, label="Another", weight=-3.0)]
    last = picks(*overruled)[-1]
    assert (last.paper_id, last.score, last.like) == (1, 0.0, Likened())


def test_like_and_dislike_of_the_same_paper_cancel_out() -> None:
    assert picks(ENZYMES, unliked(ENZYMES)) == picks()
    almost = [replace(ENZYMES, weight=weight) for weight in (0.1, 0.2, -0.3)]
    assert [pick.paper_id for pick in picks(*almost)] == ids()


def test_one_paper_rated_in_parts_counts_as_rated_once() -> None:
    halves = (replace(ENZYMES, weight=0.5),) * 2
    assert picks(LAUNDRY, *halves) == picks(ENZYMES, LAUNDRY)


@pytest.mark.parametrize("text", ["", " ", "!!", "the of and", "\x00", "qwertyuiop zxcvb"])
def test_rated_text_without_a_word_in_common_changes_no_order(text: str) -> None:
    for weight in (1.0, -1.0):
        assert ids(Rated(text, text, weight)) == ids()
    assert ids(ENZYMES, Rated(text, text, -1.0)) == ids(ENZYMES)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_rated_like_any_other(text: str) -> None:
    assert set(ids(Rated(text, text, 1.0), Rated(text[::-1], text, -1.0))) == {1, 2, 3, 4, 5}


def test_bar_leaves_out_what_scores_below_it() -> None:
    interests = Interests(rated=(ENZYMES,))
    pool = Pool(PAPERS)
    everything = select(pool, [Wish(interests, 50)])[0]
    for bar in (0.0, 0.1, everything[0].score, 1.0):
        (found,) = select(pool, [Wish(interests, 50, bar=bar)])
        assert found == tuple(pick for pick in everything if pick.score >= bar)
    assert len(select(pool, [Wish(interests, 50, bar=0.5)])[0]) == 1


def test_two_hundred_ratings_of_any_kind_do_not_depend_on_the_batch_or_their_order() -> None:
    rng = random.Random(1)
    vocabulary = " ".join(f"{paper.title} {paper.body}" for paper in PAPERS).split()
    said = [
        Rated(f"Title {n}", f"Title {n}\n{' '.join(rng.choices(vocabulary, k=20))}", rng.choice((-1.0, -0.5, 0.5, 1.0)))
        for n in range(200)
    ]
    wishes = [
        Wish(Interests(rated=tuple(said)), 5),
        Wish(Interests(rated=tuple(said[::-1])), 5),
        Wish(Interests(), 5),
        Wish(Interests((Interest("graphs", ("graphs",)),), rated=tuple(said[:7])), 5),
    ]
    pool = Pool(PAPERS)
    alone = [select(pool, [wish])[0] for wish in wishes]
    assert alone[0] == alone[1]
    assert select(pool, wishes) == alone
    assert select(pool, wishes[::-1]) == alone[::-1]


def test_ratings_meet_the_smallest_pools_without_trouble() -> None:
    for papers in ((), (Document(1, ""),), (Document(1, "the of"), Document(2, "!!"))):
        assert len(picks(ENZYMES, unliked(LAUNDRY), papers=papers)) == len(papers)
    assert select(Pool(PAPERS), [Wish(Interests(rated=(ENZYMES,)), 0)]) == [()]


def test_paper_is_its_own_likeness_whatever_the_title_repeats() -> None:
    pool = Pool(PAPERS)
    rows, look = pool.likeness.look([Rated(each.title, f"{each.title}\n{each.body}", 1.0) for each in pool.documents])
    assert look.text[rows].diagonal() == pytest.approx([1.0] * len(PAPERS))
