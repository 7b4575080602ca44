"""The command line. Exit codes: 0 all well, 1 an error, 2 wrong usage, 3 finished with something to look at."""

import os
import sys
from typing import NoReturn

import typer

from newsletter import __version__
from newsletter.cli import (
    deliveries,
    demo,
    dkim,
    evaluate,
    explain,
    issues,
    lint,
    preview,
    pull,
    send,
    serve,
    setup,
    status,
    subscribers,
)
from newsletter.errors import NewsletterError

cli = typer.Typer(
    name="newsletter",
    help="Mails researchers the new papers that matter to them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # an error is plain lines, not a box, also in a log file
)
for room in (demo, setup, pull, send, status, explain, dkim, lint, preview, serve):
    room.register(cli)
for name, group in (
    ("subscribers", subscribers),
    ("issues", issues),
    ("deliveries", deliveries),
    ("evaluate", evaluate),
):
    cli.add_typer(group.cli, name=name)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"newsletter {__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    del version


def main() -> NoReturn:
    """Run the command line; an error is one line on stderr, never a traceback."""
    from newsletter.db import plain_errors

    try:
        with plain_errors():
            cli()
    except NewsletterError as exc:
        typer.echo(f"newsletter: {exc}", err=True)
        sys.exit(1)
    except UnicodeEncodeError:
        typer.echo("newsletter: what was given is no text in UTF-8", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has enough
    except OSError as exc:
        typer.echo(f"newsletter: {exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else ""), err=True)
        sys.exit(1)
    sys.exit(0)
