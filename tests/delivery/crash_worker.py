"""Delivers one issue in a process that kills itself at a chosen point of the protocol.

What a relay sees (connect, MAIL, RCPT, DATA, body, dot) kills from outside: see the tests.
"""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from newsletter import logs, pipeline
from newsletter.app import build_app
from newsletter.delivery import ledger
from newsletter.delivery.marks import LedgerMarks
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Marks, Outgoing, Told, Transport, Untried
from newsletter.settings import Settings

# Each process is forked off one that has everything imported: a second and a half saved for each.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["newsletter.pipeline"])
POINTS = ("leased", "printed", "before-handoff", "after-handoff", "before-settle", "after-settle")


class Point:
    """Counts passages, and kills at the chosen one."""

    def __init__(self, name: str, number: int) -> None:
        self._name, self._number, self._passed = name, number, Counter[str]()

    def __call__(self, name: str) -> None:
        self._passed[name] += 1
        if (name, self._passed[name]) == (self._name, self._number):
            os.kill(os.getpid(), signal.SIGKILL)


class CrashingMarks:
    """The ledger's marks with points around them."""

    def __init__(self, marks: LedgerMarks, point: Point) -> None:
        self._marks, self._point = marks, point

    def handoff(self, outgoing: Outgoing, told: Told) -> None:
        def and_then(ours: bool | Exception) -> None:
            self._point("after-handoff")
            told(ours)

        self._point("before-handoff")
        self._marks.handoff(outgoing, and_then)

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        self._point("before-settle")
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


def deliver(issue_id: int, kill_at: str, number: int, **settings: str) -> None:
    """Deliver until done, or dead by SIGKILL at the `number`-th passage of `kill_at`: one of `POINTS`, or ``never``."""
    logs.configure("WARNING")
    point = Point(kill_at, number)
    app = build_app(Settings(_env_file=None, secret_key="a key for tests", **settings))
    app = replace(app, transport=CrashingTransport(app.transport, point))
    if kill_at == "leased":
        with app.db.session() as session:
            ledger.lease(session, issue_id, owner=app.owner, now=app.now(), limit=5)
        point("leased")
    pipeline.deliver(app, issue_id)
    app.close()
