"""An issue and its frozen candidates as rows."""

import datetime as dt
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime
from newsletter.issues.learned.models import Learnt


class IssueState(StrEnum):
    """Whether mails of an issue go out; readers are queued for it all the same, unless it is cancelled.

    What is not sent when its time is over expires, whoever holds it up: the next issue is nearer then.
    """

    OPEN = "open"
    PAUSED = "paused"  # by the operator: goes on when they resume it, and not by another ``send``
    STOPPED = "stopped"  # by us, since the relay refuses everything we send; the next ``send`` goes on
    CANCELLED = "cancelled"  # by the operator, for good


class Kept(StrEnum):
    """What is still there of an issue's mails, as it grows old."""

    EVERYTHING = "everything"
    STATES = "states"  # what became of each mail, no longer what was in it
    ACCOUNTING = "accounting"  # numbers only


class Issue(SQLModel, table=True):
    """The mail-out of one local day; its window ``[window_start, window_end)`` is frozen when it opens.

    :ivar news: what was missing when it opened, one line for each source, in words for readers.
    :ivar statistics_id: the text statistics that it is ranked by, if there were any.
    :ivar model_id: the co-reading model likewise.
    :ivar space_id: how embeddings are compared, likewise.
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
    statistics_id: int | None = Field(
        default=None, sa_column=sa.Column(sa.ForeignKey("text_statistics.id", ondelete="SET NULL"))
    )
    model_id: int | None = Field(
        default=None, sa_column=sa.Column(sa.ForeignKey("coread_models.id", ondelete="SET NULL"))
    )
    space_id: int | None = Field(
        default=None, sa_column=sa.Column(sa.ForeignKey("embedding_spaces.id", ondelete="SET NULL"))
    )
    kept: str = Kept.EVERYTHING
    accounting: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))

    @property
    def learnt(self) -> Learnt:
        """What it is ranked by."""
        return Learnt(self.statistics_id, self.model_id, self.space_id)


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
