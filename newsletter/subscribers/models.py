"""A subscriber as a row, and an address that must not be mailed."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime
from newsletter.subscribers.preferences import LISTS, Preferences

ERASED = "erased"  # why an address is suppressed that its owner had erased: their own sign-up lifts it


class State(StrEnum):
    """Pending until they confirm; only an active subscriber gets digests."""

    PENDING = "pending"
    ACTIVE = "active"
    UNSUBSCRIBED = "unsubscribed"


class Subscriber(SQLModel, table=True):
    """A person with an address and their preferences.

    :ivar weekdays: such as ``mon,wed``.
    :ivar pending_since: when somebody last asked for them to be subscribed.
    :ivar paused_from: the local day on which the pause began that ends at `paused_until`, the first day with mail
        again: that mail is the best of what was missed.
    :ivar links_since: links to their preferences that were made before this instant are no longer good.
    """

    __tablename__ = "subscribers"
    # An id is never given to somebody else: old links carry it.
    __table_args__ = (
        sa.Index("ix_subscribers_due", "state", "timezone", "hour", "cadence", "weekdays"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    email: str
    email_key: str = Field(unique=True)
    state: str = State.PENDING
    topics: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    about: str = ""
    keywords: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    authors: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    categories: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    mutes: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    timezone: str = "UTC"
    hour: int = 8
    cadence: str = "daily"
    weekdays: str = ""
    bar: int = 60
    max_papers: int = 10
    language: str = "en"
    tracking: bool = True
    source_news: bool = False
    outside: bool = False
    trending: bool = True
    paused_from: date | None = None
    paused_until: date | None = None
    links_since: datetime | None = Field(default=None, sa_type=UTCDateTime)
    created_at: datetime = Field(sa_type=UTCDateTime)
    pending_since: datetime | None = Field(default=None, sa_type=UTCDateTime)
    confirmed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    unsubscribed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)

    @property
    def preferences(self) -> Preferences:
        """What they asked for, as a value."""
        return Preferences.model_validate({name: getattr(self, name) for name in Preferences.model_fields})

    @property
    def has_agreed(self) -> bool:
        """Whether they have confirmed since they were last asked to."""
        asked, confirmed = self.pending_since, self.confirmed_at
        return bool(confirmed and not (asked and asked > confirmed))


@dataclass(slots=True)
class Addressee:
    """A subscriber as a run sees them: one of thousands, read and forgotten.

    :ivar asked: the columns of their preferences as they stand in the database, lists in JSON.
    """

    id: int
    email: str
    state: str
    paused_from: date | None
    paused_until: date | None
    links_since: datetime | None
    asked: dict[str, Any]
    unsubscribed_at: datetime | None = None

    @property
    def preferences(self) -> Preferences:
        """What they asked for, as a value.

        :raises ValueError: something else than the product wrote these columns.
        """
        asked = self.asked
        others = _others(*[asked[name] for name in _OTHERS])
        return others.model_copy(update={name: _listed(asked[name]) for name in LISTS})


# Readers ask for the same things, and whatever stands in a column is checked once for all of them.
_OTHERS = tuple(name for name in Preferences.model_fields if name not in LISTS)


@lru_cache(maxsize=20_000)
def _listed(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    return Preferences.model_validate({"topics": found}).topics


@lru_cache(maxsize=2_000)  # what they work on, in their own words, is the longest column
def _others(*values: object) -> Preferences:
    return Preferences.model_validate(dict(zip(_OTHERS, values, strict=True)))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an import: an address, what they want, and whether they have agreed already."""

    email: str
    preferences: Preferences
    state: State


class Suppression(SQLModel, table=True):
    """An address that is never mailed, as a hash; it outlives the subscriber."""

    __tablename__ = "suppressions"

    email_hash: str = Field(primary_key=True)
    reason: str
    suppressed_at: datetime = Field(sa_type=UTCDateTime)


def preference_columns(preferences: Preferences) -> dict[str, object]:
    """Return `preferences` as column values."""
    values = preferences.model_dump(mode="json")
    return values | {name: list(values[name]) for name in LISTS} | {"weekdays": ",".join(values["weekdays"])}
