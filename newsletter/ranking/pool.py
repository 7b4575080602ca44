"""The day's candidates, prepared once and then shared by all readers. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.text import STOP, every_word, name_key, stem, words
from newsletter.ranking.types import Document, Interest
from newsletter.ranking.vocabulary import Text, Vector, Vocabulary

Mask = NDArray[np.bool_]
Kind = Literal["interest", "author", "category"]
_STOP_STEMS = frozenset(map(stem, STOP))
_AUTHOR = 1.0  # a followed author counts as a perfect match
_CATEGORY = 0.2
_KEPT_BYTES, _LEAST_KEPT = 16 * 2**20, 200  # of answers
_ANSWER_BYTES = np.dtype(np.float64).itemsize + np.dtype(np.bool_).itemsize  # for each paper


@dataclass(frozen=True, slots=True)
class Answer:
    """What the papers of a pool are to one wish.

    :ivar matches: by paper, how well it answers, 0 to 1.
    :ivar holds: by paper, whether it plainly holds what was asked for.
    """

    matches: Vector
    holds: Mask


class Pool:
    """Candidate papers as TF-IDF vectors over stems and pairs of stems.

    Papers stand in the order hottest first, then by id, so that equal scores always end the same way.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = sorted(documents, key=lambda document: (-document.trend, document.id))
        self.ids = np.array([document.id for document in self.documents], dtype=np.int64)
        self.trend = np.array([document.trend for document in self.documents], dtype=np.float64)
        self._texts = [
            f" {' '.join(every_word(document.title))} | {' '.join(every_word(document.body))} "
            for document in self.documents
        ]
        self._raw = [f"{document.title}\n{document.body}".casefold() for document in self.documents]
        self._authors = [{name_key(name) for name in document.authors} for document in self.documents]
        self._categories = [{name_key(name) for name in document.categories} for document in self.documents]
        self._vocabulary = Vocabulary([(document.title, document.body) for document in self.documents])
        self._papers_with = sparse.csr_array(self._vocabulary.matrix.T.tocsr())
        kept = _KEPT_BYTES // (_ANSWER_BYTES * max(1, len(self)))
        self._answer = lru_cache(maxsize=max(_LEAST_KEPT, kept))(self._look)

    def __len__(self) -> int:
        return len(self.documents)

    def answer(self, kind: Kind, what: str | Interest) -> Answer:
        """Return how well each paper answers one thing that readers ask for; what many ask for is looked at once."""
        return self._answer(kind, what)

    def _look(self, kind: Kind, what: str | Interest) -> Answer:
        if isinstance(what, Interest):
            held = [self.mentions(phrase) for phrase in what.phrases]
            return Answer(self.match(what), np.any(held, axis=0) if held else np.zeros(len(self), bool))
        holds = self.written_by(what) if kind == "author" else self.filed_under(what)
        return Answer(holds.astype(np.float64) * (_AUTHOR if kind == "author" else _CATEGORY), holds)

    def match(self, interest: Interest) -> Vector:
        """Return the cosine of an interest with each paper, 0 to 1: its phrases' unit vectors, added up."""
        vector: dict[int, float] = defaultdict(float)
        for phrase in interest.phrases:
            for column, value in zip(*self._vocabulary.phrase(words(phrase)), strict=True):
                vector[int(column)] += float(value)
        length = hypot(*vector.values()) or 1.0
        cosines = np.zeros(len(self))
        for column, value in vector.items():
            held = slice(*self._papers_with.indptr[column : column + 2])
            cosines[self._papers_with.indices[held]] += value / length * self._papers_with.data[held]
        return cosines

    def vectors(self, texts: Sequence[Text]) -> sparse.csr_array:
        """Return (texts, terms): each text as if it were a paper of the pool, at length 1, or 0 if it is like none."""
        return self._vocabulary.vectors(texts)

    def cosines(self, vectors: sparse.csr_array) -> Vector:
        """Return (vectors, papers) for vectors over the pool's terms that have length 1."""
        found: Vector = (vectors @ self._papers_with).toarray()
        return found

    def cosines_at(self, columns: Sequence[int], vectors: sparse.csr_array) -> Vector:
        """Return (vectors, columns): the same for the papers in some columns only."""
        found: Vector = (vectors @ self._vocabulary.matrix[list(columns)].T.tocsr()).toarray()
        return found

    def mentions(self, phrase: str) -> Mask:
        """Return which papers hold the words of `phrase` next to each other, whatever their endings."""
        stems = every_word(phrase)
        if not stems:  # nothing but signs: take it to the letter
            needle = phrase.strip().casefold()
            return np.array([bool(needle) and needle in text for text in self._raw], dtype=bool)
        needle = f" {' '.join(stems)} "
        held = np.zeros(len(self), dtype=bool)
        for paper in self._suspects(stems):
            held[paper] = needle in self._texts[paper]
        return held

    def written_by(self, author: str) -> Mask:
        """Return which papers have this author."""
        return _has(self._authors, author)

    def filed_under(self, category: str) -> Mask:
        """Return which papers have this category."""
        return _has(self._categories, category)

    def _suspects(self, stems: Sequence[str]) -> Iterable[int]:
        """Return the only papers that may hold all these stems: those with the rarest of them."""
        columns = [self._vocabulary.stem_column(each) for each in stems if each not in _STOP_STEMS]
        if not columns:
            return range(len(self))
        starts = self._papers_with.indptr
        held = [slice(starts[column], starts[column + 1]) for column in columns if column is not None]
        if len(held) < len(columns):
            return ()
        rarest = min(held, key=lambda each: int(each.stop - each.start))
        return [int(paper) for paper in self._papers_with.indices[rarest]]


def _has(names: Sequence[set[str]], wanted: str) -> Mask:
    key = name_key(wanted)
    return np.array([bool(key) and key in each for each in names], dtype=bool)
