"""All SQL about what anybody may read of issues: their frozen candidates, and nothing of any reader.

An issue is public from its opening on: from that minute its candidates no longer change, and its first readers are
mailed. One that the operator paused or cancelled is not shown: whatever they hold back, they hold back here, too. One
that a relay's refusal stopped is shown: nothing is wrong with its papers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.issues.models import Issue, IssueCandidate, IssueState

_SHOWN = (IssueState.OPEN, IssueState.STOPPED)


@dataclass(frozen=True, slots=True)
class Place:
    """A candidate among the hottest of its issue, with what was known of it then."""

    paper_id: int
    upvotes: int | None
    gained: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hottest candidates of an issue, by their frozen trend, and how many there were altogether."""

    considered: int
    top: tuple[Place, ...]


def newest(session: Session, limit: int, offset: int = 0) -> Sequence[Issue]:
    """Return public issues, newest first."""
    statement = select(Issue).where(*_public()).order_by(col(Issue.day).desc(), col(Issue.id).desc())
    return session.exec(statement.limit(limit).offset(offset)).all()


def find(session: Session, slot: str) -> Issue | None:
    """Return the public issue of a slot."""
    return session.exec(select(Issue).where(Issue.slot == slot, *_public())).first()


def beside(session: Session, issue: Issue) -> tuple[Issue | None, Issue | None]:
    """Return the public issues before and after one."""
    query = select(Issue).where(*_public()).limit(1)
    before = query.where(col(Issue.day) < issue.day).order_by(col(Issue.day).desc())
    after = query.where(col(Issue.day) > issue.day).order_by(col(Issue.day))
    return session.exec(before).first(), session.exec(after).first()


def slots(session: Session, limit: int) -> list[tuple[str, datetime]]:
    """Return the slots of public issues and when they opened, newest first."""
    statement = select(Issue.slot, Issue.opened_at).where(*_public()).order_by(col(Issue.day).desc()).limit(limit)
    return list(session.exec(statement).all())


def rankings(session: Session, issue_ids: Collection[int], limit: int) -> dict[int, Ranking]:
    """Return the hottest candidates of some issues, each with at most `limit`."""
    of = col(IssueCandidate.issue_id)
    hottest = col(IssueCandidate.trend).desc(), col(IssueCandidate.paper_id)
    ranked = (
        sa.select(
            of,
            col(IssueCandidate.paper_id),
            col(IssueCandidate.upvotes),
            col(IssueCandidate.gained),
            sa.func.row_number().over(partition_by=of, order_by=hottest).label("place"),
            sa.func.count().over(partition_by=of).label("considered"),
        )
        .where(of.in_(issue_ids))
        .subquery()
    )
    statement = sa.select(ranked).where(ranked.c.place <= limit).order_by(ranked.c.issue_id, ranked.c.place)
    places: dict[int, list[Place]] = {}
    considered: dict[int, int] = {}
    for issue_id, paper_id, upvotes, gained, _, number in session.execute(statement):
        places.setdefault(issue_id, []).append(Place(paper_id, upvotes, gained))
        considered[issue_id] = number
    return {issue_id: Ranking(considered[issue_id], tuple(top)) for issue_id, top in places.items()}


def _public() -> tuple[sa.ColumnElement[bool], ...]:
    some = select(IssueCandidate.paper_id).where(IssueCandidate.issue_id == Issue.id)
    return col(Issue.state).in_(_SHOWN), some.exists()
