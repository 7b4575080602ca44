"""All SQL about refusals that come again: an address that is refused on two days, a mailbox that stays full."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter import logs
from newsletter.delivery.models import Attempt, Delivery, DeliveryState
from newsletter.delivery.retry import Outcome, Phase, refused
from newsletter.issues.models import Issue
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Addressee, State

_log = logs.get(__name__)
_REMEMBERED = timedelta(days=90)
_DAYS = 2  # on which an address is refused before it is given up
_FULL_ISSUES = 3  # in a row
_OVER = (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.UNKNOWN)
_MANY = 99  # attempts: a mailbox that was full for a while failed at the last of them
_REST = timedelta(weeks=4)  # for a mailbox that is full; its reader may end it in their preferences


def weigh(session: Session, failed: Sequence[tuple[int, int, Outcome]], now: datetime) -> None:
    """Draw the conclusions from refusals that were just written down.

    :param failed: subscriber, delivery and outcome of each.
    """
    for _, delivery_id, outcome in failed:
        if outcome.ours:
            _log.error("mail refused for what it is", delivery=delivery_id, code=outcome.code, reply=outcome.reply)
    weighty = sorted({who for who, _, outcome in failed if outcome.hard or outcome.full})
    people = subscribers.addressees(session, weighty)
    for who in weighty:
        person = people.get(who)
        if person is None or person.state != State.ACTIVE:
            continue
        if len(_hard_days(session, person, now)) >= _DAYS:
            subscribers.suppress(session, person.email, "bounced", now)
            _log.warning("address given up", subscriber=who)
        elif _stays_full(session, who):
            subscribers.pause(session, who, now.date(), (now + _REST).date())
            _log.warning("paused, since the mailbox stays full", subscriber=who)


def _hard_days(session: Session, person: Addressee, now: datetime) -> set[date]:
    """Return the days (UTC) on which an address was refused for good, since a mail was accepted or it was moved to."""
    statement = (
        sa.select(*(col(each) for each in (Attempt.tried_at, Attempt.phase, Attempt.outcome, Attempt.code)))
        .add_columns(col(Attempt.reply))
        .join(Delivery, col(Delivery.id) == col(Attempt.delivery_id))
        .where(col(Delivery.subscriber_id) == person.id, col(Delivery.queued_at) > now - _REMEMBERED)
        .where(col(Attempt.tried_at) >= (person.links_since or now - _REMEMBERED))  # moving sets it
        .where(col(Attempt.outcome).in_((DeliveryState.SENT, DeliveryState.FAILED)))
        .order_by(col(Attempt.tried_at).desc(), col(Attempt.id).desc())
    )
    days: set[date] = set()
    for at, phase, outcome, code, reply in session.execute(statement):
        if outcome == DeliveryState.SENT:
            break
        if phase == Phase.RCPT and refused(Phase.RCPT, code or 0, reply, 1, 0).hard:
            days.add(at.astimezone(UTC).date())
    return days


def _stays_full(session: Session, subscriber_id: int) -> bool:
    """Return whether the reader's last issues all came back since the mailbox had no room."""
    statement = (
        select(Delivery.state, Delivery.code, Delivery.reply)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id))
        .where(Delivery.subscriber_id == subscriber_id, col(Delivery.state).in_(_OVER))
        .order_by(col(Issue.day).desc(), col(Delivery.id).desc())
        .limit(_FULL_ISSUES)
    )
    last = session.exec(statement).all()
    return len(last) == _FULL_ISSUES and all(
        state == DeliveryState.FAILED and _no_room(code or 0, reply or "") for state, code, reply in last
    )


def _no_room(code: int, reply: str) -> bool:
    return refused(Phase.RCPT, code, reply.removeprefix("gave up: "), _MANY, 0).full
