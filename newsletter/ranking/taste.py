"""How far papers stand out from the others by what a reader likes. Pure."""

import numpy as np
from scipy import sparse

from newsletter.ranking.statistics import Vector
from newsletter.ranking.types import Look

CENTRED = 2.0  # how often what the average paper has is taken off: generic papers are like anything
TEXT_SPREAD = 0.02  # for each like, before there are papers to see it from
_COREAD_SPREAD = 0.2
_TEXT = 0.4  # what likeness of texts counts beside what readers like together
_PRIOR_PAPERS = 100.0  # a small pool's spread is believed less than that of so many papers before it


def taste(likes: sparse.csr_array, look: Look, common: Vector) -> Vector:
    """Return (readers, papers): how far each paper stands out from the others by what a reader likes.

    Lexical: the sum of the liked papers' cosines, without what any paper would have ("centred"); co-read: the same of
    their factors. Each in standard deviations over the papers, and so is what they come to together.

    :param likes: (readers, looked at), at least 0.
    :param common: by paper, its cosine with the average paper.
    """
    given: Vector = likes.sum(axis=1)[:, None].astype(np.float64)
    text: Vector = likes @ look.text - CENTRED * given * common
    found = deviations(text, given * TEXT_SPREAD)
    coread: Vector = likes @ look.coread
    known = coread.any(axis=1)
    if known.any():
        both = _TEXT * found[known] + deviations(coread[known], given[known] * _COREAD_SPREAD)
        found[known] = deviations(both, np.ones((len(both), 1)))
    return found


def deviations(values: Vector, prior: Vector) -> Vector:
    """Return each row in standard deviations from its mean; the fewer there are, the more a prior one counts."""
    papers = values.shape[1]
    mean = values.sum(axis=1, keepdims=True) / (papers + _PRIOR_PAPERS)
    spread = ((values - mean) ** 2).sum(axis=1, keepdims=True) + _PRIOR_PAPERS * prior**2
    spread = np.sqrt(spread / (papers + _PRIOR_PAPERS))
    found: Vector = np.divide(values - mean, spread, out=np.zeros_like(values), where=spread > 0)
    return found
