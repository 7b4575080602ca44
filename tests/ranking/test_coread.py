"""What readers like together, and where new papers stand among it."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking import coread
from newsletter.ranking.statistics import statistics
from newsletter.ranking.terms import count

PAPERS = 40  # the first half is liked by one half of the readers, the second by the other
TEXTS = [
    *(("Proteins", f"enzymes fold {n}") for n in range(PAPERS // 2)),
    *(("Agents", f"tools on the web {n}") for n in range(PAPERS // 2, PAPERS)),
]
ARCHIVE = statistics(count(TEXTS))


def nothing(new: int, liked: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is known of meanings without an embedder."""
    return np.zeros((new, 0), dtype=np.float32), np.zeros((liked, 0), dtype=np.float32)


def likes(readers: int = 60, seed: int = 1) -> NDArray[np.int64]:
    chance, half = random.Random(seed), PAPERS // 2
    return np.array(
        [(reader, paper + half * (reader % 2)) for reader in range(readers) for paper in chance.sample(range(half), 6)]
    )


def test_papers_that_the_same_readers_like_stand_together() -> None:
    ids, matrix = coread.who_likes_what(likes())
    found = coread.factors(matrix, 8)
    assert ids == list(range(PAPERS))
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    alike = found @ found.T
    assert alike[:20, :20].mean() > 0.3
    assert abs(alike[:20, 20:]).mean() < 0.05


def test_neither_the_order_of_readers_nor_saying_it_twice_changes_how_papers_stand_to_each_other() -> None:
    pairs = likes()
    renamed = np.concatenate([pairs, pairs])
    renamed[:, 0] = 1_000 - renamed[:, 0]
    one, other = (coread.factors(coread.who_likes_what(each)[1], 8) for each in (pairs, renamed))
    assert other @ other.T == pytest.approx(one @ one.T, abs=1e-4)


def test_a_new_paper_stands_with_the_liked_ones_that_it_is_like() -> None:
    _, matrix = coread.who_likes_what(likes())
    known = coread.factors(matrix, 8)
    new = [("On enzymes", "how they fold"), ("Web tools", "for agents"), ("Knots", "in four dimensions"), ("", "")]
    found = coread.placed(ARCHIVE, new, TEXTS, known, matrix, nothing(len(new), PAPERS))
    alike = found @ known.T
    assert alike[0, :20].mean() > 0.3 > alike[0, 20:].mean()
    assert alike[1, 20:].mean() > 0.3 > alike[1, :20].mean()
    assert found[2:].any() == np.False_, "nobody calls for what is like nothing"


def test_a_new_paper_stands_where_its_meaning_does_even_if_it_has_no_word_in_common() -> None:
    _, matrix = coread.who_likes_what(likes())
    known = coread.factors(matrix, 8)
    one, other = np.eye(2, dtype=np.float32)
    new, meant = [("Chaperones", ""), ("Browsers", ""), ("Unknown", "")], np.array([one, other, one * 0])
    liked = np.array([one] * (PAPERS // 2) + [other] * (PAPERS // 2))
    alike = coread.placed(ARCHIVE, new, TEXTS, known, matrix, (meant, liked)) @ known.T
    assert alike[0, :20].mean() > 0.3 > abs(alike[0, 20:]).mean()
    assert alike[1, 20:].mean() > 0.3 > abs(alike[1, :20]).mean()
    assert not alike[2].any()


def test_a_new_paper_is_drawn_to_the_readers_of_what_it_means() -> None:
    _, matrix = coread.who_likes_what(likes())
    known = coread.factors(matrix, 8)
    liked = (np.arange(PAPERS) == 0).astype(np.float32)[:, None]  # one paper alone says the same in other words
    alike = (coread.placed(ARCHIVE, [("Chaperones", "")], TEXTS, known, matrix, (liked[:1], liked)) @ known.T)[0]
    assert (known[1:20] @ known[0]).mean() + 0.05 < alike[1:20].mean(), "nearer to what they like beside it"
    assert abs(alike[20:]).mean() < 0.1


def test_nothing_to_learn_from_gives_nothing_and_no_error() -> None:
    ids, matrix = coread.who_likes_what(np.zeros((0, 2), dtype=np.int64))
    assert (ids, matrix.shape) == ([], (0, 0))
    assert not coread.enough(matrix)
    one = sparse.csr_array(np.ones((1, 1)))
    assert coread.factors(one).shape == (1, 0)
    assert coread.placed(ARCHIVE, [("a", "b")], [("Proteins", "")], coread.factors(one), one, nothing(1, 1)).shape == (
        1,
        0,
    )
    assert (
        coread.placed(
            ARCHIVE, [], TEXTS, np.zeros((PAPERS, 3), np.float32), sparse.csr_array((0, PAPERS)), nothing(0, PAPERS)
        ).size
        == 0
    )
    assert coread.enough(coread.who_likes_what(likes(300))[1]) is False
    wide = sparse.csr_array(np.ones((300, 50)))
    assert coread.enough(wide)


def test_what_is_no_number_becomes_no_direction() -> None:
    rows = np.array([[np.nan, 1.0], [np.inf, 0.0], [3.0, 4.0]])
    assert coread.at_length_1(rows).tolist() == [[0.0, 1.0], [0.0, 0.0], pytest.approx([0.6, 0.8])]
