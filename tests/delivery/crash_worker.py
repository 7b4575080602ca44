"""Delivers one issue in a process that kills itself at a chosen point of the protocol.

``crash_worker.py DATABASE_URL SMTP_URL ISSUE_ID POINT NUMBER``: SIGKILL at the NUMBERth passage of POINT:
``leased``, ``printed``, ``before-handoff``, ``after-handoff``, ``before-settle``, ``after-settle``, or ``never``.
What a relay sees (connect, MAIL, RCPT, DATA, body, dot) kills from outside: see the tests.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from newsletter import logs, pipeline
from newsletter.app import build_app
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Marks, Outgoing, Transport, Untried
from newsletter.settings import Settings

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

    def __init__(self, marks: Marks, point: Point) -> None:
        self._marks, self._point = marks, point

    def handoff(self, outgoing: Outgoing) -> None:
        self._point("before-handoff")
        self._marks.handoff(outgoing)
        self._point("after-handoff")

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        self._point("before-settle")
        self._marks.settle(outgoing, outcome)
        self._point("after-settle")


class CrashingTransport:
    """A transport whose marks may kill."""

    def __init__(self, transport: Transport, point: Point) -> None:
        self._transport, self._point = transport, point

    def deliver(self, batch: Iterable[Outgoing], marks: Marks) -> Untried:
        self._point("printed")
        return self._transport.deliver(batch, CrashingMarks(marks, self._point))

    def finish(self) -> None:
        self._transport.finish()

    def close(self) -> None:
        self._transport.close()


def main() -> None:
    """Deliver until done or dead."""
    database_url, smtp_url, issue_id, name, number = sys.argv[1:]
    logs.configure("WARNING")
    point = Point(name, int(number))
    settings = Settings(_env_file=None, database_url=database_url, smtp_url=smtp_url, secret_key="a key for tests")
    app = build_app(settings)
    app = replace(app, transport=CrashingTransport(app.transport, point))
    if name == "leased":
        from newsletter.delivery import ledger

        with app.db.session() as session:
            ledger.lease(session, int(issue_id), owner=app.owner, now=app.now(), limit=5)
        point("leased")
    print("delivering", flush=True)
    pipeline.deliver(app, int(issue_id))
    app.close()


if __name__ == "__main__":
    main()
