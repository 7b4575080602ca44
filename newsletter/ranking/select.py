"""From scores to picks, each with its reason. Pure."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.diversity import diverse, fair, looked_at, make_room, shares
from newsletter.ranking.outside import outside
from newsletter.ranking.pool import Pool
from newsletter.ranking.score import ALIKE, Scores, score
from newsletter.ranking.statistics import Vector
from newsletter.ranking.types import Likened, Pick, Wish, made

_MAX_MATCHED = 3
_NEVER, _LOWEST, _STEPS = float("-inf"), -1e6, 1e6
_COMPARED, _COMPARED_OF_MANY = 2_000, 20  # readers, whose candidates are compared with each other at once
_AT_ONCE = 400  # readers; measured from 125 to 2,000
_ROWS_BYTES = 48 * 2**20
_UNLIKE = Likened()


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
    """Yield readers in runs: few enough that what is known of them stays in a processor's cache.

    Their rated papers, each against the whole pool, take some memory at most.
    """
    most, first, rated = _ROWS_BYTES // pool.likeness.row_bytes, 0, 0
    for number, wish in enumerate(wishes):
        rated += len(wish.interests.rated)
        if number > first and (rated > most or number >= first + _AT_ONCE):
            yield wishes[first:number]
            first, rated = number, len(wish.interests.rated)
    if wishes:
        yield wishes[first:]


def _select(pool: Pool, wishes: Sequence[Wish]) -> list[tuple[Pick, ...]]:
    scores = score(pool, wishes)
    bars, values = np.array([wish.bar for wish in wishes])[:, None], scores.values
    if bars.any():
        values = np.where(np.maximum(values, 0.0) < bars, _NEVER, values)
    reasons = _Reasons(scores, wishes)
    # Plain lists from here on: of each reader it is a few of a few, for which an array takes longer.
    strange = set[tuple[int, int]]()
    limits = np.array([wish.limit for wish in wishes])
    share = shares(limits, np.diff(scores.wishes.indptr))
    chosen = _diverse(pool, values, limits)
    lacking = reasons.lacking(*_flat(chosen), share)
    for reader, wish in enumerate(wishes):
        if reader not in lacking and not wish.outside:
            continue
        least, held = int(share[reader]), reasons.held(reader)
        theirs = fair(pool, chosen[reader], wish.limit, least, held, values[reader])
        stranger = outside(pool, scores, reader, theirs, held) if wish.outside else None
        if stranger is not None:
            theirs = make_room(theirs, wish.limit, least, held, stranger)
            strange.add((reader, stranger))
        chosen[reader] = theirs
    readers, columns = _flat(chosen)
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
    return [tuple(map(made, repeat(Pick), islice(picks, len(theirs)))) for theirs in chosen]


def _flat(chosen: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return by pick whose it is, and which paper."""
    readers = np.repeat(np.arange(len(chosen)), [len(theirs) for theirs in chosen])
    return readers, np.array(list(chain.from_iterable(chosen)), dtype=np.int64)


def _diverse(pool: Pool, values: Vector, limits: NDArray[np.int64]) -> list[list[int]]:
    """Return each reader's picks as columns, chosen among their best papers.

    Where so many of these say the same that there are too few picks, among more.
    """
    looks = looked_at(limits)
    picked: list[list[int]] = []
    group = _COMPARED if pool.is_small else _COMPARED_OF_MANY
    for first in range(0, len(limits), group):
        some = slice(first, first + group)
        picked += _diverse_among(pool, values[some], limits[some], looks[some])
    few = np.flatnonzero(np.array([len(theirs) for theirs in picked]) < limits)
    there = np.isfinite(values[few]).sum(axis=1)
    for reader, most in zip(few.tolist(), there.tolist(), strict=True):
        alone, look = slice(reader, reader + 1), looks[reader]
        while len(picked[reader]) < min(limits[reader], most) and look < most:
            look *= 2
            [picked[reader]] = _diverse_among(pool, values[alone], limits[alone], look[None])
    return picked


def _diverse_among(pool: Pool, values: Vector, limits: NDArray[np.int64], looks: NDArray[np.int64]) -> list[list[int]]:
    order = _best(values, int(looks.max()))
    best = np.take_along_axis(values, order, axis=1)
    # a reader's picks must not depend on how many papers others want
    best[np.arange(best.shape[1]) >= looks[:, None]] = _NEVER
    return diverse(pool, order, best, limits)


def _best(values: Vector, most: int) -> NDArray[np.int64]:
    """Return the columns of each row's largest values, largest first; the pool stands hottest first, and so do ties."""
    papers = values.shape[1]
    # one whole number for a value, which has six decimals, and its place: those are sorted in half the time
    steps = np.maximum(values, _LOWEST)
    steps *= _STEPS
    told = np.rint(steps, out=steps).astype(np.int64)
    told *= -papers
    told += np.arange(papers)
    if 0 < most < papers:
        told = np.partition(told, most - 1, axis=1)[:, :most]
    told.sort(axis=1)
    order: NDArray[np.int64] = told[:, :most] % papers
    return order


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

    def held(self, reader: int) -> list[frozenset[int]]:
        """Return for each thing that a reader asked for which papers hold it."""
        wishes, held = self._scores.wishes, self._scores.answers.held
        return [held[row] for row in wishes.indices[wishes.indptr[reader] : wishes.indptr[reader + 1]].tolist()]

    def lacking(self, readers: NDArray[np.int64], columns: NDArray[np.int64], share: NDArray[np.int64]) -> set[int]:
        """Return whose picks leave less than its share to something they asked for, though other papers hold it.

        :param share: by reader.
        """
        wishes, answers = self._scores.wishes, self._scores.answers
        pick, place = _each_of(wishes, readers)
        holds = _at(answers.holds, wishes.indices[place], columns[pick])
        many = np.bincount(place[holds], minlength=wishes.nnz)
        whose = np.repeat(np.arange(len(share)), np.diff(wishes.indptr))
        return set(whose[(many < share[whose]) & (many < answers.many[wishes.indices])].tolist())

    def matched(self, readers: NDArray[np.int64], columns: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Return for each of these picks what its reader asked for that it holds, what it answers best first."""
        wishes, answers = self._scores.wishes, self._scores.answers
        pick, place = _each_of(wishes, readers)
        rows = wishes.indices[place]
        hits = np.flatnonzero(_at(answers.holds, rows, columns[pick]))
        hits = hits[np.lexsort((-_at(answers.matches, rows[hits], columns[pick[hits]]), pick[hits]))]
        names: list[tuple[str, ...]] = [()] * len(readers)
        for number, label in zip(
            pick[hits].tolist(), map(answers.labels.__getitem__, rows[hits].tolist()), strict=True
        ):
            others = names[number]
            if len(others) < _MAX_MATCHED and label[0] not in others:
                names[number] = others + label
        return names

    def resembled(self, readers: NDArray[np.int64], columns: NDArray[np.int64]) -> list[Likened]:
        """Return for each of these picks the title of the liked paper that speaks most for it, if any.

        And whether that one was only clicked.
        """
        likes, look = self._scores.likes, self._scores.look
        pick, like = _each_of(likes, readers)
        told = _at(look.text, likes.indices[like], columns[pick])
        told *= likes.data[like]
        least = np.full(len(readers), ALIKE, dtype=told.dtype)
        if len(pick):
            first = np.flatnonzero(np.diff(pick, prepend=-1))
            best = pick[first]
            least[best] = np.maximum(np.maximum.reduceat(told, first), least[best])
        hits = np.flatnonzero(told >= least[pick])
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
