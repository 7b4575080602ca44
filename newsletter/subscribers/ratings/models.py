"""What a reader says of a paper, as a row."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class Said(StrEnum):
    """What a reader says; in each pair the second is the opposite of the first. A click says it only half aloud."""

    LIKED = "liked"
    DISLIKED = "disliked"
    MORE = "more"
    LESS = "less"
    CLICKED = "clicked"  # where a reader's clicks are theirs to be counted: see `tracking.record`


class How(StrEnum):
    """How they said it."""

    PASTED = "pasted"
    MAIL = "mail"


class Rating(SQLModel, table=True):
    """One reader's word on one paper; the last one counts.

    :ivar key: the paper's key, whether or not we know the paper (yet).
    :ivar text: what they pasted, where we do not know the paper ourselves.
    :ivar looked_up_at: when a source was last asked about it.
    :ivar taken_back_at: when they took it back; it may be put back for a while.
    """

    __tablename__ = "ratings"
    __table_args__ = (sa.UniqueConstraint("subscriber_id", "key", name="uq_ratings_subscriber_id_key"),)

    id: int | None = Field(default=None, primary_key=True)
    subscriber_id: int = Field(foreign_key="subscribers.id", ondelete="CASCADE")
    key: str = Field(index=True)
    paper_id: int | None = Field(default=None, foreign_key="papers.id", index=True)
    title: str = ""
    text: str = ""
    said: str
    how: str
    said_at: datetime = Field(sa_type=UTCDateTime)
    looked_up_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    taken_back_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
