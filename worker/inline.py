"""The jobs in this process, without a broker: one thread delivers, the schedule's threads do the rest."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Thread

from newsletter import logs, pipeline
from newsletter.app import App
from worker.scheduler import scheduled

_log = logs.get("newsletter.worker")
_SWEEP_SECONDS = 30.0
_BUDGET = timedelta(seconds=45)  # then another issue has its turn
_STOP = -1


@contextmanager
def running(app: App) -> Iterator[App]:
    """Run the schedule and deliver; yield the application whose wake-ups are heard here."""
    with working(app) as awake:
        jobs: dict[str, Callable[[App], object]] = {
            "pull": pipeline.pull_recent,
            "tick": pipeline.tick,
            "sweep": pipeline.sweep,
        }

        def call(name: str) -> None:
            _guarded(name, lambda: jobs[name](awake))

        with scheduled(call):
            yield awake


@contextmanager
def working(app: App) -> Iterator[App]:
    """Deliver what is due, when woken and every half minute, until the block ends."""
    doorbell: queue.Queue[int | None] = queue.Queue()
    awake = replace(app, wake=doorbell.put)
    thread = Thread(target=_work, args=(awake, doorbell), name="deliver", daemon=True)
    thread.start()
    try:
        yield awake
    finally:
        doorbell.put(_STOP)
        thread.join(timeout=_SWEEP_SECONDS)


def _work(app: App, doorbell: "queue.Queue[int | None]") -> None:
    _guarded("sweep", lambda: pipeline.sweep(app))
    while True:
        try:
            issue_id = doorbell.get(timeout=_SWEEP_SECONDS)
        except queue.Empty:
            _guarded("sweep", lambda: pipeline.sweep(app))
            continue
        if issue_id == _STOP:
            return
        _guarded("deliver", lambda issue_id=issue_id: pipeline.deliver(app, issue_id, budget=_BUDGET))  # type: ignore[misc]


def _guarded(name: str, job: Callable[[], object]) -> None:
    try:
        job()
    except Exception:  # noqa: BLE001  a job that fails is tried again; the thread must live to do it
        _log.exception("job failed", job=name)
