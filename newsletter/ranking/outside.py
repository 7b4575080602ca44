"""One paper from outside what a reader asks for and likes, for who wants to be surprised. Pure."""

from collections.abc import Sequence

import numpy as np

from newsletter.ranking.pool import Pool
from newsletter.ranking.score import ALIKE, WEAK, Scores

_FAR = WEAK / 3  # a paper that answers less than this is nobody's topic


def outside(
    pool: Pool, scores: Scores, reader: int, picked: Sequence[int], wanted: Sequence[frozenset[int]]
) -> int | None:
    """Return the column of the hottest paper that is none of a reader's topics, if there is one.

    Nothing for who has no topics, or no other pick: they are told what everybody talks about already, or nothing.

    :param picked: their columns; what says the same as one of these is not from outside.
    :param wanted: for each of their interests the columns of the papers that hold it.
    """
    likes = scores.likes
    liked = likes.indices[likes.indptr[reader] : likes.indptr[reader + 1]]
    if not (wanted or len(liked)) or not picked:
        return None
    far = (scores.named[reader] + scores.liked[reader] + scores.disliked[reader] < _FAR) & np.isfinite(
        scores.values[reader]
    )
    if len(liked):  # where all papers are of one field, none stands out
        far &= scores.look.text[liked].max(axis=0) < ALIKE
    far[list(picked)] = False
    for column in np.flatnonzero(far).tolist():  # the hottest first
        if not any(column in holding for holding in wanted) and pool.twins(column).isdisjoint(picked):
            return int(column)
    return None
