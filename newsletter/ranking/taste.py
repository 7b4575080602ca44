"""How far papers stand out from the others by what a reader likes. Pure."""

import numpy as np
from scipy import sparse

from newsletter.ranking.types import Look, Rows

CENTRED = 2.0  # how often what the average paper has is taken off: generic papers are like anything
TEXT_SPREAD = 0.02  # for each like, before there are papers to see it from
_COREAD_SPREAD = 0.2
_TEXT = 0.4  # what likeness of texts counts beside what readers like together
_PRIOR_PAPERS = 100.0  # a small pool's spread is believed less than that of so many papers before it


def taste(likes: sparse.csr_array, look: Look, common: Rows) -> Rows:
    """Return (readers, papers): how far each paper stands out from the others by what a reader likes.

    Lexical: the sum of the liked papers' cosines, without what any paper would have ("centred"); co-read: the same of
    their factors. Each in standard deviations over the papers, and so is what they come to together.

    :param likes: (readers, looked at), at least 0.
    :param common: by paper, its cosine with the average paper.
    """
    given = likes.sum(axis=1, dtype=np.float32)[:, None]
    text: Rows = likes @ look.text
    text -= np.float32(CENTRED) * given * common
    found = deviations(text, given * np.float32(TEXT_SPREAD))
    coread: Rows = likes @ look.coread
    known = np.asarray(coread.any(axis=1))
    if known.any():
        both = deviations(coread, given * np.float32(_COREAD_SPREAD))
        both += np.float32(_TEXT) * found
        both = deviations(both, known[:, None].astype(np.float32))
        found[known] = both[known]
    return found


def deviations(values: Rows, prior: Rows) -> Rows:
    """Return each row in standard deviations from its mean; the fewer there are, the more a prior one counts."""
    papers = values.shape[1]
    mean = values.sum(axis=1, keepdims=True) / np.float32(papers + _PRIOR_PAPERS)
    found: Rows = values - mean
    spread = np.einsum("ij,ij->i", found, found)[:, None] + np.float32(_PRIOR_PAPERS) * prior**2
    spread = np.sqrt(spread / np.float32(papers + _PRIOR_PAPERS))
    found *= np.divide(np.float32(1.0), spread, out=np.zeros_like(spread), where=spread > 0)
    return found
