"""All SQL about events."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import insert
from newsletter.tracking.models import Event, Kind


def record(
    session: Session,
    kind: Kind,
    now: datetime,
    *,
    issue_id: int = 0,
    subscriber_id: int = 0,
    paper_id: int = 0,
    link: str = "",
) -> None:
    """Count something that came back."""
    _write(session, [_row(kind, now, issue_id, subscriber_id, paper_id, link)])


def record_all(session: Session, kind: Kind, now: datetime, subscriber_ids: Iterable[int]) -> None:
    """Count the same of many readers."""
    rows = [_row(kind, now, 0, subscriber_id, 0, "") for subscriber_id in sorted(set(subscriber_ids))]
    if rows:
        _write(session, rows)


def _row(kind: Kind, now: datetime, issue_id: int, subscriber_id: int, paper_id: int, link: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "issue_id": issue_id,
        "subscriber_id": subscriber_id,
        "paper_id": paper_id,
        "link": link,
        "first_at": now,
        "last_at": now,
        "times": 1,
    }


def _write(session: Session, rows: list[dict[str, Any]]) -> None:
    statement = insert(session, Event)
    statement = statement.on_conflict_do_update(
        index_elements=["kind", "issue_id", "subscriber_id", "paper_id", "link"],
        set_={"times": Event.times + 1, "last_at": statement.excluded.last_at},
    )
    session.execute(statement, rows)


def totals(session: Session, issue_id: int) -> dict[str, int]:
    """Return how often each kind of thing came back for an issue."""
    statement = select(Event.kind, sa.func.sum(Event.times)).where(Event.issue_id == issue_id).group_by(col(Event.kind))
    return {kind: int(times) for kind, times in session.exec(statement)}


def links_since(session: Session, subscriber_id: int, issue_id: int, since: datetime) -> int:
    """Return how many different links of a mail a reader clicked since an instant."""
    theirs = Event.subscriber_id == subscriber_id, Event.issue_id == issue_id, Event.kind == Kind.CLICKED
    return session.exec(select(sa.func.count(col(Event.id))).where(*theirs, col(Event.last_at) >= since)).one()


def of_reader(session: Session, subscriber_id: int) -> Sequence[Event]:
    """Return what is known to have come from a reader, by id."""
    return session.exec(select(Event).where(Event.subscriber_id == subscriber_id).order_by(col(Event.id))).all()


def forget(session: Session, subscriber_id: int) -> None:
    """Delete what came from a reader."""
    session.execute(sa.delete(Event).where(col(Event.subscriber_id) == subscriber_id))


def forget_old(session: Session, before: datetime) -> None:
    """Delete what came from readers long ago; what counts for an issue and names nobody stays."""
    session.execute(sa.delete(Event).where(col(Event.subscriber_id) != 0, col(Event.last_at) < before))
