"""``newsletter demo``: the main job on an embedded default."""

import shutil
from pathlib import Path
from typing import Any

import typer

from newsletter.cli.frame import open_app
from newsletter.errors import InputError

_MARKER = ".newsletter-demo"


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("demo")(demo)


def demo(
    serve: bool = typer.Option(False, "--serve", help="Also start the web app, so that every link in the mails works."),
    folder: Path = typer.Option(
        Path("var/demo"), "--dir", file_okay=False, help="Where to put everything; made anew each time."
    ),
    port: int = typer.Option(8000, min=1, max=65535, help="Where --serve listens."),
) -> None:
    """Show the main job with sample papers and readers: no server, no configuration, no network."""
    folder = folder.resolve()
    _clear(folder)
    overrides: dict[str, Any] = {
        "_env_file": None,
        "database_url": f"sqlite:///{folder / 'newsletter.db'}",
        "outbox_dir": folder / "outbox",
        "base_url": f"http://127.0.0.1:{port}",
        "smtp_url": None,
        "broker_url": None,
        "secret_key": None,
        "sender": "Daily Papers <papers@example.org>",
        "postal_address": "Daily Papers, 1 Example Street, 12345 Example",
        "sources": "",
        # Without the web app, links to papers go straight to them.
        "tracking": "aggregate" if serve else "off",
        "log_level": "WARNING",
    }
    with open_app(schema=False, mails=True, **overrides) as app:
        _run(app, folder)
        if serve:
            from newsletter.cli.serve import serve_web
            from worker import inline

            typer.echo(f"\nSign up at http://127.0.0.1:{port}/subscribe and watch the outbox. Ctrl-C ends.")
            with inline.working(app) as awake:
                serve_web(awake, "127.0.0.1", port)
        else:
            typer.echo("\nEvery other link works with: newsletter demo --serve   (in a checkout: ./run demo --serve)")


def _run(app: Any, folder: Path) -> None:  # noqa: ANN401  App is imported late
    from newsletter import demo as samples
    from newsletter import membership, pipeline, pulling
    from newsletter.cli.send import describe
    from newsletter.delivery import store as deliveries
    from newsletter.issues import cadence
    from newsletter.issues import store as issues
    from newsletter.migrate import migrate
    from newsletter.subscribers.models import Entry, State

    migrate(app.db)
    pulled = pulling.pull_lines(app, samples.papers(), None)
    typer.echo(f"pulled      {sum(each.stored.new for each in pulled)} papers from the bundled sample")
    entries = [Entry(email, preferences, State.ACTIVE) for email, preferences in samples.READERS.items()]
    membership.import_subscribers(app, entries)
    typer.echo(f"subscribed  {len(entries)} sample readers, each with interests and an hour of their own")
    now = app.now()
    issue = pipeline.open_issue(app, now.date())
    with app.db.snapshot() as session:
        due = cadence.due_on(issues.groups(session), issue.day, now, any_hour=True)
    pipeline.queue(app, issue, due)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        typer.echo(f"delivered   {describe(deliveries.accounting(session, issue.id or 0, issue.slot))}")
    for path in sorted((folder / "outbox" / issue.slot).glob("*.eml")):
        _tell(path)
    typer.echo(f"\nLook at     {(folder / 'outbox' / 'index.html').as_uri()}")


def _tell(path: Path) -> None:
    import email
    from email import policy

    head = email.message_from_bytes(path.read_bytes(), policy=policy.default)
    typer.echo(f"            {head['to']!s:24} {head['subject']}")


def _clear(folder: Path) -> None:
    """Remove an earlier demo; never a folder that is not one."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).is_file():
        raise InputError(f"{folder} is not empty and holds no earlier demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()
