"""Scores for a batch of readers in a few matrix products. Pure."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.pool import Answers, Feature, Pool
from newsletter.ranking.statistics import Vector
from newsletter.ranking.taste import Taste, taste
from newsletter.ranking.types import Look, Parts, Wish, made

_RELEVANCE = 0.75  # what the reader asked for; the rest is what everybody talks about
WEAK = 0.15  # a best match below this cosine is not blown up to a perfect one
_OWN_WORDS, _MANY_LIKES = 1.0, 30.0  # the more a reader likes, the less their keywords are needed
_STRONG = 3.0  # standard deviations above the day's papers, as good as a weak match of a keyword
_NOTHING = 1e-6  # what is left when likes and dislikes cancel out is noise
ALIKE = 0.08  # from here on most recorded picks share their subject with the liked paper; half of them are there
_COMMON, _SURE = 0.04, 0.1  # how much any two papers are alike; and, as recorded, two on the same subject
_DISLIKED = WEAK / (_SURE - _COMMON)
_T = TypeVar("_T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a batch.

    :ivar values: (readers, papers), at most 1; below 0 where it is like what the reader disliked, the more the lower;
        -inf where the paper must not be sent.
    :ivar named: (readers, papers), what of it their own words make, before it is measured by their best match.
    :ivar liked: the same of what they like, and `disliked` of what they do not.
    :ivar taste: what `liked` is made of.
    :ivar trend: (papers,).
    :ivar wishes: (readers, answers), what each reader asked for, each once and in their order.
    :ivar answers: how well each paper answers.
    :ivar likes: (readers, looked at), what each reader likes, as rows of `look`.
    :ivar look: rated papers against the pool.
    """

    values: Vector
    named: Vector
    liked: Vector
    disliked: Vector
    taste: Taste
    trend: Vector
    wishes: sparse.csr_array
    answers: Answers
    likes: sparse.csr_array
    look: Look

    def parts(self, readers: NDArray[np.int64], columns: NDArray[np.int64]) -> list[Parts]:
        """Return what some papers' scores are made of, each for one reader."""
        by, at = self.taste, readers * self.values.shape[1] + columns
        rows = np.empty((len(Parts._fields), len(columns)))
        for row, values in zip(rows, (self.named, self.liked, self.disliked), strict=False):
            row[:] = np.take(values, at)
        rows[3] = self.trend[columns]
        for row, values_ in zip(rows[4:], (by.text, by.coread, by.semantic), strict=True):
            row[:] = np.take(values_, at)
        return list(map(made, repeat(Parts), zip(*rows.round(3).tolist(), strict=True)))


def score(pool: Pool, wishes: Sequence[Wish]) -> Scores:
    """Score every paper of the pool for every reader.

    ``named = W · C`` with W (readers by distinct features) saying who wants what and C (features by papers) how well
    each paper answers; ``taste`` is the same of what they like, in standard deviations over the pool. Each distinct
    wish and each distinct liked paper is looked at once, for all who share it.
    """
    wanted, answers = _wanted(pool, wishes)
    likes, dislikes, look = _said(pool, wishes)
    count = likes.sum(axis=1)
    fading = _OWN_WORDS / (1.0 + count / _MANY_LIKES)
    tasted = taste(likes, look, pool.common)
    liked = np.maximum(tasted.both, 0.0)
    liked *= WEAK / _STRONG
    named, disliked = np.asarray(wanted @ answers.matches), _disliked(dislikes, look)
    named *= fading[:, None]
    values = named + liked
    if dislikes.nnz:
        values -= disliked
    _relate(values)
    wants = ((np.diff(wanted.indptr) > 0) | (count > 0))[:, None]
    values *= _RELEVANCE
    values += np.where(wants, 1 - _RELEVANCE, 1.0) * pool.trend
    np.minimum(values, 1.0, out=values).round(6, out=values)  # the order of additions must never decide
    _bar(values, pool, wishes)
    return Scores(values, named, liked, disliked, tasted, pool.trend, wanted, answers, likes, look)


def _disliked(dislikes: sparse.csr_array, look: Look) -> Vector:
    """Return (readers, papers): what each paper loses for being plainly like a disliked one."""
    if not dislikes.nnz:
        return np.zeros((dislikes.shape[0], look.text.shape[1]))
    found: Vector = _DISLIKED * (dislikes @ np.maximum(look.text - np.float32(_COMMON), 0)).astype(np.float64)
    return found


def _wanted(pool: Pool, wishes: Sequence[Wish]) -> tuple[sparse.csr_array, Answers]:
    """Return (readers, answers) with 1 for what each reader asked for, and the answers."""
    asked = [_asked(wish) for wish in wishes]
    found, answers = pool.answers(list(chain.from_iterable(asked)))
    rest = iter(found)
    rows = [list(dict.fromkeys(islice(rest, len(theirs)))) for theirs in asked]
    indices = np.array(list(chain.from_iterable(rows)), dtype=np.int64)
    shape = len(wishes), len(answers.matches)
    return sparse.csr_array((np.ones(len(indices)), indices, _starts(rows)), shape), answers


def _asked(wish: Wish) -> Sequence[Feature]:
    interests = wish.interests
    if not (interests.authors or interests.categories):
        return interests.wanted
    asked: list[Feature] = list(interests.wanted)
    asked += [("author", each) for each in interests.authors]
    asked += [("category", each) for each in interests.categories]
    return asked


def _said(pool: Pool, wishes: Sequence[Wish]) -> tuple[sparse.csr_array, sparse.csr_array, Look]:
    """Return (readers, looked at) likes and dislikes, both above 0, and what they are about.

    What readers said of one paper in several words adds up; what cancels out was never said.
    """
    said = [wish.interests.rated for wish in wishes]
    flat = list(chain.from_iterable(said))
    rows, look = pool.likeness.look(flat)
    indices = np.array(rows, dtype=np.int64)
    values = np.fromiter(map(attrgetter("weight"), flat), dtype=np.float64, count=len(flat))
    signed = sparse.csr_array((values, indices, _starts(said)), shape=(len(wishes), len(look.text)))
    signed.sum_duplicates()
    signed.data[np.abs(signed.data) < _NOTHING] = 0.0
    signed.eliminate_zeros()
    return _positive(signed), _positive(-signed), look


def _positive(rows: sparse.csr_array) -> sparse.csr_array:
    """Return rows without what is below 0, in 32 bits: see `Likeness`."""
    values = np.maximum(rows.data, 0.0).astype(np.float32)
    found = sparse.csr_array((values, rows.indices.copy(), rows.indptr.copy()), shape=rows.shape)
    found.eliminate_zeros()
    return found


def _relate(relevance: Vector) -> None:
    """Scale each reader's row so that their best match is 1, unless even that is weak.

    What is disliked is measured by the same yardstick for everybody, or a good match would excuse it.
    """
    best = relevance.max(axis=1, initial=WEAK, keepdims=True)
    below = relevance < 0
    relevance /= np.where(below, WEAK, best) if below.any() else best


def _bar(values: Vector, pool: Pool, wishes: Sequence[Wish]) -> None:
    """Take out what a reader has muted, or was sent before."""
    if any(wish.interests.mutes for wish in wishes):
        mutes, who = _membership([wish.interests.mutes for wish in wishes])
        what = np.zeros((len(mutes), len(pool)))
        for row, mute in enumerate(mutes):
            what[row] = pool.mentions(mute) | pool.written_by(mute) | pool.filed_under(mute)
        values[(who @ what) > 0] = -np.inf
    place = pool.columns
    seen = [[place[paper_id] for paper_id in place.keys() & wish.seen] for wish in wishes]
    rows = np.repeat(np.arange(len(wishes)), [len(columns) for columns in seen])
    values[rows, [column for columns in seen for column in columns]] = -np.inf


def _membership(groups: Sequence[Sequence[_T]]) -> tuple[list[_T], sparse.csr_array]:
    """Return all members there are, and (groups, members) with 1 where a group holds one, in the group's own order."""
    place: dict[_T, int] = {}
    columns = [[place.setdefault(member, len(place)) for member in dict.fromkeys(group)] for group in groups]
    indices = np.array(list(chain.from_iterable(columns)), dtype=np.int64)
    return list(place), sparse.csr_array((np.ones(len(indices)), indices, _starts(columns)), (len(groups), len(place)))


def _starts(rows: Sequence[Sequence[object]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(each) for each in rows])]).astype(np.int64)
