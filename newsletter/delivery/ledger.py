"""The ledger: every change of a delivery's state. All SQL about leases, handoff marks and outcomes.

The protocol: a batch is leased; the handoff mark is committed after the body is written and before the
final dot; the outcome is committed after the reply. Whoever dies before the mark has sent nothing
(``deferred``); whoever dies after it leaves ``unknown``. Every change names the lease's owner and the
state it expects, so a worker that lost its lease can change nothing. A mail that an earlier attempt may have
brought already is never said to have been left out or to be too late: it is `unknown` again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from pydantic import ConfigDict, TypeAdapter, with_config
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar
from typing_extensions import TypedDict

from newsletter.db import Instant, UTCDateTime, dialect, in_index_order, instant, moment, written
from newsletter.delivery.bulk.store import IN_FLIGHT, Known, known, mark, statements, write
from newsletter.delivery.custody import store as custody
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail, SkipReason
from newsletter.delivery.refusals import store as refusals
from newsletter.delivery.retry import Outcome
from newsletter.errors import LeaseLostError
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers.models import Subscriber

LEASE = timedelta(seconds=30)  # how long the mails of a worker that died wait; a living one renews it
HANDOFF_LEASE = timedelta(seconds=700)  # the 600 s of RFC 5321, section 4.5.3.2.6, and a margin
_LOOK_AGAIN = timedelta(minutes=1)
WAITING = (DeliveryState.QUEUED, DeliveryState.DEFERRED)


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
    queued_at: datetime | None = None


def lease(
    session: Session, issue_id: int | None, *, owner: str, now: datetime, limit: int, only: int | None = None
) -> list[Leased]:
    """Lease up to `limit` deliveries that are due, oldest first; `issue_id` None means mails outside any issue.

    A reader who has another issue's mail in flight waits: two selections must not overtake each other.

    :param only: a subscriber's id: nobody else's.
    """
    in_index_order(session)
    leasing = written(session, _leasing(dialect(session), of_issue=issue_id is not None, of_one=only is not None))
    at, until = instant(session, now), instant(session, now + LEASE)
    try:
        rows = leasing.ask(session, issue=issue_id, only=only, now=at, until=until, owner=owner, limit=limit)
    except IntegrityError as exc:  # the unique index on mails in flight
        raise LeaseLostError("another mail to one of these readers was leased at the same moment") from exc
    return sorted((_leased(row, is_text=dialect(session) == "sqlite") for row in rows), key=lambda leased: leased.id)


def _leased(row: Sequence[Any], *, is_text: bool) -> Leased:
    """Return what a row of `_leasing` says.

    :param is_text: whether JSON comes as text.
    """
    id_, mail, subscriber_id, attempts, message_id, selection, about_id, queued_at = row
    if is_text and isinstance(selection, str):  # what is a number alone, SQLite keeps as one
        selection = json.loads(selection)
    return Leased(id_, Mail(mail), subscriber_id, attempts, message_id, selection, about_id, moment(queued_at))


def skip(session: Session, skipped: Sequence[tuple[Leased, SkipReason]], *, owner: str, now: datetime) -> None:
    """Close leased deliveries without a mail, each with its reason."""
    for reason in {reason for _, reason in skipped}:
        session.execute(
            sa.update(Delivery)
            .where(*_still_leased([leased for leased, each in skipped if each is reason], owner))
            .values(
                state=unless_in_doubt(DeliveryState.SKIPPED),
                skip_reason=reason,
                done_at=now,
                lease_owner=None,
                lease_until=None,
            ),
        )


def release(session: Session, leased: Sequence[Leased], *, owner: str, not_before: datetime, why: str = "") -> None:
    """Give back leased deliveries that were not tried: they count no attempt.

    :param why: what kept them from being tried.
    """
    session.execute(
        sa.update(Delivery)
        .where(*_still_leased(leased, owner))
        .values(
            state=DeliveryState.DEFERRED,
            not_before=not_before,
            reply=why,
            attempts=Delivery.attempts - 1,
            lease_owner=None,
            lease_until=None,
        ),
    )


def renew(session: Session, *, owner: str, now: datetime) -> None:
    """Keep for longer what `owner` has leased and not handed over yet."""
    session.execute(
        sa.update(Delivery).where(*_ours(owner, DeliveryState.LEASED)).values(lease_until=now + LEASE),
        execution_options={"synchronize_session": False},
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


@with_config(ConfigDict(extra="allow"))
class _Kept(TypedDict, total=False):
    """What a selection looks like, by and large: whatever else it is, it is kept as it is, which takes longer."""

    picks: tuple[tuple[int, float, str, tuple[float, ...] | None, str], ...]
    trending: tuple[tuple[int, str], ...]
    said: tuple[str, ...]


_KEPT: TypeAdapter[Any] = TypeAdapter(_Kept)  # four times as quick as to find out what each tuple holds


def mark_handoffs(session: Session, handoffs: Sequence[Handoff], *, owner: str, now: datetime) -> set[int]:
    """Say that the relay may have these messages from now on; return the deliveries for which that is so.

    The others' dots must not be written: their lease is gone, their reader left, paused, or moved elsewhere, or
    their issue is held up.

    :param handoffs: at most one of a delivery.
    """
    shared = {"owner": owner, "until": instant(session, now + HANDOFF_LEASE), "now": instant(session, now)}
    rows = [
        {
            "id": each.leased.id,
            "no": each.leased.attempts,
            "recipient": each.recipient,
            "message_id": each.message_id,
            "selection": None if each.selection is None else _KEPT.dump_json(each.selection, warnings=False).decode(),
            **shared,
        }
        for each in handoffs
    ]
    marked = mark(session, rows)
    custody.saw_handoffs(session, len(marked))
    return marked


def turn_back(session: Session, refused: Sequence[Leased], *, owner: str, now: datetime) -> None:
    """Put away mails that were refused their handoff: who left gets none, the others are looked at again.

    Those of an issue that is paused or stopped wait until it goes on; no attempt is counted.
    """
    if not refused:
        return
    about = (
        sa.select(col(Delivery.id), col(Subscriber.state), col(Issue.state))
        .join(Subscriber, col(Subscriber.id) == col(Delivery.subscriber_id), isouter=True)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id), isouter=True)
        .where(col(Delivery.id).in_([each.id for each in refused]))
    )
    known = {row[0]: (row[1], row[2]) for row in session.execute(about)}
    skipped: list[tuple[Leased, SkipReason]] = []
    again: dict[str, list[Leased]] = {}
    for each in refused:
        reader, issue = known.get(each.id, (None, None))
        if not each.mail.is_for_operator and reader != each.mail.wanted_by:
            skipped.append((each, SkipReason.NOT_ACTIVE))
        elif issue == IssueState.CANCELLED:
            skipped.append((each, SkipReason.CANCELLED))
        else:
            again.setdefault(f"the issue is {issue}" if issue not in {None, IssueState.OPEN} else "", []).append(each)
    skip(session, skipped, owner=owner, now=now)
    for why, waiting in again.items():
        # what waits for its issue to go on is due as soon as it does
        release(session, waiting, owner=owner, not_before=now if why else now + _LOOK_AGAIN, why=why)


def settle(session: Session, settled: Sequence[tuple[Leased, Outcome]], *, owner: str, now: datetime) -> set[int]:
    """Write down what became of attempts; return the deliveries that were still ours.

    An acceptance is a fact, however late it comes: the mail is ``sent``, unless another attempt is at its last dot.

    :param settled: at most one of a delivery.
    """
    made = statements(session)
    asked = [
        {"id": leased.id, "no": leased.attempts, "phase": str(outcome.phase), "state": str(outcome.state)}
        for leased, outcome in settled
    ]
    found = known(session, asked, owner)
    there = [(leased, outcome, found[leased.id]) for leased, outcome in settled if leased.id in found]
    at = instant(session, now)
    later = {
        leased.id: instant(session, now + outcome.retry_after) for leased, outcome in settled if outcome.retry_after
    }
    ours = {leased.id for leased, _, each in there if each.ours}
    write(session, made.settling, [_ended(*each, at, later.get(each[0].id, at)) for each in there if each[2].ours])
    write(session, made.attempting, [_attempted(*each, at) for each in there if not each[2].said])
    weighty = [
        (leased.subscriber_id, leased.id, outcome)
        for leased, outcome in settled
        if leased.id in ours and (outcome.hard or outcome.full or outcome.ours)
    ]
    if weighty:
        refusals.weigh(session, weighty, now)
    return ours


def _ended(leased: Leased, outcome: Outcome, known: Known, at: Instant, not_before: Instant) -> dict[str, object]:
    """Return how a delivery stands behind an attempt."""
    sent = outcome.state is DeliveryState.SENT
    state = DeliveryState.SENT if known.accepted else outcome.state
    return {
        "id": leased.id,
        "state": str(state),
        "code": outcome.code,
        "reply": outcome.reply if known.has_reader else "",
        "done_at": None if state is DeliveryState.DEFERRED else at,
        "handed_at": at if sent else None,
        "not_before": not_before,
    }


def _attempted(leased: Leased, outcome: Outcome, known: Known, at: Instant) -> dict[str, object]:
    """Return an attempt as it is written down: who is erased must not come back in a relay's words."""
    return {
        "delivery_id": leased.id,
        "no": leased.attempts,
        "tried_at": at,
        "phase": str(outcome.phase),
        "outcome": str(outcome.state),
        "code": outcome.code,
        "reply": outcome.reply if known.has_reader else "",
    }


def attempt_row(delivery_id: int, no: int, phase: str, outcome: str, now: datetime, reply: str) -> dict[str, Any]:
    """Return a row for the table of attempts."""
    return {
        "delivery_id": delivery_id,
        "no": no,
        "tried_at": now,
        "phase": phase,
        "outcome": outcome,
        "reply": reply,
    }


def unless_in_doubt(state: DeliveryState) -> sa.ColumnElement[str]:
    """Return the state that ends a delivery without a mail: ``unknown`` if an earlier attempt may have brought it."""
    doubted = sa.select(col(Attempt.id)).where(
        col(Attempt.delivery_id) == col(Delivery.id), col(Attempt.outcome) == DeliveryState.UNKNOWN
    )
    in_doubt = sa.case((col(Delivery.attempts) == 0, sa.false()), else_=doubted.correlate(Delivery).exists())
    return sa.case((in_doubt, DeliveryState.UNKNOWN.value), else_=state.value)


@cache
def _leasing(dialect_: str, *, of_issue: bool, of_one: bool) -> sa.Update:
    due = _due(of_issue=of_issue, of_one=of_one)
    if dialect_ == "postgresql":
        due = due.with_for_update(skip_locked=True, of=Delivery)
    # A common table expression is evaluated once; a plain subquery PostgreSQL may run again, past the limit.
    chosen = due.cte("due")
    return (
        sa.update(Delivery)
        .where(col(Delivery.id).in_(sa.select(chosen.c.id)))
        .values(
            state=DeliveryState.LEASED,
            lease_owner=_given("owner", sa.Text()),
            lease_until=_given("until", UTCDateTime()),
            attempts=Delivery.attempts + 1,
        )
        .returning(
            *(col(each) for each in (Delivery.id, Delivery.mail, Delivery.subscriber_id, Delivery.attempts)),
            col(Delivery.message_id),
            col(Delivery.selection),
            col(Delivery.about_id),
            col(Delivery.queued_at),
        )
    )


def _due(*, of_issue: bool, of_one: bool) -> SelectOfScalar[int]:
    """Return what finds deliveries that are due, up to a limit.

    :param of_one: one reader's only.
    """
    other, issue = sa.orm.aliased(Delivery), _given("issue", sa.Integer())
    now = _given("now", UTCDateTime())
    busy = select(other.id).where(
        col(other.subscriber_id) == col(Delivery.subscriber_id),
        col(other.id) != col(Delivery.id),
        col(other.issue_id).is_not(None),
        col(other.lease_owner).is_not(None),
        col(other.state).in_(IN_FLIGHT),
    )
    # asked of each reader by itself: as a join PostgreSQL may walk through all that are in flight, for each of them
    free = busy.limit(1).correlate(Delivery).scalar_subquery().is_(None)
    due = (
        select(sa.type_coerce(Delivery.id, sa.BigInteger).label("id"))
        .where(*idle(), col(Delivery.state).in_(WAITING), col(Delivery.not_before) <= now)
        .where(col(Delivery.expires_at) > now)
        .order_by(col(Delivery.issue_id), col(Delivery.not_before), col(Delivery.id))  # as the index is
        .limit(_given("limit", sa.Integer()))
    )
    if of_one:
        due = due.where(col(Delivery.subscriber_id) == _given("only", sa.Integer()))
    if of_issue:
        running = select(Issue.id).where(Issue.id == issue, Issue.state == IssueState.OPEN)
        due = due.where(col(Delivery.issue_id) == issue, free, running.exists())
    else:
        due = due.where(col(Delivery.issue_id).is_(None))
    return due.where(~custody.held())


def _given(name: str, type_: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=type_, required=False)


def idle() -> tuple[sa.ColumnElement[bool], ...]:
    """Whether nobody has it, and nothing became of it yet: what the indexes of waiting deliveries hold."""
    return col(Delivery.done_at).is_(None), col(Delivery.lease_owner).is_(None)


def _ours(owner: str, *states: DeliveryState) -> tuple[sa.ColumnElement[bool], ...]:
    return col(Delivery.lease_owner) == owner, col(Delivery.state).in_(states)


def _still_leased(leased: Sequence[Leased], owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Whether a delivery is one of these, and the lease the same: a lost one may have been taken again, by us even."""
    these = sa.tuple_(col(Delivery.id), col(Delivery.attempts)).in_([(each.id, each.attempts) for each in leased])
    return (these, *_ours(owner, DeliveryState.LEASED))


def changed(session: Session, statement: sa.Update) -> int:
    """Run an update; return how many rows it changed."""
    options = {"synchronize_session": False, "preserve_rowcount": True}
    result = session.execute(statement, execution_options=options)
    return int(result.rowcount)  # type: ignore[attr-defined]
