"""The terms of the day's papers, and any text as a vector over them. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.text import STOP, split, stem

Text = tuple[str, str]
"""A title and a body."""
_TITLE_WEIGHT = 2  # a word of the title counts as if it stood there twice
_AT_ONCE = 2_000  # texts that are taken apart together
_UNKNOWN, _STOPPED = -1, -2
_NOTHING = 1e-9  # what is left when a sum cancels out is noise
Vector = NDArray[np.float64]
_Ints = NDArray[np.int32]
_Keys = NDArray[np.int64]


class Vocabulary:
    """Stems, and pairs of stems that stand side by side, of the texts that it is made from.

    ``tf-idf = (1 + ln tf) * ln(1 + N / df)``, each text scaled to length 1 (Manning, Raghavan, Schütze,
    Introduction to Information Retrieval, section 6.4).

    :ivar matrix: (texts, terms), the texts that it is made from.
    """

    def __init__(self, texts: Sequence[Text]) -> None:
        self._stems: dict[str, int] = {}
        known = _Known(lambda stem_: self._stems.setdefault(stem_, len(self._stems)))
        read = [_read(known, block) for block in _blocks(texts)]
        keys = [_pair_keys(each.places)[0] for each in read]
        self._pairs: _Keys = np.unique(np.concatenate([np.array([], dtype=np.int64), *keys]))
        counts = _stacked((self._counts(each) for each in read), len(self))
        self._idf = np.log1p(max(len(texts), 1) / np.bincount(counts.indices, minlength=len(self)))
        self.matrix = self._weighed(counts)

    def __len__(self) -> int:
        return len(self._stems) + len(self._pairs)

    def vectors(self, texts: Sequence[Text]) -> sparse.csr_array:
        """Return (texts, terms), each row of length 1, or 0: a term that no paper has counts for nothing."""
        known = _Known(lambda stem_: self._stems.get(stem_, _UNKNOWN))
        return _stacked((self._weighed(self._counts(_read(known, block))) for block in _blocks(texts)), len(self))

    def phrase(self, stems: Sequence[str]) -> tuple[_Ints, Vector]:
        """Return a phrase of such stems as columns and values, of length 1, or empty."""
        places = np.array([self._stems.get(each, _UNKNOWN) for each in stems], dtype=np.int32)
        columns, times = np.unique(self._terms(places)[0], return_counts=True)
        values = times * self._idf[columns]
        return columns, values / (np.linalg.norm(values) or 1.0)

    def stem_column(self, stem_: str) -> int | None:
        """Return the column of a stem, if a paper has it."""
        return self._stems.get(stem_)

    def _terms(self, places: _Ints) -> tuple[_Ints, _Ints]:
        """Return the columns of the known stems and then of the known pairs, and at which place each begins."""
        single = np.flatnonzero(places >= 0)
        keys, at = _pair_keys(places)
        found = np.searchsorted(self._pairs, keys)
        known = np.append(self._pairs, _UNKNOWN)[found] == keys
        columns = np.concatenate([places[single], len(self._stems) + found[known]], dtype=np.int32)
        return columns, np.concatenate([single, at[known]], dtype=np.int32)

    def _counts(self, read: "_Read") -> sparse.csr_array:
        columns, at = self._terms(read.places)
        shape = (read.texts, len(self))
        return sparse.coo_array((read.weights[at], (read.rows[at], columns)), shape=shape).tocsr()

    def _weighed(self, counts: sparse.csr_array) -> sparse.csr_array:
        values = (1.0 + np.log(counts.data)) * self._idf[counts.indices]
        return scaled(sparse.csr_array((values, counts.indices, counts.indptr), shape=counts.shape))


@dataclass(frozen=True, slots=True)
class _Read:
    """Texts as numbers: word by word the place of its stem, which text it is from, and what it counts there."""

    texts: int
    places: _Ints
    rows: _Ints
    weights: Vector


class _Known(dict[str, int]):
    """The place of each word's stem; every spelling is stemmed once."""

    def __init__(self, place: Callable[[str], int]) -> None:
        super().__init__(dict.fromkeys(STOP, _STOPPED))
        self._place = place

    def __missing__(self, word: str) -> int:
        self[word] = place = self._place(stem(word))
        return place


def _read(known: _Known, texts: Sequence[Text]) -> _Read:
    flat: list[int] = []
    ends: list[int] = []
    for part in chain.from_iterable(texts):
        flat.extend(map(known.__getitem__, split(part)))
        flat.append(_UNKNOWN)  # no term spans two parts
        ends.append(len(flat))
    found = np.array(flat, dtype=np.int32)
    parts = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))
    kept = found != _STOPPED
    found, parts = found[kept], parts[kept]
    return _Read(len(texts), found, parts // 2, np.where(parts % 2, 1.0, _TITLE_WEIGHT))


def _pair_keys(places: _Ints) -> tuple[_Keys, _Ints]:
    """Return a number for each pair of known neighbours, and where it begins."""
    at = np.flatnonzero((places[:-1] >= 0) & (places[1:] >= 0)).astype(np.int32)
    return places[at].astype(np.int64) << 32 | places[at + 1], at


def scaled(rows: sparse.csr_array) -> sparse.csr_array:
    """Return each row at length 1; one that is as good as empty becomes empty."""
    of = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    lengths = np.sqrt(np.bincount(of, weights=rows.data**2, minlength=rows.shape[0]))
    values = rows.data * np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > _NOTHING)[of]
    return sparse.csr_array((values, rows.indices, rows.indptr), shape=rows.shape)


def _blocks(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    return (texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE))


def _stacked(blocks: Iterable[sparse.csr_array], terms: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.vstack([sparse.csr_array((0, terms)), *blocks], format="csr"))
