"""An issue and its frozen candidates as rows."""

import datetime as dt
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class IssueState(StrEnum):
    """Stopped by us when a relay refuses everything we send; the next ``send`` goes on."""

    OPEN = "open"
    STOPPED = "stopped"


class Kept(StrEnum):
    """What is still there of an issue's mails, as it grows old."""

    EVERYTHING = "everything"
    STATES = "states"  # what became of each mail, no longer what was in it
    ACCOUNTING = "accounting"  # numbers only


class Issue(SQLModel, table=True):
    """The mail-out of one local day; its window ``[window_start, window_end)`` is frozen when it opens.

    :ivar news: what was missing when it opened, one line for each source, in words for readers.
    :ivar accounting: where its readers stood when their mails began to be dropped.
    """

    __tablename__ = "issues"

    id: int | None = Field(default=None, primary_key=True)
    slot: str = Field(unique=True)
    day: dt.date = Field(index=True)
    state: str = IssueState.OPEN
    stopped_why: str = ""
    window_start: dt.datetime = Field(sa_type=UTCDateTime)
    window_end: dt.datetime = Field(sa_type=UTCDateTime)
    opened_at: dt.datetime = Field(sa_type=UTCDateTime)
    news: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    kept: str = Kept.EVERYTHING
    accounting: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))


class IssueCandidate(SQLModel, table=True):
    """A paper that an issue may choose, with what was known of it when the issue opened.

    :ivar gained: upvotes a day, lately.
    """

    __tablename__ = "issue_candidates"
    __table_args__ = (sa.PrimaryKeyConstraint("issue_id", "paper_id"),)

    issue_id: int = Field(foreign_key="issues.id", ondelete="CASCADE")
    paper_id: int = Field(foreign_key="papers.id")
    trend: float
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None
    gained: float | None = None
