"""All SQL about issues."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter import logs
from newsletter.db import insert
from newsletter.issues.cadence import Group, window
from newsletter.issues.compose import Edition, Knowledge
from newsletter.issues.digest import Span
from newsletter.issues.learned import store as learned
from newsletter.issues.models import Issue, IssueCandidate, IssueState
from newsletter.papers import store as papers
from newsletter.papers.models import VoteCount
from newsletter.papers.trending import Signals, trending
from newsletter.subscribers.models import State, Subscriber

_log = logs.get(__name__)
FURTHEST_BACK = timedelta(days=28)  # for who was away: what is older is not news any more
_WEEK = timedelta(days=7)
_MOST = 5_000  # papers in an edition of several weeks
_LATELY = timedelta(hours=36)  # older votes say nothing about how fast they grow now


@dataclass(frozen=True, slots=True)
class Draft:
    """An issue with its candidates, whether or not it is kept yet: a dry run never keeps it."""

    issue: Issue
    candidates: tuple[IssueCandidate, ...]


def slot(day: date) -> str:
    """Return the unique name of a day's issue."""
    return day.isoformat()


def find(session: Session, name: str) -> Issue | None:
    """Return the issue of a slot."""
    return session.exec(select(Issue).where(Issue.slot == name)).first()


def get(session: Session, issue_id: int) -> Issue | None:
    """Return an issue by id."""
    return session.get(Issue, issue_id)


def draft(session: Session, day: date, now: datetime, length: timedelta, news: Sequence[str] = ()) -> Draft:
    """Return the issue of a day: the kept one as it was frozen, else what opening it now would freeze.

    :param news: what is missing now, for a reader who wants to know.
    """
    if known := find(session, slot(day)):
        return Draft(known, candidates(session, known.id or 0))
    start, end = window(day, now, length)
    listed = papers.listed_between(session, start, end)
    looks = papers.vote_looks(session, [each.id or 0 for each in listed], start)
    signals = [
        Signals(each.listed_at, each.upvotes, each.comments, each.stars, _gained(looks.get(each.id or 0, ()), now))
        for each in listed
    ]
    learnt = learned.newest(session)
    issue = Issue(
        slot=slot(day),
        day=day,
        window_start=start,
        window_end=end,
        opened_at=now,
        news=list(news),
        **learnt._asdict(),
    )
    rows = [
        IssueCandidate(
            issue_id=0,
            paper_id=paper.id or 0,
            trend=trend,
            upvotes=paper.upvotes,
            comments=paper.comments,
            stars=paper.stars,
            gained=each.gained,
        )
        for paper, each, trend in zip(listed, signals, trending(signals, end), strict=True)
    ]
    return Draft(issue, tuple(rows))


def _gained(looks: Sequence[VoteCount], now: datetime) -> float | None:
    """Return how many upvotes a paper gains in a day, if it was looked at lately and on an earlier day."""
    if len(looks) < 2 or now - looks[-1].seen_at > _LATELY:
        return None
    before, last = looks[-2:]
    days = max((last.seen_at - before.seen_at) / timedelta(days=1), 0.25)  # looks around midnight say little of a day
    return max(last.upvotes - before.upvotes, 0) / days


def has_papers(session: Session, day: date, now: datetime, length: timedelta) -> bool:
    """Return whether a day's issue is open, or would have candidates if it were opened now."""
    start, end = window(day, now, length)
    return find(session, slot(day)) is not None or papers.any_listed(session, start, end)


def keep(session: Session, draft_: Draft) -> Issue:
    """Keep a draft, unless its slot is taken: then the kept issue stands."""
    if draft_.issue.id is not None:
        return draft_.issue
    values = draft_.issue.model_dump(exclude={"id"})
    statement = (
        insert(session, Issue).values(values).on_conflict_do_nothing(index_elements=["slot"]).returning(col(Issue.id))
    )
    row = session.execute(statement).first()
    if row is not None and draft_.candidates:
        rows = [each.model_dump() | {"issue_id": row[0]} for each in draft_.candidates]
        session.execute(sa.insert(IssueCandidate), rows)
    kept = find(session, draft_.issue.slot)
    if kept is None:
        raise LookupError(draft_.issue.slot)
    return kept


def candidates(session: Session, issue_id: int) -> tuple[IssueCandidate, ...]:
    """Return an issue's frozen candidates, by paper."""
    statement = select(IssueCandidate).where(IssueCandidate.issue_id == issue_id).order_by(col(IssueCandidate.paper_id))
    return tuple(session.exec(statement))


def between(session: Session, first: date, last: date) -> Sequence[Issue]:
    """Return the issues of some days, both included, oldest first."""
    days = col(Issue.day) >= first, col(Issue.day) <= last
    return session.exec(select(Issue).where(*days).order_by(col(Issue.day), col(Issue.id))).all()


def latest(session: Session, limit: int) -> Sequence[Issue]:
    """Return the last issues, newest first."""
    return session.exec(select(Issue).order_by(col(Issue.day).desc(), col(Issue.id).desc()).limit(limit)).all()


def latest_open(session: Session, opened_after: datetime) -> Issue | None:
    """Return the newest issue that can still be sent to somebody who comes late, and has something to choose from."""
    some = select(IssueCandidate.paper_id).where(IssueCandidate.issue_id == Issue.id)
    statement = (
        select(Issue)
        .where(Issue.state == IssueState.OPEN, col(Issue.opened_at) > opened_after, some.exists())
        .order_by(col(Issue.day).desc())
        .limit(1)
    )
    return session.exec(statement).first()


def groups(session: Session) -> list[Group]:
    """Return the distinct groups of active readers: some hundreds at most, however many readers there are."""
    statement = (
        select(Subscriber.timezone, Subscriber.hour, Subscriber.cadence, Subscriber.weekdays)
        .where(Subscriber.state == State.ACTIVE)
        .distinct()
    )
    return [Group(*row) for row in session.exec(statement)]


def stop(session: Session, issue_id: int, why: str) -> bool:
    """Stop an open issue, with an alarm: nothing of it is sent until somebody resumes it; return whether it was."""
    stopped = _change(session, issue_id, IssueState.STOPPED, {IssueState.OPEN}, why)
    if stopped:
        _log.error("issue stopped", issue_id=issue_id, why=why)
    return stopped


def pause(session: Session, issue_id: int) -> bool:
    """Pause an issue on the operator's word; return whether this call did it."""
    return _change(session, issue_id, IssueState.PAUSED, {IssueState.OPEN, IssueState.STOPPED})


def resume(session: Session, issue_id: int, *, paused: bool = False) -> bool:
    """Let a stopped issue go on; return whether this call did it.

    :param paused: one that the operator paused, too.
    """
    held_up = {IssueState.STOPPED, IssueState.PAUSED} if paused else {IssueState.STOPPED}
    return _change(session, issue_id, IssueState.OPEN, held_up)


def cancel(session: Session, issue_id: int) -> bool:
    """Cancel an issue for good; return whether this call did it. What becomes of its mails: `lapses.call_off`."""
    return _change(session, issue_id, IssueState.CANCELLED, {each for each in IssueState if each != "cancelled"})


def cancelled_days(session: Session, today: date) -> set[date]:
    """Return the days around today whose issue is cancelled."""
    near = col(Issue.day) >= today - timedelta(days=2)
    return set(session.scalars(sa.select(col(Issue.day)).where(col(Issue.state) == IssueState.CANCELLED, near)))


def stopped_count(session: Session) -> int:
    """Return how many issues the relay's refusal has stopped."""
    return session.exec(select(sa.func.count(col(Issue.id))).where(Issue.state == IssueState.STOPPED)).one()


def _change(session: Session, issue_id: int, to: IssueState, when: Collection[IssueState], why: str = "") -> bool:
    statement = (
        sa.update(Issue)
        .where(col(Issue.id) == issue_id, col(Issue.state).in_(when))
        .values(state=to, stopped_why=why)
        .returning(col(Issue.id))
    )
    return session.execute(statement, execution_options={"synchronize_session": False}).first() is not None


def edition(session: Session, drafted: Draft, span: Span = Span.DAY, since: date | None = None) -> Edition:
    """Return an issue's candidates, prepared for choosing.

    :param since: with `Span.CATCH_UP`, the first day that was missed.
    """
    issue, chosen = drafted.issue, drafted.candidates
    if span is Span.CATCH_UP and since is not None:
        chosen = _listed_since(session, issue, since)
    elif span is Span.WEEK and issue.day - _WEEK < issue.window_start.date():
        chosen = _listed_since(session, issue, issue.day - _WEEK)
    found = papers.by_ids(session, [each.paper_id for each in chosen])
    learnt = issue.learnt
    knowledge = Knowledge(
        learned.statistics(session, learnt.statistics_id),
        learned.space(session, learnt.space_id),
        learned.places(session, learnt, found, issue.opened_at),
    )
    return Edition(issue.day, chosen, found, issue.news, span=span, since=since, knowledge=knowledge)


def _listed_since(session: Session, issue: Issue, since: date) -> tuple[IssueCandidate, ...]:
    start = max(datetime.combine(since, time(), UTC), issue.window_end - FURTHEST_BACK)
    listed = papers.listed_between(session, min(start, issue.window_start), issue.window_end)
    listed.sort(key=lambda paper: (-(paper.upvotes or 0), -(paper.id or 0)))
    return tuple(
        IssueCandidate(
            issue_id=0, paper_id=each.id or 0, trend=0.5, upvotes=each.upvotes, comments=each.comments, stars=each.stars
        )
        for each in listed[:_MOST]
    )
