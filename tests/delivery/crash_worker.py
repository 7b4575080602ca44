"""Delivers one issue in a process that something happens to at a chosen point of the protocol.

`POINTS` names all that are its own, and `BLOWS` what may happen there. What a relay sees (connect, MAIL, RCPT, DATA,
body, dot) kills from outside: see the tests.
"""

import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from newsletter import logs, pipeline
from newsletter.app import build_app
from newsletter.db import Database
from newsletter.delivery import ledger
from newsletter.delivery.marks import LedgerMarks
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Marks, Outgoing, Told, Transport, Untried
from newsletter.settings import Settings
from worker import inline
from worker.__main__ import told_to_stop

_HOARD: list[bytes] = []
POINTS = ("leased", "printed", "before-handoff", "after-handoff", "before-settle", "after-settle")


def _no_more_memory() -> None:
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used, resource.RLIM_INFINITY))
    for size in (1 << 20, 1 << 14, 1 << 10):
        with suppress(MemoryError):
            while True:
                _HOARD.append(bytes(size))


BLOWS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    # Until somebody sends SIGCONT; sent to this thread, which else might go on for a moment.
    "stop": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
    "memory": _no_more_memory,
}


class Point:
    """Counts passages, and strikes at the chosen one."""

    def __init__(self, name: str, number: int, blow: str, db: Database) -> None:
        self._name, self._number, self._blow, self._passed = name, number, blow, Counter[str]()
        self._db = db

    def __call__(self, name: str, before: Callable[[], object] = lambda: None) -> None:
        self._passed[name] += 1
        if (name, self._passed[name]) == (self._name, self._number):
            if self._blow != "stop":
                BLOWS[self._blow]()
                return
            before()
            with self._db._turn:  # a process that sleeps with SQLite's lock keeps everybody else from writing
                BLOWS[self._blow]()


class CrashingMarks:
    """The ledger's marks with points around them."""

    def __init__(self, marks: LedgerMarks, point: Point) -> None:
        self._marks, self._point = marks, point

    def handoff(self, outgoing: Outgoing, told: Told) -> None:
        def and_then(ours: bool | Exception) -> None:
            self._point("after-handoff")
            told(ours)

        self._point("before-handoff", self._marks.flush)
        self._marks.handoff(outgoing, and_then)

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        self._point("before-settle", self._marks.flush)
        self._marks.settle(outgoing, outcome)
        self._marks.flush()
        self._point("after-settle")

    def beat(self) -> None:
        self._marks.beat()


class CrashingTransport:
    """A transport whose marks may kill."""

    def __init__(self, transport: Transport, point: Point) -> None:
        self._transport, self._point = transport, point

    def deliver(self, batch: Iterable[Outgoing], marks: Marks) -> Untried:
        assert isinstance(marks, LedgerMarks)
        self._point("printed")
        return self._transport.deliver(batch, CrashingMarks(marks, self._point))

    def finish(self) -> None:
        self._transport.finish()

    def close(self) -> None:
        self._transport.close()


def deliver(
    issue_id: int, strike_at: str, number: int, blow: str = "kill", embedded: bool = False, **settings: str
) -> None:
    """Deliver until done, or struck by one of `BLOWS` at the `number`-th passage of one of `POINTS`, or ``never``.

    :param embedded: as `newsletter run` does, in a thread beside others, until SIGTERM.
    """
    logs.configure("WARNING")
    app = build_app(Settings(_env_file=None, secret_key="a key for tests", **settings))
    point = Point(strike_at, number, blow, app.db)
    app = replace(app, transport=CrashingTransport(app.transport, point))
    if strike_at == "leased":
        with app.db.session() as session:
            ledger.lease(session, issue_id, owner=app.owner, now=app.now(), limit=5)
        point("leased")
    if embedded:
        stop = told_to_stop()
        with inline.working(app):
            stop.wait()
    else:
        pipeline.deliver(app, issue_id)
    app.close()
