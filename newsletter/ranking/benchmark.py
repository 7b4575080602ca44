"""A benchmark's files, ranked as a real issue is: new papers for readers of whom little but likes is known. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from newsletter.ranking.coread import enough, factors, placed, who_likes_what
from newsletter.ranking.meaning import space
from newsletter.ranking.pool import Pool
from newsletter.ranking.score import score
from newsletter.ranking.select import select
from newsletter.ranking.statistics import statistics
from newsletter.ranking.terms import Text, count
from newsletter.ranking.types import Document, Interest, Interests, Place, Rated, Rows, Wish

_AT_ONCE = 500  # readers
_DIGEST = 10  # papers
_TREND = 0.5  # nobody says what is talked about


@dataclass(frozen=True, slots=True)
class Library:
    """What a reader likes, by ids of the archive, and their keywords."""

    id: str
    likes: tuple[str, ...]
    keywords: tuple[str, ...] = ()


class Row(NamedTuple):
    """A paper for a reader: of all new ones by score, or at its rank in the digest of a day."""

    subscriber: str
    day: str
    paper: str
    rank: int | None
    score: float


class Bench:
    """An archive that readers liked papers of, and new papers that nobody has seen.

    :param archive: texts by id.
    :param new: texts by id.
    :param readers: to be ranked for.
    :param others: whose likes only show what is liked together.
    :param embeddings: (archive, dimensions) and (new papers, dimensions), where there is an embedder.
    """

    def __init__(
        self,
        archive: Mapping[str, Text],
        new: Mapping[str, Text],
        readers: Sequence[Library],
        others: Sequence[Library] = (),
        embeddings: tuple[Rows, Rows] | None = None,
    ) -> None:
        self._new = new
        self._readers = readers
        self._statistics = statistics(count(archive.values()))
        ids = list(archive)
        place = {id_: number for number, id_ in enumerate(ids)}
        libraries = enumerate([*readers, *others])
        pairs = np.array([(who, place[id_]) for who, each in libraries for id_ in each.likes], dtype=np.int64)
        columns, likes = who_likes_what(pairs.reshape(-1, 2))
        known = factors(likes) if enough(likes) else np.zeros((len(columns), 0), dtype=np.float32)
        theirs = [archive[ids[column]] for column in columns]
        of_old, of_new = embeddings or (np.zeros((each, 0), dtype=np.float32) for each in map(len, (archive, new)))
        self._space = space(of_old) if embeddings else None
        centred = self._space.centred if self._space else lambda rows: rows[:, :0]
        found = placed(
            self._statistics, new.values(), theirs, known, likes, (centred(of_new), centred(of_old)[columns])
        )
        self._places = {id_: Place(*each) for id_, *each in zip(new, found, of_new, strict=True)}
        learnt = {ids[column]: row for column, row in zip(columns, known, strict=True)}
        self._rated = {
            id_: Rated(text[0], "\n".join(text), 1.0, id_, learnt.get(id_), meaning, shared=True)
            for (id_, text), meaning in zip(archive.items(), of_old, strict=True)
        }

    def everything(self, most: int) -> Iterator[Row]:
        """Yield each reader's best of all new papers, best first."""
        ids = list(self._new)
        pool = self._pool(ids)
        for wishes in self._batches(most):
            values = score(pool, [wish for _, wish in wishes]).values
            order = np.argsort(-values, axis=1, kind="stable")[:, :most]
            for (reader, _), columns, row in zip(wishes, order.tolist(), values, strict=True):
                for column in columns:
                    yield Row(reader, "", ids[int(pool.ids[column])], None, float(row[column]))

    def digests(self, day: str, ids: Sequence[str]) -> Iterator[Row]:
        """Yield what each reader is sent on a day."""
        pool = self._pool(ids)
        for wishes in self._batches(_DIGEST):
            for (reader, _), picks in zip(wishes, select(pool, [wish for _, wish in wishes]), strict=True):
                for rank, pick in enumerate(picks, 1):
                    yield Row(reader, day, ids[pick.paper_id], rank, pick.score)

    def _pool(self, ids: Sequence[str]) -> Pool:
        documents = [
            Document(number, *self._new[id_], (), (), _TREND, *self._places[id_]) for number, id_ in enumerate(ids)
        ]
        return Pool(documents, self._statistics, self._space)

    def _batches(self, limit: int) -> Iterator[list[tuple[str, Wish]]]:
        for first in range(0, len(self._readers), _AT_ONCE):
            yield [(each.id, self._wish(each, limit)) for each in self._readers[first : first + _AT_ONCE]]

    def _wish(self, reader: Library, limit: int) -> Wish:
        wanted = tuple(Interest(keyword, (keyword,)) for keyword in reader.keywords)
        return Wish(Interests(wanted, rated=tuple(self._rated[id_] for id_ in reader.likes)), limit)
