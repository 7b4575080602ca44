"""An alarm as a row, as whoever looks finds it, and as the operator is told of it."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class Kind(StrEnum):
    """What can need the operator."""

    STOPPED = "stopped"  # an issue, since the relay refuses us
    HELD = "held"  # all sending: the database is a copy
    UNKNOWN = "unknown"  # mails in doubt, for a person to decide on
    UNPRINTABLE = "unprintable"  # mails that could not be made
    SOURCE = "source"  # one that has failed for long


class Alarm(SQLModel, table=True):
    """An alarm of a day (UTC): one that is over and comes again that day, or that of its mail, is the same.

    :ivar about: an issue's slot or a source's name; empty where there is nothing to tell apart.
    :ivar title: what happened, in a few words.
    :ivar said: the same in a sentence or two.
    :ivar command: what shows or mends it.
    :ivar over_at: ``None`` as long as it holds.
    :ivar bundle: the number of the mail that told of it, greater than all before; all that was new then has the same.
    :ivar told_on: the day on which that was queued.
    """

    __tablename__ = "alarms"
    __table_args__ = (
        sa.UniqueConstraint("kind", "about", "found_on", name="uq_alarms_kind_about_found_on"),
        {"sqlite_autoincrement": True},  # a mail in the ledger goes by the number of its bundle
    )

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    about: str = ""
    found_on: date
    title: str
    said: str
    command: str
    since_at: datetime = Field(sa_type=UTCDateTime)
    over_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    bundle: int | None = None
    told_on: date | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same alarm."""
        return self.kind, self.about


@dataclass(frozen=True, slots=True)
class Found:
    """Something that needs the operator now; see `Alarm`.

    :ivar since: ``None`` if nobody wrote that down: since it was first seen.
    """

    kind: Kind
    about: str
    title: str
    said: str
    command: str
    since: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same alarm."""
        return self.kind, self.about


@dataclass(frozen=True, slots=True)
class Told:
    """An alarm as its mail shows it.

    :ivar since: such as ``2026-08-05 09:00 UTC``.
    :ivar over: the same, or empty as long as it holds.
    """

    title: str
    said: str
    command: str
    since: str
    over: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one mail tells the operator.

    :ivar left_out: how many of the new ones it does not show.
    :ivar before: what was told earlier and still holds.
    """

    new: tuple[Told, ...] = ()
    left_out: int = 0
    before: tuple[Told, ...] = ()
