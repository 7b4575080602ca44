"""Workers, a scheduler's sweep, and a clock that all of them share: what a soak test keeps going and breaks."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from celery import Celery
from celery_workers import family
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery, DeliveryState
from newsletter.subscribers.models import Subscriber

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_WAITING = (DeliveryState.QUEUED, DeliveryState.DEFERRED)
_IN_FLIGHT = (DeliveryState.LEASED, DeliveryState.HANDOFF)
_WAKE_UPS = 4


class Shift:
    """The real clock and so many seconds, in a file that all processes look into."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds = 0.0
        self.put(0.0)

    def __call__(self) -> datetime:
        return clock.now() + timedelta(seconds=self.seconds)

    def put(self, seconds: float) -> None:
        """Set how far the clock goes ahead; nobody sees half a number."""
        self.seconds = seconds
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(str(seconds))
        fresh.replace(self.file)


@dataclass
class Fleet:
    """Celery's main processes with their children, started again as an init system would.

    :ivar relays: the relay as each main process is told of it.
    :ivar before: words in front of each main process's command, such as ``ip netns exec NAME``.
    """

    settings: Mapping[str, str]
    relays: Sequence[str]
    shift: Shift
    chance: random.Random
    concurrency: int = 2
    before: Sequence[Sequence[str]] = ()
    _mains: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @contextmanager
    def working(self) -> Iterator["Fleet"]:
        """Keep the workers until the block ends."""
        try:
            self.tend()
            yield self
        finally:
            for main in self._mains.values():
                self._end(main)

    def tend(self) -> None:
        """Start what does not run."""
        for number, relay in enumerate(self.relays):
            if number not in self._mains or self._mains[number].poll() is not None:
                settings = dict(self.settings) | {"smtp_url": relay, "sources": "", "log_level": "ERROR"}
                environment = os.environ | {f"NEWSLETTER_{name.upper()}": value for name, value in settings.items()}
                environment |= {
                    "PYTHONPATH": f"{_ROOT}:{_HERE}",
                    "SHIFT_FILE": str(self.shift.file),
                }
                words = [sys.executable, str(_HERE / "shifted_worker.py"), f"--concurrency={self.concurrency}"]
                words = [*(self.before[number] if self.before else ()), *words, "-n", f"soak{number}@%h"]
                with self.shift.file.with_name("workers.log").open("ab") as said:
                    self._mains[number] = subprocess.Popen(words, env=environment, stdout=said, stderr=said)

    def kill_one(self, *, with_its_main: bool) -> bool:
        """SIGKILL a process that delivers, or a main process and all of its; return whether there was one."""
        working = {child: main for main in self._mains.values() for child in _children(main.pid)}
        if not working:
            return False
        child = self.chance.choice(sorted(working))
        if with_its_main:
            self._end(working[child])
        else:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return True

    @staticmethod
    def _end(main: subprocess.Popen[bytes]) -> None:
        kill_family(main.pid)
        main.wait()


def kill_family(main: int) -> None:
    """SIGKILL a process and all that it started."""
    for each in (main, *_children(main)):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    return sorted(family([pid]) - {pid})


class Sweeper:
    """The scheduler's sweep, twice a second instead of twice a minute, on the test's clock."""

    def __init__(self, app: App, broker_url: str, shift: Shift) -> None:
        self._celery = Celery(broker=broker_url)
        self._celery.conf.update(broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5})
        self._shift = shift
        self.app = replace(app, now=shift, wake=self._wake)

    def sweep(self) -> None:
        """Sweep; what fails is tried again the next time."""
        with suppress(OperationalError, BrokerError):
            pipeline.sweep(self.app)

    def put_clock_forward(self) -> None:
        """Let it be the time at which the first thing is due that waits."""
        with suppress(OperationalError), self.app.db.snapshot() as session:
            waits = select(sa.func.min(Delivery.not_before)).where(col(Delivery.state).in_(_WAITING))
            held = select(sa.func.min(Delivery.lease_until)).where(col(Delivery.state).in_(_IN_FLIGHT))
            at = [each for each in (session.exec(waits).one(), session.exec(held).one()) if each is not None]
            if at and (ahead := (min(at) - self._shift()).total_seconds()) > 0:
                self._shift.put(self._shift.seconds + ahead + 1)

    def states(self) -> dict[str, tuple[str, str]]:
        """Return state and last words of each delivery, by its reader's address."""
        with self.app.db.snapshot() as session:
            rows = session.exec(
                select(Subscriber.email, Delivery.state, Delivery.reply).where(
                    col(Subscriber.id) == col(Delivery.subscriber_id)
                )
            )
            return {email: (state, reply or "") for email, state, reply in rows}

    def at_rest(self) -> bool:
        """Return whether nothing waits and nothing is in flight."""
        try:
            with self.app.db.snapshot() as session:
                moving = select(sa.func.count()).where(col(Delivery.state).in_((*_WAITING, *_IN_FLIGHT)))
                return session.exec(moving).one() == 0
        except OperationalError:
            return False

    def _wake(self, issue_id: int | None) -> None:
        for _ in range(_WAKE_UPS):
            self._celery.send_task("newsletter.deliver", args=[issue_id], queue="newsletter", expires=2, retry=False)


def every(seconds: float, limit: float, done: Callable[[], bool], work: Callable[[], None]) -> None:
    """Work again and again until it is done.

    :raises AssertionError: it is not done in `limit` seconds.
    """
    ends, pause = clock.monotonic() + limit, threading.Event()
    while not done():
        assert clock.monotonic() < ends, "it did not come to rest in time"
        work()
        pause.wait(seconds)
