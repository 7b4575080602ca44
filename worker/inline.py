"""The jobs in this process, without a broker: one thread delivers, the schedule's threads do the rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Condition, Thread

from newsletter import logs, pipeline
from newsletter.app import App
from worker.scheduler import scheduled

_log = logs.get("newsletter.worker")
_SWEEP_SECONDS = 30.0
_BUDGET = timedelta(seconds=45)  # then another issue has its turn


@contextmanager
def running(app: App) -> Iterator[App]:
    """Run the schedule and deliver; yield the application whose wake-ups are heard here."""
    with working(app) as awake:
        jobs: dict[str, Callable[[App], object]] = {
            "pull": pipeline.pull,
            "tick": pipeline.tick,
            "sweep": pipeline.sweep,
            "tidy": pipeline.tidy,
            "learn": pipeline.learn,
        }

        def call(name: str) -> None:
            _guarded(name, lambda: jobs[name](awake))

        with scheduled(call):
            yield awake


@contextmanager
def working(app: App) -> Iterator[App]:
    """Deliver what is due, when woken and every half minute, until the block ends."""
    doorbell = Doorbell()
    awake = replace(app, wake=doorbell.ring)
    thread = Thread(target=_work, args=(awake, doorbell), name="deliver", daemon=True)
    thread.start()
    try:
        yield awake
    finally:
        app.stopping.set()  # the mails under way are finished, the others are given back
        doorbell.ring(None)
        thread.join()


class Doorbell:
    """Who wants something delivered: each issue once, however often it rings; mails outside any issue first."""

    def __init__(self) -> None:
        self._waiting: dict[int | None, None] = {}
        self._rung = Condition()

    def ring(self, issue_id: int | None) -> None:
        """Ask for an issue, or for mails outside any."""
        with self._rung:
            self._waiting[issue_id] = None
            self._rung.notify()

    def answer(self, seconds: float) -> list[int | None]:
        """Return who is first, or nobody after `seconds`."""
        with self._rung:
            if not self._waiting:
                self._rung.wait(seconds)
            if not self._waiting:
                return []
            first = None if None in self._waiting else next(iter(self._waiting))
            del self._waiting[first]
            return [first]


def _work(app: App, doorbell: Doorbell) -> None:
    _guarded("sweep", lambda: pipeline.sweep(app))
    while not app.stopping.is_set():
        found = doorbell.answer(_SWEEP_SECONDS)
        for issue_id in found:
            _guarded("deliver", lambda issue_id=issue_id: pipeline.deliver(app, issue_id, budget=_BUDGET))  # type: ignore[misc]
        if not found:
            _guarded("sweep", lambda: pipeline.sweep(app))


def _guarded(name: str, job: Callable[[], object]) -> None:
    try:
        job()
    except Exception:  # noqa: BLE001  a job that fails is tried again; the thread must live to do it
        _log.exception("job failed", job=name)
