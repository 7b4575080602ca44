"""``newsletter status``."""

from typing import Any

import typer

from newsletter.cli.frame import LOOK, open_app, print_json
from newsletter.errors import InputError

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
            typer.echo(f"oldest due delivery waits since {found['oldest_due_seconds']} s")
        typer.echo("subscribers: " + ", ".join(f"{number} {state}" for state, number in found["subscribers"].items()))
    if (
        found["unknown"]
        or any(row["stopped_why"] for row in found["issues"])
        or any(each["error"] for each in found["sources"])
    ):
        raise typer.Exit(LOOK)


def _read(app: Any, slot: str | None) -> tuple[dict[str, Any], list[Any]]:  # noqa: ANN401  App is imported late
    from newsletter.delivery import store as deliveries
    from newsletter.issues import store as issues
    from newsletter.papers import store as papers
    from newsletter.subscribers import store as subscribers
    from newsletter.tracking import store as tracking

    now = app.now()
    with app.db.snapshot() as session:
        one = issues.find(session, slot) if slot else None
        if slot and one is None:
            raise InputError(f"there is no issue {slot!r}")
        listed = [one] if one else list(issues.latest(session, _ISSUES))
        accountings = [deliveries.accounting(session, each.id or 0, each.slot) for each in listed]
        oldest = deliveries.oldest_due(session, now)
        found = {
            "issues": [
                accounting.as_json()
                | {
                    "state": each.state,
                    "stopped_why": each.stopped_why,
                    "events": tracking.totals(session, each.id or 0),
                }
                for accounting, each in zip(accountings, listed, strict=True)
            ],
            "sources": [
                {
                    "source": pull.source,
                    "last_pull": pull.finished_at.isoformat(),
                    "last_success": good.isoformat() if good else None,
                    "received": pull.received,
                    "new": pull.new,
                    "updated": pull.updated,
                    "dropped": pull.dropped,
                    "error": pull.error,
                }
                for pull, good in papers.latest_pulls(session)
            ],
            "papers": papers.count(session),
            "subscribers": subscribers.counts(session),
            "unknown": deliveries.unknown_count(session),
            "oldest_due_seconds": int((now - oldest).total_seconds()) if oldest else None,
        }
    return found, accountings


def _line(source: dict[str, Any]) -> str:
    line = (
        f"{source['source']}: last pull {source['last_pull'][:16]}Z, {source['received']} received, {source['new']} new"
    )
    dropped = sum(source["dropped"].values())
    if dropped:
        line += f", {dropped} left out"
    return line + (f"  FAILED: {source['error']}" if source["error"] else "")
