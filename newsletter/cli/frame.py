"""What commands share: opening the application, reading days, showing progress, printing JSON."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from newsletter.app import App
    from newsletter.embedding import Embedder

_FIRST_YEAR, _LAST_YEAR = 1991, 2199  # arXiv began in 1991
LOOK = 3  # finished, with something to look at


@contextmanager
def open_app(
    *, schema: bool = True, service: bool = False, mails: bool = False, **overrides: object
) -> "Iterator[App]":
    """Yield the application that the settings describe.

    :param schema: whether the tables must be there already.
    :param service: whether this process runs on; a command says itself what happened, and logs only failures.
    :param mails: whether a command prints mails, as every service may: an operator's templates are tried before.
    :raises NewsletterError: a setting is wrong, or the tables are missing or of another version.
    """
    from newsletter import logs, settings
    from newsletter.app import build_app
    from newsletter.garbage import keep_what_is_loaded
    from newsletter.migrate import check_schema, require_database

    loaded = settings.load(**overrides)
    quiet = not service and loaded.log_level != "DEBUG"
    logs.configure("ERROR" if quiet else loaded.log_level, json=loaded.log_json)
    for line in settings.unknown_variables(os.environ):
        typer.echo(f"warning: {line}", err=True)
    if schema:
        require_database(loaded.database_url)
    app = build_app(loaded)
    try:
        if schema:
            check_schema(app.db)
        if loaded.templates_dir and (service or mails):
            from newsletter.specimens import check_templates

            check_templates(app)
        keep_what_is_loaded()
        yield app
    finally:
        app.close()


@contextmanager
def open_preview() -> "Iterator[tuple[App, Path | None]]":
    """Yield an application that knows our own templates only, and the folder of the operator's, good or not."""
    from newsletter import settings

    with open_app(schema=False, templates_dir=None) as app:
        yield app, settings.load().templates_dir


def settings_embedder() -> "Embedder | None":
    """Return the embedder that the settings name, for a command that needs nothing else of them."""
    from newsletter import settings
    from newsletter.app import embedder_of

    return embedder_of(settings.load())


def parse_day(text: str) -> date:
    """Return a day given as YYYY-MM-DD; anything else is wrong usage."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  a day has no zone
        if _FIRST_YEAR <= day.year <= _LAST_YEAR:
            return day
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is not a day such as 2026-08-05")


def day_option(name: str, text: str) -> Any:  # noqa: ANN401  typer's own type is private
    """Return an option that takes a day."""
    return typer.Option(name, metavar="YYYY-MM-DD", parser=parse_day, help=text)


DayOption = Annotated[date | None, day_option("--day", "The day; today (UTC) unless given.")]


def print_json(value: Any) -> None:  # noqa: ANN401  whatever JSON can hold
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def fail(message: str) -> NoReturn:
    """End with wrong usage."""
    typer.echo(f"newsletter: {message}", err=True)
    raise typer.Exit(2)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a progress bar; nothing is shown unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda number: bar.advance(task, number)
