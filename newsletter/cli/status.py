"""``newsletter status``."""

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import LOOK, open_app, print_json
from newsletter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlmodel import Session

    from newsletter.app import App
    from newsletter.delivery.alarms.models import Found
    from newsletter.delivery.store import Accounting
    from newsletter.issues.models import Issue
    from newsletter.papers.pulls.health import Health
    from newsletter.papers.pulls.models import Pull

_ISSUES = 10


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("status")(status)


def status(
    issue: str = typer.Option(None, "--issue", metavar="SLOT", help="Only this issue, such as 2026-08-05."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show the accounting of issues, the health of sources, and how long the oldest due delivery has waited."""
    with open_app() as app:
        found, accountings = _read(app, issue)
    if as_json:
        print_json(found)
    else:
        for line in _lines(found, accountings):
            typer.echo(line)
    if (
        found["unknown"]
        or found["held"]
        or found["alarms"]
        or any(row["stopped_why"] for row in found["issues"])
        or any(each["error"] for each in found["sources"] if each["configured"])
    ):
        raise typer.Exit(LOOK)


def _lines(found: dict[str, Any], accountings: "list[Accounting]") -> "Iterator[str]":
    from newsletter.cli.send import describe

    if found["held"]:
        yield found["held"]
    for accounting, row in zip(accountings, found["issues"], strict=True):
        yield describe(accounting) + _state(row)
        yield from (f"  {said}" for said in (*_waiting(row), *row["news"]))
    if not accountings:
        yield "no issue yet"
    if found["unknown_outside"]:  # an alert among them is no alarm
        mails = "1 mail" if found["unknown_outside"] == 1 else f"{found['unknown_outside']} mails"
        yield f"{mails} in doubt outside any issue: newsletter deliveries list --state unknown"
    yield from map(_line, found["sources"])
    yield from _pacing_lines(found["pacing"])
    yield from map(_alarm, found["alarms"])
    if found["oldest_due_seconds"]:
        yield f"the oldest due delivery has waited {found['oldest_due_seconds']} s"
    yield "subscribers: " + ", ".join(f"{number} {state}" for state, number in found["subscribers"].items())


def _read(app: "App", slot: str | None) -> "tuple[dict[str, Any], list[Accounting]]":
    from newsletter import operating
    from newsletter.delivery import store as deliveries
    from newsletter.delivery.custody import store as custody
    from newsletter.issues import store as issues
    from newsletter.papers import store as papers
    from newsletter.subscribers import store as subscribers

    now = app.now()
    with app.db.snapshot() as session:
        one = None if slot is None else issues.find(session, slot)
        if slot is not None and one is None:
            raise InputError(f"there is no issue {slot!r}")
        listed = [one] if one else list(issues.latest(session, _ISSUES))
        accountings = [deliveries.accounting(session, each.id or 0, each.slot) for each in listed]
        oldest = deliveries.oldest_due(session, now)
        found = {
            "issues": [_issue(session, each, which) for each, which in zip(listed, accountings, strict=True)],
            "sources": _sources(app, session, now),
            "pacing": _pacing(app, session, now),
            "papers": papers.count(session),
            "subscribers": subscribers.counts(session),
            "unknown": deliveries.unknown_count(session),
            "unknown_outside": deliveries.unknown_outside(session),
            "held": custody.held_why(session),
            "alarms": [_alarm_row(each) for each in operating.alarmed(app, session, now)],
            "oldest_due_seconds": int((now - oldest).total_seconds()) if oldest else None,
        }
    return found, accountings


def _issue(session: "Session", issue: "Issue", accounting: "Accounting") -> dict[str, Any]:
    from newsletter.delivery import store as deliveries
    from newsletter.tracking import store as tracking

    events = tracking.totals(session, issue.id or 0)
    waits = deliveries.commonest_reply(session, issue.id or 0) if accounting.deferred else None
    return accounting.as_json() | {
        "waits_for": {"number": waits[0], "reply": waits[1]} if waits else None,
        "state": issue.state,
        "progress": accounting.progress,
        "stopped_why": issue.stopped_why,
        "news": issue.news,
        "events": events,
    }


def _waiting(row: dict[str, Any]) -> "Iterator[str]":
    """Yield what keeps most of the mails that were tried from being sent: a relay that is away is named there."""
    if row["waits_for"]:
        yield f"{row['waits_for']['number']} not sent so far: {row['waits_for']['reply']}"


def _alarm_row(found: "Found") -> dict[str, Any]:
    since = found.since.isoformat() if found.since else None
    return {"kind": found.kind, "what": found.title, "said": found.said, "command": found.command, "since": since}


def _alarm(alarm: dict[str, Any]) -> str:
    since = f" since {alarm['since'][:16]}Z" if alarm["since"] else ""
    return f"ALARM: {alarm['what']}{since}; see: {alarm['command']}"


def _state(row: dict[str, Any]) -> str:
    """Return what holds an issue up."""
    if row["state"] == "stopped":
        return f"  STOPPED: {row['stopped_why']}"
    return f"  {row['state']}" if row["state"] != "open" else ""


def _pacing(app: "App", session: "Session", now: datetime) -> dict[str, Any]:
    """Return what was slowed and rests, and how far the warm-up caps of today are used."""
    from newsletter.delivery.pacing.standing import standing

    found = standing(session, app.settings.warm_ups, now)
    return {
        "resting": [
            {"what": each.what, "until": each.until.isoformat(), "failures": each.failures} for each in found.resting
        ],
        "warmup": [{"relay": each.relay, "taken": each.taken, "cap": each.cap} for each in found.warming],
    }


def _pacing_lines(pacing: dict[str, Any]) -> "Iterator[str]":
    for each in pacing["resting"]:
        yield f"{each['what']}: slowed, {each['failures']} times in a row; tried again after {each['until'][:19]}Z"
    for each in pacing["warmup"]:
        yield f"relay {each['relay']}: {each['taken']} of today's {each['cap']} mails (warm-up)"


def _sources(app: "App", session: "Session", now: datetime) -> list[dict[str, Any]]:
    """Return how each source is: those that are configured, and those that were asked before."""
    from newsletter import pulling
    from newsletter.papers.pulls import store as pulls

    latest = pulls.latest(session)
    said = {each.source: each.said for each in pulling.news(app, session, now, now.date())}
    asked = {each.source: _source(each, latest[each.source], now) for each in pulls.health(session)}
    never = {name: {"source": name, "last_pull": None, "error": ""} for name in app.sources if name not in asked}
    configured = {*app.sources, *([app.details.name] if app.details else [])}
    return [
        each | {"configured": name in configured, "news": said.get(name, "")}
        for name, each in sorted((asked | never).items())
    ]


def _source(health: "Health", run: "list[Pull]", now: datetime) -> dict[str, Any]:
    def said(at: datetime | None) -> str | None:
        return at.isoformat() if at else None

    good = health.last_success_at
    dropped: Counter[str] = sum((Counter(pull.dropped) for pull in run), Counter())
    return {
        "source": health.source,
        "last_pull": said(run[-1].finished_at),
        "last_success": said(good),
        "age_seconds": int((now - good).total_seconds()) if good else None,
        "last_error": health.last_error,
        "last_error_at": said(health.last_error_at),
        "failures": health.failures,
        "resting_until": said(health.resting_until),
        "received": sum(pull.received for pull in run),
        "new": sum(pull.new for pull in run),
        "updated": sum(pull.updated for pull in run),
        "dropped": dict(dropped),
        "total_new": health.new,
        "total_updated": health.updated,
        "error": next((pull.error for pull in run if pull.error), ""),
    }


def _line(source: dict[str, Any]) -> str:
    if source["last_pull"] is None:
        return f"{source['source']}: never asked yet"
    line = (
        f"{source['source']}: last pull {source['last_pull'][:16]}Z, {source['received']} received, {source['new']} new"
    )
    dropped = sum(source["dropped"].values())
    if dropped:
        line += f", {dropped} left out"
    if source["error"]:
        line += f"  FAILED: {source['error']}"
        line += f"; last success {source['last_success'][:16]}Z" if source["last_success"] else "; never succeeded"
    if source["resting_until"]:
        line += f"; {source['failures']} times in a row, asked again after {source['resting_until'][:16]}Z"
    return line + (f"  ({source['news']})" if source["news"] else "")
