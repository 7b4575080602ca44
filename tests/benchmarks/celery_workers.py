"""Real Celery workers, woken over a real broker, and what they cost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from office import Office, Sent, environment
from relays import Relay

from newsletter import clock
from newsletter.db import Database
from newsletter.delivery import store as deliveries

NEWSLETTER = [sys.executable, "-c", "from newsletter.cli import main; main()"]  # of the checkout that PYTHONPATH names
_WARM = 0.1  # the part of an issue that is sent before we measure: workers are set up while they send it


@contextmanager
def worker(
    settings: Mapping[str, str],
    *,
    before: Sequence[str] = (),
    command: Sequence[str] = ("worker", "--concurrency", "1"),
) -> Iterator[int]:
    """Run ``newsletter worker``, or another command; stop it as an init system would; yield its process id.

    :param before: words in front of the command, such as ``ip netns exec NAME``.
    """
    words = [*before, *NEWSLETTER, *command]
    with subprocess.Popen(words, env=dict(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield running.pid
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(timeout=40)
            finally:
                running.kill()


def wake(broker_url: str, issue_id: int, times: int = 1) -> None:
    """Ask workers to deliver an issue, as the scheduler does."""
    with Celery(broker=broker_url) as celery:
        for _ in range(times):
            celery.send_task("newsletter.deliver", args=[issue_id], queue="newsletter")


def until_workers(broker_url: str, number: int) -> None:
    """Wait for workers to answer."""
    with Celery(broker=broker_url) as celery:
        ends = clock.monotonic() + 60
        while len(celery.control.ping(timeout=0.5, limit=number) or ()) < number:
            assert clock.monotonic() < ends, "the workers do not answer"


def send_by_celery(office: Office, relay: Relay, broker_url: str, connections: int) -> Sent:
    """Send the issue by two workers; what is measured begins when both are at work.

    ``stages["Celery"]`` is what its main processes need, which run nothing of ours: their children do.
    """
    with ExitStack() as stack:
        url = stack.enter_context(office.copy())
        settings = environment(url, relay.url(connections), broker_url=broker_url)
        workers = [stack.enter_context(worker(settings)) for _ in range(2)]
        until_workers(broker_url, 2)
        db = Database(url)
        stack.callback(db.dispose)
        wake(broker_url, office.issue_id, times=2)
        first = _when(db, office, int(office.readers * _WARM), workers)
        last = _when(db, office, office.readers, workers)
    mails = last.sent - first.sent
    return Sent(
        mails=mails,
        rate=mails / (last.at - first.at),
        cpu_us=(last.cpu - first.cpu) / mails * 1e6,
        stages={"Celery": (last.main_cpu - first.main_cpu) / mails * 1e6},
    )


@dataclass(frozen=True)
class _Moment:
    """How far things are.

    :ivar cpu: seconds, of all processes.
    :ivar main_cpu: seconds, of Celery's main processes.
    """

    at: float
    sent: int
    cpu: float
    main_cpu: float


def _when(db: Database, office: Office, number: int, workers: Sequence[int]) -> _Moment:
    """Wait until `number` mails are sent."""
    ends, pause = clock.monotonic() + 300, threading.Event()
    while True:
        with db.snapshot() as session:
            sent = deliveries.accounting(session, office.issue_id, "").sent
        if sent >= number:
            whole, main = (sum(map(_cpu_seconds, each)) for each in (family(workers), workers))
            return _Moment(clock.monotonic(), sent, whole, main)
        assert clock.monotonic() < ends, f"only {sent} mails were sent"
        pause.wait(0.02)


def family(parents: Sequence[int]) -> set[int]:
    """Return processes with all that they started."""
    parent_of = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent_of[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = set(parents)
    while more := {each for each, parent in parent_of.items() if parent in found} - found:
        found |= more
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
