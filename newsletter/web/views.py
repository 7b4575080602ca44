"""What pages are given to show. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from newsletter.rendering.views import Teased


@dataclass(frozen=True, slots=True)
class SamplePick:
    """A paper as a sample shows it.

    :ivar authors: their names as one text, "" where nobody is named.
    :ivar change: "new" where it was not in the sample before, else "".
    """

    title: str
    url: str
    authors: str
    reason: str
    teaser: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """What would have come on a day.

    :ivar day: the local day it is made for.
    :ivar considered: how many papers the picks were chosen from.
    :ivar gone: titles that were in it before and no longer are.
    """

    day: date
    considered: int
    picks: Sequence[SamplePick]
    gone: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RatingView:
    """What a reader once said of a paper.

    :ivar url: "" where none is known.
    :ivar said: "liked", "disliked", "more" or "less".
    :ivar how: "pasted" or "mail".
    """

    id: int
    title: str
    url: str
    said: str
    how: str
    taken_back: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """What a form offers.

    :ivar languages: each as its code and its own name.
    """

    topics: Sequence[str]
    cadences: Sequence[str]
    weekdays: Sequence[str]
    languages: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class PublicPaper(Teased):
    """A paper on the page of an issue, and in a feed.

    :ivar url: where it can be read, "" where nothing is known.
    :ivar names: its first authors; `authors` is the line that a card shows.
    :ivar links: addresses beside `url` by kind: pdf, code, project.
    :ivar upvotes: as they were when the issue opened, 0 where there were none.
    :ivar gained: upvotes a day, 0 where they are not worth a word.
    """

    id: int
    title: str
    url: str
    authors: str
    names: Sequence[str]
    organization: str
    categories: Sequence[str]
    teaser: str
    links: Mapping[str, str]
    upvotes: int = 0
    gained: int = 0


@dataclass(frozen=True, slots=True)
class IssueLine:
    """An issue among others: its day, how many papers it had, and the titles of its first."""

    slot: str
    day: date
    considered: int
    titles: Sequence[str]
