"""The ledger's statements about many deliveries at once.

Their rows come as one parameter, see `listed`. SQLite is told what to write row by row instead: an UPDATE from a list
takes it three times as long, as it copies the list, and each page that it is about to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json
from sqlmodel import Session, col

from newsletter.db import BigId, UTCDateTime, Written, dialect, listed, written
from newsletter.delivery.custody import store as custody
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers.models import State, Subscriber

IN_FLIGHT = (DeliveryState.LEASED, DeliveryState.HANDOFF)
_HAS_IT = (DeliveryState.SENT, DeliveryState.HANDOFF)
_Type = sa.types.TypeEngine[Any]
_Columns = Mapping[str, sa.ColumnElement[Any]]
_INSTANT, _TEXT, _NUMBER = UTCDateTime(), sa.Text(), sa.Integer()
_MARK: dict[str, _Type] = {"id": BigId, "no": _NUMBER, "owner": _TEXT, "now": _INSTANT}
_MADE: dict[str, "Statements"] = {}  # by dialect


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of the fast path; made once, since making one takes longer than running it for many rows."""

    locking: Written
    marking: Written
    marked: Written
    known: Written
    settling: Written
    attempting: Written


def statements(session: Session) -> Statements:
    """Return the statements as this database understands them."""
    name = dialect(session)
    if name not in _MADE:
        made = _locking, _marking, _marked, _known, _settling, _attempting
        _MADE[name] = Statements(*(written(session, each(session)) for each in made))
    return _MADE[name]


def _lock(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Take the deliveries of some rows until the transaction is over; on SQLite whoever writes is alone."""
    if dialect(session) == "postgresql":
        ids = [{"id": row["id"]} for row in rows]  # and not their selections as well
        statements(session).locking.ask(session, rows=to_json(ids).decode())


def mark(session: Session, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Mark deliveries as handed off, where that may be; return which were."""
    made = statements(session)
    _lock(session, rows)
    if dialect(session) == "postgresql":
        return {row[0] for row in made.marking.ask(session, rows=to_json(rows).decode())}
    changed = made.marking.tell(session, rows)
    if changed in {0, len(rows)}:  # almost always: then it need not be asked which
        return {row["id"] for row in rows if changed}
    asked = [{name: row[name] for name in _MARK} for row in rows]
    return {row[0] for row in made.marked.ask(session, rows=to_json(asked).decode())}


def known(session: Session, rows: Sequence[Mapping[str, Any]], owner: str) -> dict[int, "Known"]:
    """Return what the ledger knows of attempts, by delivery, of those that there are; nobody else changes it now."""
    _lock(session, rows)
    found = statements(session).known.ask(session, rows=to_json(rows).decode(), owner=owner)
    return {id_: Known(ours, accepted, said, reader) for id_, ours, accepted, said, reader in found}


def write(session: Session, statement: Written, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run one of the statements that write whatever they are told, for each of some rows."""
    if not rows:
        return
    if dialect(session) == "postgresql":
        statement.ask(session, rows=to_json(rows).decode())
    else:
        statement.tell(session, rows)


def _locking(session: Session) -> sa.Select[Any]:
    """Return what takes rows one after the other, in the same order as others who want them.

    Asked before anything else, so that the statements behind it see who is erased by then.
    """
    rows = listed(session, "rows", id=BigId)
    return (
        sa.select(sa.literal_column("1"))
        .where(col(Delivery.id) == rows.c.id)
        .order_by(col(Delivery.id))
        .with_for_update(of=Delivery)
    )


def _marking(session: Session) -> sa.Update:
    types = {**_MARK, "recipient": _TEXT, "message_id": _TEXT, "selection": _TEXT, "until": _INSTANT}
    row = _row(session, **types)
    pending = _one_of(col(Delivery.mail), [each for each in Mail if each.wanted_by is State.PENDING])
    left = _one_of(col(Delivery.mail), [each for each in Mail if each.wanted_by is State.UNSUBSCRIBED])
    operators = _one_of(col(Delivery.mail), [each for each in Mail if each.is_for_operator])
    elsewhere = _one_of(col(Delivery.mail), [each for each in Mail if each.goes_elsewhere])
    wanted = sa.select(col(Subscriber.id)).where(
        col(Subscriber.id) == col(Delivery.subscriber_id),
        col(Subscriber.state)
        == sa.case((pending, State.PENDING.value), (left, State.UNSUBSCRIBED.value), else_=State.ACTIVE.value),
        # who has come back and left again has seen how, unless another mail says so
        sa.or_(~left, col(Subscriber.unsubscribed_at) == col(Delivery.queued_at)),
        ~_paused(),
        sa.or_(elsewhere, col(Subscriber.email) == row["recipient"]),
    )
    kept, on_postgresql = row["selection"], dialect(session) == "postgresql"
    marking = (
        sa.update(Delivery)
        .where(col(Delivery.id) == row["id"], col(Delivery.attempts) == row["no"])
        .where(col(Delivery.lease_owner) == row["owner"], col(Delivery.state) == DeliveryState.LEASED)
        .where(sa.or_(wanted.correlate_except(Subscriber).exists(), operators), _running(), ~custody.held())
        .values(
            state=DeliveryState.HANDOFF,
            lease_until=row["until"],
            handed_at=row["now"],
            message_id=row["message_id"],
            selection=sa.cast(kept, sa.JSON) if on_postgresql else kept,
        )
    )
    return marking.returning(col(Delivery.id)) if on_postgresql else marking


def _marked(session: Session) -> sa.Select[Any]:
    """Return what finds the deliveries that were marked by one call: its owner marks an attempt but once."""
    rows = listed(session, "rows", **_MARK)
    return (
        sa.select(col(Delivery.id))
        .where(col(Delivery.id) == rows.c.id, col(Delivery.attempts) == rows.c.no)
        .where(col(Delivery.lease_owner) == rows.c.owner, col(Delivery.handed_at) == rows.c.now)
        .where(col(Delivery.state) == DeliveryState.HANDOFF)
    )


def _known(session: Session) -> sa.Select[Any]:
    """Return what finds of attempts whose delivery there is: what the ledger, and who is erased, make of them.

    Its columns are those of `Known`.
    """
    rows = listed(session, "rows", id=BigId, no=_NUMBER, phase=_TEXT, state=_TEXT)
    mine = sa.and_(
        col(Delivery.lease_owner) == sa.bindparam("owner"),
        col(Delivery.attempts) == rows.c.no,
        _one_of(col(Delivery.state), IN_FLIGHT),
    )
    late = sa.and_(rows.c.state == DeliveryState.SENT, ~_one_of(col(Delivery.state), _HAS_IT))
    attempts = sa.select(col(Attempt.id)).where(col(Attempt.delivery_id) == rows.c.id)
    accepted = attempts.where(col(Attempt.outcome) == DeliveryState.SENT)
    said = attempts.where(
        col(Attempt.no) == rows.c.no, col(Attempt.phase) == rows.c.phase, col(Attempt.outcome) == rows.c.state
    )
    reader = sa.select(col(Subscriber.id)).where(col(Subscriber.id) == col(Delivery.subscriber_id))
    return sa.select(
        rows.c.id,
        sa.func.coalesce(sa.or_(mine, late), sa.false()),
        accepted.correlate(rows).exists(),
        said.correlate(rows).exists(),
        sa.or_(reader.correlate(Delivery).exists(), col(Delivery.subscriber_id) <= 0),
    ).where(col(Delivery.id) == rows.c.id)


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of an attempt that something is to be written down of.

    :ivar ours: whether its outcome is the delivery's.
    :ivar accepted: an attempt of the delivery was: its late word may have come when this one was at its dot.
    :ivar said: the same was written down already, and the commit's answer was lost.
    :ivar has_reader: nobody was erased; an operator never was a subscriber.
    """

    ours: bool
    accepted: bool
    said: bool
    has_reader: bool


def _settling(session: Session) -> sa.Update:
    texts = dict.fromkeys(("state", "reply"), _TEXT)
    instants = dict.fromkeys(("done_at", "handed_at", "not_before"), _INSTANT)
    row = _row(session, id=BigId, code=_NUMBER, **texts, **instants)
    return (
        sa.update(Delivery)
        .where(col(Delivery.id) == row["id"])
        .values(
            state=row["state"],
            skip_reason=sa.null(),
            code=row["code"],
            reply=row["reply"],
            done_at=row["done_at"],
            handed_at=sa.func.coalesce(col(Delivery.handed_at), row["handed_at"]),
            not_before=row["not_before"],
            lease_owner=sa.null(),
            lease_until=sa.null(),
        )
    )


def _attempting(session: Session) -> sa.Insert:
    texts = dict.fromkeys(("phase", "outcome", "reply"), _TEXT)
    row = _row(session, delivery_id=BigId, no=_NUMBER, tried_at=_INSTANT, code=_NUMBER, **texts)
    return sa.insert(Attempt).from_select(list(row), sa.select(*row.values()), include_defaults=False)


def _row(session: Session, **types: _Type) -> _Columns:
    """Return the row that is written, by name: on SQLite parameters, since it is told one after the other."""
    if dialect(session) == "postgresql":
        return dict(listed(session, "rows", **types).c)
    return {name: sa.bindparam(name, type_=type_) for name, type_ in types.items()}


def _paused() -> sa.ColumnElement[bool]:
    """Whether the subscriber pauses on the day of the delivery's issue; a mail outside any issue knows no pause."""
    day = sa.select(col(Issue.day)).where(col(Issue.id) == col(Delivery.issue_id)).correlate(Delivery).scalar_subquery()
    return sa.and_(
        col(Delivery.issue_id).is_not(None),
        col(Subscriber.paused_until).is_not(None),
        col(Subscriber.paused_until) > day,
    )


def _running() -> sa.ColumnElement[bool]:
    """Whether the delivery's issue is not held up; a mail outside any issue never is."""
    open_ = sa.select(col(Issue.id)).where(col(Issue.id) == col(Delivery.issue_id), col(Issue.state) == IssueState.OPEN)
    return sa.or_(col(Delivery.issue_id).is_(None), open_.correlate(Delivery).exists())


def _one_of(column: sa.SQLColumnExpression[str], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """As ``IN``, whose values SQLAlchemy would put in anew each time."""
    return sa.or_(*(column == each for each in values))
