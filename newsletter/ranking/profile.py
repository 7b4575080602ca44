"""What readers said of papers, as one direction among the pool's terms for each of them. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from scipy import sparse

from newsletter.ranking.pool import Pool
from newsletter.ranking.types import Rated, Wish
from newsletter.ranking.vocabulary import Vector, scaled

_ALIKE = 0.08  # from here on most recorded picks share their subject with the liked paper; half of them are there
_Said = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Profiles:
    """A batch of readers by what they rated.

    :ivar likeness: (readers, papers), cosine of each reader's profile with each paper, -1 to 1; 0 without ratings.
    :ivar likes: by reader, whether they liked anything.
    :ivar titles: of the rated papers, each once for the whole batch.
    :ivar weights: (readers, rated papers), above 0 what they liked, below 0 what they did not.
    :ivar vectors: (rated papers, terms).
    """

    likeness: Vector
    likes: np.ndarray
    titles: Sequence[str]
    weights: sparse.csr_array
    vectors: sparse.csr_array

    def resembled(self, pool: Pool, reader: int, columns: Sequence[int]) -> list[tuple[str, ...]]:
        """Return for each of these papers the title of the liked one that speaks most for it, if one does."""
        if not self.titles:  # nobody of the batch rated anything
            return [() for _ in columns]
        held = slice(self.weights.indptr[reader], self.weights.indptr[reader + 1])
        rated, weights = self.weights.indices[held], self.weights.data[held]
        rated, weights = rated[weights > 0], weights[weights > 0]
        if not len(rated) or not columns:
            return [() for _ in columns]
        cosines = pool.cosines_at(columns, self.vectors[rated]).T
        likeness = self.likeness[reader, columns]
        return [
            self._best(rated, weights, each) if alike > 0 else () for each, alike in zip(cosines, likeness, strict=True)
        ]

    def _best(self, rated: np.ndarray, weights: Vector, cosines: Vector) -> tuple[str, ...]:
        told = np.where(cosines >= _ALIKE, np.round(weights * cosines, 6), 0.0)
        best = int(told.argmax())
        return (self.titles[rated[best]],) if told[best] > 0 else ()


def profiles(pool: Pool, wishes: Sequence[Wish]) -> Profiles:
    """Return the sum of each reader's rated papers, weight by weight, and how much each paper is like it.

    The order of ratings does not show, nor who else is in the batch: papers are added up by title and text.
    """
    said = [_said(wish.interests.rated) for wish in wishes]
    rated = sorted({paper for each in said for paper in each})
    place = {paper: n for n, paper in enumerate(rated)}
    vectors = pool.vectors([(title, text.removeprefix(title)) for title, text in rated])
    weights = _rows([{place[paper]: weight for paper, weight in each.items()} for each in said], len(rated))
    likeness = pool.cosines(scaled(sparse.csr_array(weights @ vectors)))
    likes = np.array([any(weight > 0 for weight in each.values()) for each in said], dtype=bool)
    return Profiles(likeness, likes, [title for title, _ in rated], weights, vectors)


def _said(rated: Sequence[Rated]) -> _Said:
    """Return what a reader's ratings of each paper come to, without what cancels out."""
    weights: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in rated:
        weights[each.label, each.text].append(each.weight)
    sums = {paper: fsum(several) for paper, several in weights.items()}
    return {paper: weight for paper, weight in sums.items() if weight}


def _rows(rows: Sequence[Mapping[int, float]], width: int) -> sparse.csr_array:
    """Return sparse rows whose columns stand in order: sums of floating numbers depend on it."""
    pairs = [sorted(row.items()) for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in pairs])]).astype(np.int64)
    indices = np.array([column for each in pairs for column, _ in each], dtype=np.int64)
    values = np.array([value for each in pairs for _, value in each], dtype=np.float64)
    return sparse.csr_array((values, indices, indptr), shape=(len(rows), width))
