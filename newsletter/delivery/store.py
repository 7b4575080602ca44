"""All SQL about deliveries but the changes of their state: queueing, accounting, listing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from newsletter.db import UTCDateTime, in_index_order, insert
from newsletter.delivery.models import SPENT, Attempt, Delivery, DeliveryState, Mail
from newsletter.issues.cadence import SEND_WITHIN, Due, Group
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers.models import State, Subscriber


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where every eligible reader of an issue stands; the states and skipped reasons add up to `eligible`."""

    slot: str
    eligible: int = 0
    queued: int = 0
    leased: int = 0
    handoff: int = 0
    sent: int = 0
    deferred: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = sum(getattr(self, state) for state in DeliveryState if state is not DeliveryState.SKIPPED)
        if total + sum(self.skipped.values()) != self.eligible:
            raise AssertionError(f"the accounting of {self.slot} does not add up: {self}")

    @property
    def progress(self) -> str:
        """Whether anything is still to be done: ``under-way``, ``done``, or ``done-with-unknown``."""
        if self.queued or self.leased or self.handoff or self.deferred:
            return "under-way"
        return "done-with-unknown" if self.unknown else "done"

    def as_json(self) -> dict[str, Any]:
        """Return the accounting object of the command line."""
        return asdict(self)


def due_readers(due: Due, *, only: int | None = None) -> SelectOfScalar[int]:
    """Return the query for the readers of a group who are due for an issue; real runs and dry runs ask it alike.

    :param only: a subscriber's id: nobody else.
    """
    group = due.group
    query = select(sa.type_coerce(Subscriber.id, sa.Integer)).where(
        Subscriber.state == State.ACTIVE,
        Subscriber.timezone == group.timezone,
        Subscriber.hour == group.hour,
        Subscriber.cadence == group.cadence,
        Subscriber.weekdays == group.weekdays,
        _not_paused(due.day),
        # Who joined after their hour is due at once, but not for a day that was over when they joined.
        sa.or_(col(Subscriber.confirmed_at).is_(None), col(Subscriber.confirmed_at) < due.day_ends_at),
    )
    if only is not None:
        query = query.where(Subscriber.id == only)
    return query.order_by(col(Subscriber.id))


def _not_paused(day: date) -> sa.ColumnElement[bool]:
    return sa.or_(col(Subscriber.paused_until).is_(None), col(Subscriber.paused_until) <= day)


def groups_to_queue(session: Session, slot: str, day: date) -> set[Group]:
    """Return the groups with an active reader who has no delivery in an issue: a tick has nothing to do for others."""
    theirs = (
        select(Delivery.id)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id))
        .where(Issue.slot == slot, Delivery.subscriber_id == Subscriber.id)
    )
    statement = (
        select(Subscriber.timezone, Subscriber.hour, Subscriber.cadence, Subscriber.weekdays)
        .where(Subscriber.state == State.ACTIVE, ~theirs.exists(), _not_paused(day))
        .distinct()
    )
    return {Group(*row) for row in session.exec(statement)}


def queue(session: Session, issue_id: int, due: Due, *, now: datetime, only: int | None = None) -> int:
    """Queue a group's readers for an issue, in one statement; return how many were not queued before."""
    called_off = select(Issue.id).where(Issue.id == issue_id, Issue.state == IssueState.CANCELLED)
    readers = due_readers(due, only=only).where(~called_off.exists())
    rows = readers.add_columns(
        sa.literal(Mail.DIGEST.value),
        sa.literal(issue_id),
        sa.literal(DeliveryState.QUEUED.value),
        sa.literal(0),
        *(sa.literal(at, UTCDateTime()) for at in (now, due.due_at, due.expires_at)),
    )
    names = [
        "subscriber_id",
        "mail",
        "issue_id",
        "state",
        "attempts",
        "queued_at",
        "not_before",
        "expires_at",
    ]
    statement = insert(session, Delivery).from_select(names, rows, include_defaults=False)
    statement = statement.on_conflict_do_nothing(index_elements=["issue_id", "subscriber_id"])
    # a number, no ids: those of a million readers would take a worker's memory
    result = session.execute(statement, execution_options={"preserve_rowcount": True})
    return int(result.rowcount)  # type: ignore[attr-defined]


def queue_one(session: Session, issue_id: int, subscriber_id: int, *, now: datetime) -> bool:
    """Queue an issue for one reader, whatever their hour; return whether it comes: ``False`` if they have had it.

    One that was skipped, since they had left or were barred, is queued again.
    """
    again = {
        "state": DeliveryState.QUEUED,
        "skip_reason": None,
        "not_before": now,
        "expires_at": now + SEND_WITHIN,
        "done_at": None,
    }
    fresh = {
        "subscriber_id": subscriber_id,
        "mail": Mail.DIGEST,
        "issue_id": issue_id,
        "attempts": 0,
        "queued_at": now,
    }
    statement = insert(session, Delivery).values(fresh | again)
    statement = statement.on_conflict_do_update(
        index_elements=["issue_id", "subscriber_id"], set_=again, where=col(Delivery.state) == DeliveryState.SKIPPED
    )
    return session.execute(statement.returning(col(Delivery.id))).first() is not None


def queue_notices(
    session: Session,
    mail: Mail,
    once: Mapping[int, str],
    *,
    now: datetime,
    within: timedelta,
    about: Mapping[int, int] | None = None,
) -> None:
    """Queue mails outside any issue.

    :param once: by subscriber, what makes a second one of the same mail the same effect: it is not queued again.
    :param about: by subscriber, the sign-up or the change of address that the mail is about.
    """
    rows = [
        {
            "mail": mail,
            "notice_key": f"{mail}:{subscriber_id}:{effect}",
            "about_id": (about or {}).get(subscriber_id),
            "subscriber_id": subscriber_id,
            "state": DeliveryState.QUEUED,
            "attempts": 0,
            "queued_at": now,
            "not_before": now,
            "expires_at": now + within,
        }
        for subscriber_id, effect in once.items()
    ]
    if rows:
        session.execute(insert(session, Delivery).on_conflict_do_nothing(), rows)


def accounting(session: Session, issue_id: int, slot: str) -> Accounting:
    """Return where every eligible reader of an issue stands, or stood when its mails began to be dropped."""
    kept = session.scalar(sa.select(col(Issue.accounting)).where(col(Issue.id) == issue_id))
    if kept is not None:
        return Accounting(**kept)
    statement = (
        select(Delivery.state, Delivery.skip_reason, sa.func.count())
        .where(Delivery.issue_id == issue_id)
        .group_by(col(Delivery.state), col(Delivery.skip_reason))
    )
    states: dict[str, int] = {}
    skipped: dict[str, int] = {}
    for state, reason, number in session.exec(statement):
        if state == DeliveryState.SKIPPED:
            skipped[str(reason)] = number
        else:
            states[state] = states.get(state, 0) + number
    return Accounting(slot, eligible=sum(states.values()) + sum(skipped.values()), skipped=skipped, **states)


def commonest_reply(session: Session, issue_id: int) -> tuple[int, str] | None:
    """Return what keeps most of an issue's mails that were tried from being sent, and how many; ``None`` if nothing."""
    number = sa.func.count()
    waiting = col(Delivery.state).in_((DeliveryState.DEFERRED, DeliveryState.FAILED)), col(Delivery.reply) != ""
    statement = select(number, col(Delivery.reply)).where(Delivery.issue_id == issue_id, *waiting)
    found = session.exec(statement.group_by(col(Delivery.reply)).order_by(number.desc(), col(Delivery.reply))).first()
    return (found[0], found[1] or "") if found else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that a run would lease.

    :ivar order: how leasing orders it.
    """

    subscriber_id: int
    state: str
    order: tuple[datetime, int]


def waiting(session: Session, issue_id: int, now: datetime, *, only: int | None = None) -> list[Waiting]:
    """Return the deliveries of an issue that a run would lease now, in its order: with those it would reap first."""
    lost = sa.and_(col(Delivery.state) == DeliveryState.LEASED, col(Delivery.lease_until) < now)
    due = sa.and_(
        col(Delivery.state).in_((DeliveryState.QUEUED, DeliveryState.DEFERRED)), col(Delivery.not_before) <= now
    )
    statement = (
        select(Delivery.subscriber_id, Delivery.state, Delivery.not_before, Delivery.id)
        .where(Delivery.issue_id == issue_id, sa.or_(lost, due))
        .where(col(Delivery.expires_at) > now)
    )
    if only is not None:
        statement = statement.where(Delivery.subscriber_id == only)
    rows = [
        Waiting(subscriber_id, state, (now if state == DeliveryState.LEASED else not_before, id_ or 0))
        for subscriber_id, state, not_before, id_ in session.exec(statement)
    ]
    return sorted(rows, key=lambda each: each.order)


def lapsed(session: Session, issue_id: int, now: datetime) -> dict[str, int]:
    """Return how many of an issue's deliveries a run would first give up as too late, or find unknown, by state."""
    late = sa.and_(
        col(Delivery.expires_at) <= now,
        sa.or_(
            col(Delivery.state).in_((DeliveryState.QUEUED, DeliveryState.DEFERRED)),
            sa.and_(col(Delivery.state) == DeliveryState.LEASED, col(Delivery.lease_until) < now),
        ),
    )
    doubtful = sa.and_(col(Delivery.state) == DeliveryState.HANDOFF, col(Delivery.lease_until) < now)
    statement = (
        select(Delivery.state, sa.func.count())
        .where(Delivery.issue_id == issue_id, sa.or_(late, doubtful))
        .group_by(col(Delivery.state))
    )
    return dict(session.exec(statement).all())


def queued_already(session: Session, issue_id: int) -> set[int]:
    """Return the subscribers who have a delivery in an issue, in whatever state."""
    return set(session.exec(select(Delivery.subscriber_id).where(Delivery.issue_id == issue_id)))


def kept_selections(session: Session, issue_id: int, subscriber_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the selections that earlier attempts of an issue's deliveries kept, by subscriber."""
    # One look into the index for each reader: a join would have to guess how many an issue has that is just growing.
    theirs = sa.select(col(Delivery.selection)).where(
        col(Delivery.issue_id) == issue_id, col(Delivery.subscriber_id) == col(Subscriber.id)
    )
    statement = sa.select(col(Subscriber.id), theirs.correlate(Subscriber).scalar_subquery()).where(
        col(Subscriber.id).in_(subscriber_ids)
    )
    return {who: dict(selection) for who, selection in session.execute(statement) if selection}


ISSUE_ID: sa.ColumnElement[int | None] = Issue.__table__.c.id  # type: ignore[attr-defined]


def due_issues(session: Session, now: datetime) -> list[int | None]:
    """Return the issues that have something to deliver now; None stands for mails outside any issue."""
    in_index_order(session)
    of_issues = sa.select(ISSUE_ID).where(col(Issue.state) == IssueState.OPEN, next_at(ISSUE_ID) <= now)
    found = sorted(id_ or 0 for id_ in session.scalars(of_issues))
    return [*([None] if session.scalar(sa.select(next_at(None) <= now)) else []), *found]


def oldest_due(session: Session, now: datetime) -> datetime | None:
    """Return since when the delivery that has waited longest has been due."""
    in_index_order(session)
    soonest = sa.func.min(next_at(ISSUE_ID), type_=UTCDateTime())
    firsts = [session.scalar(sa.select(soonest).select_from(Issue)), session.scalar(sa.select(next_at(None)))]
    return min((first for first in firsts if first and first <= now), default=None)


def next_at(issue_id: sa.ColumnElement[int | None] | None) -> sa.ScalarSelect[datetime]:
    """Return when an issue's first waiting delivery is due: one look into the index, however many wait."""
    of = col(Delivery.issue_id).is_(None) if issue_id is None else col(Delivery.issue_id) == issue_id
    idle = col(Delivery.done_at).is_(None), col(Delivery.lease_owner).is_(None)
    statement = (
        sa.select(col(Delivery.not_before))
        .where(of, *idle, col(Delivery.state).in_((DeliveryState.QUEUED, DeliveryState.DEFERRED)))
        .order_by(col(Delivery.issue_id), col(Delivery.not_before))
        .limit(1)
    )
    return (statement if issue_id is None else statement.correlate(Issue)).scalar_subquery()


_IS_UNKNOWN = col(Delivery.state) == sa.literal_column("'unknown'")  # as text: so both databases see the index


def unknown_count(session: Session) -> int:
    """Return how many deliveries wait for evidence."""
    statement = select(sa.func.count()).where(_IS_UNKNOWN)
    return int(session.exec(statement).one())


def unknown_outside(session: Session) -> int:
    """Return how many of them are of no issue."""
    # by the condition itself, SQLite could walk through all that ever were outside any issue
    statement = select(sa.func.count() - sa.func.count(col(Delivery.issue_id))).where(_IS_UNKNOWN)
    return int(session.exec(statement).one())


def of_issue(session: Session, issue_id: int, subscriber_id: int) -> Delivery | None:
    """Return a reader's mail of an issue."""
    theirs = Delivery.issue_id == issue_id, Delivery.subscriber_id == subscriber_id
    return session.exec(select(Delivery).where(*theirs)).first()


def get(session: Session, delivery_id: int) -> Delivery | None:
    """Return a delivery by id."""
    return session.get(Delivery, delivery_id)


def caught_up(session: Session, subscriber_ids: Sequence[int], issue_id: int) -> dict[int, date]:
    """Return the day of the last issue that each reader was sent, or may have been sent, other than this one."""
    statement = (
        select(Delivery.subscriber_id, sa.func.max(Issue.day))
        .join(Issue, col(Issue.id) == col(Delivery.issue_id))
        .where(col(Delivery.subscriber_id).in_(subscriber_ids), col(Delivery.state).in_(SPENT))
        .where(sa.or_(col(Delivery.selection).is_not(None), col(Delivery.state) == DeliveryState.SENT))
        .where(Delivery.issue_id != issue_id)
        .group_by(col(Delivery.subscriber_id))
    )
    return dict(session.exec(statement).all())


def of_reader(session: Session, subscriber_id: int) -> list[tuple[Delivery, str]]:
    """Return a reader's deliveries with their issues' slots, oldest first."""
    statement = (
        select(Delivery, sa.func.coalesce(Issue.slot, ""))
        .join(Issue, col(Issue.id) == col(Delivery.issue_id), isouter=True)
        .where(Delivery.subscriber_id == subscriber_id)
        .order_by(col(Delivery.id))
    )
    return list(session.exec(statement))


def forget(session: Session, subscriber_ids: Sequence[int]) -> None:
    """Keep of readers' deliveries only what an issue's accounting needs: a number and a state."""
    of = col(Delivery.subscriber_id).in_(subscriber_ids)
    # whoever writes what became of their mails waits until they are erased, or is done before
    session.execute(sa.select(col(Delivery.id)).where(of).order_by(col(Delivery.id)).with_for_update()).all()
    theirs = select(Delivery.id).where(of)
    notices = theirs.where(col(Delivery.issue_id).is_(None))
    session.execute(sa.delete(Attempt).where(col(Attempt.delivery_id).in_(notices)))
    session.execute(sa.delete(Delivery).where(col(Delivery.id).in_(notices)))
    session.execute(sa.update(Attempt).where(col(Attempt.delivery_id).in_(theirs)).values(reply=""))
    blank = {"selection": None, "reply": None, "message_id": None}
    session.execute(sa.update(Delivery).where(of).values(blank))


def notices_since(session: Session, subscriber_id: int, mail: Mail, since: datetime) -> int:
    """Return how many mails of a kind were queued for a reader since an instant."""
    theirs = Delivery.subscriber_id == subscriber_id, Delivery.mail == mail, col(Delivery.queued_at) > since
    return session.exec(select(sa.func.count(col(Delivery.id))).where(*theirs)).one()
