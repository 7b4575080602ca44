"""How good selections were, measured by what readers said afterwards. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from sys import maxsize

import numpy as np
from numpy.typing import NDArray

_DRAWS = 1_000
_COVERED = 0.95
_LIKES = (("no likes", 0, 0), ("1 or 2 likes", 1, 2), ("3 to 9 likes", 3, 9), ("10 likes or more", 10, maxsize))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One reader's selection on one day, and what they said well of that day's papers.

    :ivar picks: paper ids, best first.
    :ivar liked: ids of papers; at least one.
    :ivar asked: how many papers they want.
    :ivar repeated: how many of the picks they had been given on an earlier day.
    :ivar alike: the mean cosine of two picks; 0 for fewer than two.
    :ivar likes: of how many papers they had said something good by then.
    """

    reader: int
    picks: tuple[int, ...]
    liked: frozenset[int]
    asked: int = 10
    repeated: int = 0
    alike: float = 0.0
    likes: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over readers' days, with the interval that it is in with 95 %."""

    value: float
    low: float
    high: float


def hit(outcome: Outcome) -> float:
    """Return 1 where a pick was liked, else 0."""
    return float(bool(outcome.liked.intersection(outcome.picks)))


def ndcg(outcome: Outcome) -> float:
    """Return the normalised discounted cumulative gain, 0 to 1 (Järvelin, Kekäläinen: Cumulated gain, 2002)."""
    gained = sum(1 / log2(rank + 2) for rank, each in enumerate(outcome.picks) if each in outcome.liked)
    best = sum(1 / log2(rank + 2) for rank in range(min(len(outcome.liked), outcome.asked)))
    return gained / best if best else 0.0


def repeats(outcome: Outcome) -> float:
    """Return which part of the picks came before."""
    return outcome.repeated / len(outcome.picks) if outcome.picks else 0.0


def diversity(outcome: Outcome) -> float:
    """Return how unlike the picks are, 0 to 1."""
    return 1.0 - outcome.alike


FIGURES: dict[str, Callable[[Outcome], float]] = {
    "hit rate": hit,
    "nDCG": ndcg,
    "repeats": repeats,
    "diversity": diversity,
}


def figure(outcomes: Sequence[Outcome], of: Callable[[Outcome], float]) -> Figure:
    """Return the mean over readers' days; the interval is drawn by reader, since one reader's days are alike.

    Percentile bootstrap (Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13).
    """
    return _interval([of(each) for each in outcomes], outcomes)


def by_likes(outcomes: Sequence[Outcome], of: Callable[[Outcome], float]) -> dict[str, Figure]:
    """Return the mean for readers who had liked as many papers; groups without any are left out."""
    groups = {name: [each for each in outcomes if least <= each.likes <= most] for name, least, most in _LIKES}
    return {name: figure(found, of) for name, found in groups.items() if found}


def difference(one: Sequence[Outcome], other: Sequence[Outcome], of: Callable[[Outcome], float]) -> Figure:
    """Return by how much the first is better, on the same readers' days in the same order."""
    return _interval([of(a) - of(b) for a, b in zip(one, other, strict=True)], one)


def _interval(values: Sequence[float], outcomes: Sequence[Outcome]) -> Figure:
    if not values:
        return Figure(0.0, 0.0, 0.0)
    _, who = np.unique([each.reader for each in outcomes], return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(who, weights=np.array(values, dtype=np.float64)).astype(np.float64)
    counts: NDArray[np.int64] = np.bincount(who)
    chance = np.random.default_rng(0)
    drawn = chance.integers(0, len(sums), (_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _COVERED) / 2, (1 + _COVERED) / 2])
    return Figure(float(np.mean(values)), float(low), float(high))
