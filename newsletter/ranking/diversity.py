"""Which of the best papers go together: none that says the same as another, and rather something else. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from newsletter.ranking.likeness import TWIN
from newsletter.ranking.pool import Pool
from newsletter.ranking.statistics import Vector

_LOOKED_AT, _TIMES = 60, 2  # candidates: so many at least, and so many for each pick
_RELEVANCE = 0.75  # against novelty; measured from 0.5 to 1: from 0.7 on it costs nothing


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
    near, rows = pool.alike(columns)
    may = np.isfinite(values)
    worth = np.where(may, _RELEVANCE * values, 0.0)
    nearest = np.zeros((readers, candidates), dtype=np.float32)
    every, left = np.arange(readers), np.array(limits)
    rounds = min(int(left.max(initial=0)), candidates)
    picked = np.full((readers, rounds), -1)
    for number in range(rounds):
        told = np.where(may, worth - (1 - _RELEVANCE) * nearest, -np.inf)
        first = told.argmax(axis=1)
        some = np.flatnonzero(may[every, first] & (left > 0))
        if not len(some):
            break
        picked[some, number] = first[some]
        left[some] -= 1
        found = near[rows[some, first[some]][:, None], rows[some]]
        may[some] &= found < TWIN
        may[some, first[some]] = False
        nearest[some] = np.maximum(nearest[some], found)
    many = (picked >= 0).sum(axis=1).tolist()
    return [places[:number] for places, number in zip(picked.tolist(), many, strict=True)]


def fair(pool: Pool, picked: Sequence[int], limit: int, wanted: Sequence[frozenset[int]], values: Vector) -> list[int]:
    """Return a reader's picks with a share for each of their named interests, as far as there are papers for it.

    What an interest lacks takes the place of the last picks that no other interest needs: a hot field does not drown a
    niche one.

    :param picked: columns, best first.
    :param wanted: for each interest the columns of the papers that hold it.
    :param values: by paper; -inf for what must not be picked.
    """
    share, found, among = _share(limit, wanted), list(picked), set(picked)
    for holding in wanted if share else ():
        if len(holding & among) >= share:
            continue
        for worst, column in sorted([(-values.item(column), column) for column in holding - among]):
            if worst == np.inf or len(holding & among) >= share:
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


def _share(limit: int, wanted: Sequence[frozenset[int]]) -> int:
    """Return how many picks each interest gets at least, as far as there are papers for it."""
    return limit // (2 * len(wanted)) or 1 if 1 < len(wanted) <= limit else 0


def make_room(picked: Sequence[int], limit: int, wanted: Sequence[frozenset[int]], column: int) -> list[int]:
    """Return a reader's picks with one more behind them, which takes the place of the last that can be spared."""
    found = list(picked)
    if len(found) >= limit:
        place = _spare(found, wanted, _share(limit, wanted))
        if place is None or limit < 2:
            return found
        del found[place]
    return [*found, column]


def _spare(picked: Sequence[int], wanted: Sequence[frozenset[int]], share: int) -> int | None:
    """Return the place of the last pick without which every interest still has its share."""
    among = set(picked)
    needed = frozenset[int]().union(*[each for holding in wanted if len(each := holding & among) <= share])
    return next((place for place in range(len(picked) - 1, -1, -1) if picked[place] not in needed), None)
