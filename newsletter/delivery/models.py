"""A delivery and its attempts as rows."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import BigId, UTCDateTime
from newsletter.subscribers.models import State


class Mail(StrEnum):
    """Which mail it is: the name of its templates' folder."""

    DIGEST = "digest"
    WEEKLY = "weekly"
    PAUSE_ENDED = "pause_ended"
    CONFIRMATION = "confirmation"
    REMINDER = "reminder"
    WELCOME = "welcome"
    LINK = "link"
    NEW_ADDRESS = "new_address"
    MOVED = "moved"
    GOODBYE = "goodbye"
    ALERT = "alert"

    @property
    def wanted_by(self) -> State:
        """The state of who is to get it."""
        if self is Mail.GOODBYE:
            return State.UNSUBSCRIBED
        return State.PENDING if self in {Mail.CONFIRMATION, Mail.REMINDER} else State.ACTIVE

    @property
    def goes_elsewhere(self) -> bool:
        """Whether it is about another address than the reader's own, and goes there."""
        return self in {Mail.NEW_ADDRESS, Mail.MOVED}

    @property
    def is_for_operator(self) -> bool:
        """Whether it goes to who runs this: an address of the settings, whoever else has it, and no subscriber's."""
        return self is Mail.ALERT

    @property
    def is_of_list(self) -> bool:
        """Whether there is something to unsubscribe from: its address is a reader's, and not one's who has left."""
        return self not in {Mail.NEW_ADDRESS, Mail.GOODBYE, Mail.ALERT}


class DeliveryState(StrEnum):
    """``queued → leased → handoff → sent``, or one of the others; `unknown` waits for evidence."""

    QUEUED = "queued"
    LEASED = "leased"
    HANDOFF = "handoff"
    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


SPENT = (DeliveryState.HANDOFF, DeliveryState.SENT, DeliveryState.UNKNOWN, DeliveryState.DEFERRED)
"""The states in which a reader has, or may have, what was chosen for them."""


class Word(StrEnum):
    """Who, other than a relay, said what became of a delivery."""

    LOST = "lost"  # the lease was over and nobody had said anything
    OPERATOR = "operator"
    POLICY = "policy"
    EVIDENCE = "evidence"  # a link came back that only this mail holds


class SkipReason(StrEnum):
    """Why a reader who was eligible got no mail."""

    NOTHING_NEW = "nothing_new"
    NOT_ACTIVE = "not_active"
    SUPPRESSED = "suppressed"
    PAUSED = "paused"
    UNPRINTABLE = "unprintable"  # our fault: the log has the traceback
    CANCELLED = "cancelled"  # the operator called the issue off


# Partial indexes hold what a run works on, and stay small however many mails were ever sent. What they ask for is
# whether a column is empty: so both databases see that a query asks for the same.
_WAITING = sa.text("done_at IS NULL AND lease_owner IS NULL")
_LEASED = sa.text("lease_owner IS NOT NULL")
_IN_FLIGHT = sa.text("issue_id IS NOT NULL AND lease_owner IS NOT NULL")
_NOTICE = sa.text("issue_id IS NULL")
_NAMED = sa.text("notice_key IS NOT NULL")
_UNKNOWN = sa.text("state = 'unknown'")
_UNPRINTABLE = sa.text("skip_reason = 'unprintable'")


def _partial(name: str, *columns: str, where: sa.TextClause, unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)


class Delivery(SQLModel, table=True):
    """One mail to one subscriber.

    :ivar notice_key: for a mail outside any issue: the effect it may have only once.
    :ivar about_id: what such a mail is about: a sign-up, a change of address, or a bundle of alarms.
    :ivar subscriber_id: stays when the subscriber is erased: the accounting of an issue must still add up. An operator
        is none: 0, -1 and so on is their place in the settings.
    :ivar handed_at: when it was last marked as handed off: from then on the relay may have had it.
    :ivar selection: the picks, kept from the handoff on, so that another attempt sends the same.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        sa.UniqueConstraint("issue_id", "subscriber_id", name="uq_deliveries_issue_id_subscriber_id"),
        sa.Index("ix_deliveries_subscriber", "subscriber_id", "queued_at"),
        _partial("ix_deliveries_due", "issue_id", "not_before", "id", where=_WAITING),
        _partial("ix_deliveries_expiry", "expires_at", where=_WAITING),
        _partial("ix_deliveries_leases", "lease_until", where=_LEASED),
        # A reader has one issue's mail in flight at most: two selections made at once would choose the same papers.
        _partial("uq_deliveries_in_flight", "subscriber_id", where=_IN_FLIGHT, unique=True),
        _partial("ix_deliveries_unknown", "subscriber_id", where=_UNKNOWN),
        _partial("ix_deliveries_unprintable", "done_at", where=_UNPRINTABLE),
        _partial("ix_deliveries_notices", "queued_at", where=_NOTICE),
        _partial("uq_deliveries_notice_key", "notice_key", where=_NAMED, unique=True),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    mail: str = Mail.DIGEST
    issue_id: int | None = Field(default=None, foreign_key="issues.id")
    notice_key: str | None = None
    about_id: int | None = None
    subscriber_id: int
    state: str = DeliveryState.QUEUED
    skip_reason: str | None = None
    attempts: int = 0
    queued_at: datetime = Field(sa_type=UTCDateTime)
    not_before: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime = Field(sa_type=UTCDateTime)
    lease_owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UTCDateTime)
    handed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    message_id: str | None = None
    selection: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    code: int | None = None
    reply: str | None = None
    done_at: datetime | None = Field(default=None, sa_type=UTCDateTime)

    @property
    def wanted_by(self) -> State:
        """The state of who is to get it."""
        return Mail(self.mail).wanted_by


class Attempt(SQLModel, table=True):
    """One try to hand a message over, or a word on what became of it; rows are only ever added.

    :ivar phase: how far the dialogue had come, or one of `Word`.
    """

    __tablename__ = "attempts"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    delivery_id: int = Field(foreign_key="deliveries.id", index=True, sa_type=BigId)
    no: int
    tried_at: datetime = Field(sa_type=UTCDateTime)
    phase: str
    outcome: str
    code: int | None = None
    reply: str = ""
