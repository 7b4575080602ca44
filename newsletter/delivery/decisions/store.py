"""All SQL about decisions: listing deliveries, and settling what no relay settled. Each leaves a row among attempts.

A mail that is `unknown` may be with its reader or not. Whoever wants it sent again waits until a worker that was
stopped right before the final dot can be taken for dead; the Message-ID and the selection stay the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.delivery.ledger import LEASE, attempt_row
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail, Word
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import ERASED, Addressee, Subscriber

PATIENCE = timedelta(minutes=15)  # after the handoff mark
_MOST_COPIES = 3  # that the policy makes by itself; after that a person decides
_PAGE = 500
# written out, so that both databases see which partial index is meant
_IS_UNKNOWN = sa.text("deliveries.state = 'unknown'")
_WAITS_IN_DOUBT = (DeliveryState.DEFERRED, DeliveryState.LEASED)


@dataclass(frozen=True, slots=True)
class Which:
    """Which deliveries are meant.

    :ivar handed_before: only those whose handoff is that long ago.
    """

    state: DeliveryState | None = None
    issue_id: int | None = None
    subscriber_id: int | None = None
    handed_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A delivery as the operator sees it.

    :ivar address: ``None`` for who was erased, and for the operator.
    :ivar issue: its slot, or empty.
    :ivar at: since when it is as it is; for what waits, when it is due.
    """

    id: int
    address: str | None
    mail: str
    issue: str
    state: str
    skip_reason: str | None
    attempts: int
    at: datetime
    code: int | None
    reply: str
    message_id: str | None


@dataclass(slots=True)
class Decided:
    """What a decision did.

    :ivar refused: how many it could not be applied to, by why.
    :ivar last: the id to go on after; 0 when there is no more.
    """

    number: int = 0
    issues: set[int | None] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    not_before: datetime | None = None
    last: int = 0

    def add(self, other: "Decided") -> None:
        """Add what the next step did."""
        self.number += other.number
        self.issues |= other.issues
        self.refused += other.refused
        self.not_before = max(filter(None, (self.not_before, other.not_before)), default=None)
        self.last = other.last


def listing(session: Session, which: Which, limit: int) -> Iterator[Listed]:
    """Yield deliveries, newest first, a few hundred in memory at a time."""
    left, below = limit, 0
    at = sa.func.coalesce(Delivery.done_at, Delivery.handed_at, Delivery.not_before)
    names = ("mail", "state", "skip_reason", "attempts", "code", "reply", "message_id")
    statement = (
        sa.select(col(Delivery.id), col(Subscriber.email), col(Issue.slot), at, *(getattr(Delivery, n) for n in names))
        .join(Subscriber, col(Subscriber.id) == col(Delivery.subscriber_id), isouter=True)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id), isouter=True)
        .where(*_meant(which))
        .order_by(col(Delivery.id).desc())
    )
    while left > 0:
        page = statement.where(col(Delivery.id) < below) if below else statement
        rows = session.execute(page.limit(min(left, _PAGE))).all()
        for id_, email, slot, when, mail, state, why, attempts, code, reply, message_id in rows:
            yield Listed(id_, email, mail, slot or "", state, why, attempts, when, code, reply or "", message_id)
        if len(rows) < min(left, _PAGE):
            return
        left, below = left - len(rows), rows[-1][0]


def count(session: Session, which: Which) -> int:
    """Return how many deliveries are meant."""
    return int(session.execute(sa.select(sa.func.count()).select_from(Delivery).where(*_meant(which))).scalar_one())


def take_as_sent(session: Session, which: Which, by: Word, why: str, now: datetime, after: int = 0) -> Decided:
    """Say of some deliveries that they were sent."""
    rows = _page(session, which, after)
    _write(session, [(row, DeliveryState.SENT, None) for row in rows], by, why, now)
    return Decided(len(rows), {row.issue_id for row in rows}, last=_last(rows))


def send_again(session: Session, which: Which, by: Word, why: str, now: datetime, after: int = 0) -> Decided:
    """Let some deliveries be sent again; those that nobody may be sent stay as they are."""
    rows = _page(session, which, after)
    against = _against(session, rows, now)
    if by is Word.POLICY:
        against |= {row.id or 0: "copies" for row in rows if row.attempts >= _MOST_COPIES}
    again = [row for row in rows if row.id not in against]
    at = {row.id: max(now, (row.handed_at or row.done_at or now) + PATIENCE) if _doubted(row) else now for row in again}
    _write(session, [(row, DeliveryState.DEFERRED, at[row.id]) for row in again], by, why, now)
    return Decided(
        len(again),
        {row.issue_id for row in again},
        Counter(against.values()),
        max(at.values(), default=None),
        _last(rows),
    )


def in_doubt(session: Session, delivery_id: int) -> bool:
    """Return whether it is not known if a mail has reached its reader."""
    found = session.execute(sa.select(col(Delivery.id)).where(col(Delivery.id) == delivery_id, _in_doubt()))
    return found.first() is not None


def came_back(session: Session, delivery_id: int, what: str, now: datetime) -> bool:
    """Settle, by a link that only this mail holds, that it has reached its reader; return whether that was in doubt."""
    statement = select(Delivery).where(Delivery.id == delivery_id, _in_doubt()).with_for_update()
    rows = session.exec(statement).all()
    _write(session, [(row, DeliveryState.SENT, None) for row in rows], Word.EVIDENCE, what, now)
    return bool(rows)


def brought_by(session: Session, signed: Mapping[int, datetime]) -> list[int]:
    """Return the unknown deliveries that links to leave came with.

    Such a link names its reader and the second in which it was printed. It came with the mail that was handed off
    right after that, if no other mail to them was.

    :param signed: by subscriber, when the link was printed.
    """
    of = col(Delivery.subscriber_id).in_(list(signed))
    doubtful = session.execute(
        sa.select(col(Delivery.id), col(Delivery.subscriber_id), col(Delivery.handed_at)).where(of, _IS_UNKNOWN)
    )
    near = {id_: who for id_, who, at in doubtful if _printed_for(signed[who], at)}
    if not near:
        return []
    others = session.execute(
        sa.select(col(Delivery.subscriber_id), col(Delivery.handed_at)).where(
            col(Delivery.subscriber_id).in_(set(near.values())), col(Delivery.handed_at).is_not(None)
        )
    )
    mails = Counter(who for who, at in others if _printed_for(signed[who], at))
    return [id_ for id_, who in near.items() if mails[who] == 1]


def _printed_for(at: datetime, handed_at: datetime | None) -> bool:
    return handed_at is not None and timedelta() <= handed_at - at <= LEASE + timedelta(seconds=1)


def _in_doubt() -> sa.ColumnElement[bool]:
    """Whether a mail is unknown, or to be sent again since it was."""
    doubted = sa.select(col(Attempt.id)).where(
        col(Attempt.delivery_id) == col(Delivery.id), col(Attempt.outcome) == DeliveryState.UNKNOWN
    )
    again = sa.and_(col(Delivery.state).in_(_WAITS_IN_DOUBT), doubted.correlate(Delivery).exists())
    return sa.or_(col(Delivery.state) == DeliveryState.UNKNOWN, again)


def _doubted(row: Delivery) -> bool:
    return row.state == DeliveryState.UNKNOWN


def _meant(which: Which) -> list[sa.ColumnElement[bool]]:
    found: list[Any] = []
    if which.state is DeliveryState.UNKNOWN:
        found.append(_IS_UNKNOWN)
    elif which.state is not None:
        found.append(col(Delivery.state) == which.state)
    if which.issue_id is not None:
        found.append(col(Delivery.issue_id) == which.issue_id)
    if which.subscriber_id is not None:
        found.append(col(Delivery.subscriber_id) == which.subscriber_id)
    if which.handed_before is not None:
        found.append(sa.func.coalesce(Delivery.handed_at, Delivery.done_at) <= which.handed_before)
    return found


def _page(session: Session, which: Which, after: int) -> Sequence[Delivery]:
    """Return some deliveries by id, which nobody else changes before this transaction ends."""
    statement = select(Delivery).where(*_meant(which), col(Delivery.id) > after)
    return session.exec(statement.order_by(col(Delivery.id)).limit(_PAGE).with_for_update()).all()


def _last(rows: Sequence[Delivery]) -> int:
    return rows[-1].id or 0 if len(rows) == _PAGE else 0


def _against(session: Session, rows: Sequence[Delivery], now: datetime) -> dict[int, str]:
    """Return why deliveries must not be sent again."""
    people = subscribers.addressees(session, [row.subscriber_id for row in rows])
    barred = subscribers.suppressed(session, [each.email for each in people.values()])
    others = subscribers.suppressed(session, [each.email for each in people.values()], but=ERASED)
    ids = {row.issue_id for row in rows if row.issue_id}
    issues = {each.id: each for each in session.exec(select(Issue).where(col(Issue.id).in_(ids)))}
    found = {}
    for row in rows:
        never = barred if row.issue_id else others  # as when mails are printed
        why = _why_not(row, people.get(row.subscriber_id), issues.get(row.issue_id), never, now)
        if why:
            found[row.id or 0] = why
    return found


def _why_not(row: Delivery, person: Addressee | None, issue: Issue | None, barred: set[str], now: datetime) -> str:
    if row.expires_at <= now:
        return "expired"
    if Mail(row.mail).is_for_operator:
        return ""
    if issue and issue.state == IssueState.CANCELLED:
        return "cancelled"
    if person is None or person.state != row.wanted_by:
        return "not_active"
    if person.email in barred:
        return "suppressed"
    paused = issue and person.paused_until and person.paused_until > issue.day
    return "paused" if paused else ""


def _write(
    session: Session,
    changes: Sequence[tuple[Delivery, DeliveryState, datetime | None]],
    by: Word,
    why: str,
    now: datetime,
) -> None:
    """Put deliveries, which are locked, into other states, and say so among their attempts."""
    attempts = []
    for row, state, not_before in changes:
        row.state, row.reply, row.skip_reason = state, why, None
        row.lease_owner = row.lease_until = None
        row.done_at = now if not_before is None else None
        row.not_before = not_before or row.not_before
        session.add(row)
        attempts.append(attempt_row(row.id or 0, row.attempts, by, state, now, why))
    session.flush()
    if attempts:
        session.connection().execute(sa.insert(Attempt.__table__), attempts)  # type: ignore[attr-defined]
