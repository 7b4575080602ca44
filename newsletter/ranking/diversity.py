"""Which of the best papers go together: none that says the same as another, and rather something else. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from newsletter.ranking.pool import Pool
from newsletter.ranking.statistics import Vector

_LOOKED_AT, _TIMES = 60, 2  # candidates: so many at least, and so many for each pick
_RELEVANCE = 0.75  # against novelty; measured from 0.5 to 1: from 0.7 on it costs nothing


def looked_at(limits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return by reader among how many of the best papers their picks are chosen."""
    return np.maximum(_LOOKED_AT, _TIMES * limits)


def diverse(pool: Pool, columns: NDArray[np.int64], values: Vector, limits: NDArray[np.int64]) -> list[list[int]]:
    """Return the columns of each reader's picks among their candidates, in the order in which they are picked.

    Maximal marginal relevance (Carbonell, Goldstein: The use of MMR, 1998): one after the other the paper with the
    largest ``0.75 * value - 0.25 * its largest cosine with those that are picked``, here four times that.

    :param columns: (readers, candidates), best first.
    :param values: the same, -inf for what must not be picked.
    """
    readers, candidates = values.shape
    near, rows = pool.alike(columns)
    worth = _RELEVANCE / (1 - _RELEVANCE) * values
    nearest = np.zeros((readers, candidates), dtype=np.float32)
    every, rounds = np.arange(readers), min(int(limits.max(initial=0)), candidates)
    picked = np.full((readers, rounds), -1)
    left = np.empty_like(worth)
    for number in range(rounds):
        first = np.subtract(worth, nearest, out=left).argmax(axis=1)
        some = np.isfinite(left[every, first]) & (number < limits)
        if not some.any():
            break
        picked[some, number] = columns[some, first[some]]
        # of who has enough it no longer matters
        found = np.take(near, (rows[every, first] * len(near))[:, None] + rows)
        np.maximum(nearest, found, out=nearest)
    many = (picked >= 0).sum(axis=1).tolist()
    return [theirs[:number] for theirs, number in zip(picked.tolist(), many, strict=True)]


def fair(
    pool: Pool, picked: Sequence[int], limit: int, share: int, wanted: Sequence[frozenset[int]], values: Vector
) -> list[int]:
    """Return a reader's picks with a share for each of their named interests, as far as there are papers for it.

    What an interest lacks takes the place of the last picks that no other interest needs: a hot field does not drown a
    niche one.

    :param picked: columns, best first.
    :param share: see `shares`.
    :param wanted: for each interest the columns of the papers that hold it.
    :param values: by paper; -inf for what must not be picked.
    """
    found, among = list(picked), set(picked)
    for holding in wanted if share else ():
        if len(holding & among) >= share:
            continue
        # those that come first among equals stay there, though the largest values come first
        for column in sorted(sorted(holding - among), key=values.item, reverse=True):
            if values.item(column) == -np.inf or len(holding & among) >= share:
                break
            if not pool.twins(column).isdisjoint(among):
                continue
            if len(found) >= limit:
                spare = _spare(found, wanted, share)
                if spare is None:
                    break
                among.discard(found.pop(spare))
            found.append(column)
            among.add(column)
    return found


def shares(limits: NDArray[np.int64], interests: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return by reader how many picks each of so many interests gets at least, as far as there are papers for it."""
    some = (interests > 1) & (interests <= limits)
    return np.where(some, np.maximum(limits // np.maximum(2 * interests, 1), 1), 0)


def make_room(
    picked: Sequence[int], limit: int, share: int, wanted: Sequence[frozenset[int]], column: int
) -> list[int]:
    """Return a reader's picks with one more behind them, which takes the place of the last that can be spared."""
    found = list(picked)
    if len(found) >= limit:
        place = _spare(found, wanted, share)
        if place is None or limit < 2:
            return found
        del found[place]
    return [*found, column]


def _spare(picked: Sequence[int], wanted: Sequence[frozenset[int]], share: int) -> int | None:
    """Return the place of the last pick without which every interest still has its share."""
    needed = set[int]()
    for holding in wanted:
        theirs = holding.intersection(picked)
        if len(theirs) <= share:
            needed |= theirs
    return next((place for place in range(len(picked) - 1, -1, -1) if picked[place] not in needed), None)
