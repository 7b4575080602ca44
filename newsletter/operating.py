"""What an operator decides: whether issues go on, what became of doubtful mails, whether a copied database may send.

Each decision acts on every process within seconds, since leases and handoff marks ask for it, and may be repeated.
What needs one is an alarm: it is written down, logged, and mailed to who runs this (`raise_alarms`).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from sqlmodel import Session

from newsletter import logs
from newsletter.app import App
from newsletter.delivery.alarms import store as alarms
from newsletter.delivery.alarms.models import Found, Kind
from newsletter.delivery.alarms.store import Counted
from newsletter.delivery.custody import store as custody
from newsletter.delivery.decisions import store as decisions
from newsletter.delivery.decisions.store import PATIENCE, Decided, Which
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.models import DeliveryState, Word
from newsletter.errors import InputError
from newsletter.issues import store as issues
from newsletter.issues.models import Issue, IssueState
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.health import label
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import parse_address, shown

_log = logs.get(__name__)
_CALLED_OFF = 5_000  # mails in one transaction: nobody else writes while it lasts
_CHANGES: dict[str, Callable[[Session, int], bool]] = {
    "pause": issues.pause,
    "resume": partial(issues.resume, paused=True),
    "cancel": issues.cancel,
}
_SAID = {
    "expired": "their issue's time is over: the next issue takes its place",
    "cancelled": "their issue was cancelled",
    "not_active": "the reader has left",
    "suppressed": "the address is suppressed",
    "paused": "the reader pauses",
    "copies": "it was sent again often enough",
}
As = Literal["sent", "resend"]
_DOUBTED = timedelta(hours=1)  # until when evidence, a policy or the rest of an issue is waited for
_UNPRINTED = timedelta(days=1)  # how long it is told that mails could not be printed: nobody can mend these


def which(
    app: App, *, state: DeliveryState | None = None, issue: str | None = None, subscriber: str | None = None
) -> Which:
    """Return the deliveries that an operator means.

    :raises InputError: there is no such issue or subscriber.
    """
    with app.db.snapshot() as session:
        slot = None if issue is None else _issue(session, issue).id
        person = None if subscriber is None else subscribers.find(session, parse_address(subscriber))
    if subscriber is not None and person is None:
        raise InputError(f"{shown(subscriber)} is not a subscriber")
    return Which(state, slot, person.id if person else None)


def resolve(app: App, meant: Which, as_: As) -> Decided:
    """Say of unknown mails that they were sent, or let them be sent again.

    :raises InputError: none of them may be sent again.
    """
    if as_ == "sent":
        return _decide(app, decisions.take_as_sent, meant, Word.OPERATOR, "the operator says it was sent")
    decided = _decide(app, decisions.send_again, meant, Word.OPERATOR, "the operator wants it sent again")
    return _checked(app, decided)


def retry(app: App, meant: Which) -> Decided:
    """Let failed mails be tried again, within their issue's time.

    :raises InputError: none of them may be sent again.
    """
    return _checked(app, _decide(app, decisions.send_again, meant, Word.OPERATOR, "the operator wants it tried again"))


def apply_policy(app: App) -> int:
    """Do with unknown mails what the settings say; return how many."""
    policy, now = app.settings.on_unknown, app.now()
    meant = Which(DeliveryState.UNKNOWN, handed_before=now - PATIENCE)
    if policy == "hold" or _held(app):
        return 0
    if policy == "assume-sent":
        decided = _decide(app, decisions.take_as_sent, meant, Word.POLICY, "assumed to be sent")
    else:
        decided = _decide(app, decisions.send_again, meant, Word.POLICY, "sent again, since nobody knows")
    if decided.number:
        _log.warning("unknown mails decided", policy=policy, number=decided.number)
    return decided.number


def change_issue(app: App, slot: str, how: Literal["pause", "resume", "cancel"]) -> tuple[Issue, bool]:
    """Pause, resume or cancel an issue; return it, and whether that changed anything.

    Of one that is cancelled, mails at their last dot are still accounted for by what the relay says, and unknown ones
    stay unknown; all others are skipped. It can be neither resumed nor queued again.

    :raises InputError: there is no such issue, or it is cancelled for good.
    """
    with app.db.session() as session:
        issue = _issue(session, slot)
        if issue.state == IssueState.CANCELLED and how != "cancel":
            raise InputError(f"the issue {slot} is cancelled, for good")
        changed = _CHANGES[how](session, issue.id or 0)
    if how == "cancel":
        while _call_off(app) == _CALLED_OFF:
            pass
    if how == "resume" and changed:
        app.wake(issue.id)
    with app.db.snapshot() as session:
        return _issue(session, slot), changed


def release(app: App) -> bool:
    """Let a database that was copied or restored send from now on; return whether it was held."""
    with app.db.session() as session:
        custody.check(session, app.now())  # it may not have tried to send yet
        return custody.release(session, app.now())


def raise_alarms(app: App) -> None:
    """Write down what needs the operator, and mail them what is new of it; whatever goes wrong here, mails go out.

    Nobody is mailed while sending is held: what still needs them then is mailed when it is released.
    """
    try:
        told = _raise_alarms(app)
    except Exception:  # noqa: BLE001  whoever sweeps has more to do
        _log.exception("nobody looked for alarms")
        return
    if told:
        app.wake(None)


def alarmed(app: App, session: Session, now: datetime) -> list[Found]:
    """Return what needs the operator now, since when that is known."""
    known = {each.key: each.since_at for each in alarms.still_open(session)}
    return [replace(each, since=known.get(each.key, each.since)) for each in _needs(app, session, now)]


def _raise_alarms(app: App) -> bool:
    now = app.now()
    with app.db.snapshot() as session:
        found = list(_needs(app, session, now))
        if not found and not alarms.still_open(session):
            return False
    with app.db.session() as session:
        new = [(each.kind, each.title) for each in alarms.keep(session, found, now)]
        is_held = any(each.kind is Kind.HELD for each in found)
        told = not is_held and alarms.tell(session, len(app.settings.admins), now)
    for kind, title in new:
        _log.error("alarm", kind=kind, what=title)
    return told


def _needs(app: App, session: Session, now: datetime) -> Iterator[Found]:
    """Yield what needs the operator: in words that name no reader, whatever a relay or a source said."""
    if why := custody.held_why(session):
        since, release_ = custody.held_since(session), "newsletter deliveries release"
        yield Found(Kind.HELD, "", "Sending is held", f"{custody.reason(why)}.", release_, since)
    for slot, why in alarms.stopped(session):
        said = f"The relay refuses our mail, whoever the reader: “{logs.scrub(why)}”. Mend that, then let it go on."
        yield Found(Kind.STOPPED, slot, f"The issue {slot} is stopped", said, f"newsletter issues resume {slot}")
    waits = app.settings.on_unknown != "hold"  # else nobody but the operator decides, and they may do so at once
    for each in alarms.in_doubt(session):
        if (each.is_through and not waits) or each.since <= now - _DOUBTED:
            yield _doubt(each)
    for each in alarms.unprintable(session, now - _UNPRINTED):
        yield _unprinted(each)
    configured = {*app.sources, *([app.details.name] if app.details else [])}
    for health in pulls.health(session):
        if health.source in configured and health.is_down(now):
            title = f"{label(health.source)} does not answer"
            said = f"This source has failed {health.failures} times in a row, and issues go out without it."
            yield Found(Kind.SOURCE, health.source, title, said, "newsletter status", health.failing_since)


def _doubt(found: Counted) -> Found:
    said = "The connection or the worker died behind their last dot: the relay has them, or has not. Its log can tell; "
    said += "then say which, with newsletter deliveries resolve."
    which = f"newsletter deliveries list --state unknown{_of(found)}"
    return Found(Kind.UNKNOWN, found.slot, f"{_mails(found)} in doubt", said, which, found.since)


def _unprinted(found: Counted) -> Found:
    said = "Their readers get none; all others do. Our log says why, by the number of the delivery."
    which = f"newsletter deliveries list --state skipped{_of(found)}"
    title = f"{_mails(found)} impossible to print"
    return Found(Kind.UNPRINTABLE, found.slot, title, said, which, found.since)


def _mails(found: Counted) -> str:
    of = f"of the issue {found.slot}" if found.slot else "outside any issue"
    return f"One mail {of} is" if found.number == 1 else f"{found.number:,} mails {of} are"


def _of(found: Counted) -> str:
    return f" --issue {found.slot}" if found.slot else ""


def held_up(session: Session, issue: Issue, *, resumes: bool = False) -> list[str]:
    """Return why nothing more of an issue goes out, if somebody has to do something about it.

    :param resumes: whether a stopped issue goes on with what is about to be done.
    """
    found = [why] if (why := custody.held_why(session)) else []
    if issue.state == IssueState.STOPPED and not resumes:
        found.append(f"the relay refuses our mail, so the issue was stopped: {issue.stopped_why}")
    if issue.state == IssueState.PAUSED:
        found.append(f"the issue is paused; to let it go on: newsletter issues resume {issue.slot}")
    return found


def said_of(refused: dict[str, int]) -> list[str]:
    """Return why mails were refused, in words."""
    return [f"{number} not: {_SAID[why]}" for why, number in sorted(refused.items())]


def _checked(app: App, decided: Decided) -> Decided:
    if not decided.number and decided.refused:
        raise InputError("nothing is sent again: " + "; ".join(said_of(decided.refused)))
    for issue_id in decided.issues:
        app.wake(issue_id)
    return decided


def _decide(
    app: App,
    decide: Callable[[Session, Which, Word, str, datetime, int], Decided],
    meant: Which,
    by: Word,
    why: str,
) -> Decided:
    """Apply a decision, some hundred deliveries in one transaction."""
    total, now = Decided(), app.now()
    while True:
        with app.db.session() as session:
            total.add(decide(session, meant, by, why, now, total.last))
        if not total.last:
            return total


def _call_off(app: App) -> int:
    with app.db.session() as session:
        return lapses.call_off(session, app.now(), _CALLED_OFF)


def _held(app: App) -> bool:
    with app.db.snapshot() as session:
        return bool(custody.held_why(session))


def _issue(session: Session, slot: str) -> Issue:
    issue = issues.find(session, slot)
    if issue is None:
        raise InputError(f"there is no issue {slot!r}")
    return issue
