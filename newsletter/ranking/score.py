"""Scores for a batch of readers in one matrix product. Pure."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import sparse

from newsletter.ranking.pool import Kind, Mask, Pool
from newsletter.ranking.profile import Profiles, profiles
from newsletter.ranking.types import Interest, Wish
from newsletter.ranking.vocabulary import Vector

_RELEVANCE = 0.75  # what the reader asked for; the rest is what everybody talks about
_WEAK = 0.15  # a best match below this cosine is not blown up to a perfect one
_COMMON, _SURE = 0.04, 0.1  # how much any two papers are alike; and, as recorded, two on the same subject
_LIKENESS = _WEAK / (_SURE - _COMMON)  # a paper on the subject of what the reader likes is no weak match
_T = TypeVar("_T", bound=Hashable)
_Feature = tuple[Kind, str | Interest]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a batch.

    :ivar values: (readers, papers), at most 1; below 0 where it is like what the reader disliked, the more the lower;
        -inf where the paper must not be sent.
    :ivar wishes: (readers, features), what each reader asked for.
    :ivar matches: (features, papers), how well each paper answers.
    :ivar holds: (features, papers), whether the paper plainly holds what was asked for.
    :ivar labels: a feature's name in the readers' words, by feature.
    :ivar profiles: what the readers rated.
    """

    values: Vector
    wishes: sparse.csr_array
    matches: Vector
    holds: Mask
    labels: list[str]
    profiles: Profiles


def score(pool: Pool, wishes: Sequence[Wish]) -> Scores:
    """Score every paper of the pool for every reader.

    ``relevance = W · C`` with W (readers by distinct features) saying who wants what and C (features by
    papers) how well each paper answers; each distinct feature is looked at once for the whole batch. What the
    readers rated counts as one feature more, which no two readers share.
    """
    features: list[_Feature] = [
        *(("interest", each) for each in _distinct(wishes, lambda wish: wish.interests.wanted)),
        *(("author", each) for each in _distinct(wishes, lambda wish: wish.interests.authors)),
        *(("category", each) for each in _distinct(wishes, lambda wish: wish.interests.categories)),
    ]
    wanted = _membership([_asked(wish) for wish in wishes], features)
    answers = [pool.answer(kind, what) for kind, what in features]
    shape = len(features), len(pool)
    matches = np.array([each.matches for each in answers], dtype=np.float64).reshape(shape)
    holds = np.array([each.holds for each in answers], dtype=bool).reshape(shape)
    rated = profiles(pool, wishes)
    relevance = _relative(wanted @ matches + _alike(rated.likeness))
    wants = ((np.diff(wanted.indptr) > 0) | rated.likes)[:, None]
    mixed = _RELEVANCE * relevance + np.where(wants, 1 - _RELEVANCE, 1.0) * pool.trend
    values = np.minimum(mixed, 1.0).round(6)  # the order of additions must never decide
    values[_barred(pool, wishes)] = -np.inf
    labels = [what.label if isinstance(what, Interest) else what for _, what in features]
    return Scores(values, wanted, matches, holds, labels, rated)


def _asked(wish: Wish) -> list[_Feature]:
    interests = wish.interests
    return [
        *(("interest", each) for each in interests.wanted),
        *(("author", each) for each in interests.authors),
        *(("category", each) for each in interests.categories),
    ]


def _alike(likeness: Vector) -> Vector:
    """Return what likeness to rated papers adds to relevance, or takes from it."""
    distinct: Vector = np.sign(likeness) * np.maximum(np.abs(likeness) - _COMMON, 0.0)
    return _LIKENESS * distinct


def _relative(relevance: Vector) -> Vector:
    """Scale each reader's row so that their best match is 1, unless even that is weak.

    What is disliked is measured by the same yardstick for everybody, or a good match would excuse it.
    """
    best = relevance.max(axis=1, initial=_WEAK, keepdims=True)
    scaled: Vector = relevance / np.where(relevance < 0, _WEAK, best)
    return scaled


def _barred(pool: Pool, wishes: Sequence[Wish]) -> Mask:
    """Return (readers, papers): muted by the reader, or sent to them before."""
    mutes = _distinct(wishes, lambda wish: wish.interests.mutes)
    who = _membership([list(wish.interests.mutes) for wish in wishes], mutes)
    what = np.zeros((len(mutes), len(pool)))
    for row, mute in enumerate(mutes):
        what[row] = pool.mentions(mute) | pool.written_by(mute) | pool.filed_under(mute)
    place = {int(paper_id): column for column, paper_id in enumerate(pool.ids)}
    seen = [[place[paper_id] for paper_id in wish.seen if paper_id in place] for wish in wishes]
    barred: Mask = (who @ what) > 0
    rows = np.repeat(np.arange(len(wishes)), [len(columns) for columns in seen])
    barred[rows, [column for columns in seen for column in columns]] = True
    return barred


def _distinct(wishes: Sequence[Wish], get: Callable[[Wish], Sequence[_T]]) -> list[_T]:
    return list(dict.fromkeys(each for wish in wishes for each in get(wish)))


def _membership(groups: Sequence[Sequence[_T]], universe: Sequence[_T]) -> sparse.csr_array:
    """Return (groups, universe) with 1 where a group holds a member."""
    place = {member: column for column, member in enumerate(universe)}
    columns = [[place[member] for member in dict.fromkeys(group)] for group in groups]
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in columns])]).astype(np.int64)
    indices = np.array([column for each in columns for column in each], dtype=np.int64)
    return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(groups), len(universe)))
