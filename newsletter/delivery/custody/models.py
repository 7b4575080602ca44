"""The one row that says where the database was when it last handed a mail over."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class Custody(SQLModel, table=True):
    """Made with the tables; there is one row.

    :ivar ledger: a random name of this ledger: a new one from each release on.
    :ivar place: where the database was when it first sent a mail under that name; ``None`` before.
    :ivar handed: SQLite only: how many times mails were marked as handed off.
    :ivar held_why: why nothing is sent; empty when all is well.
    """

    __tablename__ = "custody"

    id: int = Field(default=1, primary_key=True)
    ledger: str
    place: str | None = None
    handed: int = 0
    held_why: str = ""
    held_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    released_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
