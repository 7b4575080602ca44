"""The ledger's statements about many deliveries at once; their rows come as one parameter, see `listed`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from newsletter.db import BigId, UTCDateTime, dialect, listed
from newsletter.delivery.custody import store as custody
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail
from newsletter.issues.models import Issue, IssueState
from newsletter.subscribers.models import State, Subscriber

IN_FLIGHT = (DeliveryState.LEASED, DeliveryState.HANDOFF)
_HAS_IT = (DeliveryState.SENT, DeliveryState.HANDOFF)
_NOW = sa.bindparam("now", type_=UTCDateTime())
_Type = sa.types.TypeEngine[Any]
_MADE: dict[str, "Statements"] = {}  # by dialect


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of the fast path; made once, since making one takes longer than running it for many rows."""

    marking: sa.Update
    locking: sa.Select[Any]
    settling: sa.Update
    attempting: sa.Insert


def statements(session: Session) -> Statements:
    """Return the statements as this database understands them."""
    name = dialect(session)
    if name not in _MADE:
        _MADE[name] = Statements(_marking(session), _locking(session), _settling(session), _attempting(session))
    return _MADE[name]


def _marking(session: Session) -> sa.Update:
    types: dict[str, _Type] = {
        "id": BigId,
        "no": sa.Integer(),
        "recipient": sa.Text(),
        "message_id": sa.Text(),
        "selection": sa.JSON(),
    }
    rows = listed(session, "rows", **types)
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
        sa.or_(elsewhere, col(Subscriber.email) == rows.c.recipient),
    )
    return (
        sa.update(Delivery)
        .where(col(Delivery.id) == rows.c.id, col(Delivery.attempts) == rows.c.no)
        .where(col(Delivery.lease_owner) == sa.bindparam("owner"), col(Delivery.state) == DeliveryState.LEASED)
        .where(sa.or_(wanted.correlate(Delivery, rows).exists(), operators), _running(), ~custody.held())
        .values(
            state=DeliveryState.HANDOFF,
            lease_until=sa.bindparam("until"),
            handed_at=_NOW,
            message_id=rows.c.message_id,
            selection=rows.c.selection,
        )
        .returning(col(Delivery.id))
    )


def _settled_rows(session: Session) -> sa.Subquery:
    types: dict[str, _Type] = {"id": BigId, "no": sa.Integer(), "code": sa.Integer()}
    return listed(session, "rows", **types, **dict.fromkeys(("phase", "state", "reply"), sa.Text()))


def _locking(session: Session) -> sa.Select[Any]:
    """Return what takes rows one after the other, in the same order as others who want them.

    Asked before anything else, so that the statements behind it see who is erased by then.
    """
    rows = listed(session, "rows", id=BigId)
    return (
        sa.select(sa.literal(1))
        .where(col(Delivery.id) == rows.c.id)
        .order_by(col(Delivery.id))
        .with_for_update(of=Delivery)
    )


def _settling(session: Session) -> sa.Update:
    rows = _settled_rows(session)
    accepted = sa.select(col(Attempt.id)).where(
        col(Attempt.delivery_id) == col(Delivery.id), col(Attempt.outcome) == DeliveryState.SENT
    )
    # the late word on an earlier attempt may have come when this one was at its dot
    before = sa.and_(rows.c.state != DeliveryState.SENT, accepted.correlate(Delivery).exists())
    state = sa.case((before, DeliveryState.SENT.value), else_=rows.c.state)
    sent = rows.c.state == DeliveryState.SENT
    mine = sa.and_(
        col(Delivery.lease_owner) == sa.bindparam("owner"),
        col(Delivery.attempts) == rows.c.no,
        _one_of(col(Delivery.state), IN_FLIGHT),
    )
    return (
        sa.update(Delivery)
        .where(col(Delivery.id) == rows.c.id, sa.or_(mine, sa.and_(sent, ~_one_of(col(Delivery.state), _HAS_IT))))
        .values(
            state=state,
            skip_reason=None,
            code=rows.c.code,
            reply=_words(rows),
            done_at=sa.case((state != DeliveryState.DEFERRED, _NOW)),
            handed_at=sa.func.coalesce(col(Delivery.handed_at), sa.case((sent, _NOW))),
            not_before=_NOW,
            lease_owner=None,
            lease_until=None,
        )
        .returning(col(Delivery.id))
    )


def _attempting(session: Session) -> sa.Insert:
    rows = _settled_rows(session)
    made = sa.select(rows.c.id, rows.c.no, _NOW, rows.c.phase, rows.c.state, rows.c.code, _words(rows))
    # what is forgotten, with whoever it was for, has nothing to add to; and what was said already, and its commit's
    # answer lost, is not said twice
    said = sa.select(col(Attempt.id)).where(
        col(Attempt.delivery_id) == rows.c.id,
        col(Attempt.no) == rows.c.no,
        col(Attempt.phase) == rows.c.phase,
        col(Attempt.outcome) == rows.c.state,
    )
    made = made.where(rows.c.id == col(Delivery.id), ~said.correlate(rows).exists())
    names = ["delivery_id", "no", "tried_at", "phase", "outcome", "code", "reply"]
    return sa.insert(Attempt).from_select(names, made, include_defaults=False)


def _words(rows: sa.Subquery) -> sa.ColumnElement[str]:
    """Return a relay's reply: who is erased must not come back in its words; an operator never was a subscriber."""
    known = sa.select(col(Subscriber.id)).where(col(Subscriber.id) == col(Delivery.subscriber_id))
    is_there = sa.or_(known.correlate(Delivery).exists(), col(Delivery.subscriber_id) <= 0)
    return sa.case((is_there, rows.c.reply), else_="")


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
