"""``newsletter status``."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import LOOK, open_app, print_json
from newsletter.errors import InputError

if TYPE_CHECKING:
    from sqlmodel import Session

    from newsletter.app import App
    from newsletter.delivery.store import Accounting
    from newsletter.issues.models import Issue
    from newsletter.papers.models import Pull

_ISSUES = 10


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("status")(status)


def status(
    issue: str = typer.Option(None, "--issue", metavar="SLOT", help="Only this issue, such as 2026-08-05."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show the accounting of issues, the health of sources, and how long the oldest due delivery has waited."""
    from newsletter.cli.send import describe

    with open_app() as app:
        found, accountings = _read(app, issue)
    if as_json:
        print_json(found)
    else:
        for accounting, row in zip(accountings, found["issues"], strict=True):
            typer.echo(describe(accounting) + (f"  STOPPED: {row['stopped_why']}" if row["stopped_why"] else ""))
        if not accountings:
            typer.echo("no issue yet")
        for source in found["sources"]:
            typer.echo(_line(source))
        if found["oldest_due_seconds"]:
            typer.echo(f"the oldest due delivery has waited {found['oldest_due_seconds']} s")
        typer.echo("subscribers: " + ", ".join(f"{number} {state}" for state, number in found["subscribers"].items()))
    if (
        found["unknown"]
        or any(row["stopped_why"] for row in found["issues"])
        or any(each["error"] for each in found["sources"] if each["configured"])
    ):
        raise typer.Exit(LOOK)


def _read(app: "App", slot: str | None) -> "tuple[dict[str, Any], list[Accounting]]":
    from newsletter.delivery import store as deliveries
    from newsletter.issues import store as issues
    from newsletter.papers import store as papers
    from newsletter.subscribers import store as subscribers

    now = app.now()
    with app.db.snapshot() as session:
        one = issues.find(session, slot) if slot else None
        if slot and one is None:
            raise InputError(f"there is no issue {slot!r}")
        listed = [one] if one else list(issues.latest(session, _ISSUES))
        accountings = [deliveries.accounting(session, each.id or 0, each.slot) for each in listed]
        oldest = deliveries.oldest_due(session, now)
        found = {
            "issues": [_issue(session, each, which) for each, which in zip(listed, accountings, strict=True)],
            "sources": [
                _source(pull, good) | {"configured": pull.source in app.settings.source_names}
                for pull, good in papers.latest_pulls(session)
            ],
            "papers": papers.count(session),
            "subscribers": subscribers.counts(session),
            "unknown": deliveries.unknown_count(session),
            "oldest_due_seconds": int((now - oldest).total_seconds()) if oldest else None,
        }
    return found, accountings


def _issue(session: "Session", issue: "Issue", accounting: "Accounting") -> dict[str, Any]:
    from newsletter.tracking import store as tracking

    events = tracking.totals(session, issue.id or 0)
    return accounting.as_json() | {"state": issue.state, "stopped_why": issue.stopped_why, "events": events}


def _source(pull: "Pull", last_success: datetime | None) -> dict[str, Any]:
    return {
        "source": pull.source,
        "last_pull": pull.finished_at.isoformat(),
        "last_success": last_success.isoformat() if last_success else None,
        "received": pull.received,
        "new": pull.new,
        "updated": pull.updated,
        "dropped": pull.dropped,
        "error": pull.error,
    }


def _line(source: dict[str, Any]) -> str:
    line = (
        f"{source['source']}: last pull {source['last_pull'][:16]}Z, {source['received']} received, {source['new']} new"
    )
    dropped = sum(source["dropped"].values())
    if dropped:
        line += f", {dropped} left out"
    return line + (f"  FAILED: {source['error']}" if source["error"] else "")
