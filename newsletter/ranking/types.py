"""What goes into ranking and what comes out. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
_NOTHING = 1e-12


class Place(NamedTuple):
    """Where a paper stands among others.

    :ivar factors: by what readers like together.
    :ivar meaning: by its embedding.
    """

    factors: Rows | None = None
    meaning: Rows | None = None


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Document:
    """A candidate paper as the ranker sees it.

    :ivar trend: 0 (cold) to 1 (hot).
    :ivar factors: where co-reading puts it, if it knows it.
    :ivar meaning: its embedding, if it has one.
    """

    id: int
    title: str
    body: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    trend: float = 0.5
    factors: Rows | None = None
    meaning: Rows | None = None


class Interest(NamedTuple):
    """One thing a reader wants to read about: their word for it, and the phrases papers use."""

    label: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rated:
    """A paper that a reader said something about.

    :ivar label: its title.
    :ivar text: its title, and on the lines below it its abstract; ``None`` where the pool has looked at it already.
    :ivar weight: above 0 liked, below 0 disliked; finite.
    :ivar key: what makes it the same paper for all who rated it.
    :ivar factors: where co-reading puts it, if it knows it.
    :ivar meaning: its embedding, if it has one.
    :ivar shared: whether others may have rated it, too: then what it is like is kept.
    """

    label: str
    text: str | None
    weight: float
    key: str = ""
    factors: Rows | None = None
    meaning: Rows | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        """Give a paper without a key its text as one."""
        if not self.key:
            object.__setattr__(self, "key", f"{self.label}\n{self.text}")


@dataclass(frozen=True, slots=True)
class Interests:
    """A reader's wishes as the ranker sees them; a mute is a phrase, an author or a category."""

    wanted: tuple[Interest, ...] = ()
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    mutes: tuple[str, ...] = ()
    rated: tuple[Rated, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the pool for one reader.

    :ivar limit: the most papers they want.
    :ivar seen: ids of papers they were sent before.
    :ivar bar: 0 to 1; papers that score below it are left out.
    :ivar outside: whether one of them may be from outside all that they ask for and like.
    """

    interests: Interests
    limit: int
    seen: frozenset[int] = field(default_factory=frozenset)
    bar: float = 0.0
    outside: bool = False


class Parts(NamedTuple):
    """What a score is made of.

    :ivar named: what the reader's own words make of it, before it is measured by their best match.
    :ivar liked: the same of what they like.
    :ivar disliked: what it loses for being like what they do not like.
    :ivar trend: 0 (cold) to 1 (hot).
    :ivar text: of `liked`, what the words of liked papers say, in standard deviations over the pool.
    :ivar coread: the same of what others like who like these papers.
    :ivar semantic: the same of what the liked papers mean.
    """

    named: float
    liked: float
    disliked: float
    trend: float
    text: float
    coread: float
    semantic: float


made = tuple.__new__
"""Makes a named tuple of a sequence as `_make` does, in a third of the time: there are ten picks for each reader."""


class Likened(NamedTuple):
    """The liked paper that speaks most for another one.

    :ivar title: nothing where none speaks for it.
    :ivar clicked: whether it was only clicked.
    """

    title: str | None = None
    clicked: bool = False


class Pick(NamedTuple):
    """A chosen paper.

    :ivar score: 0 to 1.
    :ivar matched: the reader's own words for what it matches, best first; empty when no wish is met.
    :ivar like: what they liked that speaks for it.
    :ivar outside: whether it is there because it is none of what they ask for and like.
    """

    paper_id: int
    score: float
    parts: Parts
    matched: tuple[str, ...] = ()
    like: Likened = Likened()
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Papers rated by a batch of readers, against the pool.

    :ivar text: (rated, papers), cosines of their texts, 0 to 1.
    :ivar coread: (rated, papers), cosines of their factors, -1 to 1; 0 where one has none.
    :ivar semantic: the same of their meanings; (rated, 0) where no meanings are known.
    :ivar keys: of the rated papers, by row; rows behind the last one are empty.
    """

    text: Rows
    coread: Rows
    semantic: Rows
    keys: list[str]

    @classmethod
    def blank(cls, rated: int, papers: int, *, meanings: bool, keys: list[str]) -> "Look":
        """Return rows to be filled."""
        shape = rated, papers
        semantic = np.zeros((rated, papers if meanings else 0), dtype=np.float32)
        return cls(np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32), semantic, keys)

    def put(self, rows: slice, other: "Look", taken: Sequence[int] | slice) -> None:
        """Fill some rows with some of another's."""
        self.text[rows] = other.text[taken]
        self.coread[rows] = other.coread[taken]
        self.semantic[rows] = other.semantic[taken]


def stacked(rows: Sequence[Rows | None], size: int) -> Rows:
    """Return (rows, size); 0 for what is not there, or of another size."""
    found = np.zeros((len(rows), size), dtype=np.float32)
    for place, row in zip(found, rows, strict=True):
        if row is not None and len(row) == size:
            place[:] = row
    return finite(found)


def alike_stacked(rows: Sequence[Rows | None]) -> Rows:
    """Return (rows, size), of the size that most have; 0 for the others."""
    sizes = [len(each) for each in rows if each is not None and each.any()]
    return stacked(rows, max(Counter(sizes).items(), key=lambda each: (each[1], each[0]), default=(0, 0))[0])


def at_length_1(rows: NDArray[Any]) -> Rows:
    """Return rows scaled to length 1; what is no direction, or no number, becomes 0."""
    clean = finite(np.asarray(rows, dtype=np.float64))
    lengths = np.linalg.norm(clean, axis=1, keepdims=True)
    scaled: Rows = np.divide(clean, lengths, out=np.zeros_like(clean), where=lengths > _NOTHING).astype(np.float32)
    return scaled


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return values with 0 for what is no number."""
    found: NDArray[Any] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return found
