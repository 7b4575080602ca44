"""What readers like together: papers as factors, learnt from likes alone, and carried over to new papers. Pure."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from newsletter.ranking.statistics import Statistics, Vector
from newsletter.ranking.taste import CENTRED, SPREAD, TEXT_SPREAD, deviations
from newsletter.ranking.terms import Lexicon, Text, count
from newsletter.ranking.types import Rows, at_length_1

Factors = NDArray[np.float32]
DIMENSIONS = 128
LEAST_READERS = 300  # with fewer, what they have in common is chance (measured: nothing at 400, 3 points at 700)
_LEAST_PAPERS = 50
_AVID, _POPULAR = -0.5, -0.3
_CALLED, _PULL = 30, 0.6
MOST_READERS = 5_000
_MOST_LIKED = 20_000  # papers
_AT_ONCE = 200  # new papers
_MEANT = 6


def factors(likes: sparse.csr_array, dimensions: int = DIMENSIONS) -> Factors:
    """Return (papers, dimensions): each paper as a direction of length 1, or 0 for one that nobody likes.

    Truncated singular value decomposition of the likes, each scaled by ``(n_reader + 1)**-0.5 * (n_paper + 1)**-0.3``,
    so that neither avid readers nor popular papers outweigh all others; a paper is its right singular vector, each
    dimension weighted by the root of its singular value. Readers' order does not matter.

    :param likes: (readers, papers), above 0 where a reader likes a paper.
    """
    readers, papers = likes.shape
    given, taken = likes.sum(axis=1) + 1.0, likes.sum(axis=0) + 1.0
    scaled = sparse.csr_array(sparse.diags_array(given**_AVID) @ likes @ sparse.diags_array(taken**_POPULAR))
    most = min(dimensions, min(readers, papers) - 1)
    if most < 1 or not scaled.nnz:
        return np.zeros((papers, 0), dtype=np.float32)
    _, strength, directions = svds(scaled.astype(np.float64), k=most, random_state=0)
    return at_length_1(directions.T * np.sqrt(np.maximum(strength, 0.0)))


def enough(likes: sparse.csr_array) -> bool:
    """Return whether there is enough to learn from."""
    return likes.shape[0] >= LEAST_READERS and likes.shape[1] >= _LEAST_PAPERS


def placed(
    archive: Statistics,
    new: Iterable[Text],
    liked: Iterable[Text],
    known: Factors,
    likes: sparse.csr_array,
    meanings: tuple[Rows, Rows],
) -> Factors:
    """Return (new papers, dimensions): where new papers stand among the liked ones, though nobody could like them yet.

    A paper stands where those are that it is like, by the square of the likeness of texts, or the sixth power of that
    of meanings where they are known. It is then drawn to the readers whose liked papers call for it most, by their
    texts and by what they mean: they are the first who will like it.

    :param liked: the texts of the papers that the model knows.
    :param known: (liked papers, dimensions).
    :param likes: (readers, liked papers), above 0 where a reader likes a paper; some thousands of readers will do.
    :param meanings: (new papers, dimensions) and (liked papers, dimensions), centred; 0 for what has none. None may
        have any: then there are no dimensions.
    """
    theirs, vectors = archive.vectors(count(liked)), archive.vectors(count(new))
    terms = Lexicon(np.unique(vectors.counts.terms))
    over, across = vectors.over(terms), sparse.csr_array(theirs.over(terms).T)
    common = over @ archive.average_over(terms) * archive.certainty
    some = sparse.csr_array(likes[:MOST_READERS])
    found = np.zeros((over.shape[0], known.shape[1]), dtype=np.float32)
    for first in range(0, len(found), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        cosines = sparse.csr_array(over[rows] @ across)
        near = at_length_1((cosines.power(2) @ known).astype(np.float64))
        calls = _calls(some, cosines, common[rows])
        if meanings[0].shape[1]:
            alike = np.maximum(meanings[0][rows] @ meanings[1].T, 0)
            meant = alike.any(axis=1)
            near[meant] = at_length_1(alike[meant] ** _MEANT @ known)
            calls[:, meant] = _calls_by_meaning(some, calls[:, meant], alike[meant])
        found[rows] = at_length_1(near + _PULL * _callers(some, calls, known))
    return found


def _calls(likes: sparse.csr_array, cosines: sparse.csr_array, common: Vector) -> Rows:
    """Return (readers, new papers): how much the texts that readers like call for each, in standard deviations."""
    given = likes.sum(axis=1, dtype=np.float32)[:, None]
    calls: Rows = (likes @ cosines.T).toarray().astype(np.float32) - np.float32(CENTRED) * given * common.astype(
        np.float32
    )
    deviations(calls, given * np.float32(TEXT_SPREAD))
    return calls


def _calls_by_meaning(likes: sparse.csr_array, calls: Rows, alike: Rows) -> Rows:
    """Return calls to which what readers like adds by what it means.

    :param alike: (new papers, liked papers), 0 to 1.
    """
    meant: Rows = (likes @ (alike**2).T).astype(np.float32)
    deviations(meant, likes.sum(axis=1, dtype=np.float32)[:, None] * np.float32(SPREAD))
    both = calls + meant
    deviations(both, np.ones((len(both), 1), dtype=np.float32))
    return both


def _callers(likes: sparse.csr_array, calls: Rows, known: Factors) -> Factors:
    """Return (new papers, dimensions): the mean direction of the readers who call for each paper most."""
    readers = at_length_1(np.asarray(likes @ known, dtype=np.float64))
    most = min(_CALLED, len(calls))
    first = np.argpartition(-calls, most - 1, axis=0)[:most] if most else np.zeros((0, calls.shape[1]), dtype=np.int64)
    weights = np.maximum(np.take_along_axis(calls, first, axis=0), 0.0)
    return at_length_1(np.einsum("rp,rpd->pd", weights, readers[first].astype(np.float64)))


def who_likes_what(pairs: NDArray[np.int64]) -> tuple[list[int], sparse.csr_array]:
    """Return liked papers, the 20,000 that most like if there are more, and (readers, papers) who likes which.

    :param pairs: (likes, 2), reader and paper.
    """
    readers, rows = np.unique(pairs[:, 0], return_inverse=True)
    papers, columns = np.unique(pairs[:, 1], return_inverse=True)
    likes = sparse.csr_array((np.ones(len(pairs)), (rows, columns)), shape=(len(readers), len(papers)))
    likes.data[:] = 1.0
    most = np.sort(np.argsort(-likes.sum(axis=0), kind="stable")[:_MOST_LIKED])
    return papers[most].tolist(), sparse.csr_array(likes[:, most])
