"""Which of the best papers go together: none that says the same as another, and rather something else. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from newsletter.ranking.pool import Pool
from newsletter.ranking.statistics import Vector

_LOOKED_AT, _TIMES = 60, 2  # candidates: so many at least, and so many for each pick
_RELEVANCE = 0.75  # against novelty; measured from 0.5 to 1: from 0.7 on it costs nothing
_TWIN = 0.95  # cosine from which on two papers are one
_MOST_PAPERS = 2_000  # whose likeness to each other is kept


def looked_at(limit: int) -> int:
    """Return among how many of the best papers a reader's picks are chosen."""
    return max(_LOOKED_AT, _TIMES * limit)


def diverse(pool: Pool, columns: NDArray[np.int64], values: Vector, limits: Sequence[int]) -> list[list[int]]:
    """Return the places of each reader's picks among their candidates, in the order in which they are picked.

    Maximal marginal relevance (Carbonell, Goldstein: The use of MMR, 1998): one after the other the paper with the
    largest ``0.75 * value - 0.25 * its largest cosine with those that are picked``.

    :param columns: (readers, candidates), best first.
    :param values: the same, -inf for what must not be picked.
    """
    readers, candidates = values.shape
    alike = _Alike(pool, columns)
    may = np.isfinite(values)
    worth = np.where(may, _RELEVANCE * values, 0.0)
    nearest = np.zeros((readers, candidates), dtype=np.float32)
    picked: list[list[int]] = [[] for _ in range(readers)]
    every, left = np.arange(readers), np.array(limits)
    for _ in range(min(int(left.max(initial=0)), candidates)):
        told = np.where(may, worth - (1 - _RELEVANCE) * nearest, -np.inf)
        first = told.argmax(axis=1)
        some = np.flatnonzero(may[every, first] & (left > 0))
        if not len(some):
            break
        for reader, place in zip(some.tolist(), first[some].tolist(), strict=True):
            picked[reader].append(place)
        left[some] -= 1
        found = alike.to(some, first[some])
        may[some] &= found < _TWIN
        may[some, first[some]] = False
        nearest[some] = np.maximum(nearest[some], found)
    return picked


class _Alike:
    """Cosines between candidates."""

    def __init__(self, pool: Pool, columns: NDArray[np.int64]) -> None:
        self._columns = columns
        self._pool = pool

    def to(self, readers: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (readers, candidates): how much each candidate is like the one at a place."""
        columns = self._columns[readers]
        if len(self._pool) <= _MOST_PAPERS:
            return self._pool.alike[self._columns[readers, places][:, None], columns]
        found = np.zeros(columns.shape, dtype=np.float32)
        for row, one, theirs in zip(found, self._columns[readers, places].tolist(), columns, strict=True):
            row[:] = (self._pool.matrix[theirs] @ self._pool.matrix[[one]].T).toarray().ravel()
        return found
