"""``newsletter init``."""

import typer

from newsletter.cli.frame import open_app


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("init")(init)


def init() -> None:
    """Create the database's tables, or bring them up to date; safe to repeat."""
    from newsletter.migrate import migrate

    with open_app(schema=False) as app:
        migrate(app.db)
        typer.echo(f"ready: {app.db.engine.url.render_as_string(hide_password=True)}")
