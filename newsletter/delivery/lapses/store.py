"""All SQL about deliveries whose time is over; any worker may ask for it, at any time."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from newsletter.delivery.ledger import WAITING, attempt_row, changed, idle, unless_in_doubt
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail, SkipReason, Word
from newsletter.issues.models import Issue, IssueState


def reap(session: Session, now: datetime) -> tuple[int, int]:
    """End leases whose time is over; return how many became ``deferred`` and how many ``unknown``.

    Each lost attempt is written down as one.
    """
    before = _lost(session, DeliveryState.LEASED, "the worker was lost before the handoff", now)
    after = _lost(session, DeliveryState.HANDOFF, "the worker was lost after the handoff", now)
    return before, after


def _lost(session: Session, state: DeliveryState, why: str, now: datetime) -> int:
    leased = state is DeliveryState.LEASED
    # the late word on an earlier attempt may have come when this one was at its dot
    accepted = sa.select(col(Attempt.id)).where(
        col(Attempt.delivery_id) == col(Delivery.id), col(Attempt.outcome) == DeliveryState.SENT
    )
    doubt = sa.case(
        (accepted.correlate(Delivery).exists(), DeliveryState.SENT.value), else_=DeliveryState.UNKNOWN.value
    )
    values = {"not_before": now} if leased else {"done_at": now}
    statement = (
        sa.update(Delivery)
        .where(_over(state, now))
        .values(
            state=DeliveryState.DEFERRED if leased else doubt, reply=why, lease_owner=None, lease_until=None, **values
        )
        .returning(col(Delivery.id), col(Delivery.attempts), col(Delivery.state))
    )
    rows = session.connection().execute(statement).all()
    becomes = DeliveryState.DEFERRED if leased else DeliveryState.UNKNOWN  # of the attempt, whatever others brought
    lost = [attempt_row(id_ or 0, no, Word.LOST, becomes, now, why) for id_, no, _ in rows]
    if lost:
        session.connection().execute(sa.insert(Attempt.__table__), lost)  # type: ignore[attr-defined]
    return sum(after == becomes for _, _, after in rows)


def _over(state: DeliveryState, now: datetime) -> sa.ColumnElement[bool]:
    """Whether a lease is over, and nobody is just writing to its delivery: to wait for them could be for ever."""
    over = col(Delivery.lease_owner).is_not(None), col(Delivery.state) == state, col(Delivery.lease_until) < now
    return col(Delivery.id).in_(sa.select(col(Delivery.id)).where(*over).with_for_update(skip_locked=True))


def expire(session: Session, now: datetime) -> int:
    """Give up what was not sent before its time was over; return how many."""
    statement = (
        sa.update(Delivery)
        .where(*idle(), col(Delivery.state).in_(WAITING), col(Delivery.expires_at) <= now)
        .values(state=unless_in_doubt(DeliveryState.FAILED), reply="expired", done_at=now)
    )
    return changed(session, statement)


def call_off(session: Session, now: datetime, limit: int) -> int:
    """Skip, of issues that are cancelled, what nobody can have got yet; return how many, `limit` at most."""
    cancelled = sa.select(col(Issue.id)).where(col(Issue.state) == IssueState.CANCELLED)
    open_ = (*WAITING, DeliveryState.LEASED)
    some = (
        sa.select(col(Delivery.id))
        .where(col(Delivery.issue_id).in_(cancelled), col(Delivery.state).in_(open_))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id).in_(some.cte("some").select()))
        .values(**_called_off(SkipReason.CANCELLED, now))
        .returning(col(Delivery.id))  # SQLite counts no rows of a statement that begins with WITH
    )
    return len(session.connection().execute(statement).all())


def call_off_goodbyes(session: Session, subscriber_ids: Collection[int], now: datetime) -> None:
    """Skip the last mails, to those who say themselves that they leave, that nobody can have got yet."""
    open_ = (*WAITING, DeliveryState.LEASED)
    theirs = (
        sa.select(col(Delivery.id))
        .where(col(Delivery.subscriber_id).in_(subscriber_ids), col(Delivery.mail) == Mail.GOODBYE)
        .where(col(Delivery.issue_id).is_(None), col(Delivery.state).in_(open_))
        .order_by(col(Delivery.id))  # as others who want them take them
        .with_for_update()
    )
    ids = session.scalars(theirs).all()
    if not ids:
        return
    statement = sa.update(Delivery).where(col(Delivery.id).in_(ids)).values(**_called_off(SkipReason.NOT_ACTIVE, now))
    session.connection().execute(statement)


def _called_off(why: SkipReason, now: datetime) -> dict[str, Any]:
    """Return what becomes of a mail that is not to go out: whoever has leased it finds that out before the dot."""
    return {
        "state": unless_in_doubt(DeliveryState.SKIPPED),
        "skip_reason": why,
        "done_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
