"""What goes into ranking and what comes out. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Document:
    """A candidate paper as the ranker sees it.

    :ivar trend: 0 (cold) to 1 (hot).
    """

    id: int
    title: str
    body: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    trend: float = 0.5


@dataclass(frozen=True, slots=True)
class Interest:
    """One thing a reader wants to read about: their word for it, and the phrases papers use."""

    label: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rated:
    """A paper that a reader said something about.

    :ivar label: its title.
    :ivar text: its title and abstract.
    :ivar weight: above 0 liked, below 0 disliked; finite.
    """

    label: str
    text: str
    weight: float


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
    """

    paper_id: int
    score: float
    matched: tuple[str, ...] = ()
    resembles: tuple[str, ...] = ()
