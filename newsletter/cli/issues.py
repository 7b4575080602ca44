"""``newsletter issues``: which there are, and pausing, resuming and cancelling them."""

from typing import Literal

import typer

from newsletter.cli.frame import LOOK, open_app, print_json

cli = typer.Typer(help="List, pause, resume and cancel issues.", no_args_is_help=True)
_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@cli.command("list")
def list_(
    limit: int = typer.Option(30, "--limit", min=1, max=10_000, help="At most so many, the newest first."),
    as_json: bool = _JSON,
) -> None:
    """List issues with their state and accounting."""
    from newsletter.cli.send import describe
    from newsletter.delivery import store as deliveries
    from newsletter.issues import store

    with open_app() as app, app.db.snapshot() as session:
        found = [
            (each, deliveries.accounting(session, each.id or 0, each.slot)) for each in store.latest(session, limit)
        ]
    if as_json:
        told = [one.as_json() | {"state": each.state, "stopped_why": each.stopped_why} for each, one in found]
        print_json({"issues": told})
    for each, one in () if as_json else found:
        why = f": {each.stopped_why}" if each.stopped_why else ""
        typer.echo(f"{each.state:<9}  {describe(one)}{why}")
    if any(each.state == "stopped" or one.unknown for each, one in found):
        raise typer.Exit(LOOK)


@cli.command()
def pause(slot: str, as_json: bool = _JSON) -> None:
    """Hold an issue up: mails at their last dot go out, no others do; `send` does not resume it."""
    _change(slot, "pause", as_json=as_json)


@cli.command()
def resume(slot: str, as_json: bool = _JSON) -> None:
    """Let a paused or stopped issue go on; what its time was over for meanwhile has expired."""
    _change(slot, "resume", as_json=as_json)


@cli.command()
def cancel(slot: str, as_json: bool = _JSON) -> None:
    """Call an issue off for good: whoever was not sent it yet is skipped, and it is never queued again."""
    _change(slot, "cancel", as_json=as_json)


def _change(slot: str, how: Literal["pause", "resume", "cancel"], *, as_json: bool) -> None:
    from newsletter import operating
    from newsletter.cli.send import describe
    from newsletter.delivery import store as deliveries

    with open_app() as app:
        issue, changed = operating.change_issue(app, slot, how)
        with app.db.snapshot() as session:
            accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    if as_json:
        print_json(accounting.as_json() | {"state": issue.state, "changed": changed})
    else:
        typer.echo(f"{issue.state}{'' if changed else ' already'}  {describe(accounting)}")
