"""Workers die by SIGKILL at each step: nothing is lost, nothing is sent twice, at most one is unknown."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from crash_worker import POINTS, deliver
from fakes import Session, SmtpServer
from processes import PROCESSES
from samples import add_papers, add_readers, open_and_queue, record

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.ledger import HANDOFF_LEASE
from newsletter.delivery.store import Accounting

READERS = 8
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


def start(
    app: App, issue_id: int, smtp_url: str, strike_at: str = "never", number: int = 3, **more: str | bool
) -> ForkServerProcess:
    more |= {"database_url": app.settings.database_url, "smtp_url": smtp_url}
    worker = PROCESSES.Process(target=deliver, args=(issue_id, strike_at, number), kwargs=more)
    worker.start()
    return worker


def end_of(worker: ForkServerProcess) -> int | None:
    worker.join(timeout=60)
    return worker.exitcode


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
    number = 1 if point in {"leased", "printed"} else 3
    # One connection, so that "the third passage" means the third mail.
    assert end_of(start(app, issue_id, f"{smtp.url}&connections=1", point, number)) == -signal.SIGKILL
    accounting = recover(app, issue_id, later)
    check(smtp, accounting, most_unknown=1 if point in {"after-handoff", "before-settle"} else 0)


@pytest.mark.parametrize("point", ["before-handoff", "after-handoff", "before-settle", "after-settle"])
def test_worker_killed_with_several_connections_leaves_unknown_no_more_than_were_at_their_dots(
    point: str, make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    assert end_of(start(app, issue_id, f"{smtp.url}&connections=4", point)) == -signal.SIGKILL
    check(smtp, recover(app, issue_id, later), most_unknown=4)


@pytest.mark.parametrize("step", SEEN_BY_THE_RELAY)
def test_worker_killed_while_the_relay_watches(
    step: str, make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    worker: list[ForkServerProcess] = []
    passed = Counter[str]()

    def kill(seen: str, _session: Session) -> str | None:
        passed[seen] += 1
        if (seen, passed[seen]) == (step, 1 if step in {"connect", "ehlo"} else 3):
            worker[0].kill()
            wait([worker[0].sentinel])
        return None

    smtp.script = kill
    smtp._lock.acquire()  # the relay answers when the test knows whom to kill
    worker.append(start(app, issue_id, f"{smtp.url}&connections=1"))
    smtp._lock.release()
    assert end_of(worker[0]) == -signal.SIGKILL
    smtp.script = lambda _step, _session: None
    accounting = recover(app, issue_id, later)
    # The envelope goes out behind another mail's dot, whose outcome may not be written down yet.
    check(smtp, accounting, most_unknown=0 if step in {"connect", "ehlo"} else 1)


def test_two_workers_share_an_issue_and_nobody_is_mailed_twice(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    workers = [start(app, issue_id, smtp.url) for _ in range(2)]
    assert [end_of(worker) for worker in workers] == [0, 0]
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
    worker = start(app, issue.id or 0, "", "after-settle", outbox_dir=str(app.settings.outbox_dir))
    assert end_of(worker) == -signal.SIGKILL
    accounting = recover(app, issue.id or 0, later)
    assert accounting.sent == READERS
    assert len(list((app.settings.outbox_dir / issue.slot).glob("*.eml"))) == READERS


# What is after the mark may have been sent: unknown, until the sleeper wakes up and says that it was.
@pytest.mark.parametrize(
    ("point", "unknown"), [("before-handoff", 0), ("after-handoff", 1), ("before-settle", 1), ("after-settle", 0)]
)
def test_worker_that_slept_past_its_lease_sends_nothing_twice_and_says_what_it_knows(
    point: str, unknown: int, make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    worker = start(app, issue_id, f"{smtp.url}&connections=1", point, blow="stop")
    until(lambda: Path(f"/proc/{worker.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T")
    assert recover(app, issue_id, later).unknown == unknown
    os.kill(worker.pid or 0, signal.SIGCONT)
    assert end_of(worker) == 0
    check(smtp, recover(app, issue_id, later), most_unknown=0)


@pytest.mark.parametrize("blow", ["files", "memory"])
def test_worker_that_runs_out_of_files_or_memory_loses_nothing(
    blow: str, make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, sqlite_url, smtp, later)
    worker = start(app, issue_id, f"{smtp.url}&connections=2&messages=2", "before-handoff", blow=blow)
    assert end_of(worker) is not None
    check(smtp, recover(app, issue_id, later), most_unknown=2)


@pytest.mark.parametrize("point", ["before-handoff", "after-handoff", "after-settle"])
def test_the_one_process_of_an_embedded_run_is_killed(
    point: str, make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, sqlite_url, smtp, later)
    worker = start(app, issue_id, f"{smtp.url}&connections=1", point, embedded=True)
    assert end_of(worker) == -signal.SIGKILL
    check(smtp, recover(app, issue_id, later), most_unknown=int(point == "after-handoff"))


def test_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    later = Later()
    app, issue_id = issue_for(make_app, database_url, smtp, later)
    worker = start(app, issue_id, smtp.url, "after-handoff", 2, blow="term", embedded=True)
    assert end_of(worker) == 0
    with app.db.snapshot() as session:
        states = deliveries.accounting(session, issue_id, "x")
    assert (states.handoff, states.leased, states.unknown) == (0, 0, 0), states
    assert states.sent == len(smtp.accepted)
    check(smtp, recover(app, issue_id, later), most_unknown=0)


def until(done: Callable[[], bool], seconds: float = 60) -> None:
    """Look until something has happened in another process."""
    ends, pause = clock.monotonic() + seconds, threading.Event()
    while not done():
        assert clock.monotonic() < ends, "it did not happen in time"
        pause.wait(0.02)
