"""What the ledger may suffer while mails go out: restarts, a full disk, clocks that disagree, days without us."""

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fakes import Clock, Session, SmtpServer
from house import mark_of, states_of
from samples import add_papers, add_readers, open_and_queue, record
from servers import restart
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.issues.models import Issue

READERS = 12
Make = Callable[..., App]


def prepared(app: App, readers: int = READERS) -> Issue:
    add_papers(app, [record(1)])
    add_readers(app, readers)
    return open_and_queue(app)


def recover(app: App, issue: Issue, clock: Clock) -> dict[str, int]:
    """Deliver when every lease of the dead is over."""
    for _ in range(3):
        clock.forward(minutes=20)
        pipeline.deliver(app, issue.id)
    return dict(states_of(app))


def check(smtp: SmtpServer, states: dict[str, int], *, readers: int = READERS, most_unknown: int = 0) -> None:
    assert set(states) <= {"sent", "unknown"}, states
    assert sum(states.values()) == readers
    assert states.get("unknown", 0) <= most_unknown, states
    assert len(set(smtp.recipients())) == len(smtp.recipients()), "somebody was mailed twice"
    assert states["sent"] <= len(smtp.accepted) <= readers


@pytest.mark.parametrize("step", ["data", "accepted"])
def test_postgresql_restarts_while_two_workers_send(
    step: str, make_app: Make, postgresql_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    admin = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:  # else a crash may lose what was committed, which the tests' server allows
        connection.exec_driver_sql(f"ALTER DATABASE {admin.url.database} SET synchronous_commit = on")
    admin.dispose()
    workers = [make_app(postgresql_url, smtp_url=f"{smtp.url}&connections=2") for _ in range(2)]
    issue = prepared(workers[0])
    for each in workers:
        each.db.dispose()  # so that new connections know the setting
    passed = [0]

    def crash(seen: str, _session: Session) -> None:
        passed[0] += seen == step
        if seen == step and passed[0] == 5:
            restart(postgresql_url)

    smtp.script = crash
    with ThreadPoolExecutor(2) as threads:
        ended = [threads.submit(pipeline.deliver, each, issue.id, limit=READERS // 2) for each in workers]
    for each in ended:
        assert each.exception() is None or isinstance(each.exception(), sa.exc.DBAPIError), each.exception()
    assert passed[0] >= 5, "it was not restarted"
    smtp.script = lambda _step, _session: None
    check(smtp, recover(workers[0], issue, clock), most_unknown=4)


@pytest.mark.parametrize("step", ["data", "dot"])
def test_a_disk_that_is_full_for_a_while_stops_the_dots(
    step: str, make_app: Make, sqlite_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(sqlite_url, smtp_url=f"{smtp.url}&connections=1")
    issue = prepared(app)
    refused: list[object] = []
    marks: list[str] = []

    def fill(seen: str, session: Session) -> None:
        if seen == "dot":
            marks.append(mark_of(app, session.recipient))
        if seen == step and len(smtp.accepted) == 3 and not refused:
            _disk(Path(f"{app.db.engine.url.database}-wal").stat().st_size)

    @sa.event.listens_for(app.db.engine, "handle_error")
    def _count(context: sa.engine.ExceptionContext) -> None:
        refused.append(context.original_exception)
        if len(refused) == 2:
            _disk(resource.RLIM_INFINITY)

    smtp.script = fill
    with suppress(sa.exc.OperationalError):  # no mark, no dot: that ends the run
        pipeline.deliver(app, issue.id)
    _disk(resource.RLIM_INFINITY)
    assert refused, "the disk was not full"
    assert set(marks) == {"handoff"}, "a dot went out without its mark"
    check(smtp, recover(app, issue, clock))
    assert len(smtp.accepted) == READERS


def _disk(bytes_left_to: float) -> None:
    """Let no file grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(bytes_left_to), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("hours", [2, -2])
def test_a_worker_whose_clock_is_hours_off_mails_nobody_twice(
    hours: int, make_app: Make, database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    def skewed() -> datetime:
        return clock.at + timedelta(hours=hours)

    app = make_app(database_url, smtp_url=f"{smtp.url}&connections=1")
    issue = prepared(app)
    with SmtpServer().serving() as its_relay:
        other = make_app(database_url, smtp_url=its_relay.url, now=skewed)

        def meanwhile(step: str, _session: Session) -> None:
            if step == "dot" and len(smtp.accepted) == 3:
                pipeline.deliver(other, issue.id)

        smtp.script = meanwhile
        pipeline.deliver(app, issue.id)
        smtp.accepted += its_relay.accepted
        smtp.script = lambda _step, _session: None
        check(smtp, recover(app, issue, clock))
        assert len(smtp.accepted) == READERS


def test_ten_ticks_at_once_make_one_issue_and_one_mail_for_each(
    make_app: Make, database_url: str, smtp: SmtpServer
) -> None:
    apps = [make_app(database_url, smtp_url=smtp.url) for _ in range(2)]
    add_papers(apps[0], [record(1)])
    add_readers(apps[0], READERS, hour=9)
    with ThreadPoolExecutor(10) as threads:
        for done in [threads.submit(pipeline.tick, apps[number % 2]) for number in range(10)]:
            done.result()
        for done in [threads.submit(pipeline.deliver, app, 1) for app in apps]:
            done.result()
    with apps[0].db.snapshot() as session:
        assert len(session.exec(select(Issue)).all()) == 1
    check(smtp, dict(states_of(apps[0])))


@pytest.mark.parametrize(("minutes", "state"), [(10, "sent"), (30 * 60, "failed")])
def test_a_host_that_was_down_with_an_issue_in_hand_sends_late_or_says_that_it_was_too_late(
    minutes: int, state: str, make_app: Make, database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    issue = prepared(make_app(database_url, smtp_url=smtp.url))
    clock.forward(minutes=minutes)
    again = make_app(database_url, smtp_url=smtp.url)
    for issue_id in pipeline.sweep(again):
        pipeline.deliver(again, issue_id)
    with again.db.snapshot() as session:
        rows = session.exec(select(Delivery).where(Delivery.issue_id == issue.id)).all()
    assert {row.state for row in rows} == {state}
    assert len(smtp.accepted) == (READERS if state == "sent" else 0)
    assert state == "sent" or {row.reply for row in rows} == {"expired"}


@pytest.mark.parametrize(("minutes", "slot"), [(10, "2026-08-05"), (30 * 60, "2026-08-06")])
def test_a_host_that_was_down_over_the_hour_itself_sends_one_issue_late_and_none_that_is_over(
    minutes: int, slot: str, make_app: Make, sqlite_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(sqlite_url, smtp_url=smtp.url)
    add_papers(app, [record(1)])
    add_readers(app, 1, hour=9)
    clock.forward(minutes=minutes)
    for _ in range(3):
        pipeline.tick(app)
        for issue_id in pipeline.sweep(app):
            pipeline.deliver(app, issue_id)
        clock.forward(minutes=1)
    with app.db.snapshot() as session:
        assert session.exec(select(Issue.slot)).all() == [slot]
    assert len(smtp.accepted) == 1
