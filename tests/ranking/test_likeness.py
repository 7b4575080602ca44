"""Rated papers against a pool: each looked at once, whoever rated it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interests, Rated, Wish

HERE, THERE = np.array([1, 0], dtype=np.float32), np.array([0, 1], dtype=np.float32)
POOL = (
    Document(1, "Enzymes", "fold", trend=0.2, factors=HERE),
    Document(2, "Agents", "use tools", trend=0.9, factors=THERE),
    Document(3, "Knots", "", trend=0.5),
)
WORDLESS = Rated("Unrelated words", "Unrelated words\n", 1.0, "#7", HERE, shared=True)


def picks(pool: Pool, *rated: Rated) -> list[int]:
    return [pick.paper_id for pick in select(pool, [Wish(Interests(rated=rated), 9)])[0]]


def test_what_is_liked_together_comes_first_without_a_word_in_common() -> None:
    assert picks(Pool(POOL), WORDLESS)[0] == 1
    assert picks(Pool(POOL), Rated("Unrelated", "Unrelated\n", 1.0, "#8", THERE))[0] == 2
    assert picks(Pool(POOL), Rated("Unrelated", "Unrelated\n", 1.0, "#8")) == picks(Pool(POOL)) == [2, 3, 1]


def test_a_paper_that_was_looked_at_needs_no_text_any_more() -> None:
    pool = Pool(POOL)
    liked = Rated("Folding enzymes", "Folding enzymes\n", 1.0, "#7", shared=True)
    assert pool.likeness.lacks(["#7", "#8"]) == {"#7", "#8"}
    first = picks(pool, liked)
    assert pool.likeness.lacks(["#7", "#8"]) == {"#8"}
    assert picks(pool, Rated("Folding enzymes", None, 1.0, "#7")) == first
    with pytest.raises(LookupError, match="#8"):
        picks(pool, Rated("Never seen", None, 1.0, "#8"))


def test_what_there_is_no_room_for_is_looked_at_each_time() -> None:
    pool = Pool(POOL, room=3 * Pool(POOL).likeness.row_bytes)
    rated = [Rated(f"Enzymes {n}", f"Enzymes {n}\nfold", 1.0, f"#{n}", shared=True) for n in range(7)]
    everything = picks(pool, *rated)
    assert pool.likeness.lacks(each.key for each in rated) == {each.key for each in rated[3:]}
    assert picks(pool, *rated[:2]) == picks(pool, *rated) == everything
    assert picks(Pool(POOL), *rated) == everything


def test_what_one_reader_pasted_keeps_nobody_from_being_known() -> None:
    pool = Pool(POOL)
    picks(pool, Rated("Mine", "Mine\nalone", 1.0), WORDLESS)
    assert pool.likeness.lacks([WORDLESS.key]) == set()


@pytest.mark.parametrize("factors", [np.array([np.nan, np.inf]), np.zeros(2), np.ones(9), np.zeros(0)])
def test_factors_that_make_no_sense_count_for_nothing(factors: np.ndarray) -> None:
    strange = Document(4, "Strange", "", trend=0.1, factors=factors.astype(np.float32))
    pool = Pool((*POOL, strange))
    assert set(picks(pool, WORDLESS)) == {1, 2, 3, 4}
    assert set(picks(pool, Rated("Odd", "Odd\n", 1.0, "#9", factors.astype(np.float32)))) == {1, 2, 3, 4}


def test_several_may_look_at_once() -> None:
    pool, alone = Pool(POOL, room=50 * Pool(POOL).likeness.row_bytes), Pool(POOL)
    rated = [Rated(f"On enzymes {n}", f"On enzymes {n}\n", 1.0, f"#{n}", shared=True) for n in range(100)]
    batches = [tuple(rated[first : first + 40]) for first in range(60)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda batch: picks(pool, *batch), batches))
    assert found == [picks(alone, *batch) for batch in batches]


def test_what_one_reader_pasted_is_not_kept_for_all() -> None:
    pool = Pool(POOL)
    mine = Rated("Enzymes", "Enzymes\nfold", 1.0)
    assert picks(pool, mine, WORDLESS) == picks(pool, mine, WORDLESS)
    assert pool.likeness.lacks([mine.key]) == {mine.key}


def test_factors_count_the_same_however_many_are_looked_at_at_once() -> None:
    directions = np.random.default_rng(0).normal(size=(900, 128)).astype(np.float32)
    pool_ = [Document(n, f"New {n}", factors=row) for n, row in enumerate(directions[:300], 1)]
    rated = [Rated(f"Old {n}", f"Old {n}\n", 1.0, f"#{n}", row, shared=True) for n, row in enumerate(directions)]
    rows, together = Pool(pool_).likeness.look(rated)
    alone = Pool(pool_)
    for n in range(0, 900, 50):
        [row], look = alone.likeness.look([rated[n]])
        assert (look.coread[row] == together.coread[rows[n]]).all()


def test_the_same_work_under_two_names_is_one_to_those_who_like_it() -> None:
    twin = Document(9, "Enzymes", "fold", trend=0.1, factors=THERE)
    liked = Rated("Enzymes", "Enzymes\nfold", 1.0, "#9", HERE, shared=True)
    rows, look = Pool((*POOL, twin)).likeness.look([liked])
    assert look.coread[rows[0]].max() == 1.0
    with_it = select(Pool((twin, *POOL[1:])), [Wish(Interests(rated=(liked,)), 9)])[0]
    assert with_it[0].paper_id == 9
