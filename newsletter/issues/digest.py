"""What a reader gets of an issue, as values: chosen, then put into words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import Enum, auto
from typing import NamedTuple

from newsletter.ranking.types import Parts

OUTSIDE = "outside your usual topics"
_MOST_SECTIONS = 5  # where there are more, those of one paper become one
_OTHERS = "Also for you"
_ALL = "Chosen for you"


class Span(Enum):
    """What an edition covers: the news of a day, the best of a week, or what a reader missed."""

    DAY = auto()
    WEEK = auto()
    CATCH_UP = auto()


class DigestPick(NamedTuple):
    """A paper in a digest, and why it is there.

    :ivar parts: what its score is made of; nothing for one that was chosen before this was kept.
    :ivar section: the interest that it is there for, in the reader's words; empty where it is for none of them.
    """

    paper_id: int
    score: float
    reason: str
    parts: Parts | None = None
    section: str = ""


class Mention(NamedTuple):
    """A paper that is only named, and what the world says about it."""

    paper_id: int
    said: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen for a reader; kept with the delivery, so that every attempt sends the same.

    :ivar considered: how many candidates were new to the reader.
    :ivar picks: best first.
    :ivar span: of the edition that it was chosen from.
    :ivar trending: what everybody talks about that is none of the picks.
    :ivar subject: what is inside, for the subject line.
    :ivar said: the opening line and why they get it, once it was put into words: wishes may change behind it.
    """

    considered: int
    picks: tuple[DigestPick, ...]
    span: Span = Span.DAY
    trending: tuple[Mention, ...] = ()
    subject: str = ""
    said: tuple[str, ...] = ()

    @property
    def paper_ids(self) -> list[int]:
        """All papers that the mail shows or names."""
        return [*[pick.paper_id for pick in self.picks], *[each.paper_id for each in self.trending]]


class Section(NamedTuple):
    """Picks that belong together, best first."""

    title: str
    picks: tuple[DigestPick, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """One reader's mail, before it is rendered.

    :ivar picks: best first.
    :ivar sections: the same picks by interest, the one with the best pick first.
    :ivar more: how many picks there are beyond these, for which the mail has no room.
    """

    day: date
    subject: str
    preheader: str
    opening: str
    why: str
    picks: tuple[DigestPick, ...]
    trending: tuple[Mention, ...] = ()
    more: int = 0
    sections: tuple[Section, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Arrange the picks."""
        object.__setattr__(self, "sections", _arranged(self.picks))

    def first(self, number: int) -> "Digest":
        """Return the digest with its best picks only."""
        return replace(self, picks=self.picks[:number], more=self.more + len(self.picks) - number)


def _arranged(picks: Sequence[DigestPick]) -> tuple[Section, ...]:
    """Return picks by the interest that they are there for; those that are for none of them come last."""
    named = _grouped(picks)
    if len(named) > _MOST_SECTIONS:
        alone = {title for title, theirs in named.items() if len(theirs) == 1 and title != OUTSIDE}
        named = {title: theirs for title, theirs in named.items() if title not in alone}
        named[""] = [pick for pick in picks if not pick.section or pick.section in alone]
    others, outside = named.pop("", []), named.pop(OUTSIDE, [])
    sections = [Section(title, tuple(theirs)) for title, theirs in named.items()]
    if others:
        sections.append(Section(_OTHERS if sections else _ALL, tuple(others)))
    if outside:
        sections.append(Section(OUTSIDE.capitalize(), tuple(outside)))
    return tuple(sections)


def _grouped(picks: Sequence[DigestPick]) -> dict[str, list[DigestPick]]:
    groups: dict[str, list[DigestPick]] = {}
    names: dict[str, str] = {}  # an interest may have been named twice, in letters of different size
    spelt: dict[str, list[DigestPick]] = {}
    for pick in picks:
        theirs = spelt.get(pick.section)
        if theirs is None:
            name = names.setdefault(pick.section.casefold(), pick.section)
            theirs = spelt[pick.section] = groups.setdefault(name, [])
        theirs.append(pick)
    return groups
