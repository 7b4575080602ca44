"""``newsletter pull``."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.frame import LOOK, DayOption, day_option, fail, open_app, print_json, progress
from newsletter.errors import InputError

if TYPE_CHECKING:
    from newsletter.app import App
    from newsletter.pulling import Pulled

_MAX_NOTES = 20


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("pull")(pull)


def pull(
    source: str = typer.Option(None, "--source", help="Only this source; all configured ones unless given."),
    day: DayOption = None,
    since: Annotated[date | None, day_option("--since", "Every day from this one on.")] = None,
    file: str = typer.Option(None, "--file", help="Read JSON Lines, or the page copied as text; - is standard input."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Pull new papers; pulling again changes nothing but votes, and may be stopped anywhere."""
    if file is not None and (source or since):
        fail("--file goes with neither --source nor --since")
    if since and day and since > day:
        fail(f"--since {since} is after --day {day}")
    with open_app() as app:
        today = app.now().astimezone(UTC).date()
        for each in (day, since):
            if each is not None and each > today:
                raise InputError(f"{each} is in the future")
        reports = _from_sources(app, source, day, since) if file is None else _from_file(app, file, day)
    _report(reports, as_json=as_json)


def _from_sources(app: "App", source: str | None, day: date | None, since: date | None) -> "list[Pulled]":
    from newsletter import pulling

    # "arxiv" stands for "arxiv:cs.CL+cs.LG", too
    names = [name for name in app.sources if source in (None, name, name.partition(":")[0])]
    if source is not None and not names:
        raise InputError(f"{source!r} is not a source; there is: {', '.join(app.sources) or 'none that lists papers'}")
    days = [day] if day else None
    if since:
        last = day or app.now().astimezone(UTC).date()
        days = [since + timedelta(days=n) for n in range((last - since).days + 1)]
    plan = pulling.plan(app, days, names)
    for name in names:
        if name not in plan:
            typer.echo(f"newsletter: {name} only has its latest, nothing of other days", err=True)
    with progress("pulling", sum(map(len, plan.values()))) as tell, _stopped_by_hand():
        return pulling.pull(app, plan, tell)


def _from_file(app: "App", name: str, day: date | None) -> "list[Pulled]":
    from newsletter import pulling

    with _lines(name) as lines, progress("reading", None) as tell, _stopped_by_hand():
        return pulling.pull_lines(app, lines, day, tell)


@contextmanager
def _stopped_by_hand() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("newsletter: stopped; what was pulled is kept, and pulling again goes on", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _lines(name: str) -> Iterator[Iterable[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  closed below; trouble while reading is not trouble with opening
    except OSError as exc:
        raise InputError(f"{name or 'the file'} cannot be read: {exc.strerror}") from exc
    with file:
        yield file


def _report(reports: "list[Pulled]", *, as_json: bool) -> None:
    dropped: Counter[str] = sum((each.dropped for each in reports), Counter())
    errors = [each.error + (f" ({each.day})" if each.day else "") for each in reports if each.error]
    several = len({each.source for each in reports}) > 1
    notes = [f"{each.source}: {note}" if several else note for each in reports for note in each.notes]
    numbers = {
        "received": sum(each.received for each in reports),
        "new": sum(each.stored.new for each in reports),
        "updated": sum(each.stored.updated for each in reports),
        "unchanged": sum(each.stored.unchanged for each in reports),
        "unlisted": sum(each.stored.unlisted for each in reports),
        "repeated": sum(each.repeated for each in reports),
        "withdrawn": sum(each.withdrawn for each in reports),
        "dropped": dict(dropped),
    }
    for line in [*errors, *notes[:_MAX_NOTES]]:
        typer.echo(f"newsletter: {line}", err=True)
    if len(notes) > _MAX_NOTES:
        typer.echo(f"newsletter: {len(notes) - _MAX_NOTES} more lines like these", err=True)
    if as_json:
        print_json(numbers | {"errors": errors})
    else:
        said = ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in dropped.items())
        became = ", ".join(
            f"{numbers[name]} {name}"
            for name in ("new", "updated", "unchanged", "unlisted", "repeated")
            if name not in {"unlisted", "repeated"} or numbers[name]
        )
        typer.echo(f"{numbers['received']} papers received: {became}" + (f"; left out: {said}" if said else ""))
    if errors and len(errors) == len(reports):
        raise typer.Exit(1)
    if errors or notes:
        raise typer.Exit(LOOK)
