"""Changes as rows: what preferences were before, addresses on their way, and what was agreed to."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class PreferenceChange(SQLModel, table=True):
    """What a reader's preferences and pause were before they changed them."""

    __tablename__ = "preference_changes"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    subscriber_id: int = Field(foreign_key="subscribers.id", ondelete="CASCADE", index=True)
    changed_at: datetime = Field(sa_type=UTCDateTime)
    before: dict[str, Any] = Field(sa_type=sa.JSON)


class AddressChange(SQLModel, table=True):
    """A reader's wish to be mailed elsewhere: done once it is confirmed from there."""

    __tablename__ = "address_changes"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    subscriber_id: int = Field(foreign_key="subscribers.id", ondelete="CASCADE", index=True)
    old_email: str
    new_email: str
    asked_at: datetime = Field(sa_type=UTCDateTime)
    done_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class Act(StrEnum):
    """What somebody agreed to, or withdrew."""

    ASKED = "asked"
    CONFIRMED = "confirmed"
    LEFT = "left"
    CAME_BACK = "came back"
    MOVED = "moved"
    ERASED = "erased"


class Consent(SQLModel, table=True):
    """Who agreed to what, when and with which link; it outlives the subscriber, and names them by a hash alone.

    :ivar said: the words they were shown.
    :ivar token: a fingerprint of the link they pressed; empty for a form.
    """

    __tablename__ = "consents"

    id: int | None = Field(default=None, primary_key=True)
    email_hash: str = Field(index=True)
    act: str
    entry: str
    said: str = ""
    token: str = ""
    at: datetime = Field(sa_type=UTCDateTime)
