"""All SQL about what anybody may read of issues: their frozen candidates, and nothing of any reader.

An issue is public from its opening on: from that minute its candidates no longer change, and its first readers are
mailed. One that the operator paused or cancelled is not shown: whatever they hold back, they hold back here, too. One
that a relay's refusal stopped is shown: nothing is wrong with its papers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
    if not issue_ids:
        return {}
    of = col(IssueCandidate.issue_id)
    counted = sa.select(of, sa.func.count()).where(of.in_(issue_ids)).group_by(of)
    # Each issue's own first rows, in one statement: numbering all rows would sort them all.
    hottest = session.execute(sa.union_all(*(_hottest(each, limit) for each in issue_ids)))
    places: dict[int, list[Place]] = {issue_id: [] for issue_id in issue_ids}
    for issue_id, paper_id, upvotes, gained, _ in sorted(hottest, key=lambda row: (-row.trend, row.paper_id)):
        places[issue_id].append(Place(paper_id, upvotes, gained))
    return {issue_id: Ranking(number, tuple(places[issue_id])) for issue_id, number in session.execute(counted)}


def _hottest(issue_id: int, limit: int) -> sa.Select[Any]:
    of = IssueCandidate
    columns = col(of.issue_id), col(of.paper_id), col(of.upvotes), col(of.gained), col(of.trend)
    first = sa.select(*columns).where(col(of.issue_id) == issue_id)
    order = col(of.trend).desc(), col(of.paper_id)
    return sa.select(first.order_by(*order).limit(limit).subquery())


def _public() -> tuple[sa.ColumnElement[bool], ...]:
    some = select(IssueCandidate.paper_id).where(IssueCandidate.issue_id == Issue.id)
    return col(Issue.state).in_(_SHOWN), some.exists()
