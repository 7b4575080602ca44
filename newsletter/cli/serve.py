"""``newsletter run``, ``serve``, ``worker`` and ``scheduler``."""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from newsletter.cli.frame import open_app
from newsletter.errors import NewsletterError
from newsletter.garbage import keep_what_is_loaded

if TYPE_CHECKING:
    from newsletter.app import App

_HOST = typer.Option(None, help="Where to listen; NEWSLETTER_HOST unless given.")
_PORT = typer.Option(None, min=1, max=65535, help="NEWSLETTER_PORT unless given.")


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (run, serve, worker, scheduler):
        cli.command(command.__name__)(command)


def run(host: str = _HOST, port: int = _PORT) -> None:
    """Run everything in one process: web, scheduler and worker, without a broker."""
    from newsletter.migrate import migrate
    from worker import inline

    with open_app(schema=False, service=True) as app:
        _on_signal(lambda *_: app.stopping.set())  # deliveries begin before the web listens
        migrate(app.db)
        with inline.running(app) as awake:
            serve_web(awake, host, port)


def serve(host: str = _HOST, port: int = _PORT) -> None:
    """Serve the web pages; mails are sent by workers."""
    from worker.tasks import with_broker

    with open_app(service=True) as app:
        serve_web(with_broker(app), host, port)


def worker(
    concurrency: int = typer.Option(2, min=1, help="How many batches at once, with a broker."),
) -> None:
    """Deliver what is due: on Celery when a broker is configured, else in this process."""
    from worker.__main__ import work

    with open_app(service=True) as app:
        work(app, concurrency)


def scheduler() -> None:
    """Say when it is time to pull, to open issues and to sweep: to workers over the broker, or to this process."""
    from worker import inline
    from worker.__main__ import told_to_stop
    from worker.scheduler import scheduled
    from worker.tasks import call

    with open_app(service=True) as app:
        stop = told_to_stop()
        with inline.running(app) if app.settings.broker_url is None else scheduled(call):
            stop.wait()


def serve_web(app: "App", host: str | None, port: int | None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn

    from newsletter.web import create_web

    settings = app.settings
    config = uvicorn.Config(
        create_web(app),
        host=host or settings.host,
        port=port or settings.port,
        log_config=None,
        access_log=False,  # its lines would hold tokens
        server_header=False,
        # Behind a proxy the scheme and client come from its headers; ours never builds links from them.
        proxy_headers=False,
    )
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        app.stopping.set()
        server.should_exit = True

    # uvicorn handles a signal and then raises it again: by then it must not kill what is being delivered.
    _on_signal(stop)
    if app.stopping.is_set():
        return
    keep_what_is_loaded()
    typer.echo(f"listening on http://{config.host}:{config.port}", err=True)
    try:
        server.run()
    except SystemExit as exc:
        raise NewsletterError(f"cannot listen on {config.host}:{config.port}") from exc


def _on_signal(handler: Callable[..., None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
