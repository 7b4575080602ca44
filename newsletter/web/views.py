"""What pages are given to show. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


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
