"""The day's candidates, prepared once and then shared by all readers. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.likeness import TWIN, Likeness
from newsletter.ranking.meaning import Space
from newsletter.ranking.statistics import Statistics, Vector, statistics
from newsletter.ranking.terms import Lexicon, Text, count, term
from newsletter.ranking.text import STOP, every_word, name_key, stem
from newsletter.ranking.types import Document, Interest, Rows, stacked

Mask = NDArray[np.bool_]
Kind = Literal["author", "category"]
Feature = Interest | tuple[Kind, str]
_STOP_STEMS = frozenset(map(stem, STOP))
_AUTHOR = 1.0  # a followed author counts as a perfect match
_CATEGORY = 0.2
_MOST_COMPARED = 2_000  # papers whose likeness to each other is kept
_TWINS_KEPT = 5_000  # papers
_ROOM = 40 * 2**20
_KEPT_BYTES, _LEAST_KEPT = 16 * 2**20, 200  # of answers
_ANSWER_BYTES = np.dtype(np.float64).itemsize + np.dtype(np.bool_).itemsize  # for each paper


@dataclass(frozen=True, slots=True)
class Answers:
    """What the papers of a pool are to wishes, each of which has a row; rows behind the last one are empty.

    :ivar matches: (wishes, papers), how well each paper answers, 0 to 1.
    :ivar holds: (wishes, papers), whether it plainly holds what was asked for.
    :ivar many: by wish, how many papers do; `held` are their columns.
    :ivar labels: by row, the reader's word for it, alone in a tuple: it is added to others.
    :ivar rows: by wish.
    """

    matches: Vector
    holds: Mask
    many: NDArray[np.int64]
    held: list[frozenset[int]]
    labels: list[tuple[str]]
    rows: dict[Feature, int]

    @classmethod
    def blank(cls, wishes: int, papers: int) -> "Answers":
        """Return rows to be filled."""
        shape = wishes, papers
        return cls(np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(wishes, dtype=np.int64), [], [], {})

    def with_room(self, wishes: int) -> "Answers":
        """Return these answers with room for so many; whoever still uses the old rows keeps them."""
        there, papers = self.matches.shape
        if wishes <= there:
            return self
        more = Answers.blank(max(wishes, 2 * there), papers)
        more.matches[:there], more.holds[:there], more.many[:there] = self.matches, self.holds, self.many
        more.held.extend(self.held)
        more.labels.extend(self.labels)
        more.rows.update(self.rows)
        return more

    def put(self, features: Sequence[Feature], found: Sequence[tuple[Vector, Mask]]) -> None:
        """Fill the next rows; whoever reads the others may go on."""
        first = len(self.rows)
        for row, (matches, holds) in enumerate(found, first):
            self.matches[row], self.holds[row], self.many[row] = matches, holds, holds.sum()
            self.held.append(frozenset(np.flatnonzero(holds).tolist()))
        self.labels.extend((each.label if isinstance(each, Interest) else each[1],) for each in features)
        self.rows.update({feature: row for row, feature in enumerate(features, first)})


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
        self._columns = Lexicon(np.unique(counted.terms))
        self.matrix = self._archive.vectors(counted).over(self._columns)
        self._papers_with = sparse.csr_array(self.matrix.T.tocsr())
        common = self.matrix @ self._archive.average_over(self._columns) * self._archive.certainty
        self.common: Rows = common.astype(np.float32)
        factors = stacked([each.factors for each in self.documents], _dimensions(self.documents))
        meanings = stacked([each.meaning for each in self.documents], space.dimensions) if space else None
        known = (space, meanings) if space and meanings is not None and meanings.any() else None
        self.likeness = Likeness(self._cosines, factors, known, room)
        kept = _KEPT_BYTES // (_ANSWER_BYTES * max(1, len(self)))
        self._most_answers = max(_LEAST_KEPT, kept)
        self._answers = Answers.blank(0, len(self))
        self._answering = Lock()
        self.twins = lru_cache(maxsize=_TWINS_KEPT)(self._twins)

    @property
    def is_small(self) -> bool:
        """Whether all papers are compared with each other, once."""
        return len(self) <= _MOST_COMPARED

    def alike(self, columns: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Return cosines of papers with each other, and at which of its rows and columns each of `columns` is.

        They are infinite where two are as good as the same, as each is to itself.
        """
        if self.is_small:
            return self._alike, columns
        some, place = np.unique(columns, return_inverse=True)
        return _told_apart((self.matrix[some] @ self.matrix[some].T).toarray()), place.reshape(columns.shape)

    def _twins(self, column: int) -> frozenset[int]:
        """Return the columns of the papers that are as good as the same as one."""
        near = self._alike[column] if self.is_small else (self.matrix[[column]] @ self._papers_with).toarray()[0]
        return frozenset(np.flatnonzero(near >= TWIN).tolist())

    @cached_property
    def _alike(self) -> Rows:
        return _told_apart((self.matrix @ self._papers_with).toarray())

    @cached_property
    def columns(self) -> dict[int, int]:
        """At which column each paper is, by id."""
        return {paper_id: column for column, paper_id in enumerate(self.ids.tolist())}

    def __len__(self) -> int:
        return len(self.documents)

    def answers(self, features: Sequence[Feature]) -> tuple[list[int], Answers]:
        """Return at which row the answer to each wish is, and the answers; what many ask for is looked at once."""
        known = self._answers
        try:
            return list(map(known.rows.__getitem__, features)), known
        except KeyError:
            asked, most = list(dict.fromkeys(features)), self._most_answers
        with self._answering:
            known = self._answers
            new = [each for each in asked if each not in known.rows]
            if len(known.rows) + len(new) > most:
                known, new = Answers.blank(0, len(self)), asked
            known = known.with_room(len(known.rows) + len(new))
            for first in range(0, len(new), most):
                some = new[first : first + most]
                known.put(some, self._looked_at(some))
            if len(asked) <= most:
                self._answers = known
        return list(map(known.rows.__getitem__, features)), known

    def _looked_at(self, features: Sequence[Feature]) -> list[tuple[Vector, Mask]]:
        matches = iter(self._matches([each for each in features if isinstance(each, Interest)]))
        return [
            (next(matches), self._held(each)) if isinstance(each, Interest) else self._named(*each) for each in features
        ]

    def _held(self, interest: Interest) -> Mask:
        held = np.zeros(len(self), dtype=bool)
        for phrase in interest.phrases:
            held |= self.mentions(phrase)
        return held

    def _named(self, kind: Kind, name: str) -> tuple[Vector, Mask]:
        holds = self.written_by(name) if kind == "author" else self.filed_under(name)
        return holds.astype(np.float64) * (_AUTHOR if kind == "author" else _CATEGORY), holds

    def _matches(self, interests: Sequence[Interest]) -> Vector:
        """Return (interests, papers), cosines, 0 to 1: an interest is its phrases' unit vectors, added up."""
        phrases = [(phrase, "") for interest in interests for phrase in interest.phrases]
        vectors = self._archive.vectors(count(phrases)).over(self._columns)
        starts = np.cumsum([0, *(len(each.phrases) for each in interests)])
        whose = np.ones(len(phrases)), np.arange(len(phrases)), starts
        summed = sparse.csr_array(sparse.csr_array(whose, shape=(len(interests), len(phrases))) @ vectors)
        lengths = np.sqrt(summed.power(2).sum(axis=1))[:, None]
        products = (summed @ self._papers_with).toarray()
        cosines: Vector = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        return np.minimum(cosines, 1.0)

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
        columns, known = self._columns.places(telling)
        if not known.all():
            return ()
        starts = self._papers_with.indptr
        held = [slice(starts[column], starts[column + 1]) for column in columns]
        rarest = min(held, key=lambda each: int(each.stop - each.start))
        return [int(paper) for paper in self._papers_with.indices[rarest]]


def _told_apart(cosines: NDArray[Any]) -> Rows:
    near: Rows = cosines.astype(np.float32)
    near[near >= TWIN] = np.inf
    np.fill_diagonal(near, np.inf)
    return near


def _dimensions(documents: Sequence[Document]) -> int:
    return max((len(each.factors) for each in documents if each.factors is not None), default=0)


def _has(names: Sequence[set[str]], wanted: str) -> Mask:
    key = name_key(wanted)
    return np.array([bool(key) and key in each for each in names], dtype=bool)
