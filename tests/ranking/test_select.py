"""Picks: what a reader gets, what they never get, and why."""

import itertools

import pytest

from newsletter.ranking import pool
from newsletter.ranking import select as selecting
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interest, Interests, Pick, Rated, Wish

PAPERS = (
    Document(1, "Diffusion models for protein design", "We denoise.", ("Ada Example",), ("cs.LG",), 0.2),
    Document(2, "A benchmark for language agents", "LLMs use tools.", ("Bob B. Sample",), ("cs.CL", "cs.AI"), 0.9),
    Document(3, "Robots that fold laundry", "No diffusion here.", ("Ada Example", "J. Smith"), ("cs.RO",), 0.5),
    Document(4, "拡散モデルによる画像生成", "画像を作る", ("山田太郎",), ("cs.CV",), 0.6),
    Document(5, "Graphs", "", (), (), 0.5),
    Document(6, "Off-policy learning", "Out-of-distribution C++ & 100%", ("Zoë Müller",), ("stat.ML",), 0.0),
)


WORDS = ("water", "stone", "paper", "light", "sound", "earth", "metal", "glass", "cloud", "river")


def wish(
    *keywords: str, limit: int = 50, seen: tuple[int, ...] = (), mutes: tuple[str, ...] = (), **more: tuple[str, ...]
) -> Wish:
    wanted = tuple(Interest(keyword, (keyword,)) for keyword in keywords)
    return Wish(Interests(wanted, mutes=mutes, **more), limit, frozenset(seen))


def picks(wish_: Wish, papers: tuple[Document, ...] = PAPERS) -> tuple[Pick, ...]:
    return select(Pool(papers), [wish_])[0]


def ids(wish_: Wish, papers: tuple[Document, ...] = PAPERS) -> list[int]:
    return [pick.paper_id for pick in picks(wish_, papers)]


def test_reader_without_interests_gets_what_is_talked_about() -> None:
    assert ids(wish()) == [2, 4, 3, 5, 1, 6]
    assert [pick.score for pick in picks(wish())] == [0.9, 0.6, 0.5, 0.5, 0.2, 0.0]
    assert not any(pick.matched for pick in picks(wish()))


@pytest.mark.parametrize(
    ("mute", "hidden"),
    [
        ("diffusion", {1, 3}),
        ("DIFFUSION Model", {1}),
        ("protein designs", {1}),
        ("LLM", {2}),
        ("robot", {3}),
        ("ada example", {1, 3}),
        ("J Smith", {3}),
        ("zoe muller", {6}),
        ("山田太郎", {4}),
        ("CS.cl", {2}),
        ("stat.ML", {6}),
        ("拡散", {4}),
        ("画像", {4}),
        ("off-policy", {6}),
        ("out of distribution", {6}),
        ("that", {3}),
        ("for", {1, 2}),
        ("100%", {6}),
        ("&", {6}),
        ("C++", {6}),
        ("policy", {6}),
        ("few-shot", set()),
        ("on-policy", set()),
        ("", set()),
        ("   ", set()),
        ("x" * 10_000, set()),
    ],
    ids=lambda value: str(value)[:30],
)
def test_mute_hides_what_it_names_and_nothing_else_however_well_it_matches(mute: str, hidden: set[int]) -> None:
    everything = {document.id for document in PAPERS}
    longing = wish(
        "diffusion", "graphs", mute, authors=("Ada Example",), categories=("cs.CL", "cs.RO"), mutes=("nothing", mute)
    )
    assert set(ids(longing)) == everything - hidden
    assert set(ids(wish(mutes=(mute,)))) == everything - hidden


def test_paper_that_was_sent_before_is_never_shown_again() -> None:
    assert ids(wish("diffusion", seen=(1, 2, 999))) == [3, 4, 5, 6]
    assert ids(wish(seen=(1, 2, 3, 4, 5, 6))) == []


def test_everything_muted_gives_nothing() -> None:
    mutes = ("diffusion", "agents", "画像", "graphs", "policy")
    assert picks(wish("diffusion", mutes=mutes)) == ()


def test_no_more_papers_than_the_reader_wants() -> None:
    assert [len(ids(wish("diffusion", limit=limit))) for limit in (0, 1, 3, 6, 50)] == [0, 1, 3, 6, 6]


def test_best_match_comes_first_and_says_in_the_readers_words_what_it_matches() -> None:
    found = picks(wish("Protein Designs", "LLM", authors=("ADA example",), categories=("CS.RO",)))
    said = {pick.paper_id: pick.matched for pick in found}
    assert set(said[1]) == {"ADA example", "Protein Designs"}
    assert said[2] == ("LLM",)
    assert said[3] == ("ADA example", "CS.RO")
    assert said[4] == said[5] == said[6] == ()
    assert found[0].paper_id in {1, 3}


def test_reason_names_only_what_the_paper_holds() -> None:
    wishes = wish("few-shot", "on-policy", "models design", "distribution-free", "policy", "diffusion transformers")
    said = {pick.paper_id: pick.matched for pick in picks(wishes)}
    assert said == {1: (), 2: (), 3: (), 4: (), 5: (), 6: ("policy",)}


def test_reason_names_at_most_three_things_best_first_and_each_once() -> None:
    found = picks(wish("graph", "graphs", "Graphs", "graphing"), (Document(1, "Graphs"),))
    assert len(found[0].matched) == 3
    twice = Interests((Interest("graphs", ("graphs",)), Interest("graphs", ("graph", "network"))))
    assert select(Pool([Document(1, "Graphs")]), [Wish(twice, 5)])[0][0].matched == ("graphs",)


def test_papers_of_equal_score_come_in_the_order_we_knew_them() -> None:
    same = tuple(Document(n, title, trend=0.5) for n, title in ((7, "Graphs"), (3, "Proteins"), (5, "Knots")))
    for readers in (wish(), wish("nothing"), wish("nothing", seen=(1,))):
        assert ids(readers, same) == [3, 5, 7]


def test_of_papers_that_say_the_same_the_better_one_is_picked_alone() -> None:
    same = tuple(Document(n, "Graphs and proteins", "They meet.", trend=0.5) for n in (7, 3, 5, 1))
    hot = Document(9, "Graphs and proteins", "They meet.", trend=0.6)
    for readers in (wish(), wish("graphs"), wish("nothing")):
        assert ids(readers, same) == [1]
        assert ids(readers, (*same, hot)) == [9]
    assert ids(wish("graphs", limit=2, seen=(1,)), same) == [3]


def test_what_is_like_a_pick_already_comes_later_unless_it_is_much_better() -> None:
    papers = (
        Document(1, "Graphs of proteins", "We fold them in water and look at what they do", trend=0.70),
        Document(2, "Graphs of proteins", "We fold them in water and look at how they age", trend=0.69),
        Document(3, "Robots that fold laundry", "They learn to grasp", trend=0.65),
    )
    assert ids(wish(limit=2), papers) == [1, 3]
    assert ids(wish(), papers) == [1, 3, 2]
    assert ids(wish(limit=2), (*papers[:2], Document(3, "Robots that fold laundry", "They learn", trend=0.1))) == [1, 2]


def test_a_pool_too_large_to_compare_all_papers_is_diversified_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = [wish(), wish("graphs", limit=3), wish("diffusion", mutes=("agents",))]
    papers = (*PAPERS, *(Document(n, "Graphs and diffusion", f"They meet {n} times", trend=0.4) for n in range(10, 40)))
    expected = select(Pool(papers), readers)
    monkeypatch.setattr(pool, "_MOST_COMPARED", 0)
    assert select(Pool(papers), readers) == expected


def test_order_of_the_papers_does_not_matter() -> None:
    readers = [wish(), wish("diffusion", "graphs"), wish("language", mutes=("robots",), seen=(4,))]
    expected = select(Pool(PAPERS), readers)
    for order in itertools.islice(itertools.permutations(PAPERS), 0, 720, 37):
        assert select(Pool(order), readers) == expected


def test_readers_picks_do_not_depend_on_who_else_is_in_the_batch() -> None:
    readers = [
        wish("diffusion", "graphs", "language", authors=("Ada Example",), limit=4),
        wish(),
        wish("graphs", "diffusion", mutes=("robots", "cs.CL")),
        wish("language", "diffusion", categories=("cs.RO", "cs.CV"), seen=(1, 3)),
        wish(seen=(2,), mutes=("画像",)),
    ]
    pool = Pool(PAPERS)
    alone = [select(pool, [each])[0] for each in readers]
    assert select(pool, readers) == alone
    assert select(pool, readers[::-1]) == alone[::-1]
    assert select(pool, readers * 40) == alone * 40


@pytest.mark.parametrize(
    "papers",
    [(), PAPERS[:1], (Document(1, ""),), (Document(1, "the of"), Document(2, "!!")), (Document(1, "", "\x00"),)],
)
def test_smallest_pools_are_ranked_without_trouble(papers: tuple[Document, ...]) -> None:
    hungry = wish("", "the", "diffusion", "y " * 5_000, authors=("",), categories=("",), mutes=("nothing", ""))
    found = select(Pool(papers), [wish(), hungry, Wish(Interests((Interest("empty", ()),)), 5)])
    assert [len(each) for each in found] == [len(papers)] * 3
    assert select(Pool(papers), []) == []


def test_weak_match_is_not_blown_up_to_a_perfect_one() -> None:
    many = " ".join(f"word{n}" for n in range(400))
    faint, exact = Document(1, many, f"graphs {many}", trend=0.5), Document(2, "Graphs", trend=0.5)
    (alone,) = picks(wish("graphs"), (faint, Document(3, "Other", trend=0.5)))[:1]
    assert alone.score < 0.75
    assert picks(wish("graphs"), (faint, exact))[0].score == pytest.approx(0.875)


def test_a_hot_field_does_not_drown_a_niche_one() -> None:
    hot = [Document(n, f"Graphs number {n}", f"{word} graphs", trend=0.9) for n, word in enumerate(WORDS, 1)]
    niche = [Document(n, f"Papyri number {n}", "old scrolls and more", trend=0.0) for n in (31, 32)]
    found = picks(wish("graphs", "papyri", limit=4), (*hot, *niche))
    assert len(found) == 4
    assert sum(pick.matched == ("papyri",) for pick in found) >= 1
    both = picks(wish("graphs", "papyri", limit=8), (*hot, *niche))
    assert {31, 32} <= {pick.paper_id for pick in both}
    assert ids(wish("graphs", "papyri", limit=8, mutes=("papyri",)), (*hot, *niche)).count(31) == 0
    few = wish("graphs", "papyri", "knots", limit=2)
    assert len(ids(few, (*hot, *niche))) == 2, "more interests than papers: the best ones"


def test_a_share_is_never_filled_below_the_bar() -> None:
    hot = [Document(n, f"Graphs {word}", "", trend=0.9) for n, word in enumerate(WORDS, 1)]
    weak = Document(40, "A long title with many other things and papyri", "which go on for long " * 9, trend=0.0)
    pool = Pool((*hot, weak))
    interests = Interests((Interest("graphs", ("graphs",)), Interest("papyri", ("papyri",))))
    [scored] = [each.score for each in select(pool, [Wish(interests, 4)])[0] if each.paper_id == 40]
    for bar, there in ((scored, True), (scored + 0.01, False)):
        assert (40 in {pick.paper_id for pick in select(pool, [Wish(interests, 4, bar=bar)])[0]}) is there


def test_a_flood_of_papers_that_say_the_same_leaves_room_for_all_others() -> None:
    flood = [Document(n, "Editorial board of graphs", "Names and addresses.", trend=0.9) for n in range(1, 101)]
    others = [Document(200 + n, f"On {word}", trend=0.1) for n, word in enumerate(WORDS)]
    assert len(ids(wish(limit=10), (*flood, *others))) == 10


def test_picks_do_not_depend_on_how_many_papers_others_want() -> None:
    near = [Document(n, "Graphs of proteins", f"{WORDS[n % 10]} {WORDS[n % 7]}", trend=0.9) for n in range(1, 90)]
    far = [Document(500 + n, f"On {word} alone", trend=0.8) for n, word in enumerate(WORDS)]
    few, many = wish("graphs", limit=5), wish("graphs", limit=50)
    pool_ = Pool((*near, *far))
    assert select(pool_, [few, many])[0] == select(pool_, [few])[0]


def test_readers_who_rated_much_are_ranked_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rated = tuple(Rated(f"Graphs {n}", f"Graphs {n}\nand {WORDS[n % 10]}", 1.0) for n in range(30))
    readers = [Wish(Interests(rated=rated[n : n + 9]), 5) for n in range(12)]
    together = select(Pool(PAPERS), readers)
    for limit in ("_ROWS_BYTES", "_AT_ONCE"):
        with monkeypatch.context() as patch:
            patch.setattr(selecting, limit, 1)
            assert select(Pool(PAPERS), readers) == together


def test_a_mute_holds_to_the_end_of_the_longest_abstract() -> None:
    long = Document(1, "Graphs", "word of no weight " * 6_000 + "benchmark", trend=0.9)
    unspaced = Document(2, "Graphs too", "字" * 15_000 + "測定", trend=0.9)
    assert ids(wish(mutes=("benchmark",)), (long, unspaced)) == [2]
    assert ids(wish(mutes=("測定",)), (long, unspaced)) == [1]
