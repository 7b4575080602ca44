"""What papers mean, as an embedder says it: directions, rid of what all papers have in common. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from newsletter.ranking.types import Rows, at_length_1

MOST_DIMENSIONS = 1_024  # of a longer embedding these are the first, which models put most into
FEWEST_PAPERS = 200  # of fewer, what they have in common says little
_RIDGE = 3.5  # times what a dimension has in the mean; 100 for 10,900 papers in 384 dimensions
_AT_ONCE = 1_000  # papers
_HEAD = np.dtype("<u4")
_NUMBER = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Space:
    """How embeddings of one embedder are compared.

    :ivar mean: (dimensions,), of the archive's papers, each at length 1.
    :ivar whitening: (dimensions, dimensions).
    """

    mean: Rows
    whitening: Rows

    @property
    def dimensions(self) -> int:
        """How many numbers an embedding has."""
        return len(self.mean)

    def centred(self, embeddings: Rows) -> Rows:
        """Return each embedding's direction from the archive's mean, at length 1; 0 stays 0."""
        rows = at_length_1(embeddings)
        rows[rows.any(axis=1)] -= self.mean
        return at_length_1(rows)

    def whitened(self, embeddings: Rows) -> NDArray[np.float64]:
        """Return embeddings whose products are what ridge regression on a reader's likes makes of a paper.

        ``e_liked (E'E + λ)^-1 e_paper``, E being the archive: what many papers share counts for little. Measured on
        one mean for all readers; scaled so that the archive's mean length is 1.
        """
        found: NDArray[np.float64] = self.centred(embeddings).astype(np.float64) @ self.whitening.astype(np.float64)
        return found

    def to_bytes(self) -> bytes:
        """Return the space packed."""
        numbers = np.concatenate([self.mean, self.whitening.ravel()]).astype(_NUMBER)
        return np.array([self.dimensions], dtype=_HEAD).tobytes() + numbers.tobytes()

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Space":
        """Return what `to_bytes` packed.

        :raises ValueError: it is cut short, or something else.
        """
        dimensions = int(np.frombuffer(packed, dtype=_HEAD, count=1)[0])
        numbers = np.frombuffer(packed, dtype=_NUMBER, offset=_HEAD.itemsize).astype(np.float32)
        if len(numbers) != dimensions + dimensions**2:
            raise ValueError("no space of embeddings")
        return cls(numbers[:dimensions], numbers[dimensions:].reshape(dimensions, dimensions))


def space(embeddings: Rows) -> Space | None:
    """Return how embeddings are compared, by those of an archive; nothing for too few.

    :param embeddings: (papers, dimensions); 0 for papers that have none.
    """
    rows = at_length_1(embeddings)
    rows = rows[rows.any(axis=1)]
    if len(rows) < FEWEST_PAPERS:
        return None
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = at_length_1(rows - mean)
    dimensions = centred.shape[1]
    products = np.zeros((dimensions, dimensions))
    for first in range(0, len(centred), _AT_ONCE):
        some = centred[first : first + _AT_ONCE].astype(np.float64)
        products += some.T @ some
    products += np.eye(dimensions) * _RIDGE * len(centred) / dimensions
    lower = np.linalg.cholesky(products)
    whitening = solve_triangular(lower, np.eye(dimensions), lower=True).T
    lengths = np.linalg.norm(centred @ whitening.astype(np.float32), axis=1)
    return Space(mean, (whitening / max(float(lengths.mean()), 1e-12)).astype(np.float32))
