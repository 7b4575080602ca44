"""``newsletter preview``."""

import typer

from newsletter.cli.frame import open_preview
from newsletter.errors import NewsletterError


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("preview")(preview)


def preview(
    host: str = typer.Option("127.0.0.1", help="Where to listen."),
    port: int = typer.Option(8025, min=1, max=65535, help="Where to listen."),
) -> None:
    """Show all mails with sample readers in a browser, and again whenever a template is saved; nothing is sent."""
    import uvicorn

    from newsletter.preview import Gallery, create_preview

    with open_preview() as (app, own):
        gallery = Gallery(app, own)
        config = uvicorn.Config(
            create_preview(gallery), host=host, port=port, log_config=None, access_log=False, server_header=False
        )
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"look at http://{shown}:{port}/ and press Ctrl-C when you have seen enough", err=True)
        try:
            uvicorn.Server(config).run()
        except KeyboardInterrupt:
            pass  # uvicorn raises it again, once it has stopped
        except SystemExit as exc:
            raise NewsletterError(f"cannot listen on {host}:{port}") from exc
        finally:
            gallery.close()
