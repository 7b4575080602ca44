"""How far papers stand out from the others by what a reader likes. Pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from newsletter.ranking.types import Look, Rows

CENTRED = 2.0  # how often what the average paper has is taken off: generic papers are like anything
TEXT_SPREAD = 0.02  # for each like, before there are papers to see it from
SPREAD = 0.2  # the same of factors and of meanings
_TEXT = 0.4  # what likeness of texts counts beside what readers like together, or beside meanings
_MEANING = 0.5  # what meanings count beside what readers like together
_PRIOR_PAPERS = 100.0  # a small pool's spread is believed less than that of so many papers before it


class Taste(NamedTuple):
    """How far papers stand out from the others by what readers like: (readers, papers), in standard deviations.

    :ivar both: by all channels together.
    :ivar text: by the words of what they like.
    :ivar coread: by what others like who like the same; 0 for who likes nothing that others like.
    :ivar semantic: by what they mean that they like; 0 where no meanings are known.
    """

    both: Rows
    text: Rows
    coread: Rows
    semantic: Rows


def taste(likes: sparse.csr_array, look: Look, common: Rows) -> Taste:
    """Return how far each paper stands out from the others by what a reader likes.

    Lexical: the sum of the liked papers' cosines, without what any paper would have ("centred"); co-read: the same of
    their factors; semantic: of their embeddings. Each in standard deviations over the papers, and so is what they come
    to together.

    :param likes: (readers, looked at), at least 0.
    :param common: by paper, its cosine with the average paper.
    """
    given = likes.sum(axis=1, dtype=np.float32)[:, None]
    text: Rows = likes @ look.text
    text -= np.float32(CENTRED) * given * common
    deviations(text, given * np.float32(TEXT_SPREAD))
    coread: Rows = likes @ look.coread
    semantic: Rows = likes @ look.semantic if look.semantic.shape[1] else np.zeros_like(coread)
    read = _any(coread)
    meant = _any(semantic) if look.semantic.shape[1] else np.zeros_like(read)
    some = read | meant
    if not some.any():
        return Taste(text, text, coread, semantic)
    if read.any():
        deviations(coread, given * np.float32(SPREAD))
    both: Rows = np.float32(_TEXT) * text
    both += coread
    if meant.any():
        deviations(semantic, given * np.float32(SPREAD))
        both += np.where(read, np.float32(_MEANING), np.float32(1.0)) * semantic
    deviations(both, some.astype(np.float32))
    both[~some[:, 0]] = text[~some[:, 0]]
    return Taste(both, text, coread, semantic)


def _any(rows: Rows) -> NDArray[np.bool_]:
    """Return (readers, 1): whom a channel tells anything."""
    return np.asarray(rows.any(axis=1))[:, None]


def deviations(values: Rows, prior: Rows) -> None:
    """Put each row into standard deviations from its mean; the fewer there are, the more a prior one counts."""
    papers = values.shape[1]
    values -= values.sum(axis=1, keepdims=True) / np.float32(papers + _PRIOR_PAPERS)
    spread = np.einsum("ij,ij->i", values, values)[:, None] + np.float32(_PRIOR_PAPERS) * prior**2
    spread = np.sqrt(spread / np.float32(papers + _PRIOR_PAPERS))
    values *= np.divide(np.float32(1.0), spread, out=np.zeros_like(spread), where=spread > 0)
