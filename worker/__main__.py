"""``python -m worker``: deliver what is due, on Celery when a broker is configured, else in this process."""

import signal
import threading

from newsletter.app import App
from worker import inline
from worker.celery import celery
from worker.tasks import newsletter


def work(app: App, concurrency: int) -> None:
    """Deliver until SIGTERM or Ctrl-C.

    :param concurrency: how many batches at once, with a broker.
    """
    if app.settings.broker_url is None:
        stop = told_to_stop()  # heard from before the first mail on
        with inline.working(app):
            stop.wait()
        return
    app.close()  # Celery's children open their own
    celery.worker_main(
        ["worker", f"--concurrency={concurrency}", "--loglevel=WARNING", "--without-gossip", "--without-mingle"]
    )


def told_to_stop() -> threading.Event:
    """Return what is set when the process is told to end, from now on."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


if __name__ == "__main__":
    work(newsletter(), concurrency=2)
