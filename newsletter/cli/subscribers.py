"""``newsletter subscribers …``."""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli.frame import LOOK, day_option, fail, open_app, print_json, progress
from newsletter.errors import InputError

if TYPE_CHECKING:
    from newsletter.app import App
    from newsletter.subscribers.models import Subscriber

cli = typer.Typer(help="Add, show, import and export subscribers.", no_args_is_help=True)
_CHUNK = 1_000
_MAX_SHOWN = 50
_DELIVER_FOR = timedelta(seconds=20)  # confirmations for a long list are the workers' business
_LIST = typer.Option([], help="May be given several times.")


@cli.command()
def add(
    email: str,
    topic: list[str] = _LIST,
    keyword: list[str] = _LIST,
    author: list[str] = _LIST,
    category: list[str] = _LIST,
    mute: list[str] = _LIST,
    about: str = typer.Option("", help="What they work on, in a sentence."),
    timezone: str = typer.Option("UTC", help="Such as Europe/Berlin."),
    hour: int = typer.Option(8, help="Local hour from which the mail may come, 0 to 23."),
    cadence: str = typer.Option("daily", help="daily, weekdays, days, weekly or above_bar."),
    weekday: list[str] = typer.Option([], help="mon to sun, with --cadence days; may be given several times."),
    bar: int = typer.Option(60, help="0 to 100, with --cadence above_bar."),
    max_papers: int = typer.Option(10, help="1 to 50."),
    source_news: bool = typer.Option(False, "--source-news", help="Tell them when a source had nothing or was silent."),
    outside: bool = typer.Option(False, "--outside", help="One paper a mail may be from outside their topics."),
    trending: bool = typer.Option(True, help="Name three papers that everybody talks about below theirs."),
    confirmed: bool = typer.Option(False, "--confirmed", help="They have agreed already: no confirmation mail."),
) -> None:
    """Add a subscriber; unless --confirmed, they are pending and get a confirmation mail."""
    from newsletter import membership, pipeline
    from newsletter.subscribers.addresses import parse_address
    from newsletter.subscribers.preferences import parse_preferences

    address = parse_address(email)
    preferences = parse_preferences(
        {
            "topics": topic,
            "keywords": keyword,
            "authors": author,
            "categories": category,
            "mutes": mute,
            "timezone": timezone,
            "hour": hour,
            "cadence": cadence,
            "about": about,
            "weekdays": weekday,
            "bar": bar,
            "max_papers": max_papers,
            "source_news": source_news,
            "outside": outside,
            "trending": trending,
        },
    )
    with open_app() as app:
        added = membership.add_subscriber(app, address, preferences, confirmed=confirmed)
        if not added:
            raise InputError(f"{address} is a subscriber already")
        if not confirmed:
            pipeline.deliver(app, None)
    typer.echo(f"{address} is {'active' if confirmed else 'pending: a confirmation mail was queued'}")


@cli.command("list")
def list_(
    state: str = typer.Option(None, help="Only pending, active or unsubscribed ones."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """List subscribers."""
    from newsletter.subscribers import store
    from newsletter.subscribers.models import State

    if state is not None and state not in set(State):
        raise typer.BadParameter(f"{state!r} is not one of {', '.join(State)}")
    with open_app() as app, app.db.snapshot() as session:
        people = store.every(session, State(state) if state else None)
        if as_json:
            print_json({"subscribers": [_as_json(each) for each in people]})
            return
        for each in people:
            said = ", ".join([*each.topics, *each.keywords]) or "trending"
            typer.echo(f"{each.email}  {each.state}  {each.hour:02d}:00 {each.timezone}  {each.cadence}  {said}")


@cli.command()
def show(email: str, as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Show what is known of one subscriber."""
    with open_app() as app:
        person = _find(app, email)
    values = _as_json(person)
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        typer.echo(f"{name}: {'; '.join(value) if isinstance(value, list) else value}")


@cli.command("import")
def import_(
    file: str = typer.Argument(help="A CSV file with a header line; - is standard input."),
    confirmed: bool = typer.Option(False, "--confirmed", help="They have agreed already: no confirmation mails."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Add subscribers from CSV; known ones get the new preferences, nobody's state changes."""
    from newsletter import membership, pipeline
    from newsletter.subscribers import csvfile
    from newsletter.subscribers.models import Entry

    counts = {"added": 0, "changed": 0, "bad": 0}
    with open_app() as app, _text(file) as lines, progress("importing", None) as tell:
        chunk: list[Entry] = []

        def flush() -> None:
            added, changed = membership.import_subscribers(app, chunk)
            counts["added"] += added
            counts["changed"] += changed
            tell(len(chunk))
            chunk.clear()

        for found in csvfile.read_entries(lines, confirmed=confirmed):
            if isinstance(found, Entry):
                chunk.append(found)
            else:
                counts["bad"] += 1
                if counts["bad"] <= _MAX_SHOWN:
                    typer.echo(f"newsletter: {found} (skipped)", err=True)
            if len(chunk) >= _CHUNK:
                flush()
        flush()
        pipeline.deliver(app, None, budget=_DELIVER_FOR)
    if counts["bad"] > _MAX_SHOWN:
        typer.echo(f"newsletter: {counts['bad'] - _MAX_SHOWN} more bad lines", err=True)
    if as_json:
        print_json(counts)
    else:
        typer.echo(f"{counts['added']} added, {counts['changed']} changed, {counts['bad']} bad lines")
    if counts["bad"]:
        raise typer.Exit(LOOK)


@cli.command()
def export(file: str = typer.Argument("-", help="Where to; - is standard output.")) -> None:
    """Write all subscribers as CSV, as `import` reads it."""
    from newsletter.subscribers import csvfile, store

    with open_app() as app, _target(file) as target, app.db.snapshot() as session:
        writer = csv.writer(target)
        writer.writerow(csvfile.COLUMNS)
        writer.writerows(csvfile.row(each) for each in store.every(session))


@cli.command()
def unsubscribe(
    who: str = typer.Argument(help="An address, or the code from an unsubscribe mail's subject."),
    no_mail: bool = typer.Option(False, "--no-mail", help="Not even a last mail that says so."),
) -> None:
    """Unsubscribe somebody; by an address, they get a last mail that says so, and how to come back.

    A code is what their own mail program sent when they left: like one-click, it is answered by no mail.
    """
    from newsletter import membership, pipeline
    from newsletter.errors import TokenError
    from newsletter.signing import Purpose
    from newsletter.subscribers.intake.models import EntryPoint

    with open_app() as app:
        entry = EntryPoint.OPERATOR if "@" in who else EntryPoint.FORM
        if entry is EntryPoint.OPERATOR:
            id_ = _find(app, who).id or 0
        else:
            try:
                id_ = app.signer.unsign(Purpose.UNSUBSCRIBE, who.removeprefix("unsubscribe").strip(), now=app.now())
            except TokenError:
                raise InputError("this is neither an address nor a code of ours") from None
        if not membership.unsubscribe(app, [id_], entry, goodbye=not no_mail)[0]:
            raise InputError("there is no such subscriber any more")
        typer.echo("unsubscribed")  # it is, whatever becomes of the mail
        if entry is EntryPoint.OPERATOR and not no_mail:
            pipeline.deliver(app, None, only=id_)


@cli.command()
def pause(
    email: str,
    until: Annotated[date | None, day_option("--until", "The first day with mail again; at most a year away.")] = None,
    resume: bool = typer.Option(False, "--resume", help="End the pause today."),
) -> None:
    """Send somebody no issue before a day; the first one then is the best of what they missed."""
    from newsletter import steering

    if (until is None) is not resume:
        fail("either --until YYYY-MM-DD or --resume")
    with open_app() as app:
        id_ = _find(app, email).id or 0
        if until is None:
            steering.resume(app, id_)
        else:
            steering.pause(app, id_, until)
    typer.echo("the pause is over" if until is None else f"paused until {until}")


@cli.command()
def erase(email: str, yes: bool = typer.Option(False, "--yes", help="Really: it cannot be undone.")) -> None:
    """Delete somebody and all that is known of them, but a hash of the address and a number in the accounting."""
    from newsletter import privacy
    from newsletter.subscribers.intake.models import EntryPoint

    with open_app() as app:
        id_ = _find(app, email).id or 0
        if not yes:
            fail("erasing cannot be undone: say --yes if you are sure")
        privacy.erase(app, id_, EntryPoint.OPERATOR)
    typer.echo("erased")


@cli.command("export-data")
def export_data(email: str) -> None:
    """Print everything that is known of one person, as JSON."""
    from newsletter import privacy
    from newsletter.subscribers import store

    with open_app() as app:
        id_ = _find(app, email).id or 0
        with app.db.snapshot() as session:
            person = store.get(session, id_)
            print_json(privacy.everything(session, person) if person else {})


def _find(app: "App", email: str) -> "Subscriber":
    from newsletter.subscribers import store
    from newsletter.subscribers.addresses import parse_address

    address = parse_address(email)
    with app.db.snapshot() as session:
        person = store.find(session, address)
    if person is None:
        raise InputError(f"{address} is not a subscriber")
    return person


def _as_json(person: "Subscriber") -> dict[str, Any]:
    values = {"email": person.email, "state": person.state} | person.preferences.model_dump(mode="json")
    values["paused_until"] = person.paused_until.isoformat() if person.paused_until else None
    at = {name: getattr(person, name) for name in ("created_at", "confirmed_at", "unsubscribed_at")}
    return values | {name: value.isoformat() if value else None for name, value in at.items()}


@contextmanager
def _text(name: str) -> Iterator[Iterator[str]]:
    """Yield the lines of a file; a byte that is not UTF-8 becomes a question mark and fails its own line."""
    try:
        raw = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115  closed below
    except OSError as exc:
        raise InputError(f"{name or 'the file'} cannot be read: {exc.strerror}") from exc
    with raw:
        yield iter(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline=""))


@contextmanager
def _target(name: str) -> Iterator[Any]:
    """Yield where to write: a file is put in place only when all is in it."""
    if name == "-":
        yield sys.stdout
        return
    part = Path(f"{name}.part")
    try:
        file = part.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise InputError(f"{name} cannot be written: {exc.strerror}") from exc
    with file:
        yield file
    part.replace(name)
