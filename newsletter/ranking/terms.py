"""Texts as counted terms: stems, and pairs of stems that stand side by side, each under a number of its own. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from newsletter.ranking.text import STOP, split, stem

Text = tuple[str, str]
"""A title and a body."""
TermIds = NDArray[np.uint32]
_BREAK, _STOPPED = -1, -2
_TITLE_WEIGHT = 2.0  # a word of the title counts as if it stood there twice
_AT_ONCE = 2_000  # texts that are taken apart together
_LONGEST = 40  # letters: what is longer is no word, and would fill the memory
_LAST = 2**32 - 1  # of all terms
_MANY_STEPS = 16
_KNOWN_WORDS = 150_000  # spellings whose stems are kept
_PAIR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / the golden ratio: multiplying by it spreads numbers (Knuth, 6.4)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of terms: row ``i`` is ``terms[starts[i]:starts[i + 1]]``, in rising order, each once.

    :ivar starts: (rows + 1,).
    :ivar terms: 32-bit numbers of terms. Two of a million terms share theirs with a chance of some thousandths.
    :ivar times: how often each term stands in its row's text.
    """

    starts: NDArray[np.int64]
    terms: TermIds
    times: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, first: int, last: int) -> "Counts":
        """Return some of the rows."""
        start, stop = self.starts[first], self.starts[min(last, len(self))]
        starts = self.starts[first : min(last, len(self)) + 1] - start
        return Counts(starts, self.terms[start:stop], self.times[start:stop])

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each term."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


class Lexicon:
    """Terms in rising order, each found in a few steps: they are spread so evenly that a number says about where.

    :param terms: in rising order, each once.
    """

    def __init__(self, terms: TermIds) -> None:
        self.terms = terms
        bits = max(1, len(terms).bit_length())
        self._shift = np.uint32(32 - bits)
        heads = np.arange(2**bits, dtype=np.uint64) << np.uint64(self._shift)
        self._starts = np.searchsorted(terms, heads.astype(np.uint32))
        self._steps = int(np.diff(self._starts, append=len(terms)).max())
        self._padded = np.append(terms, np.uint32(_LAST))

    def __len__(self) -> int:
        return len(self.terms)

    def places(self, wanted: TermIds) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where each term is, or would be, and whether it is there."""
        if self._steps > _MANY_STEPS:  # terms that somebody has made up
            place = np.searchsorted(self.terms, wanted)
        else:
            place = self._starts[wanted >> self._shift]
            for _ in range(self._steps):
                place += self._padded[place] < wanted
        return place, (self._padded[place] == wanted) & (place < len(self.terms))


def count(texts: Iterable[Text]) -> Counts:
    """Return how often each term stands in each text; stop words are none, and no pair spans title and body."""
    left, blocks = iter(texts), list[Counts]()
    while some := list(islice(left, _AT_ONCE)):
        blocks.append(_count(some))
    starts = [np.zeros(1, dtype=np.int64)]
    for block in blocks:
        starts.append(block.starts[1:] + starts[-1][-1])
    return Counts(
        np.concatenate(starts),
        np.concatenate([np.zeros(0, dtype=np.uint32), *(block.terms for block in blocks)]),
        np.concatenate([np.zeros(0), *(block.times for block in blocks)], dtype=np.float32),
    )


def _count(texts: Sequence[Text]) -> Counts:
    flat: list[int] = []
    ends: list[int] = []
    for part in chain.from_iterable(texts):
        flat.extend(map(_KNOWN.__getitem__, split(part)))
        flat.append(_BREAK)
        ends.append(len(flat))
    words = np.array(flat, dtype=np.int64)
    parts = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    kept = words != _STOPPED
    words, parts = words[kept], parts[kept]
    single = words >= 0
    paired = single[:-1] & single[1:]
    first, second = words[:-1][paired].astype(np.uint64), words[1:][paired].astype(np.uint64)
    pairs = ((first << np.uint64(32) | second) * _PAIR) >> np.uint64(32)
    terms = np.concatenate([words[single].astype(np.uint64), pairs])
    parts = np.concatenate([parts[single], parts[:-1][paired]])
    told = (parts // 2).astype(np.uint64) << np.uint64(33) | terms << np.uint64(1) | (parts % 2).astype(np.uint64)
    told.sort()  # by text, then by term; last comes where it stands, which the sum below does not ask for in order
    keys, weights = told >> np.uint64(1), np.where(told & np.uint64(1), 1.0, _TITLE_WEIGHT)
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    keys, times = keys[first], np.add.reduceat(weights, first)
    starts = np.searchsorted(keys, np.arange(len(texts) + 1, dtype=np.uint64) << np.uint64(32))
    return Counts(starts.astype(np.int64), keys.astype(np.uint32), times.astype(np.float32))


def term(stem_: str) -> int:
    """Return the number of a stem."""
    return crc32(stem_.encode("utf-8", "surrogatepass"))


class _Known(dict[str, int]):
    """The number of each word's stem; a spelling is stemmed once."""

    def __missing__(self, word: str) -> int:
        number = term(stem(word))
        if len(word) <= _LONGEST:
            if len(self) >= _KNOWN_WORDS:
                self.clear()
                self.update(_STOP)
            self[word] = number
        return number


_STOP = dict.fromkeys(STOP, _STOPPED)
_KNOWN = _Known(_STOP)
