"""What all processes know of how fast mails may go out. Names of relays and domains, never an address."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class PaceBucket(SQLModel, table=True):
    """A token bucket: the earliest slot that anybody gets next, in microseconds since 1970."""

    __tablename__ = "pace_buckets"

    key: str = Field(primary_key=True)
    after: int = Field(sa_type=sa.BigInteger)


class PaceBreaker(SQLModel, table=True):
    """A circuit breaker that is not forgotten yet: see `breaker.Breaker`."""

    __tablename__ = "pace_breakers"

    key: str = Field(primary_key=True)
    failures: int
    closed: bool
    since_at: datetime = Field(sa_type=UTCDateTime)
    until_at: datetime = Field(sa_type=UTCDateTime)
    probing_until_at: datetime = Field(sa_type=UTCDateTime)


class PaceDay(SQLModel, table=True):
    """How many permits of a relay's warm-up plan were given out on a day (UTC)."""

    __tablename__ = "pace_days"

    relay: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    taken: int = 0
