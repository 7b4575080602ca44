"""``newsletter send``."""

from datetime import UTC, date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import LOOK, DayOption, fail, open_app, print_json, progress
from newsletter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from newsletter.app import App
    from newsletter.delivery.store import Accounting
    from newsletter.rehearsal import Rehearsal


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("send")(send)


def send(
    day: DayOption = None,
    dry_run: bool = typer.Option(False, "--dry-run", help="Do everything but write and send; show what would happen."),
    subscriber: str = typer.Option(
        None, "--subscriber", metavar="EMAIL", help="Only this subscriber, whatever their hour."
    ),
    all_due: bool = typer.Option(False, "--all-due", help="Also those whose hour has not come yet."),
    limit: int = typer.Option(None, "--limit", min=1, help="At most so many mails."),
    out: Path = typer.Option(
        None,
        "--out",
        file_okay=False,
        help="Put the mails into this folder instead of the configured outbox.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Open the day's issue, queue who is due, and deliver until nothing is left to do now."""
    overrides: dict[str, Any] = {"outbox_dir": out} if out and not dry_run else {}
    with open_app(mails=True, **overrides) as app:
        if out and not dry_run and app.settings.relays:
            fail("--out goes with --dry-run where NEWSLETTER_SMTP_URL is set")
        which = day or app.now().astimezone(UTC).date()
        only = None if subscriber is None else _id_of(app, subscriber)
        if dry_run:
            _show(
                app,
                _rehearse(app, which, only, limit, any_hour=all_due or only is not None),
                out,
                as_json=as_json,
            )
            return
        accounting, held_up = _run(app, which, only, limit, any_hour=all_due or only is not None)
    _say(accounting, as_json=as_json)
    _tell(held_up)
    if held := accounting.leased + accounting.handoff:
        typer.echo(
            f"newsletter: {held} are held by another run or by one that died; send again in some minutes", err=True
        )
    doubtful = ("failed", "unknown", "deferred", "leased", "handoff")
    if held_up or any(getattr(accounting, state) for state in doubtful) or accounting.skipped.get("unprintable"):
        raise typer.Exit(LOOK)


def _run(
    app: "App", day: date, only: int | None, limit: int | None, *, any_hour: bool
) -> "tuple[Accounting, list[str]]":
    from newsletter import operating, pipeline
    from newsletter.delivery import store as deliveries
    from newsletter.issues import store as issues

    find = pipeline.resolve_due(day, app.now(), any_hour=any_hour, only=only)
    issue = pipeline.open_issue(app, day)
    with app.db.session() as session:
        if only is None:
            issues.resume(session, issue.id or 0)  # whoever says send has seen why it was stopped
        due = find(issues.groups(session))
    pipeline.queue(app, issue, due, only=only)
    with app.db.snapshot() as session:
        waiting = len(deliveries.waiting(session, issue.id or 0, app.now()))
    with progress("delivering", waiting if limit is None else min(limit, waiting)) as tell:
        pipeline.deliver(app, issue.id, limit=limit, only=only, tell=tell)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
        said = operating.held_up(session, issues.get(session, issue.id or 0) or issue)
        return accounting, said + _why_not(deliveries.commonest_reply(session, issue.id or 0))


def _why_not(found: "tuple[int, str] | None") -> list[str]:
    """Say what most mails that could not be sent wait for."""
    if found is None:
        return []
    return [f"{found[0]} could not be sent: {found[1]}  (each with its reason: newsletter deliveries list)"]


def _rehearse(app: "App", day: date, only: int | None, limit: int | None, *, any_hour: bool) -> "Rehearsal":
    from newsletter import pipeline, rehearsal

    due = pipeline.resolve_due(day, app.now(), any_hour=any_hour, only=only)
    return rehearsal.rehearse(app, day, due, only=only, limit=limit)


def _id_of(app: "App", email: str) -> int:
    from newsletter.subscribers import store
    from newsletter.subscribers.addresses import parse_address, shown

    with app.db.snapshot() as session:
        found = store.find(session, parse_address(email))
    if found is None or found.id is None:
        raise InputError(f"{shown(email)} is not a subscriber")
    return found.id


def _show(app: "App", rehearsal: "Rehearsal", out: Path | None, *, as_json: bool) -> None:
    if out:
        from newsletter import rehearsal as dry

        dry.write_rehearsal(app, rehearsal, out)
    mails = [
        {
            "subscriber": mail.subscriber.email,
            "subject": mail.printed.subject,
            "papers": [
                {
                    "id": rehearsal.papers[pick.paper_id].key,
                    "title": rehearsal.papers[pick.paper_id].title,
                    "score": pick.score,
                    "reason": pick.reason,
                }
                for pick in mail.selection.picks
            ],
            "html_bytes": mail.printed.html_bytes,
            "warnings": list(mail.warnings),
        }
        for mail in rehearsal.mails
    ]
    if as_json:
        print_json({**rehearsal.accounting.as_json(), "dry_run": True, "deliveries": mails})
    else:
        _say_mails(mails)
        typer.echo("dry run, nothing was written or sent; it would be:")
        _say(rehearsal.accounting, as_json=False)
    _tell(rehearsal.held_up)
    if rehearsal.linted < len(mails):
        _tell([f"the first {rehearsal.linted} of {len(mails)} mails were linted"])
    if rehearsal.held_up or any(mail["warnings"] for mail in mails):
        raise typer.Exit(LOOK)


def _tell(lines: "Iterable[str]") -> None:
    for line in lines:
        typer.echo(f"newsletter: {line}", err=True)


def _say_mails(mails: list[dict[str, Any]]) -> None:
    for mail in mails:
        typer.echo(f"{mail['subscriber']}  {mail['subject']}  ({mail['html_bytes'] / 1024:.0f} KiB)")
        for paper in mail["papers"]:
            typer.echo(f"    {paper['score']:.2f}  {paper['title']}\n          {paper['reason']}")
        for warning in mail["warnings"]:
            typer.echo(f"    ! {warning}")


def _say(accounting: "Accounting", *, as_json: bool) -> None:
    if as_json:
        print_json(accounting.as_json())
        return
    typer.echo(describe(accounting))


def describe(accounting: "Accounting") -> str:
    """Return an issue's accounting on one line, without the zeros."""
    states = ("sent", "queued", "leased", "handoff", "deferred", "failed", "unknown")
    parts = [f"{getattr(accounting, state)} {state}" for state in states if getattr(accounting, state)]
    parts += [f"{number} skipped ({reason.replace('_', ' ')})" for reason, number in accounting.skipped.items()]
    line = f"{accounting.slot}: {accounting.eligible} eligible" + (": " + ", ".join(parts) if parts else "")
    return line + ("; done with unknown" if accounting.progress == "done-with-unknown" else "")
