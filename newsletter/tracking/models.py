"""An event as a row."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import BigId, UTCDateTime


class Kind(StrEnum):
    """What a reader did."""

    OPENED = "opened"
    CLICKED = "clicked"
    LIKED = "liked"
    DISLIKED = "disliked"
    MORE = "more"
    LESS = "less"
    MUTED = "muted"
    UNSUBSCRIBED = "unsubscribed"


class Event(SQLModel, table=True):
    """What came back, once for each distinct thing, with how often: the table cannot be flooded.

    :ivar subscriber_id: 0 where tracking is aggregate: then a row counts for an issue, and nobody is named.
    :ivar issue_id: 0 for mails outside any issue.
    :ivar paper_id: 0 where no paper is concerned.
    :ivar link: the kind of link that was clicked.
    """

    __tablename__ = "events"
    __table_args__ = (
        sa.UniqueConstraint("kind", "issue_id", "subscriber_id", "paper_id", "link", name="uq_events_kind"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    kind: str
    issue_id: int = 0
    subscriber_id: int = 0
    paper_id: int = 0
    link: str = ""
    first_at: datetime = Field(sa_type=UTCDateTime)
    last_at: datetime = Field(sa_type=UTCDateTime)
    times: int = 1
