"""The day's candidates, prepared once and then shared by all readers. Pure."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.text import every_word, name_key, terms, words
from newsletter.ranking.types import Document, Interest

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
_TITLE_WEIGHT = 2  # a word of the title counts as if it stood there twice


class Pool:
    """Candidate papers as TF-IDF vectors over stems and pairs of stems.

    Papers stand in the order hottest first, then by id, so that equal scores always end the same way.
    ``tf-idf = (1 + ln tf) * ln(1 + N / df)``, each paper scaled to length 1 (Manning, Raghavan,
    Schütze, Introduction to Information Retrieval, section 6.4).
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = sorted(documents, key=lambda document: (-document.trend, document.id))
        self.ids = np.array([document.id for document in self.documents], dtype=np.int64)
        self.trend = np.array([document.trend for document in self.documents], dtype=np.float64)
        stems = [(words(document.title), words(document.body)) for document in self.documents]
        self._texts = [
            f" {' '.join(every_word(document.title))} | {' '.join(every_word(document.body))} "
            for document in self.documents
        ]
        self._raw = [f"{document.title}\n{document.body}".casefold() for document in self.documents]
        self._authors = [{name_key(name) for name in document.authors} for document in self.documents]
        self._categories = [{name_key(name) for name in document.categories} for document in self.documents]
        counts = [_counts(title, body) for title, body in stems]
        self._vocabulary = {term: n for n, term in enumerate(sorted({term for count in counts for term in count}))}
        self._idf = self._inverse_frequencies(counts)
        self._matrix = self._vectors(counts)

    def __len__(self) -> int:
        return len(self.documents)

    def match(self, interest: Interest) -> Vector:
        """Return the cosine of an interest with each paper, 0 to 1: its phrases' unit vectors, added up."""
        vector = np.zeros(len(self._vocabulary))
        for phrase in interest.phrases:
            columns = [self._vocabulary[term] for term in terms(words(phrase)) if term in self._vocabulary]
            part = np.zeros(len(self._vocabulary))
            np.add.at(part, columns, self._idf[columns])
            vector += part / (np.linalg.norm(part) or 1.0)
        cosines: Vector = self._matrix @ (vector / (np.linalg.norm(vector) or 1.0))
        return cosines

    def mentions(self, phrase: str) -> Mask:
        """Return which papers hold the words of `phrase` next to each other, whatever their endings."""
        stems = every_word(phrase)
        if not stems:  # nothing but signs: take it to the letter
            needle = phrase.strip().casefold()
            return np.array([bool(needle) and needle in text for text in self._raw], dtype=bool)
        needle = f" {' '.join(stems)} "
        return np.array([needle in text for text in self._texts], dtype=bool)

    def written_by(self, author: str) -> Mask:
        """Return which papers have this author."""
        return _has(self._authors, author)

    def filed_under(self, category: str) -> Mask:
        """Return which papers have this category."""
        return _has(self._categories, category)

    def _inverse_frequencies(self, counts: Sequence[Counter[str]]) -> Vector:
        frequencies = Counter(term for count in counts for term in count)
        total = max(len(counts), 1)
        return np.array([np.log1p(total / frequencies[term]) for term in self._vocabulary])

    def _vectors(self, counts: Sequence[Counter[str]]) -> sparse.csr_array:
        rows = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
        columns = np.array([self._vocabulary[term] for count in counts for term in count], dtype=np.int64)
        tf = np.array([1.0 + np.log(n) for count in counts for n in count.values()], dtype=np.float64)
        values = tf * self._idf[columns] if len(columns) else tf
        norms = (
            np.sqrt(np.bincount(rows, weights=values**2, minlength=len(counts))) if len(rows) else np.ones(len(counts))
        )
        norms[norms == 0] = 1.0
        scaled = values / norms[rows] if len(rows) else values
        return sparse.csr_array((scaled, (rows, columns)), shape=(len(counts), len(self._vocabulary)))


def _counts(title: list[str], body: list[str]) -> Counter[str]:
    counts = Counter(terms(body))
    for term in terms(title):
        counts[term] += _TITLE_WEIGHT
    return counts


def _has(names: Sequence[set[str]], wanted: str) -> Mask:
    key = name_key(wanted)
    return np.array([bool(key) and key in each for each in names], dtype=bool)
