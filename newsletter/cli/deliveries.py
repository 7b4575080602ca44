"""``newsletter deliveries``: the ledger, and what an operator decides about it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import LOOK, fail, open_app, print_json

if TYPE_CHECKING:
    from newsletter.delivery.decisions.store import Decided, Listed

cli = typer.Typer(help="List, resolve and retry mails.", no_args_is_help=True)
_ISSUE = typer.Option(None, "--issue", metavar="SLOT", help="Only of this issue, such as 2026-08-05.")
_SUBSCRIBER = typer.Option(None, "--subscriber", metavar="EMAIL", help="Only to this subscriber.")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@cli.command("list")
def list_(
    issue: str = _ISSUE,
    state: str = typer.Option(None, "--state", help="Only in this state, such as unknown or failed."),
    subscriber: str = _SUBSCRIBER,
    limit: int = typer.Option(1_000, "--limit", min=1, help="At most so many, the newest first."),
    as_json: bool = _JSON,
) -> None:
    """List mails: to whom, which, how they stand, since when (or due when), and what the relay said."""
    from newsletter import operating
    from newsletter.delivery.decisions import store
    from newsletter.delivery.models import DeliveryState

    if state is not None and state not in set(DeliveryState):
        raise typer.BadParameter(f"{state!r} is not one of {', '.join(DeliveryState)}")
    shown = unknown = 0
    with open_app() as app:
        meant = operating.which(app, state=DeliveryState(state) if state else None, issue=issue, subscriber=subscriber)
        with app.db.snapshot() as session:
            there = store.count(session, meant)
            if as_json:
                typer.echo('{"deliveries": [', nl=False)
            for each in store.listing(session, meant, limit):
                typer.echo((", " if shown else "") + _json(each), nl=False) if as_json else typer.echo(_line(each))
                shown += 1
                unknown += each.state == DeliveryState.UNKNOWN
    if as_json:
        typer.echo(f'], "left_out": {there - shown}}}')
    elif there > shown:
        typer.echo(f"newsletter: {there - shown} older ones are left out; see --limit", err=True)
    if unknown:
        raise typer.Exit(LOOK)


@cli.command()
def resolve(
    state: str = typer.Option(..., "--state", help="unknown: only these can be resolved."),
    as_: str = typer.Option(..., "--as", metavar="sent|resend", help="What to take them for."),
    issue: str = _ISSUE,
    subscriber: str = _SUBSCRIBER,
    as_json: bool = _JSON,
) -> None:
    """Say that unknown mails were sent, or send them again: not before 15 minutes after they were handed off."""
    from newsletter import operating
    from newsletter.delivery.models import DeliveryState

    if state != "unknown":
        fail("only --state unknown can be resolved")
    if as_ not in {"sent", "resend"}:
        fail("--as is sent or resend")
    with open_app() as app:
        meant = operating.which(app, state=DeliveryState.UNKNOWN, issue=issue, subscriber=subscriber)
        decided = operating.resolve(app, meant, "sent" if as_ == "sent" else "resend")
    _tell(decided, "taken as sent" if as_ == "sent" else "to be sent again", as_json=as_json)


@cli.command()
def retry(
    state: str = typer.Option(..., "--state", help="failed: only these can be retried."),
    issue: str = _ISSUE,
    subscriber: str = _SUBSCRIBER,
    as_json: bool = _JSON,
) -> None:
    """Try failed mails again, as long as their issue's time is not over."""
    from newsletter import operating
    from newsletter.delivery.models import DeliveryState

    if state != "failed":
        fail("only --state failed can be retried")
    with open_app() as app:
        meant = operating.which(app, state=DeliveryState.FAILED, issue=issue, subscriber=subscriber)
        decided = operating.retry(app, meant)
    _tell(decided, "to be tried again", as_json=as_json)


@cli.command()
def release(as_json: bool = _JSON) -> None:
    """Let a database that was copied, moved or restored from a backup send from now on."""
    from newsletter import operating

    with open_app() as app:
        was_held = operating.release(app)
    if as_json:
        print_json({"was_held": was_held})
    else:
        typer.echo("released: mails go out again" if was_held else "nothing was held")


def _tell(decided: "Decided", what: str, *, as_json: bool) -> None:
    from newsletter.operating import said_of

    later = decided.not_before
    if as_json:
        when = later.isoformat() if later else None
        print_json({"number": decided.number, "refused": dict(decided.refused), "not_before": when})
    else:
        typer.echo(f"{decided.number} {what}" + (f", by {later:%Y-%m-%d %H:%M:%S} UTC at the latest" if later else ""))
        for line in said_of(decided.refused):
            typer.echo(line)
    if decided.refused:
        raise typer.Exit(LOOK)


def _json(each: "Listed") -> str:
    values: dict[str, Any] = asdict(each) | {"at": each.at.isoformat()}
    return json.dumps(values, ensure_ascii=False)


def _line(each: "Listed") -> str:
    said = " ".join(str(part) for part in (each.code, each.reply) if part)
    state = f"{each.state} ({each.skip_reason})" if each.state == "skipped" else each.state
    name = f"{each.mail} {each.issue}".strip()
    times = f"{each.attempts} attempt{'' if each.attempts == 1 else 's'}"
    whom = each.address or ("(operator)" if each.mail == "alert" else "(erased)")
    return f"{whom}  {name}  {state}  {times}  {each.at:%Y-%m-%d %H:%M:%S}Z  {said}".rstrip()
