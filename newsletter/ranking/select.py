"""From scores to picks, each with its reason. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np

from newsletter.ranking.pool import Pool
from newsletter.ranking.score import Scores, score
from newsletter.ranking.types import Pick, Wish

_MAX_MATCHED = 3
_ALIKE = 0.08  # from here on most recorded picks share their subject with the liked paper; half of them are there
_NEVER = float("-inf")


def select(pool: Pool, wishes: Sequence[Wish]) -> list[tuple[Pick, ...]]:
    """Return each reader's picks, best first: never a muted paper, one they have seen, or one below their bar.

    Equal scores go to the hotter paper, then to the one we knew first; among those at 0, what is more like the
    disliked papers comes last.
    """
    if not wishes or not len(pool):
        return [() for _ in wishes]
    scores = score(pool, wishes)
    # The pool stands hottest first, so a stable sort breaks ties as promised.
    order = np.argsort(-scores.values, axis=1, kind="stable")[:, : max(wish.limit for wish in wishes)]
    # Plain lists from here on: of each reader it is a few of a few, for which an array takes longer.
    columns, best = order.tolist(), np.take_along_axis(scores.values, order, axis=1).tolist()
    ids, reasons = pool.ids.tolist(), _Reasons(scores)
    picks = []
    for reader, wish in enumerate(wishes):
        found = zip(columns[reader][: wish.limit], best[reader], strict=False)
        chosen = {column: max(0.0, value) for column, value in found if value > _NEVER}
        chosen = {column: value for column, value in chosen.items() if value >= wish.bar}
        resembled = reasons.resembled(reader, list(chosen))
        matched = reasons.matched(reader, chosen)
        told = zip(chosen.items(), matched, resembled, strict=True)
        picks.append(tuple([Pick(ids[column], value, *why) for (column, value), *why in told]))
    return picks


class _Reasons:
    """Why papers are chosen, in the readers' own words."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._holding = [frozenset(np.flatnonzero(row).tolist()) for row in scores.holds]
        self._starts, self._wanted = scores.wishes.indptr.tolist(), scores.wishes.indices.tolist()

    def matched(self, reader: int, columns: Iterable[int]) -> list[tuple[str, ...]]:
        """Return for each of these papers what a reader asked for that it holds, what it answers best first."""
        wanted = self._wanted[self._starts[reader] : self._starts[reader + 1]]
        holding = [(each, self._holding[each]) for each in wanted]
        return [self._named([each for each, held in holding if column in held], column) for column in columns]

    def resembled(self, reader: int, columns: Sequence[int]) -> list[tuple[str, ...]]:
        """Return for each of these papers the title of the liked one that speaks most for it, if one does."""
        scores = self._scores
        held = slice(scores.likes.indptr[reader], scores.likes.indptr[reader + 1])
        liked = scores.likes.indices[held]
        if not len(liked) or not columns:
            return [() for _ in columns]
        alike = scores.look.text[liked[:, None], list(columns)]
        told = np.where(alike >= _ALIKE, np.round(scores.likes.data[held][:, None] * alike, 6), 0.0)
        best = self._first(told, liked)
        return [(scores.titles[int(liked[row])],) if told[row, place] > 0 else () for place, row in enumerate(best)]

    def _first(self, told: np.ndarray, liked: np.ndarray) -> list[int]:
        """Return the row of each column's largest value; of equal ones that of the first title."""
        titles = [self._scores.titles[int(each)] for each in liked]
        order = sorted(range(len(titles)), key=titles.__getitem__)
        return [order[int(place)] for place in told[order].argmax(axis=0)]

    def _named(self, features: list[int], column: int) -> tuple[str, ...]:
        labels = self._scores.labels
        if len(features) < 2:
            return tuple([labels[feature] for feature in features])
        features.sort(key=lambda feature: -self._scores.matches.item(feature, column))
        return tuple(dict.fromkeys([labels[feature] for feature in features]))[:_MAX_MATCHED]
