"""What goes into ranking and what comes out. Pure."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Document:
    """A candidate paper as the ranker sees it.

    :ivar trend: 0 (cold) to 1 (hot).
    :ivar factors: where co-reading puts it, if it knows it.
    """

    id: int
    title: str
    body: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    trend: float = 0.5
    factors: Rows | None = None


@dataclass(frozen=True, slots=True)
class Interest:
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
    :ivar shared: whether others may have rated it, too: then what it is like is kept.
    """

    label: str
    text: str | None
    weight: float
    key: str = ""
    factors: Rows | None = None
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
    """

    interests: Interests
    limit: int
    seen: frozenset[int] = field(default_factory=frozenset)
    bar: float = 0.0


class Pick(NamedTuple):
    """A chosen paper.

    :ivar score: 0 to 1.
    :ivar matched: the reader's own words for what it matches, best first; empty when no wish is met.
    :ivar resembles: titles of liked papers that speak for it, best first, at most one.
    :ivar clicked: whether that one was only clicked.
    """

    paper_id: int
    score: float
    matched: tuple[str, ...] = ()
    resembles: tuple[str, ...] = ()
    clicked: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Papers rated by a batch of readers, against the pool.

    :ivar text: (rated, papers), cosines of their texts, 0 to 1.
    :ivar coread: (rated, papers), cosines of their factors, -1 to 1; 0 where one has none.
    :ivar keys: of the rated papers, by row; rows behind the last one are empty.
    """

    text: Rows
    coread: Rows
    keys: list[str]


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return values with 0 for what is no number."""
    found: NDArray[Any] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return found
