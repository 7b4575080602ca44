"""The ledger: every change of a delivery's state. All SQL about leases, handoff marks and outcomes.

The protocol: a batch is leased; the handoff mark is committed after the body is written and before the
final dot; the outcome is committed after the reply. Whoever dies before the mark has sent nothing
(``deferred``); whoever dies after it leaves ``unknown``. Every change names the lease's owner and the
state it expects, so a worker that lost its lease can change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from newsletter.db import dialect, in_index_order
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail, SkipReason
from newsletter.delivery.retry import Outcome
from newsletter.errors import LeaseLostError
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers.models import State, Subscriber

LEASE = timedelta(minutes=2)  # how long the mails of a worker that died wait
HANDOFF_LEASE = timedelta(seconds=700)  # the 600 s of RFC 5321, section 4.5.3.2.6, and a margin
_LOOK_AGAIN = timedelta(minutes=1)
_WAITING = (DeliveryState.QUEUED, DeliveryState.DEFERRED)
_IN_FLIGHT = (DeliveryState.LEASED, DeliveryState.HANDOFF)
# each row of parameters says which columns it sets
_THIS = sa.update(Delivery.__table__).where(col(Delivery.id) == sa.bindparam("which"))  # type: ignore[attr-defined]
_FOR_SETTLING = (
    sa.select(col(Delivery.id), col(Delivery.state), col(Delivery.lease_owner))
    .where(col(Delivery.id).in_(sa.bindparam("ids", expanding=True)))
    .order_by(col(Delivery.id))  # two who lock the same ones take them in the same order
    .with_for_update()
)
# Asked when the deliveries are locked: who is erased by then must not come back in a relay's words.
_KNOWN = sa.select(col(Subscriber.id)).where(col(Subscriber.id).in_(sa.bindparam("ids", expanding=True)))


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
    in_index_order(session)
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


@dataclass(frozen=True, slots=True)
class Handoff:
    """A message whose last dot is about to be written.

    :ivar selection: kept from now on, so that another attempt sends the same.
    """

    leased: Leased
    recipient: str
    message_id: str
    selection: dict[str, Any] | None


def mark_handoffs(session: Session, handoffs: Sequence[Handoff], *, owner: str, now: datetime) -> set[int]:
    """Say that the relay may have these messages from now on; return the deliveries for which that is so.

    The others' dots must not be written: their lease is gone, or their reader left, paused, or moved elsewhere.
    """
    values = {
        "ids": [each.leased.id for each in handoffs],
        "recipients": [(each.leased.subscriber_id, each.recipient) for each in handoffs],
        "owner": owner,
        "until": now + HANDOFF_LEASE,
    }
    marked = {row[0] for row in session.connection().execute(_marking(), values)}
    kept = [
        {"which": each.leased.id, "message_id": each.message_id, "selection": each.selection}
        for each in handoffs
        if each.leased.id in marked
    ]
    if kept:
        session.connection().execute(_THIS, kept)
    return marked


@cache
def _marking() -> sa.Update:
    """Return the statement that marks; made once, since making it takes longer than running it."""
    pending = col(Delivery.mail).in_([each for each in Mail if each.wanted_by is State.PENDING])
    elsewhere = col(Delivery.mail).in_([each for each in Mail if each.goes_elsewhere])
    theirs: sa.BindParameter[Any] = sa.bindparam("recipients", expanding=True)
    wanted = sa.select(col(Subscriber.id)).where(
        col(Subscriber.id) == col(Delivery.subscriber_id),
        col(Subscriber.state) == sa.case((pending, State.PENDING.value), else_=State.ACTIVE.value),
        ~_paused(),
        sa.or_(elsewhere, sa.tuple_(col(Subscriber.id), col(Subscriber.email)).in_(theirs)),
    )
    return (
        sa.update(Delivery)
        .where(col(Delivery.id).in_(sa.bindparam("ids", expanding=True)))
        .where(col(Delivery.lease_owner) == sa.bindparam("owner"), col(Delivery.state) == DeliveryState.LEASED)
        .where(wanted.correlate(Delivery).exists())
        .values(state=DeliveryState.HANDOFF, lease_until=sa.bindparam("until"))
        .returning(col(Delivery.id))
    )


def turn_back(session: Session, refused: Sequence[Leased], *, owner: str, now: datetime) -> None:
    """Put away mails that were refused their handoff: who left gets none, the others are looked at again."""
    for leased in refused:
        person = session.get(Subscriber, leased.subscriber_id)
        if person is None or person.state != leased.mail.wanted_by:
            skip(session, {leased.id: SkipReason.NOT_ACTIVE}, owner=owner, now=now)
        else:
            release(session, [leased.id], owner=owner, not_before=now + _LOOK_AGAIN)


def settle(session: Session, settled: Sequence[tuple[Leased, Outcome]], *, owner: str, now: datetime) -> set[int]:
    """Write down what became of attempts; return the deliveries that were still ours.

    An acceptance that comes after the lease was lost is evidence: it settles ``unknown`` as ``sent``.
    """
    ask = session.connection().execute
    found = {row[0]: row for row in ask(_FOR_SETTLING, {"ids": [leased.id for leased, _ in settled]})}
    known = {row[0] for row in ask(_KNOWN, {"ids": [leased.subscriber_id for leased, _ in settled]})}
    values, attempts, ours = [], [], set()
    for leased, outcome in settled:
        if leased.id not in found:
            continue  # forgotten meanwhile, with whoever it was for
        _, state, held_by = found[leased.id]
        reply = outcome.reply if leased.subscriber_id in known else ""
        late = state == DeliveryState.UNKNOWN and outcome.state is DeliveryState.SENT
        if late or (held_by == owner and state in _IN_FLIGHT):
            ours.add(leased.id)
            values.append(_settled(leased.id, outcome, reply, now))
        attempts.append(
            {
                "delivery_id": leased.id,
                "no": leased.attempts,
                "tried_at": now,
                "phase": outcome.phase,
                "outcome": outcome.state,
                "code": outcome.code,
                "reply": reply,
            }
        )
    if values:
        ask(_THIS, values)
    if attempts:
        ask(sa.insert(Attempt.__table__), attempts)  # type: ignore[attr-defined]
    return ours


def _settled(delivery_id: int, outcome: Outcome, reply: str, now: datetime) -> dict[str, Any]:
    done = outcome.state is not DeliveryState.DEFERRED
    return {
        "which": delivery_id,
        "state": outcome.state,
        "code": outcome.code,
        "reply": reply,
        "done_at": now if done else None,
        "not_before": now + outcome.retry_after if outcome.retry_after else now,
        "lease_owner": None,
        "lease_until": None,
    }


def reap(session: Session, now: datetime) -> tuple[int, int]:
    """End leases whose time is over; return how many became ``deferred`` and how many ``unknown``."""
    gone = {"lease_owner": None, "lease_until": None}
    deferred = (
        sa.update(Delivery)
        .where(_over(DeliveryState.LEASED, now))
        .values(
            state=DeliveryState.DEFERRED,
            not_before=now,
            reply="the worker was lost before the handoff",
            **gone,
        )
    )
    unknown = (
        sa.update(Delivery)
        .where(_over(DeliveryState.HANDOFF, now))
        .values(state=DeliveryState.UNKNOWN, done_at=now, reply="the worker was lost after the handoff", **gone)
    )
    return _changed(session, deferred), _changed(session, unknown)


def _over(state: DeliveryState, now: datetime) -> sa.ColumnElement[bool]:
    """Whether a lease is over, and nobody is just writing to its delivery: to wait for them could be for ever."""
    over = col(Delivery.lease_owner).is_not(None), col(Delivery.state) == state, col(Delivery.lease_until) < now
    return col(Delivery.id).in_(sa.select(col(Delivery.id)).where(*over).with_for_update(skip_locked=True))


def expire(session: Session, now: datetime) -> int:
    """Give up what was not sent before its time was over; return how many."""
    statement = (
        sa.update(Delivery)
        .where(*_idle(), col(Delivery.state).in_(_WAITING), col(Delivery.expires_at) <= now)
        .values(state=DeliveryState.FAILED, reply="expired", done_at=now)
    )
    return _changed(session, statement)


def _due(issue_id: int | None, now: datetime, limit: int, only: int | None) -> SelectOfScalar[int]:
    other = sa.orm.aliased(Delivery)
    busy = select(other.id).where(
        col(other.subscriber_id) == col(Delivery.subscriber_id),
        col(other.id) != col(Delivery.id),
        col(other.issue_id).is_not(None),
        col(other.lease_owner).is_not(None),
        col(other.state).in_(_IN_FLIGHT),
    )
    # asked of each reader by itself: as a join PostgreSQL may walk through all that are in flight, for each of them
    free = busy.limit(1).correlate(Delivery).scalar_subquery().is_(None)
    due = (
        select(sa.type_coerce(Delivery.id, sa.BigInteger).label("id"))
        .where(_of(issue_id), *_idle(), col(Delivery.state).in_(_WAITING), col(Delivery.not_before) <= now)
        .where(col(Delivery.expires_at) > now)
        .order_by(col(Delivery.issue_id), col(Delivery.not_before), col(Delivery.id))  # as the index is
        .limit(limit)
    )
    if only is not None:
        due = due.where(Delivery.subscriber_id == only)
    if issue_id is not None:
        running = select(Issue.id).where(Issue.id == issue_id, Issue.state == IssueState.OPEN)
        due = due.where(free, running.exists())
    return due


def _idle() -> tuple[sa.ColumnElement[bool], ...]:
    """Whether nobody has it, and nothing became of it yet: what the indexes of waiting deliveries hold."""
    return col(Delivery.done_at).is_(None), col(Delivery.lease_owner).is_(None)


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
