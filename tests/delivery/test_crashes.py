"""Workers die by SIGKILL at each step: nothing is lost, nothing is sent twice, at most one is unknown."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from crash_worker import POINTS
from fakes import Session, SmtpServer
from samples import add_papers, add_readers, open_and_queue, record

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.ledger import HANDOFF_LEASE
from newsletter.delivery.store import Accounting

READERS = 8
WORKER = Path(__file__).with_name("crash_worker.py")
SEEN_BY_THE_RELAY = ("connect", "ehlo", "mail", "rcpt", "data", "body", "dot", "accepted")


class Later:
    """The real clock, and a time after every lease when told."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def __call__(self) -> object:
        return clock.now() + self.by


def issue_for(make_app: Callable[..., App], database_url: str, smtp: SmtpServer, later: Later) -> tuple[App, int]:
    app = make_app(database_url, smtp_url=smtp.url, now=later)
    add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
    add_readers(app, READERS, max_papers=2)
    issue = open_and_queue(app)
    return app, issue.id or 0


def run_worker(app: App, issue_id: int, smtp: SmtpServer, point: str = "never", number: int = 3) -> int:
    # One connection, so that "the third passage" means the third mail.
    command = [
        sys.executable,
        str(WORKER),
        app.settings.database_url,
        f"{smtp.url}&connections=1",
        str(issue_id),
        point,
    ]
    return subprocess.run([*command, str(number)], check=False, capture_output=True, timeout=60).returncode


def recover(app: App, issue_id: int, later: Later) -> Accounting:
    later.by = HANDOFF_LEASE + timedelta(minutes=5)  # every lease of the dead is over
    pipeline.deliver(app, issue_id)
    with app.db.snapshot() as session:
        return deliveries.accounting(session, issue_id, "x")


def check(smtp: SmtpServer, accounting: Accounting, *, most_unknown: int) -> None:
    assert accounting.eligible == READERS
    assert accounting.sent + accounting.unknown == READERS, accounting
    assert accounting.unknown <= most_unknown
    assert max(Counter(smtp.recipients()).values()) == 1, "somebody was mailed twice"
    assert accounting.sent <= len(smtp.accepted) <= accounting.sent + accounting.unknown


@pytest.mark.parametrize("point", POINTS)
def test_worker_killed_at_a_step_of_its_own(
    point: str, make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    assert run_worker(app, issue_id, smtp, point, number=1 if point in {"leased", "printed"} else 3) == -signal.SIGKILL
    accounting = recover(app, issue_id, later)
    check(smtp, accounting, most_unknown=1 if point in {"after-handoff", "before-settle"} else 0)


@pytest.mark.parametrize("step", SEEN_BY_THE_RELAY)
def test_worker_killed_while_the_relay_watches(
    step: str, make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    worker: list[subprocess.Popen[bytes]] = []
    passed = Counter[str]()

    def kill(seen: str, _session: Session) -> str | None:
        passed[seen] += 1
        if (seen, passed[seen]) == (step, 1 if step in {"connect", "ehlo"} else 3):
            os.kill(worker[0].pid, signal.SIGKILL)
            worker[0].wait()
        return None

    smtp.script = kill
    command = [
        sys.executable,
        str(WORKER),
        app.settings.database_url,
        f"{smtp.url}&connections=1",
        str(issue_id),
        "never",
        "1",
    ]
    smtp._lock.acquire()  # the relay answers when the test knows whom to kill
    worker.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    smtp._lock.release()
    assert worker[0].wait(timeout=60) == -signal.SIGKILL
    smtp.script = lambda _step, _session: None
    accounting = recover(app, issue_id, later)
    check(smtp, accounting, most_unknown=1 if step in {"dot", "accepted"} else 0)


def test_two_workers_share_an_issue_and_nobody_is_mailed_twice(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    command = [sys.executable, str(WORKER), app.settings.database_url, smtp.url, str(issue_id), "never", "1"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    check(smtp, recover(app, issue_id, later), most_unknown=0)
    assert len(smtp.accepted) == READERS


def test_outbox_worker_killed_leaves_one_file_a_reader(
    make_app: Callable[..., App], database_url: str, tmp_path: Path
) -> None:
    later = Later()
    app = make_app(database_url, now=later)
    add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
    add_readers(app, READERS)
    issue = open_and_queue(app)
    environment = os.environ | {"NEWSLETTER_OUTBOX_DIR": str(app.settings.outbox_dir)}
    command = [sys.executable, str(WORKER), app.settings.database_url, "", str(issue.id), "after-settle", "3"]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    accounting = recover(app, issue.id or 0, later)
    assert accounting.sent == READERS
    assert len(list((app.settings.outbox_dir / issue.slot).glob("*.eml"))) == READERS
