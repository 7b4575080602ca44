"""Real Celery workers on a real Valkey: wake-ups over the broker, and what happens without it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes import SmtpServer
from samples import add_papers, add_readers, open_and_queue, record

from newsletter import clock, membership, pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.store import Accounting
from newsletter.issues.models import Issue
from newsletter.membership import Asking
from newsletter.subscribers.preferences import Preferences

NEWSLETTER = Path(sys.executable).parent / "newsletter"


@contextmanager
def process(*command: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run a long-lived command; stop it as an init system would."""
    environment = os.environ | {f"NEWSLETTER_{name.upper()}": value for name, value in settings.items()}
    with subprocess.Popen([str(NEWSLETTER), *command], env=environment, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(timeout=30)
            finally:
                running.kill()


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that another process does, by looking, up to a limit."""
    import threading

    ends, pause = clock.monotonic() + seconds, threading.Event()
    while not done():
        assert clock.monotonic() < ends, "it did not happen in time"
        pause.wait(0.05)


def prepared(app: App, readers: int = 6) -> Issue:
    add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
    add_readers(app, readers, hour=0)
    return open_and_queue(app)


def accounting(app: App, issue: Issue) -> Accounting:
    with app.db.snapshot() as session:
        return deliveries.accounting(session, issue.id or 0, issue.slot)


@pytest.fixture
def settings(postgresql_url: str, smtp: SmtpServer, broker_url: str) -> dict[str, str]:
    return {
        "database_url": postgresql_url,
        "smtp_url": smtp.url,
        "broker_url": broker_url,
        "secret_key": "a key for tests",
        "sources": "",
    }


def test_a_wake_up_over_the_broker_delivers_an_issue(
    make_app: Callable[..., App], settings: dict[str, str], smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(settings["database_url"], now=clock.now, smtp_url=smtp.url)
    issue = prepared(app)
    with process("worker", **settings):
        wake(settings, issue.id)
        until(lambda: accounting(app, issue).sent == 6)
    assert len(set(smtp.recipients())) == len(smtp.recipients()) == 6


def test_five_wake_ups_for_one_issue_are_as_good_as_one(
    make_app: Callable[..., App], settings: dict[str, str], smtp: SmtpServer
) -> None:
    app = make_app(settings["database_url"], now=clock.now, smtp_url=smtp.url)
    issue = prepared(app, readers=30)
    wake(settings, issue.id, times=5)
    with process("worker", "--concurrency", "3", **settings):
        until(lambda: accounting(app, issue).sent == 30)
    assert len(set(smtp.recipients())) == len(smtp.recipients()) == 30


def test_scheduler_and_worker_together_send_an_issue_that_nobody_asked_for(
    make_app: Callable[..., App], settings: dict[str, str], smtp: SmtpServer
) -> None:
    app = make_app(settings["database_url"], now=clock.now, smtp_url=smtp.url)
    add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
    add_readers(app, 4, hour=0)
    issue = open_and_queue(app)  # the tick comes once a minute; the sweep picks up what lies there
    with process("worker", **settings), process("scheduler", **settings):
        until(lambda: accounting(app, issue).sent == 4)
    assert len(set(smtp.recipients())) == len(smtp.recipients()) == 4


def test_losing_the_broker_loses_no_sign_up(
    make_app: Callable[..., App], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_BROKER_URL", "redis://127.0.0.1:1/0")
    from worker.tasks import with_broker

    app = with_broker(make_app(sqlite_url, broker_url="redis://127.0.0.1:1/0"))
    membership.ask(app, Asking("reader@example.org", Preferences()))
    assert pipeline.sweep(app) == [None]
    assert pipeline.deliver(app, None) == 1


def test_a_scheduler_and_a_worker_without_a_broker_share_the_database(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    app = make_app(sqlite_url, now=clock.now, smtp_url=smtp.url)
    issue = prepared(app)
    with process("scheduler", database_url=sqlite_url, smtp_url=smtp.url, secret_key="a key for tests", sources=""):
        until(lambda: accounting(app, issue).sent == 6)
    assert len(set(smtp.recipients())) == len(smtp.recipients()) == 6


def test_every_scheduled_job_is_a_task() -> None:
    from worker.celery import celery
    from worker.scheduler import SCHEDULE

    celery.loader.import_default_modules()
    assert {f"newsletter.{name}" for name in SCHEDULE} <= set(celery.tasks)


def wake(settings: dict[str, str], issue_id: int | None, times: int = 1) -> None:
    """Send wake-ups from a process of its own, as a web server would."""
    environment = os.environ | {f"NEWSLETTER_{name.upper()}": value for name, value in settings.items()}
    code = f"from worker.tasks import _wake; [_wake(json.loads('{json.dumps(issue_id)}')) for _ in range({times})]"
    subprocess.run([sys.executable, "-c", f"import json; {code}"], env=environment, check=True)
