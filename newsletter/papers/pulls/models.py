"""A pull as a row, and what makes the next one cheap."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class Pull(SQLModel, table=True):
    """One run over one list of a source: the source's health is its latest rows.

    :ivar started_at: when the run began: the same for all days of it.
    :ivar listed: how many records were listed on that very day.
    :ivar dated: whether the answer said that it was of that very day, even with nothing new on it.
    :ivar unmodified: whether the source said that nothing changed since it was last asked.
    """

    __tablename__ = "pulls"
    __table_args__ = (sa.Index("ix_pulls_source_day", "source", "day"),)

    id: int | None = Field(default=None, primary_key=True)
    source: str = Field(index=True)
    day: date | None = None
    started_at: datetime = Field(sa_type=UTCDateTime)
    finished_at: datetime = Field(sa_type=UTCDateTime)
    received: int = 0
    listed: int = 0
    dated: bool = False
    unmodified: bool = False
    new: int = 0
    updated: int = 0
    dropped: dict[str, int] = Field(default_factory=dict, sa_type=sa.JSON)
    error: str = ""


class KnownAnswer(SQLModel, table=True):
    """What makes the next request for a URL a conditional one (RFC 9110, section 13)."""

    __tablename__ = "known_answers"

    url: str = Field(primary_key=True)
    etag: str = ""
    last_modified: str = ""
    seen_at: datetime = Field(sa_type=UTCDateTime)
