"""From scores to picks, each with its reason. Pure."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.diversity import diverse, fair, looked_at, make_room
from newsletter.ranking.outside import outside
from newsletter.ranking.pool import Pool
from newsletter.ranking.score import ALIKE, Scores, score
from newsletter.ranking.statistics import Vector
from newsletter.ranking.types import Likened, Pick, Wish, made

_MAX_MATCHED = 3
_NEVER, _LOWEST = float("-inf"), -1e9
_COMPARED, _COMPARED_OF_MANY = 2_000, 20  # readers, whose candidates are compared with each other at once
_ROWS_BYTES = 48 * 2**20
_UNLIKE = Likened()
_TIE = 5e-7  # less than half the last decimal of a value


def select(pool: Pool, wishes: Sequence[Wish]) -> list[tuple[Pick, ...]]:
    """Return each reader's picks, best first: never a muted paper, one they have seen, or one below their bar.

    But for the one from outside their topics, if they want it, which comes last and need not reach their bar.

    Of two that say the same the better one is picked, and what is like a pick already comes later. Equal scores go to
    the hotter paper, then to the one we knew first; among those at 0, what is more like the disliked papers comes last.
    """
    if not len(pool):
        return [() for _ in wishes]
    return [picks for part in _parts(pool, wishes) for picks in _select(pool, part)]


def _parts(pool: Pool, wishes: Sequence[Wish]) -> Iterator[Sequence[Wish]]:
    """Yield readers in runs whose rated papers, each against the whole pool, take some memory at most."""
    most, first = max(1, _ROWS_BYTES // pool.likeness.row_bytes), 0
    if sum([len(wish.interests.rated) for wish in wishes]) <= most:
        yield wishes
        return
    keys: set[str] = set()
    for number, wish in enumerate(wishes):
        theirs = {each.key for each in wish.interests.rated}
        if number > first and len(keys) + len(theirs - keys) > most:
            yield wishes[first:number]
            first, keys = number, set()
        keys.update(theirs)
    if wishes:
        yield wishes[first:]


def _select(pool: Pool, wishes: Sequence[Wish]) -> list[tuple[Pick, ...]]:
    scores = score(pool, wishes)
    bars, values = np.array([wish.bar for wish in wishes])[:, None], scores.values
    if bars.any():
        values = np.where(np.maximum(values, 0.0) < bars, _NEVER, values)
    reasons = _Reasons(scores, wishes)
    # Plain lists from here on: of each reader it is a few of a few, for which an array takes longer.
    chosen, strange = [], set[tuple[int, int]]()
    for reader, best in enumerate(_diverse(pool, values, [wish.limit for wish in wishes])):
        wish, held = wishes[reader], reasons.held(reader)
        theirs = fair(pool, best, wish.limit, held, values[reader])
        stranger = outside(pool, scores, reader, theirs, held) if wish.outside else None
        if stranger is not None:
            theirs = make_room(theirs, wish.limit, held, stranger)
            strange.add((reader, stranger))
        chosen.append(theirs)
    many = [len(each) for each in chosen]
    readers, columns = np.repeat(np.arange(len(chosen)), many), np.array(list(chain(*chosen)), dtype=np.int64)
    picks = zip(
        pool.ids[columns].tolist(),
        np.maximum(_at(scores.values, readers, columns), 0.0).tolist(),
        scores.parts(readers, columns),
        reasons.matched(readers, columns),
        reasons.resembled(readers, columns),
        [each in strange for each in zip(readers.tolist(), columns.tolist(), strict=True)]
        if strange
        else repeat(False),
        strict=False,
    )
    return [tuple(map(made, repeat(Pick), islice(picks, number))) for number in many]


def _diverse(pool: Pool, values: Vector, limits: Sequence[int]) -> list[list[int]]:
    """Return each reader's picks as columns, chosen among their best papers.

    Where so many of these say the same that there are too few picks, among more.
    """
    looks = np.array([looked_at(limit) for limit in limits])
    there = np.isfinite(values).sum(axis=1).tolist()
    picked: list[list[int]] = []
    group = _COMPARED if pool.is_small else _COMPARED_OF_MANY
    for first in range(0, len(limits), group):
        some = slice(first, first + group)
        picked += _diverse_among(pool, values[some], limits[some], looks[some])
    for reader, limit in enumerate(limits):
        look = int(looks[reader])
        while len(picked[reader]) < min(limit, there[reader]) and look < there[reader]:
            look *= 2
            [picked[reader]] = _diverse_among(pool, values[[reader]], [limit], np.array([look]))
    return picked


def _diverse_among(pool: Pool, values: Vector, limits: Sequence[int], looks: NDArray[np.int64]) -> list[list[int]]:
    order = _best(values, int(looks.max()))
    best = np.take_along_axis(values, order, axis=1)
    # a reader's picks must not depend on how many papers others want
    best[np.arange(best.shape[1]) >= looks[:, None]] = _NEVER
    places = diverse(pool, order, best, limits)
    return [[theirs[place] for place in told] for theirs, told in zip(order.tolist(), places, strict=True)]


def _best(values: Vector, most: int) -> NDArray[np.int64]:
    """Return the columns of each row's largest values, largest first; the pool stands hottest first, and so do ties."""
    papers = values.shape[1]
    # values have six decimals: what is taken off for the place decides only between equal ones
    told = np.maximum(values, _LOWEST)
    np.subtract(np.arange(papers) * (_TIE / papers), told, out=told)
    if not 0 < most < papers:
        return np.argsort(told, axis=1, kind="stable")[:, :most]
    some = np.argpartition(told, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(told, some, axis=1), axis=1)
    return np.take_along_axis(some, order, axis=1)


def _each_of(rows: sparse.csr_array, readers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of a pick and a place in its reader's row, for all picks and all of their row.

    :param rows: (readers, something).
    :param readers: by pick, whose it is.
    """
    many = np.diff(rows.indptr)[readers]
    picks, before = np.repeat(np.arange(len(readers)), many), np.cumsum(many) - many
    return picks, np.arange(len(picks)) + np.repeat(rows.indptr[readers] - before, many)


def _at(rows: NDArray[Any], row: NDArray[Any], column: NDArray[np.int64]) -> NDArray[Any]:
    """Return some places of an array: by one number each, which is twice as fast as by two."""
    found: NDArray[Any] = np.take(rows, row.astype(np.int64) * rows.shape[1] + column)
    return found


class _Reasons:
    """Why papers are chosen, in the readers' own words.

    In each method `readers` says by pick whose it is, and `columns` which paper.
    """

    def __init__(self, scores: Scores, wishes: Sequence[Wish]) -> None:
        self._scores, self._wishes = scores, wishes
        self._titles: dict[int, dict[str, str]] = {}
        self._starts, self._wanted = scores.wishes.indptr.tolist(), scores.wishes.indices.tolist()

    def held(self, reader: int) -> list[frozenset[int]]:
        """Return for each thing that a reader asked for which papers hold it."""
        return [self._scores.held[each] for each in self._wanted[self._starts[reader] : self._starts[reader + 1]]]

    def matched(self, readers: NDArray[np.int64], columns: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Return for each of these picks what its reader asked for that it holds, what it answers best first."""
        pick, place = _each_of(self._scores.wishes, readers)
        features = self._scores.wishes.indices[place]
        hits = np.flatnonzero(_at(self._scores.holds, features, columns[pick]))
        found: dict[int, list[int]] = {}
        for number, feature in zip(pick[hits].tolist(), features[hits].tolist(), strict=True):
            found.setdefault(number, []).append(feature)
        names: list[tuple[str, ...]] = [()] * len(readers)
        for number, theirs in found.items():
            names[number] = self._named(theirs, columns.item(number))
        return names

    def resembled(self, readers: NDArray[np.int64], columns: NDArray[np.int64]) -> list[Likened]:
        """Return for each of these picks the title of the liked paper that speaks most for it, if any.

        And whether that one was only clicked.
        """
        likes, look = self._scores.likes, self._scores.look
        pick, like = _each_of(likes, readers)
        told = likes.data[like] * _at(look.text, likes.indices[like], columns[pick])
        best = np.zeros(len(readers), dtype=told.dtype)
        if len(pick):
            first = np.flatnonzero(np.diff(pick, prepend=-1))
            best[pick[first]] = np.maximum.reduceat(told, first)
        hits = np.flatnonzero((told == best[pick]) & (told >= ALIKE))
        found: dict[int, list[tuple[str, bool]]] = {}
        clicked = (likes.data[like[hits]] < 1).tolist()
        for number, row, half in zip(pick[hits].tolist(), likes.indices[like[hits]].tolist(), clicked, strict=True):
            found.setdefault(number, []).append((look.keys[row], half))
        titles = [_UNLIKE] * len(readers)
        for number, keys in found.items():
            titles[number] = self._title(int(readers[number]), keys)
        return titles

    def _title(self, reader: int, keys: Sequence[tuple[str, bool]]) -> Likened:
        """Return a liked paper's title as this reader knows it; of several that speak alike the first one's."""
        if reader not in self._titles:
            self._titles = {reader: {each.key: each.label for each in self._wishes[reader].interests.rated}}
        titles = self._titles[reader]
        title, clicked = min([(titles[key], clicked) for key, clicked in keys])
        return Likened(title, clicked=clicked)

    def _named(self, features: list[int], column: int) -> tuple[str, ...]:
        labels = self._scores.labels
        if len(features) == 1:
            return (labels[features[0]],)
        features.sort(key=lambda feature: -self._scores.matches.item(feature, column))
        return tuple(dict.fromkeys([labels[feature] for feature in features]))[:_MAX_MATCHED]
