"""The day's candidates, prepared once and then shared by all readers. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.likeness import TWIN, Likeness
from newsletter.ranking.meaning import Space
from newsletter.ranking.statistics import Statistics, Vector, statistics
from newsletter.ranking.terms import Text, count, term
from newsletter.ranking.text import STOP, every_word, name_key, stem
from newsletter.ranking.types import Document, Interest, Rows, stacked

Mask = NDArray[np.bool_]
Kind = Literal["interest", "author", "category"]
_STOP_STEMS = frozenset(map(stem, STOP))
_AUTHOR = 1.0  # a followed author counts as a perfect match
_CATEGORY = 0.2
_MOST_COMPARED = 2_000  # papers whose likeness to each other is kept
_TWINS_KEPT = 5_000  # papers
_ROOM = 40 * 2**20
_KEPT_BYTES, _LEAST_KEPT = 16 * 2**20, 200  # of answers
_ANSWER_BYTES = np.dtype(np.float64).itemsize + np.dtype(np.bool_).itemsize  # for each paper


@dataclass(frozen=True, slots=True)
class Answer:
    """What the papers of a pool are to one wish.

    :ivar matches: by paper, how well it answers, 0 to 1.
    :ivar held: the columns of the papers that plainly hold what was asked for.
    """

    matches: Vector
    held: frozenset[int]


class Pool:
    """Candidate papers as TF-IDF vectors over stems and pairs of stems.

    Papers stand in the order hottest first, then by id, so that equal scores always end the same way.

    :param archive: says which terms are common; without one the papers themselves do.
    :param space: how their embeddings are compared, where there are any.
    :param room: bytes for what is known of rated papers.
    :ivar likeness: of the papers to those that readers rated.
    :ivar twins: by column, the columns of the papers that are as good as the same, itself among them.
    :ivar common: by paper, its cosine with the average paper of the archive: what says little about anybody.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        archive: Statistics | None = None,
        space: Space | None = None,
        room: int = _ROOM,
    ) -> None:
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
        counted = count([(document.title, document.body) for document in self.documents])
        self._archive = archive or statistics(counted)
        self._columns = np.unique(counted.terms)
        self.matrix = self._archive.vectors(counted).over(self._columns)
        self._papers_with = sparse.csr_array(self.matrix.T.tocsr())
        common = self.matrix @ self._archive.average_over(self._columns) * self._archive.certainty
        self.common: Rows = common.astype(np.float32)
        factors = stacked([each.factors for each in self.documents], _dimensions(self.documents))
        meanings = stacked([each.meaning for each in self.documents], space.dimensions) if space else None
        known = (space, meanings) if space and meanings is not None and meanings.any() else None
        self.likeness = Likeness(self._cosines, factors, known, room)
        kept = _KEPT_BYTES // (_ANSWER_BYTES * max(1, len(self)))
        self._answer = lru_cache(maxsize=max(_LEAST_KEPT, kept))(self._look)
        self.twins = lru_cache(maxsize=_TWINS_KEPT)(self._twins)

    @property
    def is_small(self) -> bool:
        """Whether all papers are compared with each other, once."""
        return len(self) <= _MOST_COMPARED

    def alike(self, columns: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Return cosines of papers with each other, and at which of its rows and columns each of `columns` is."""
        if self.is_small:
            return self._alike, columns
        some, place = np.unique(columns, return_inverse=True)
        near: Rows = (self.matrix[some] @ self.matrix[some].T).toarray().astype(np.float32)
        return near, place.reshape(columns.shape)

    def _twins(self, column: int) -> frozenset[int]:
        """Return the columns of the papers that are as good as the same as one."""
        near = self._alike[column] if self.is_small else (self.matrix[[column]] @ self._papers_with).toarray()[0]
        return frozenset(np.flatnonzero(near >= TWIN).tolist())

    @cached_property
    def _alike(self) -> Rows:
        return (self.matrix @ self._papers_with).toarray().astype(np.float32)

    def __len__(self) -> int:
        return len(self.documents)

    def answer(self, kind: Kind, what: str | Interest) -> Answer:
        """Return how well each paper answers one thing that readers ask for; what many ask for is looked at once."""
        return self._answer(kind, what)

    def _look(self, kind: Kind, what: str | Interest) -> Answer:
        if isinstance(what, Interest):
            held = [self.mentions(phrase) for phrase in what.phrases]
            return Answer(self.match(what), _columns(np.any(held, axis=0)) if held else frozenset())
        holds = self.written_by(what) if kind == "author" else self.filed_under(what)
        return Answer(holds.astype(np.float64) * (_AUTHOR if kind == "author" else _CATEGORY), _columns(holds))

    def match(self, interest: Interest) -> Vector:
        """Return the cosine of an interest with each paper, 0 to 1: its phrases' unit vectors, added up."""
        phrases = self._archive.vectors(count([(phrase, "") for phrase in interest.phrases]))
        vector = np.asarray(phrases.over(self._columns).sum(axis=0))
        length = float(np.linalg.norm(vector)) or 1.0
        cosines: Vector = np.minimum(self.matrix @ vector / length, 1.0)
        return cosines

    def _cosines(self, texts: Sequence[Text]) -> Rows:
        """Return (texts, papers), the cosines of texts with the papers."""
        vectors = self._archive.vectors(count(texts)).over(self._columns)
        found: Rows = np.minimum((vectors @ self._papers_with).toarray(), 1.0).astype(np.float32)
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
        telling = np.array([term(each) for each in stems if each not in _STOP_STEMS], dtype=np.uint32)
        if not len(telling):
            return range(len(self))
        columns = np.searchsorted(self._columns, telling)
        if columns.max() >= len(self._columns) or (self._columns[columns] != telling).any():
            return ()
        starts = self._papers_with.indptr
        held = [slice(starts[column], starts[column + 1]) for column in columns]
        rarest = min(held, key=lambda each: int(each.stop - each.start))
        return [int(paper) for paper in self._papers_with.indices[rarest]]


def _dimensions(documents: Sequence[Document]) -> int:
    return max((len(each.factors) for each in documents if each.factors is not None), default=0)


def _columns(holds: Mask) -> frozenset[int]:
    return frozenset(np.flatnonzero(holds).tolist())


def _has(names: Sequence[set[str]], wanted: str) -> Mask:
    key = name_key(wanted)
    return np.array([bool(key) and key in each for each in names], dtype=bool)
