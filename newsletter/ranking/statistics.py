"""How common terms are in the archive: what makes a vector of a text's counts. Pure."""

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.terms import Counts, Lexicon, TermIds

Vector = NDArray[np.float64]
_NOTHING = 1e-9  # what is left when a sum cancels out is noise
_AT_ONCE = 2_000  # texts
_FEW_PAPERS = 1_000
_HEAD = np.dtype([("papers", "<u4"), ("terms", "<u4")])
_ROW = np.dtype([("term", "<u4"), ("found_in", "<u4"), ("average", "<f4")])


@dataclass(frozen=True, slots=True)
class TermVectors:
    """Texts as vectors of length 1, or 0 for one without words; rows as in `Counts`.

    ``tf-idf = (1 + ln tf) * ln(1 + (N + 1) / (df + 1))`` (Manning, Raghavan, Schütze, Introduction to Information
    Retrieval, section 6.4, smoothed so that no term counts for nothing).
    """

    counts: Counts
    values: Vector

    def over(self, columns: Lexicon) -> sparse.csr_array:
        """Return (texts, columns): what the texts have of these terms."""
        counts = self.counts
        place, known = columns.places(counts.terms)
        shape = len(counts), len(columns)
        starts = np.concatenate([[0], np.cumsum(known)])[counts.starts]
        return sparse.csr_array((self.values[known], place[known], starts), shape=shape)


@dataclass(frozen=True)
class Statistics:
    """An archive's terms.

    :ivar papers: how many papers the archive has, N.
    :ivar terms: those that stand in at least two papers, in rising order; any other stands in one.
    :ivar found_in: in how many papers each stands, df.
    :ivar average: what the average paper's vector has of each.
    """

    papers: int
    terms: TermIds
    found_in: NDArray[np.uint32]
    average: NDArray[np.float32]

    def vectors(self, counts: Counts) -> TermVectors:
        """Return counted texts as vectors."""
        weights = (1.0 + np.log(counts.times.astype(np.float64))) * self._rarity(counts.terms)
        rows = counts.rows
        lengths = np.sqrt(np.bincount(rows, weights=weights**2, minlength=len(counts)))
        scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > _NOTHING)
        return TermVectors(counts, weights * scale[rows])

    def average_over(self, columns: Lexicon) -> Vector:
        """Return what the average paper has of these terms."""
        place, known = self.lexicon.places(columns.terms)
        return np.where(known, self._averages[place], 0.0)

    @property
    def certainty(self) -> float:
        """How far the average is to be believed, 0 to 1: a handful of papers has none."""
        return self.papers / (self.papers + _FEW_PAPERS)

    def _rarity(self, terms: TermIds) -> Vector:
        place, known = self.lexicon.places(terms)
        return np.where(known, self._rarities[place], self._rarities[-1])

    @cached_property
    def lexicon(self) -> Lexicon:
        return Lexicon(self.terms)

    @cached_property
    def _rarities(self) -> Vector:
        """By term, and behind them of one that stands in a single paper."""
        found_in = np.append(self.found_in, 1).astype(np.float64)
        return np.log1p((self.papers + 1) / (found_in + 1))

    @cached_property
    def _averages(self) -> Vector:
        return np.append(self.average, 0.0).astype(np.float64)

    def to_bytes(self) -> bytes:
        """Return the statistics packed."""
        rows = np.empty(len(self.terms), dtype=_ROW)
        rows["term"], rows["found_in"], rows["average"] = self.terms, self.found_in, self.average
        head = np.array([(self.papers, len(rows))], dtype=_HEAD)
        return zlib.compress(head.tobytes() + rows.tobytes(), 1)

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Statistics":
        """Return what `to_bytes` packed.

        :raises ValueError: it is cut short, or something else.
        """
        try:
            raw = zlib.decompress(packed)
            head = np.frombuffer(raw, dtype=_HEAD, count=1)[0]
            rows = np.frombuffer(raw, dtype=_ROW, offset=_HEAD.itemsize, count=int(head["terms"]))
        except zlib.error as exc:
            raise ValueError(f"no text statistics: {exc}") from exc
        found_in, average = np.ascontiguousarray(rows["found_in"]), np.ascontiguousarray(rows["average"])
        return cls(int(head["papers"]), np.ascontiguousarray(rows["term"]), found_in, average)


def statistics(counts: Counts) -> Statistics:
    """Return the statistics of an archive's counted texts."""
    terms, found_in = np.unique(counts.terms, return_counts=True)
    common = found_in > 1
    plain = Statistics(
        len(counts), terms[common], found_in[common].astype(np.uint32), np.zeros(int(common.sum()), dtype=np.float32)
    )
    summed = np.zeros(len(plain.terms))
    for first in range(0, len(counts), _AT_ONCE):
        summed += plain.vectors(counts.part(first, first + _AT_ONCE)).over(plain.lexicon).sum(axis=0)
    return Statistics(plain.papers, plain.terms, plain.found_in, (summed / max(1, len(counts))).astype(np.float32))
