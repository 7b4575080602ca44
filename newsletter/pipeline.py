"""The story on one page; each function is one job, may run twice, and is told everything it needs.

``pull`` brings papers in. ``tick`` looks whose hour has come: ``open_issue`` freezes the day's window,
``queue`` writes down who is due. ``deliver`` leases a batch, ranks it, prints it and hands it over, until
nothing is left to do now. ``sweep`` picks up what was left lying. Readers join and leave in between.
``rehearse`` is the same run without its last step.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlmodel import Session

from newsletter import logs
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.ledger import Leased
from newsletter.delivery.marks import LedgerMarks
from newsletter.delivery.printing import Desk, print_digests, print_notices
from newsletter.errors import InputError, LeaseLostError, SourceDownError, SourceError
from newsletter.issues import cadence
from newsletter.issues import store as issues
from newsletter.issues.cadence import Due
from newsletter.issues.models import Issue
from newsletter.papers import store as papers
from newsletter.papers.merge import merge
from newsletter.papers.models import Parsed, Pull
from newsletter.papers.sources import Source, jsonl
from newsletter.papers.store import Upserted

_log = logs.get(__name__)
_DESKS = 3
_SILENCES = 2  # in a row, until a source is not asked for further days
_LEASE_TRIES = 5
_PAUSE = timedelta(minutes=2)  # until a relay that was away is tried again
_PATIENCE = timedelta(hours=12)  # how long an issue waits for the first paper there is
Tell = Callable[[int], None]


def _quiet(_number: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one run over one source did: ``received = new + updated + unchanged + repeated + dropped``.

    :ivar repeated: records of a paper that the same answer held already.
    """

    source: str
    day: date | None
    received: int
    dropped: Counter[str]
    notes: tuple[str, ...]
    stored: Upserted
    repeated: int = 0
    error: str = ""
    down: bool = False


def pull(app: App, days: Sequence[date], names: Iterable[str] | None = None, tell: Tell = _quiet) -> list[Pulled]:
    """Pull each source's lists of some days; a source that is down costs only its own papers, and little time."""
    reports = []
    for name in app.settings.source_names if names is None else names:
        silent = 0
        for day in days:
            if silent < _SILENCES:
                report = _pull_day(app, app.sources[name], day)
            else:
                report = Pulled(
                    name, day, 0, Counter(), (), Upserted(), error=f"{name} is down, not asked again", down=True
                )
            silent = silent + 1 if report.down else 0
            reports.append(report)
            tell(1)
    return reports


def days_to_pull(now: datetime) -> list[date]:
    """Return today and the last working day before it (UTC): lists grow for a day, and votes for longer."""
    today = now.astimezone(UTC).date()
    back = {0: 3, 6: 2}.get(today.weekday(), 1)
    return [today - timedelta(days=back), today]


def pull_recent(app: App) -> None:
    """Pull, on schedule, the days that may still change."""
    pull(app, days_to_pull(app.now()))


def pull_lines(app: App, lines: Iterable[bytes], day: date | None, tell: Tell = _quiet) -> list[Pulled]:
    """Take papers from JSON Lines, as many lines as there are.

    :param day: the day they count as listed on; ``None`` takes each one's own ``published_at``, else now.
    """
    started = app.now()
    listed_at = datetime.combine(day, time(), UTC) if day else None
    reports = []
    for parsed in jsonl.parse_lines(lines, listed_at, started):
        reports.append(_store(app, jsonl.NAME, day, parsed))
        tell(parsed.received)
    _record(app, jsonl.NAME, day, reports, started)
    return reports


def open_issue(app: App, day: date) -> Issue:
    """Freeze a day's candidates, unless they are frozen already, and return its issue."""
    with app.db.session() as session:
        return issues.keep(session, issues.draft(session, day, app.now(), app.settings.window))


def resolve_due(
    day: date, now: datetime, *, any_hour: bool, only: int | None = None
) -> Callable[[Sequence[cadence.Group]], list[Due]]:
    """Return how `send` finds who is due on a day; somebody who is named is due whatever their cadence.

    :raises InputError: the day has not begun anywhere yet.
    """
    if not cadence.has_begun(day, now):
        raise InputError(f"{day} has not begun anywhere yet")
    return lambda groups: cadence.due_on(groups, day, now, any_hour=any_hour, any_day=only is not None)


def queue(app: App, issue: Issue, due: Iterable[Due], *, only: int | None = None) -> int:
    """Write down who is due for an issue; return how many were not written down before."""
    now = app.now()
    with app.db.session() as session:
        return sum(deliveries.queue(session, issue.id or 0, each, now=now, only=only) for each in due)


def deliver(
    app: App,
    issue_id: int | None,
    *,
    only: int | None = None,
    limit: int | None = None,
    budget: timedelta | None = None,
    tell: Tell = _quiet,
) -> int:
    """Deliver what is due of an issue (``None``: mails outside any), batch by batch; return how many mails were tried.

    :param only: a subscriber's id: nobody else's mail.
    :param limit: the most mails to try.
    :param budget: begin no batch after that time, but wake a worker to go on.
    """
    _reap(app)
    tried, started = 0, app.now()
    while (limit is None or tried < limit) and not app.stopping.is_set():
        if budget is not None and app.now() - started >= budget:
            app.wake(issue_id)
            break
        size = app.batch if limit is None else min(app.batch, limit - tried)
        leased, sent, stopped = _deliver_batch(app, issue_id, size, only)
        tried += sent
        tell(leased)
        if stopped or not leased:
            break
    app.transport.finish()
    return tried


def tick(app: App) -> None:
    """Open and queue what is due at this minute; harmless to miss, to repeat, and to run on two machines."""
    now = app.now()
    with app.db.snapshot() as session:
        due = cadence.due_now(issues.groups(session), now)
        days = {each.day for each in due}
        new = {day: deliveries.groups_to_queue(session, issues.slot(day)) for day in days}
        bare = {day for day in days if not issues.has_papers(session, day, now, app.settings.window)}
    for day in sorted(days):
        groups = [each for each in due if each.day == day and each.group in new[day]]
        if not groups or (day in bare and now - groups[0].due_at < _PATIENCE):
            continue  # an issue frozen before the first pull would stay empty all day
        issue = open_issue(app, day)
        if queued := queue(app, issue, groups):
            _log.info("issue queued", issue=issue.slot, readers=queued)
            app.wake(issue.id)


def sweep(app: App) -> list[int | None]:
    """Pick up what was left lying: end lost leases, give up what is too late, wake workers for the rest.

    :returns: what is due, as `deliver` wants it.
    """
    _reap(app)
    with app.db.snapshot() as session:
        due = deliveries.due_issues(session, app.now())
    for issue_id in due:
        app.wake(issue_id)
    return due


def _pull_day(app: App, source: Source, day: date) -> Pulled:
    started = app.now()
    try:
        report = _store(app, source.name, day, source.parse(source.fetch(day), day))
    except SourceError as exc:
        _log.warning("source failed", source=source.name, day=day.isoformat(), error=str(exc))
        said, down = f"{source.name} {exc}", isinstance(exc, SourceDownError)
        report = Pulled(source.name, day, 0, Counter(), (), Upserted(), error=said, down=down)
    _record(app, source.name, day, [report], started)
    return report


def _store(app: App, name: str, day: date | None, parsed: Parsed) -> Pulled:
    merged = merge(parsed.records)
    with app.db.session() as session:
        stored = papers.upsert(session, merged, app.now())
    repeated = len(parsed.records) - len(merged)
    return Pulled(name, day, parsed.received, parsed.dropped, parsed.notes, stored, repeated)


def _record(app: App, name: str, day: date | None, reports: Sequence[Pulled], started: datetime) -> None:
    """Keep what a pull did, as one row, and say it in the log."""
    counts = {
        "received": sum(each.received for each in reports),
        "new": sum(each.stored.new for each in reports),
        "updated": sum(each.stored.updated for each in reports),
    }
    dropped = sum((each.dropped for each in reports), Counter[str]())
    error = next((each.error for each in reports if each.error), "")
    row = Pull(
        source=name, day=day, started_at=started, finished_at=app.now(), dropped=dict(dropped), error=error, **counts
    )
    with app.db.session() as session:
        papers.record_pull(session, row)
    if not error:
        _log.info("pulled", source=name, dropped=dropped.total(), **counts)


def _reap(app: App) -> None:
    now = app.now()
    with app.db.session() as session:
        deferred, unknown = ledger.reap(session, now)
        expired = ledger.expire(session, now)
    if deferred or unknown or expired:
        _log.warning("picked up", deferred=deferred, unknown=unknown, expired=expired)


def _deliver_batch(app: App, issue_id: int | None, size: int, only: int | None) -> tuple[int, int, bool]:
    """Lease, print and hand over one batch; return how many were leased, how many tried, and whether to stop."""
    leased = _lease(app, issue_id, size, only)
    if not leased:
        return 0, 0, False
    with app.db.snapshot() as session:
        if issue_id is None:
            outgoing, skipped = print_notices(session, app.templates, leased, app.identity, app.now())
        else:
            outgoing, skipped = print_digests(session, _desk(app, session, issue_id), leased, app.identity, app.now())
    if skipped:
        with app.db.session() as session:
            ledger.skip(session, skipped, owner=app.owner, now=app.now())
    rest = app.transport.deliver(outgoing, LedgerMarks(app.db, app.now, app.owner, issue_id))
    if rest.messages:
        ids, again = [each.leased.id for each in rest.messages], app.now() + (_PAUSE if rest.why else timedelta(0))
        with app.db.session() as session:
            ledger.release(session, ids, owner=app.owner, not_before=again, why=rest.why)
            if rest.refused and issue_id is not None:
                issues.stop(session, issue_id, rest.why)
    return len(leased), len(outgoing) - len(rest.messages), bool(rest.messages)


def _lease(app: App, issue_id: int | None, size: int, only: int | None) -> list[Leased]:
    for _ in range(_LEASE_TRIES):
        try:
            with app.db.session() as session:
                return ledger.lease(session, issue_id, owner=app.owner, now=app.now(), limit=size, only=only)
        except LeaseLostError:
            continue  # another worker has just leased another issue's mail to one of these readers: choose again
    return []


def _desk(app: App, session: Session, issue_id: int) -> Desk:
    if issue_id not in app.desks:
        issue = issues.get(session, issue_id)
        if issue is None:
            raise LookupError(f"no issue {issue_id}")
        # A desk is some megabytes; around the world three days are open at once, older ones are done.
        while len(app.desks) >= _DESKS:
            del app.desks[min(app.desks)]
        app.desks[issue_id] = Desk(
            session,
            issues.draft(session, issue.day, app.now(), app.settings.window),
            app.identity,
            app.templates,
        )
    return app.desks[issue_id]
