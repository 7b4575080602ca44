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
    held = [frozenset(np.flatnonzero(row).tolist()) for row in scores.holds]
    return [_picks(pool, scores, held, reader, wish, order[reader, : wish.limit]) for reader, wish in enumerate(wishes)]


def _picks(
    pool: Pool, scores: Scores, held: Sequence[frozenset[int]], reader: int, wish: Wish, columns: np.ndarray
) -> tuple[Pick, ...]:
    found = zip(columns.tolist(), scores.values[reader, columns].tolist(), strict=True)
    values = {column: max(0.0, value) for column, value in found if value > -np.inf}
    chosen = [column for column, value in values.items() if value >= wish.bar]
    resembled = scores.profiles.resembled(pool, reader, chosen)
    wanted = scores.wishes.indices[slice(*scores.wishes.indptr[reader : reader + 2])].tolist()
    matched = [_matched(scores, [each for each in wanted if column in held[each]], column) for column in chosen]
    return tuple(
        Pick(id_, values[column], labels, titles)
        for id_, column, labels, titles in zip(pool.ids[chosen].tolist(), chosen, matched, resembled, strict=True)
    )


def _matched(scores: Scores, features: list[int], column: int) -> tuple[str, ...]:
    """Return the names of features that a paper holds, those that it answers best first."""
    if len(features) > 1:
        features.sort(key=lambda feature: -scores.matches.item(feature, column))
    return tuple(dict.fromkeys([scores.labels[feature] for feature in features]))[:_MAX_MATCHED]
