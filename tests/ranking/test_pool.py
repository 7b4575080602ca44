"""The pool: what a paper holds, and how well it answers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from newsletter.ranking import pool as pools
from newsletter.ranking.pool import Feature, Pool
from newsletter.ranking.types import Document, Interest

PAPERS = (
    Document(1, "Diffusion models for protein design", "We train large language models.", ("Ada Example",), ("cs.LG",)),
    Document(
        2, "Policy gradients under a shift of the distribution", "Zero-shot. LLMs help.", ("J. Smith",), ("q-bio",)
    ),
    Document(3, "拡散モデルによる画像生成", "画像を生成する", ("山田太郎",), ()),
    Document(4, "", "", (), ()),
    Document(5, "C++ & R&D: 100% of *it*", "the of and", (), ("cs.CL",)),
)


def held(phrase: str) -> list[int]:
    pool = Pool(PAPERS)
    return [int(id_) for id_ in pool.ids[pool.mentions(phrase)]]


@pytest.mark.parametrize(
    ("phrase", "ids"),
    [
        ("diffusion model", [1]),
        ("DIFFUSION   Models", [1]),
        ("protein designs", [1]),
        ("models diffusion", []),
        ("design we train", []),
        ("LLM", [2]),
        ("LLMs", [2]),
        ("off-policy", []),
        ("out-of-distribution", []),
        ("few-shot", []),
        ("zero shot", [2]),
        ("拡散", [3]),
        ("画像生成", [3]),
        ("散拡", []),
        ("the", [2, 5]),
        ("100%", [5]),
        ("%", [5]),
        ("*", [5]),
        ("", []),
        ("  ", []),
        ("x" * 10_000, []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_paper_mentions_a_phrase_when_its_words_stand_side_by_side(phrase: str, ids: list[int]) -> None:
    assert held(phrase) == ids


def test_papers_stand_hottest_first_and_then_by_id_whatever_order_they_came_in() -> None:
    papers = [Document(n, f"Paper {n}", trend=trend) for n, trend in ((3, 0.5), (1, 0.5), (2, 0.9), (4, 0.1))]
    assert list(Pool(papers).ids) == list(Pool(papers[::-1]).ids) == [2, 1, 3, 4]


def matches(pool: Pool, interest: Interest) -> NDArray[np.float64]:
    [row], answers = pool.answers([interest])
    return answers.matches[row]


def test_author_and_category_are_found_in_any_spelling_but_never_by_a_part() -> None:
    pool = Pool(PAPERS)
    assert list(pool.ids[pool.written_by("ada  EXAMPLE")]) == [1]
    assert list(pool.ids[pool.written_by("J Smith")]) == [2]
    assert list(pool.ids[pool.filed_under("CS.lg")]) == [1]
    for nobody in ("Ada", "Smith", "", " ", "!?"):
        assert not pool.written_by(nobody).any()
    for nothing in ("cs", "cs.L", "", "."):
        assert not pool.filed_under(nothing).any()


@pytest.mark.parametrize("papers", [(), PAPERS[3:4], PAPERS[:1], PAPERS])
def test_match_is_a_cosine_for_every_pool_and_every_interest(papers: tuple[Document, ...]) -> None:
    pool = Pool(papers)
    for phrases in ((), ("",), ("the",), ("diffusion",), ("diffusion", "LLM"), ("nothing like it",), ("x y " * 2_500,)):
        match = matches(pool, Interest("label", phrases))
        assert match.shape == (len(papers),)
        assert np.isfinite(match).all()
        assert ((match >= 0) & (match <= 1 + 1e-9)).all()


def test_word_of_the_title_counts_more_than_one_of_the_text() -> None:
    pool = Pool([Document(1, "Graphs", "Some other words"), Document(2, "Some other words", "Graphs")])
    title, body = matches(pool, Interest("graphs", ("graphs",)))
    assert title > body > 0


def test_identical_papers_match_alike() -> None:
    pool = Pool([Document(n, "Graphs and proteins", "They meet.") for n in range(5)])
    assert len(set(matches(pool, Interest("graphs", ("graphs",))))) == 1


def test_pair_of_words_counts_only_where_they_stand_side_by_side_in_one_part() -> None:
    papers = [
        Document(1, "Graphs", "Proteins"),
        Document(2, "Other", "Graphs proteins"),
        Document(3, "Proteins graphs"),
    ]
    pool = Pool(papers)
    beside, part, turned = (
        matches(pool, Interest("x", ("graphs proteins",)))[list(pool.ids).index(n)] for n in (2, 1, 3)
    )
    assert beside > max(part, turned)


@pytest.mark.parametrize("phrase", ["uses", "use", "used", "using", "between", "betweens"])
def test_word_that_shares_its_stem_with_a_stop_word_is_found(phrase: str) -> None:
    pool = Pool([Document(1, "How it is used between two"), Document(2, "Nothing of it")])
    assert list(pool.ids[pool.mentions(phrase)]) == [1]


def test_answers_are_the_same_whether_or_not_there_is_room_to_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Feature] = [Interest(word, (word,)) for word in ("diffusion", "proteins", "agents", "LLM", "models")]
    asked += [("author", "Ada Example"), ("category", "cs.LG"), asked[0]]
    rows, found = Pool(PAPERS).answers(asked)
    monkeypatch.setattr(pools, "_KEPT_BYTES", 1)
    monkeypatch.setattr(pools, "_LEAST_KEPT", 3)
    small = Pool(PAPERS)
    for each in (asked, asked[:2], asked[2:4], asked[1:6], asked):
        theirs, answers = small.answers(each)
        at = [rows[asked.index(one)] for one in each]
        assert answers.matches[theirs].tolist() == found.matches[at].tolist()
        assert answers.holds[theirs].tolist() == found.holds[at].tolist()
        assert [answers.held[row] for row in theirs] == [found.held[row] for row in at]
        assert answers.many[theirs].tolist() == [len(found.held[row]) for row in at]
