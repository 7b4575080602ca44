"""``newsletter dkim``."""

import typer

from newsletter.cli.frame import open_app, print_json
from newsletter.errors import InputError


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("dkim")(dkim)


def dkim(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Show the DNS records to publish for the keys that mails are signed with, as lines of a zone file."""
    with open_app(schema=False) as app:
        keys = app.dkim_keys
    if as_json:
        print_json({"records": [{"name": key.record_name, "type": "TXT", "value": key.record} for key in keys]})
        return
    if not keys:
        raise InputError("mails are not signed: NEWSLETTER_DKIM_KEYS is empty")
    for key in keys:
        typer.echo(key.zone_line)
