"""From scores to picks, each with its reason. Pure."""

from collections.abc import Sequence

import numpy as np

from newsletter.ranking.pool import Pool
from newsletter.ranking.score import Scores, score
from newsletter.ranking.types import Pick, Wish

_MAX_MATCHED = 3


def select(pool: Pool, wishes: Sequence[Wish]) -> list[tuple[Pick, ...]]:
    """Return each reader's picks, best first: never a muted paper, one they have seen, or one below their bar.

    Equal scores go to the hotter paper, then to the one we knew first; among those at 0, what is more like the
    disliked papers comes last.
    """
    if not wishes or not len(pool):
        return [() for _ in wishes]
    scores = score(pool, wishes)
    # The pool stands hottest first, so a stable sort breaks ties as promised.
    order = np.argsort(-scores.values, axis=1, kind="stable")
    return [_picks(pool, scores, reader, wish, order[reader, : wish.limit]) for reader, wish in enumerate(wishes)]


def _picks(pool: Pool, scores: Scores, reader: int, wish: Wish, columns: np.ndarray) -> tuple[Pick, ...]:
    values = {int(column): float(scores.values[reader, column]) for column in columns}
    values = {column: max(0.0, value) for column, value in values.items() if value > -np.inf}
    chosen = [column for column, value in values.items() if value >= wish.bar]
    resembled = scores.profiles.resembled(pool, reader, chosen)
    return tuple(
        Pick(int(pool.ids[column]), values[column], _matched(scores, reader, column), titles)
        for column, titles in zip(chosen, resembled, strict=True)
    )


def _matched(scores: Scores, reader: int, column: int) -> tuple[str, ...]:
    wishes = scores.wishes
    features = wishes.indices[wishes.indptr[reader] : wishes.indptr[reader + 1]]
    held = [feature for feature in features if scores.holds[feature, column]]
    held.sort(key=lambda feature: -scores.matches[feature, column])
    return tuple(dict.fromkeys(scores.labels[feature] for feature in held))[:_MAX_MATCHED]
