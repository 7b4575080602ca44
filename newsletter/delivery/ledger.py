"""The ledger: every change of a delivery's state. All SQL about leases, handoff marks and outcomes.

The protocol: a batch is leased; the handoff mark is committed after the body is written and before the
final dot; the outcome is committed after the reply. Whoever dies before the mark has sent nothing
(``deferred``); whoever dies after it leaves ``unknown``. Every change names the lease's owner and the
state it expects, so a worker that lost its lease can change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from newsletter.db import dialect
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail, SkipReason
from newsletter.delivery.retry import Outcome
from newsletter.errors import LeaseLostError
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers.models import Subscriber

LEASE = timedelta(minutes=2)  # how long the mails of a worker that died wait
HANDOFF_LEASE = timedelta(seconds=700)  # the 600 s of RFC 5321, section 4.5.3.2.6, and a margin
_LOOK_AGAIN = timedelta(minutes=1)
_WAITING = (DeliveryState.QUEUED, DeliveryState.DEFERRED)
_IN_FLIGHT = (DeliveryState.LEASED, DeliveryState.HANDOFF)


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that is ours until the lease ends.

    :ivar attempts: with the one that begins now.
    :ivar selection: kept from an earlier attempt that got as far as the handoff.
    """

    id: int
    mail: Mail
    subscriber_id: int
    attempts: int
    message_id: str | None
    selection: dict[str, Any] | None
    about_id: int | None = None


def lease(
    session: Session, issue_id: int | None, *, owner: str, now: datetime, limit: int, only: int | None = None
) -> list[Leased]:
    """Lease up to `limit` deliveries that are due, oldest first; `issue_id` None means mails outside any issue.

    A reader who has another issue's mail in flight waits: two selections must not overtake each other.

    :param only: a subscriber's id: nobody else's.
    """
    due = _due(issue_id, now, limit, only)
    if dialect(session) == "postgresql":
        due = due.with_for_update(skip_locked=True, of=Delivery)
    # A common table expression is evaluated once; a plain subquery PostgreSQL may run again, past the limit.
    chosen = due.cte("due")
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id).in_(sa.select(chosen.c.id)))
        .values(
            state=DeliveryState.LEASED,
            lease_owner=owner,
            lease_until=now + LEASE,
            attempts=Delivery.attempts + 1,
        )
        .returning(
            *(col(each) for each in (Delivery.id, Delivery.mail, Delivery.subscriber_id, Delivery.attempts)),
            col(Delivery.message_id),
            col(Delivery.selection),
            col(Delivery.about_id),
        )
    )
    try:
        rows = session.execute(statement, execution_options={"synchronize_session": False}).all()
    except IntegrityError as exc:  # the unique index on mails in flight
        raise LeaseLostError("another mail to one of these readers was leased at the same moment") from exc
    return sorted((Leased(row[0], Mail(row[1]), *row[2:]) for row in rows), key=lambda leased: leased.id)


def skip(session: Session, reasons: Mapping[int, SkipReason], *, owner: str, now: datetime) -> None:
    """Close leased deliveries without a mail, each with its reason."""
    for reason in set(reasons.values()):
        ids = [id_ for id_, each in reasons.items() if each is reason]
        session.execute(
            sa.update(Delivery)
            .where(col(Delivery.id).in_(ids), *_ours(owner, DeliveryState.LEASED))
            .values(
                state=DeliveryState.SKIPPED,
                skip_reason=reason,
                done_at=now,
                lease_owner=None,
                lease_until=None,
            ),
        )


def release(session: Session, ids: Sequence[int], *, owner: str, not_before: datetime, why: str = "") -> None:
    """Give back leased deliveries that were not tried: they count no attempt.

    :param why: what kept them from being tried.
    """
    session.execute(
        sa.update(Delivery)
        .where(col(Delivery.id).in_(ids), *_ours(owner, DeliveryState.LEASED))
        .values(
            state=DeliveryState.DEFERRED,
            not_before=not_before,
            reply=why,
            attempts=Delivery.attempts - 1,
            lease_owner=None,
            lease_until=None,
        ),
    )


def mark_handoff(
    session: Session,
    leased: Leased,
    *,
    owner: str,
    now: datetime,
    recipient: str,
    message_id: str,
    selection: dict[str, Any] | None,
) -> None:
    """Say that the relay may have the message from now on; the reader must still want it, and there.

    :raises LeaseLostError: the lease is gone, or the reader left, paused or moved: the dot must not be written.
    """
    still_wanted = select(Subscriber.id).where(
        Subscriber.id == leased.subscriber_id, Subscriber.state == leased.mail.wanted_by, ~_paused()
    )
    if not leased.mail.goes_elsewhere:
        still_wanted = still_wanted.where(Subscriber.email == recipient)
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id) == leased.id, *_ours(owner, DeliveryState.LEASED), still_wanted.exists())
        .values(
            state=DeliveryState.HANDOFF,
            lease_until=now + HANDOFF_LEASE,
            message_id=message_id,
            selection=selection,
        )
    )
    if _changed(session, statement) != 1:
        raise LeaseLostError(f"delivery {leased.id} is no longer ours to send")


def turn_back(session: Session, leased: Leased, *, owner: str, now: datetime) -> None:
    """Put away a mail that was refused its handoff: who left gets none, any other is looked at again."""
    person = session.get(Subscriber, leased.subscriber_id)
    if person is None or person.state != leased.mail.wanted_by:
        skip(session, {leased.id: SkipReason.NOT_ACTIVE}, owner=owner, now=now)
    else:
        release(session, [leased.id], owner=owner, not_before=now + _LOOK_AGAIN)


def settle(session: Session, leased: Leased, outcome: Outcome, *, owner: str, now: datetime) -> bool:
    """Write down what became of an attempt; return whether the delivery was still ours.

    An acceptance that comes after the lease was lost is evidence: it settles ``unknown`` as ``sent``.
    """
    done = outcome.state is not DeliveryState.DEFERRED
    # Who was erased meanwhile must not come back in a relay's words.
    known = session.exec(select(Subscriber.id).where(Subscriber.id == leased.subscriber_id)).first() is not None
    reply = outcome.reply if known else ""
    values = {
        "state": outcome.state,
        "code": outcome.code,
        "reply": reply,
        "done_at": now if done else None,
        "not_before": now + outcome.retry_after if outcome.retry_after else now,
        "lease_owner": None,
        "lease_until": None,
    }
    statement = sa.update(Delivery).where(col(Delivery.id) == leased.id).values(values)
    changed = _changed(session, statement.where(*_ours(owner, *_IN_FLIGHT))) == 1
    if not changed and outcome.state is DeliveryState.SENT:
        changed = _changed(session, statement.where(col(Delivery.state) == DeliveryState.UNKNOWN)) == 1
    if not changed and session.get(Delivery, leased.id) is None:
        return False
    session.add(
        Attempt(
            delivery_id=leased.id,
            no=leased.attempts,
            tried_at=now,
            phase=outcome.phase,
            outcome=outcome.state,
            code=outcome.code,
            reply=reply,
        ),
    )
    return changed


def reap(session: Session, now: datetime) -> tuple[int, int]:
    """End leases whose time is over; return how many became ``deferred`` and how many ``unknown``."""
    over = col(Delivery.lease_until) < now
    gone = {"lease_owner": None, "lease_until": None}
    deferred = (
        sa.update(Delivery)
        .where(col(Delivery.state) == DeliveryState.LEASED, over)
        .values(
            state=DeliveryState.DEFERRED,
            not_before=now,
            reply="the worker was lost before the handoff",
            **gone,
        )
    )
    unknown = (
        sa.update(Delivery)
        .where(col(Delivery.state) == DeliveryState.HANDOFF, over)
        .values(state=DeliveryState.UNKNOWN, done_at=now, reply="the worker was lost after the handoff", **gone)
    )
    return _changed(session, deferred), _changed(session, unknown)


def expire(session: Session, now: datetime) -> int:
    """Give up what was not sent before its time was over; return how many."""
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.state).in_(_WAITING), col(Delivery.expires_at) <= now)
        .values(state=DeliveryState.FAILED, reply="expired", done_at=now)
    )
    return _changed(session, statement)


def _due(issue_id: int | None, now: datetime, limit: int, only: int | None) -> SelectOfScalar[int]:
    other = sa.orm.aliased(Delivery)
    busy = select(other.id).where(
        col(other.subscriber_id) == col(Delivery.subscriber_id),
        col(other.id) != col(Delivery.id),
        col(other.issue_id).is_not(None),
        col(other.state).in_(_IN_FLIGHT),
    )
    due = (
        select(sa.type_coerce(Delivery.id, sa.BigInteger).label("id"))
        .where(_of(issue_id), col(Delivery.state).in_(_WAITING), col(Delivery.not_before) <= now)
        .where(col(Delivery.expires_at) > now)
        .order_by(col(Delivery.not_before), col(Delivery.id))
        .limit(limit)
    )
    if only is not None:
        due = due.where(Delivery.subscriber_id == only)
    if issue_id is not None:
        running = select(Issue.id).where(Issue.id == issue_id, Issue.state == IssueState.OPEN)
        due = due.where(~busy.exists(), running.exists())
    return due


def _paused() -> sa.ColumnElement[bool]:
    """Whether the subscriber pauses on the day of the delivery's issue; a mail outside any issue knows no pause."""
    day = sa.select(col(Issue.day)).where(col(Issue.id) == col(Delivery.issue_id)).correlate(Delivery).scalar_subquery()
    return sa.and_(
        col(Delivery.issue_id).is_not(None),
        col(Subscriber.paused_until).is_not(None),
        col(Subscriber.paused_until) > day,
    )


def _of(issue_id: int | None) -> sa.ColumnElement[bool]:
    return col(Delivery.issue_id).is_(None) if issue_id is None else col(Delivery.issue_id) == issue_id


def _ours(owner: str, *states: DeliveryState) -> tuple[sa.ColumnElement[bool], ...]:
    return col(Delivery.lease_owner) == owner, col(Delivery.state).in_(states)


def _changed(session: Session, statement: sa.Update) -> int:
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]
