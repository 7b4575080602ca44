"""What somebody asked for who has not proved that the address is theirs, as a row."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class Outcome(StrEnum):
    """What a worker made of it."""

    NEW = "new"
    MAILED = "mailed"
    REFUSED = "refused"
    CONFIRMED = "confirmed"


class EntryPoint(StrEnum):
    """Where it came in; ``address`` is a reader who wants their mail elsewhere."""

    FORM = "form"
    API = "api"
    OPERATOR = "operator"
    ADDRESS = "address"


class SignUp(SQLModel, table=True):
    """A sign-up, or, without wishes, somebody who asks for the link to their preferences.

    :ivar wishes: what the row's own confirmation puts into force: nobody can change what somebody else confirms.
    :ivar liked: papers they named, as ``[key, title, text]``.
    :ivar email_hash: of the mailbox, so that limits hold for all its spellings.
    :ivar client: who asked, as a hash that is another one every day; empty for the operator.
    :ivar said: the words they agreed to.
    :ivar not_before: when it is looked at; later where too much is asked for at the moment.
    :ivar mail: which mail it set off: a link to preferences is counted apart from what asks to confirm.
    :ivar why: which limit refused it, or lets it wait.
    """

    __tablename__ = "sign_ups"
    # An id is never given to somebody else: links in mails carry it.
    __table_args__ = (
        sa.Index("ix_sign_ups_outcome", "outcome", "not_before"),
        sa.Index("ix_sign_ups_address", "email_hash", "mailed_at"),
        sa.Index("ix_sign_ups_client", "client", "asked_at"),
        sa.Index("ix_sign_ups_domain", "domain", "mailed_at"),
        sa.Index("ix_sign_ups_mailed", "mailed_at"),
        sa.Index("ix_sign_ups_asked", "asked_at"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    email: str
    email_hash: str
    domain: str
    client: str
    entry: str
    asked_at: datetime = Field(sa_type=UTCDateTime)
    not_before: datetime = Field(sa_type=UTCDateTime)
    wishes: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    liked: list[list[str]] = Field(default_factory=list, sa_type=sa.JSON)
    said: str = ""
    outcome: str = Outcome.NEW
    mail: str = ""
    why: str = ""
    subscriber_id: int | None = Field(default=None, index=True)
    mailed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    reminded_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
