"""The story on one page; each function is one job, may run twice, and is told everything it needs.

``pull`` brings papers in. ``tick`` looks whose hour has come: ``open_issue`` freezes the day's window,
``queue`` writes down who is due. ``deliver`` leases a batch, ranks it, prints it and hands it over, until
nothing is left to do now. ``sweep`` picks up what was left lying and raises alarms, ``tidy`` throws away what is over,
``learn`` sees by night what is liked together. Readers join, steer and leave in between.
``rehearse`` is the same run without its last step.
"""

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

from sqlmodel import Session

from newsletter import learning, logs, membership, operating, pulling, retention
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.custody import store as custody
from newsletter.delivery.desk import Desk
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.ledger import Leased
from newsletter.delivery.marks import LedgerMarks
from newsletter.delivery.printing import print_digests, print_notices
from newsletter.delivery.transports import Outgoing, Untried
from newsletter.errors import InputError, LeaseLostError
from newsletter.issues import cadence
from newsletter.issues import store as issues
from newsletter.issues.cadence import Due
from newsletter.issues.models import Issue, IssueState
from newsletter.issues.store import Draft

_log = logs.get(__name__)
_DESKS = 3
_LEASE_TRIES = 5
_REAP_EVERY = timedelta(seconds=15)
_PAUSE = timedelta(minutes=2)  # until a relay that was away is tried again
_CALLED_OFF = 50_000  # at once, of an issue that was cancelled: the next sweep goes on
_PULLS_EVERY = timedelta(minutes=20)
_PATIENCE = timedelta(hours=12)  # how long an issue waits for the first paper there is
Tell = Callable[[int], None]


def _quiet(_number: int) -> None:
    """Tell nobody."""


def pull(app: App) -> None:
    """Pull, on schedule, what is worth asking the sources for now."""
    pulling.pull_recent(app)
    learning.place_new(app)


def draft(app: App, session: Session, day: date, now: datetime) -> Draft:
    """Return the issue of a day: the kept one as it was frozen, else what opening it now would freeze."""
    said = [each.said for each in pulling.news(app, session, now, day) if each.said]
    return issues.draft(session, day, now, app.settings.window, said)


def open_issue(app: App, day: date) -> Issue:
    """Freeze a day's candidates, unless they are frozen already, and return its issue.

    :raises InputError: it was cancelled.
    """
    with app.db.session() as session:
        drafted = draft(app, session, day, app.now())
        issue = issues.keep(session, drafted)
    refuse_cancelled(issue)
    if drafted.issue.id is None:
        _log.info("issue opened", issue=issue.slot, candidates=len(drafted.candidates), news=issue.news)
    return issue


def refuse_cancelled(issue: Issue) -> None:
    """Return unless an issue was cancelled.

    :raises InputError: it was.
    """
    if issue.state == IssueState.CANCELLED:
        raise InputError(f"the issue {issue.slot} was cancelled, for good")


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
    if issue_id is None:
        membership.admit(app)
    owner = f"{app.owner}/{secrets.token_hex(4)}"  # of this run: nobody renews the leases of one that failed
    batches = _Batches(app, owner, issue_id, only, limit, None if budget is None else app.now() + budget, tell)
    with LedgerMarks(app.db, app.now, owner, issue_id) as marks:
        rest = app.transport.deliver(batches, marks)
    batches.give_back(rest)
    app.transport.finish()
    return batches.given - len(rest.messages)


def tick(app: App) -> None:
    """Open and queue what is due at this minute; harmless to miss, to repeat, and to run on two machines."""
    now = app.now()
    with app.db.snapshot() as session:
        off = issues.cancelled_days(session, now.date())
        due = [each for each in cadence.due_now(issues.groups(session), now) if each.day not in off]
        new = {day: deliveries.groups_to_queue(session, issues.slot(day), day) for day in {each.day for each in due}}
        first = {each.day: each.due_at for each in reversed(due) if each.group in new[each.day]}
        waits = {day: _waits(app, session, day, due_at, now) for day, due_at in first.items()}
    for day in sorted(first):
        if waits[day]:
            _log.info("issue waits", issue=issues.slot(day), for_=waits[day])
            continue
        groups = [each for each in due if each.day == day and each.group in new[day]]
        issue = open_issue(app, day)
        if queued := queue(app, issue, groups):
            _log.info("issue queued", issue=issue.slot, readers=queued)
            app.wake(issue.id)


def _waits(app: App, session: Session, day: date, due_at: datetime, now: datetime) -> list[str]:
    """Return what an issue that is not open yet waits for: what is frozen too early is missing all day."""
    if issues.find(session, issues.slot(day)) is not None:
        return []
    if now - due_at < _PATIENCE and not issues.has_papers(session, day, now, app.settings.window):
        return ["the first paper there is"]
    cut_off = due_at + app.settings.longest_wait
    by = cut_off - _PULLS_EVERY  # a list that settles right at the cut-off is seen only behind it
    waited_for = [each for each in pulling.news(app, session, now, day, by=by) if each.waited_for]
    return [each.said or each.source for each in waited_for] if now < cut_off else []


def sweep(app: App) -> list[int | None]:
    """Pick up what was left lying: end lost leases, give up what is too late, raise alarms, wake workers for the rest.

    :returns: what is due, as `deliver` wants it.
    """
    _reap(app)
    operating.apply_policy(app)
    operating.raise_alarms(app)
    with app.db.snapshot() as session:
        due = deliveries.due_issues(session, app.now())
        if membership.any_waiting(session, app.now()) and None not in due:
            due.insert(0, None)
    for issue_id in due:
        app.wake(issue_id)
    return due


def learn(app: App) -> None:
    """Learn by night what is common in the archive, and what readers like together."""
    learning.learn(app)


def tidy(app: App) -> None:
    """Remind who has not confirmed, and forget what is to be kept for a while only."""
    membership.remind(app)
    membership.purge(app)
    retention.archive(app)


def _reap(app: App) -> None:
    now = app.now()
    with app.db.session() as session:
        held = custody.check(session, now)
        deferred, unknown = lapses.reap(session, now)
        expired = lapses.expire(session, now)
        called_off = lapses.call_off(session, now, _CALLED_OFF)
    if held and held not in app.told:  # once: a worker looks here several times a minute
        _log.error("sending is held", why=held)
    app.told.clear()
    app.told.update({held} - {""})
    if deferred or unknown or expired or called_off:
        _log.warning("picked up", deferred=deferred, unknown=unknown, expired=expired, called_off=called_off)


class _Batches:
    """An issue's mails as one stream: leased and printed a batch at a time, when the one before it is under way.

    :ivar given: how many mails were taken from it.
    """

    def __init__(
        self,
        app: App,
        owner: str,
        issue_id: int | None,
        only: int | None,
        limit: int | None,
        until: datetime | None,
        tell: Tell,
    ) -> None:
        self.given = 0
        self._app, self._owner, self._issue_id, self._only = app, owner, issue_id, only
        self._limit = limit
        self._until = until
        self._tell = tell
        self._printed: deque[Outgoing] = deque()

    def __iter__(self) -> Iterator[Outgoing]:
        app = self._app
        reaped_at = app.now()
        while not app.stopping.is_set() and (self._limit is None or self.given < self._limit):
            if self._until is not None and app.now() >= self._until:
                app.wake(self._issue_id)
                return
            if app.now() - reaped_at >= _REAP_EVERY:  # all workers may be at it for long, and one of them may die
                reaped_at = app.now()
                _reap(app)
            size = app.batch if self._limit is None else min(app.batch, self._limit - self.given)
            leased = self._lease(size)
            if not leased:
                return
            self._printed.extend(self._print(leased))
            while self._printed:
                self.given += 1
                yield self._printed.popleft()
            self._tell(len(leased))

    def give_back(self, rest: Untried) -> None:
        """Give back what is leased and was not tried; an issue that the other side refuses stops."""
        untried = [each.leased for each in (*rest.messages, *self._printed)]
        if not untried:
            return
        app = self._app
        # where the issue is stopped, whoever lets it go on does not want to wait as well
        stops = rest.refused and self._issue_id is not None
        again = app.now() + (_PAUSE if rest.why and not stops else timedelta(0))
        with app.db.session() as session:
            ledger.release(session, untried, owner=self._owner, not_before=again, why=rest.why)
            if rest.refused and self._issue_id is not None:
                issues.stop(session, self._issue_id, rest.why)

    def _print(self, leased: Sequence[Leased]) -> list[Outgoing]:
        """Return the messages of a leased batch; who gets none is written down with the reason."""
        app = self._app
        with app.db.snapshot() as session:
            if self._issue_id is None:
                outgoing, skipped = print_notices(session, app.templates, leased, app.identity, app.now())
            else:
                desk = _desk(app, session, self._issue_id)
                outgoing, skipped = print_digests(session, desk, leased, app.identity, app.now())
        if skipped:
            reasons = [(each, skipped[each.id]) for each in leased if each.id in skipped]
            with app.db.session() as session:
                ledger.skip(session, reasons, owner=self._owner, now=app.now())
        return outgoing

    def _lease(self, size: int) -> list[Leased]:
        app = self._app
        for _ in range(_LEASE_TRIES):
            try:
                with app.db.session() as session:
                    return ledger.lease(
                        session, self._issue_id, owner=self._owner, now=app.now(), limit=size, only=self._only
                    )
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
