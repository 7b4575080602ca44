"""Tasks: each is one statement, a call of the pipeline's job of the same name."""

import multiprocessing
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from threading import Thread

from celery.signals import worker_process_init, worker_shutting_down
from kombu.exceptions import OperationalError

from newsletter import logs, pipeline
from newsletter.app import App, build_app
from newsletter.garbage import keep_what_is_loaded
from newsletter.settings import load
from worker.celery import celery

_log = logs.get("newsletter.worker")
_BUDGET = timedelta(seconds=45)  # a task ends within a minute, long before the broker would hand it out again


_STOPPING = multiprocessing.Event()  # shared with the processes that are forked off: only their parent is told


@lru_cache(maxsize=1)
def newsletter() -> App:
    """Return this process's application, made when its first task runs: after the fork."""
    settings = load()
    logs.configure(settings.log_level, json=settings.log_json)
    app = with_broker(build_app(settings))
    Thread(target=_stop, args=(app,), name="stop", daemon=True).start()
    keep_what_is_loaded()
    return app


@worker_shutting_down.connect
def _on_shutdown(**_: object) -> None:
    """Have tasks finish the mails in hand and no more: an init system does not wait for a whole batch."""
    _STOPPING.set()


@worker_process_init.connect
def _on_fork(**_: object) -> None:
    """Leave it to the parent: a whole group is told to stop when its terminal, or its service, is."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop(app: App) -> None:
    _STOPPING.wait()
    app.stopping.set()


@celery.task(name="newsletter.pull", acks_late=True)
def pull() -> None:
    """Pull what is worth asking for."""
    pipeline.pull(newsletter())


@celery.task(name="newsletter.tick", acks_late=True)
def tick() -> None:
    """Open and queue what is due."""
    pipeline.tick(newsletter())


@celery.task(name="newsletter.sweep", acks_late=True)
def sweep() -> None:
    """Pick up what was left lying."""
    pipeline.sweep(newsletter())


@celery.task(name="newsletter.learn", acks_late=True)
def learn() -> None:
    """Learn from the archive and from what readers like."""
    pipeline.learn(newsletter())


@celery.task(name="newsletter.tidy", acks_late=True)
def tidy() -> None:
    """Remind, and forget what is over."""
    pipeline.tidy(newsletter())


@celery.task(name="newsletter.deliver", acks_late=True)
def deliver(issue_id: int | None) -> None:
    """Deliver for a while."""
    pipeline.deliver(newsletter(), issue_id, budget=_BUDGET)


def with_broker(app: App) -> App:
    """Return `app` waking workers over the broker, if one is configured."""
    return replace(app, wake=_wake) if app.settings.broker_url else app


def call(name: str) -> None:
    """Ask a worker to run a task; when the broker is away, the next time on the schedule asks again."""
    _send(name)


def _wake(issue_id: int | None) -> None:
    # In the background: whoever asks, a reader's sign-up say, must not wait for a broker that is away.
    _background().submit(_send, "deliver", issue_id)


@lru_cache(maxsize=1)
def _background() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="wake")


def _send(name: str, *args: int | None) -> None:
    try:
        # A wake-up nobody heard within a minute is worth nothing: the sweep has sent another.
        celery.send_task(f"newsletter.{name}", args=args, expires=60, retry=False)
    except OperationalError:
        _log.warning("broker away", task=name)
