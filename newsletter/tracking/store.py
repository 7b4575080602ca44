"""All SQL about events."""

from datetime import datetime

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
    values = {
        "kind": kind,
        "issue_id": issue_id,
        "subscriber_id": subscriber_id,
        "paper_id": paper_id,
        "link": link,
        "first_at": now,
        "last_at": now,
        "times": 1,
    }
    statement = insert(session, Event).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=["kind", "issue_id", "subscriber_id", "paper_id", "link"],
        set_={"times": Event.times + 1, "last_at": now},
    )
    session.execute(statement)


def totals(session: Session, issue_id: int) -> dict[str, int]:
    """Return how often each kind of thing came back for an issue."""
    statement = select(Event.kind, sa.func.sum(Event.times)).where(Event.issue_id == issue_id).group_by(col(Event.kind))
    return {kind: int(times) for kind, times in session.exec(statement)}
