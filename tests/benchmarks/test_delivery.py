"""How many mails a second go from the ledger to a relay: ranked, printed, handed over, and each mark committed."""

import itertools
import subprocess
import sys
import time as real_clock
from collections.abc import Callable, Iterator
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import pytest
import sqlalchemy as sa
from fakes import free_port
from samples import add_papers, add_readers, open_and_queue, record
from servers import postgresql

from newsletter import clock, logs, pipeline
from newsletter.app import App
from newsletter.db import Database
from newsletter.delivery import store as deliveries
from newsletter.migrate import migrate

pytestmark = pytest.mark.benchmark
READERS = 1_500
_numbers = itertools.count(1)
FIELDS = ("proteins", "graphs", "speech", "robots", "peptides", "knots", "waves", "cells", "planets", "papyri")
ABSTRACT = "What is to be said of FIELD is said at some length, so that a mail is as large as those of a real day. " * 9


@pytest.fixture
def sink() -> Iterator[int]:
    """A relay in a process of its own; its port."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("sink.py")), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield port
        process.kill()


@pytest.fixture(scope="module")
def durable() -> Iterator[str]:
    """A PostgreSQL that waits for the disk, as in production."""
    with postgresql(fsync=True) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, durable: str) -> str:
    """Both databases, each with every commit on the disk."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    name = f"bench_{next(_numbers)}"
    admin = sa.create_engine(durable.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    db = Database(durable.format(name=name))
    migrate(db)
    db.dispose()
    return durable.format(name=name)


@pytest.mark.parametrize("connections", [1, 8, 32])
def test_mails_a_second(make_app: Callable[..., App], ledger_url: str, sink: int, connections: int) -> None:
    app = make_app(
        ledger_url,
        now=clock.now,
        smtp_url=f"smtp://127.0.0.1:{sink}?starttls=never&connections={connections}",
        log_level="ERROR",
    )
    papers = [
        record(number, f"On {field}, part {number}", abstract=ABSTRACT.replace("FIELD", field),
               listed_at=clock.now(), upvotes=number)
        for number, field in enumerate(FIELDS * 10, start=1)
    ]  # fmt: skip
    add_papers(app, papers)
    for number in range(10):
        wishes = {"topics": (FIELDS[number],), "keywords": (FIELDS[number - 1], FIELDS[number - 2])}
        add_readers(app, READERS // 10, prefix=f"r{number}x", max_papers=10, hour=0, **wishes)
    issue = open_and_queue(app)
    logs.configure("ERROR")
    before, started = getrusage(RUSAGE_SELF), real_clock.perf_counter()
    pipeline.deliver(app, issue.id)
    seconds, after = real_clock.perf_counter() - started, getrusage(RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, issue.id or 0, issue.slot).sent == READERS
    print(
        f"\n{app.db.engine.dialect.name}, {connections:2} connections: {READERS / seconds:5.0f} mails/s, "
        f"{cpu / READERS * 1e6:5.0f} µs of CPU a mail"
    )
