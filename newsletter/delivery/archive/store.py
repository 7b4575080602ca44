"""All SQL about mails that are long over, a chunk at a time: nobody who sends waits for it.

An issue's accounting is kept before the first of its mails is dropped. Each chunk may be the last one for now: the
next run goes on with what is left.
"""

from collections.abc import Sequence
from datetime import date, datetime

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import take_turn
from newsletter.delivery.models import Attempt, Delivery
from newsletter.delivery.store import accounting
from newsletter.issues.models import Issue, Kept

_ONE_AT_A_TIME = 7237206  # two who archive would wait for each other's rows


def over(session: Session, before: date, *kept: Kept) -> list[Issue]:
    """Return the issues before a day of which as much is kept as `kept` says, oldest first."""
    statement = select(Issue).where(col(Issue.day) < before, col(Issue.kept).in_(kept)).order_by(col(Issue.day))
    return list(session.exec(statement))


def close(session: Session, issue_id: int) -> None:
    """Keep an issue's accounting, unless that was done before."""
    take_turn(session, _ONE_AT_A_TIME)
    issue = session.get(Issue, issue_id)
    if issue is not None and issue.accounting is None:
        issue.accounting = accounting(session, issue_id, issue.slot).as_json()
        session.add(issue)


def keep_only(session: Session, issue_id: int, kept: Kept) -> None:
    """Say how much is still there of an issue's mails."""
    session.execute(sa.update(Issue).where(col(Issue.id) == issue_id).values(kept=kept))


def slim(session: Session, issue_id: int, after: int, limit: int) -> int | None:
    """Forget what was in some of an issue's mails, and each attempt: what became of them stays.

    :param after: a subscriber's id: those that come behind.
    :returns: the last one's, ``None`` if there was none left.
    """
    take_turn(session, _ONE_AT_A_TIME)
    full = sa.or_(col(Delivery.selection).is_not(None), col(Delivery.reply).is_not(None))  # who was tried has a reply
    ids, last = _some(session, issue_id, after, limit, full)
    session.execute(sa.delete(Attempt).where(col(Attempt.delivery_id).in_(ids)))
    mails = sa.update(Delivery).where(col(Delivery.id).in_(ids))
    session.execute(mails.values(selection=None, reply=None), execution_options={"synchronize_session": False})
    return last


def drop(session: Session, issue_id: int, after: int, limit: int) -> int | None:
    """Delete some of an issue's mails; see `slim`."""
    take_turn(session, _ONE_AT_A_TIME)
    ids, last = _some(session, issue_id, after, limit)
    _delete(session, ids)
    return last


def drop_notices(session: Session, before: datetime, limit: int) -> int:
    """Delete some mails outside any issue that were queued before an instant; return how many."""
    take_turn(session, _ONE_AT_A_TIME)
    old = col(Delivery.issue_id).is_(None), col(Delivery.queued_at) < before, col(Delivery.done_at).is_not(None)
    found = sa.select(col(Delivery.id)).where(*old).order_by(col(Delivery.queued_at)).limit(limit)
    ids = [row[0] for row in session.execute(found)]
    _delete(session, ids)
    return len(ids)


def _some(
    session: Session, issue_id: int, after: int, limit: int, *which: sa.ColumnElement[bool]
) -> tuple[list[int], int | None]:
    statement = (
        sa.select(col(Delivery.id), col(Delivery.subscriber_id))
        .where(col(Delivery.issue_id) == issue_id, col(Delivery.subscriber_id) > after, *which)
        .order_by(col(Delivery.issue_id), col(Delivery.subscriber_id))
        .limit(limit)
    )
    rows = session.execute(statement).all()
    return [row[0] for row in rows], rows[-1][1] if rows else None


def _delete(session: Session, ids: Sequence[int]) -> None:
    session.execute(sa.delete(Attempt).where(col(Attempt.delivery_id).in_(ids)))
    session.execute(sa.delete(Delivery).where(col(Delivery.id).in_(ids)))
