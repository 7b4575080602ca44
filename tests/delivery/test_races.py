"""What comes late, twice or at the wrong moment: stale attempts, late words, deadlocks, and readers who are erased."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from threading import Event, Thread

import pytest
import sqlalchemy as sa
from fakes import Clock, SmtpServer
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import membership, pipeline, privacy
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.custody import store as custody
from newsletter.delivery.decisions import store as decisions
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.ledger import HANDOFF_LEASE, LEASE, Handoff, Leased
from newsletter.delivery.marks import LedgerMarks
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, SkipReason, Word
from newsletter.delivery.retry import Outcome, Phase, accepted, refused
from newsletter.delivery.transports import Marks, Outgoing, Untried
from newsletter.membership import Asking
from newsletter.migrate import migrate
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.preferences import Preferences

KEPT: dict[str, object] = {"considered": 1, "picks": [[1, 0.9, "matches “what only they know”"]]}


@pytest.fixture
def on_postgresql(make_app: Callable[..., App], postgresql_url: str) -> Iterator[App]:
    """Where two transactions can be at it at the same moment."""
    app = make_app(postgresql_url)
    migrate(app.db)
    yield app
    app.db.dispose()


def queued(app: App, readers: int = 1) -> int:
    add_papers(app, [record(1)])
    add_readers(app, readers)
    return open_and_queue(app).id or 0


def lease(app: App, issue_id: int, owner: str = "me") -> list[Leased]:
    with app.db.session() as session:
        return ledger.lease(session, issue_id, owner=owner, now=app.now(), limit=9)


def mark(app: App, leased: Leased, owner: str = "me") -> bool:
    handoff = Handoff(leased, f"reader{leased.subscriber_id - 1}@example.org", "<m@x>", KEPT)
    with app.db.session() as session:
        return bool(ledger.mark_handoffs(session, [handoff], owner=owner, now=app.now()))


def settle(app: App, leased: Leased, outcome: Outcome, owner: str = "me") -> None:
    with app.db.session() as session:
        ledger.settle(session, [(leased, outcome)], owner=owner, now=app.now())


def reap(app: App) -> None:
    with app.db.session() as session:
        lapses.reap(session, app.now())


def row(app: App, leased: Leased) -> Delivery:
    with app.db.snapshot() as session:
        return session.exec(select(Delivery).where(Delivery.id == leased.id)).one()


def outgoing(leased: Leased) -> Outgoing:
    return Outgoing(leased, "x", "news@example.org", f"reader{leased.subscriber_id - 1}@example.org", "<m@x>", [], KEPT)


def until_somebody_waits(app: App) -> None:
    """Return when a transaction waits for a lock that another one holds."""
    with app.db.engine.connect() as connection:
        while not connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar():
            connection.rollback()


@pytest.mark.parametrize("how", ["put off", "given back", "turned back", "skipped"])
def test_a_stale_attempt_does_not_end_the_lease_that_its_own_process_took_since(
    how: str, app_on_both: App, clock: Clock
) -> None:
    app = app_on_both
    issue_id = queued(app)
    (stale,) = lease(app, issue_id)
    clock.forward(seconds=LEASE.total_seconds() + 1)
    reap(app)
    (fresh,) = lease(app, issue_id)
    with LedgerMarks(app.db, app.now, "me", issue_id) as marks:
        if how == "put off":
            marks.put_off(outgoing(stale), timedelta(seconds=10))
        elif how == "turned back":
            marks.handoff(outgoing(stale), lambda _: None)
    with app.db.session() as session:
        if how == "given back":
            ledger.release(session, [stale], owner="me", not_before=app.now())
        elif how == "skipped":
            ledger.skip(session, [(stale, SkipReason.NOTHING_NEW)], owner="me", now=app.now())
    found = row(app, fresh)
    assert (found.state, found.attempts, found.lease_owner) == ("leased", 2, "me")
    assert mark(app, fresh)


class Breaks:
    """A transport that takes a mail and breaks."""

    def __init__(self) -> None:
        self.taken: list[Outgoing] = []

    def deliver(self, batch: Iterator[Outgoing], marks: Marks) -> Untried:
        self.taken.append(next(iter(batch)))
        raise RuntimeError("broken")

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_run_that_failed_keeps_no_lease_by_the_life_of_its_process(app_on_both: App, clock: Clock) -> None:
    app = replace(app_on_both, transport=Breaks())
    issue_id = queued(app, 3)
    owners = []
    for _ in range(2):
        with pytest.raises(RuntimeError):
            pipeline.deliver(app, issue_id)
        owners.append(row(app, app.transport.taken[-1].leased).lease_owner)  # type: ignore[attr-defined]
        with app.db.session() as session:
            ledger.renew(session, owner=app.owner, now=app.now() + timedelta(hours=1))
        clock.forward(seconds=LEASE.total_seconds() + 1)
        reap(app)
        clock.forward(minutes=30)
    assert None not in owners
    assert len(set(owners)) == 2
    assert row(app, app.transport.taken[0].leased).state == "deferred"  # type: ignore[attr-defined]


def test_an_acceptance_counts_that_came_when_another_attempt_was_at_its_dot(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue_id = queued(app)
    (first,) = lease(app, issue_id)
    assert mark(app, first)
    clock.forward(seconds=HANDOFF_LEASE.total_seconds() + 1)
    reap(app)
    with app.db.session() as session:  # as the policy "resend" does
        session.execute(sa.update(Delivery).values(state=DeliveryState.DEFERRED, done_at=None))
    (second,) = lease(app, issue_id, "you")
    assert mark(app, second, "you")
    settle(app, first, accepted(250, "taken after all"))
    assert row(app, first).state == "handoff", "the other one may still be taken, too"
    settle(app, second, refused(Phase.DOT, 451, "4.3.0 later", 2, 0), "you")
    assert (row(app, first).state, row(app, first).done_at) == ("sent", app.now())
    assert lease(app, issue_id) == []


def test_what_was_written_already_is_not_written_twice(app_on_both: App) -> None:
    app = app_on_both
    (leased,) = lease(app, queued(app))
    assert mark(app, leased)
    for _ in range(2):  # the answer to the first commit was lost
        settle(app, leased, accepted(250, "taken"))
    with app.db.snapshot() as session:
        assert list(session.exec(select(Attempt.outcome))) == ["sent"]


def test_who_is_erased_while_their_mail_is_marked_gets_none_and_leaves_nothing(on_postgresql: App) -> None:
    app = on_postgresql
    (leased,) = lease(app, queued(app))
    answers = list[bool]()
    marking = Thread(target=lambda: answers.append(mark(app, leased)))
    with app.db.session() as session:  # as `privacy.erase` does
        person = subscribers.locked(session, leased.subscriber_id)
        assert person
        deliveries.forget(session, [leased.subscriber_id])
        session.flush()
        marking.start()
        until_somebody_waits(app)
        subscribers.delete(session, person)
    marking.join()
    assert answers == [False]
    assert (row(app, leased).selection, row(app, leased).message_id) == (None, None)


def test_who_is_erased_while_a_reply_is_written_down_is_not_in_it(on_postgresql: App) -> None:
    app = on_postgresql
    (leased,) = lease(app, queued(app))
    assert mark(app, leased)
    named = refused(Phase.DOT, 451, "4.3.0 reader0@example.org try later", 1, 0)
    settling = Thread(target=lambda: settle(app, leased, named))

    @sa.event.listens_for(app.db.engine, "before_cursor_execute")
    def _before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE deliveries") and settling.ident is None:
            settling.start()
            until_somebody_waits(app)

    privacy.erase(app, leased.subscriber_id)
    settling.join()
    with app.db.snapshot() as session:
        assert set(session.exec(select(Attempt.reply))) <= {""}
    assert row(app, leased).reply in {"", None}


def test_what_a_deadlock_kept_from_being_written_is_written_at_the_next_try(on_postgresql: App) -> None:
    app = on_postgresql
    issue_id = queued(app)
    (leased,) = lease(app, issue_id)
    assert mark(app, leased)
    stop = Outcome(
        DeliveryState.DEFERRED, Phase.MAIL, 550, "5.7.1 not you", retry_after=timedelta(minutes=5), stop=True
    )
    with LedgerMarks(app.db, app.now, "me", issue_id) as marks, app.db.session() as session:
        session.execute(sa.text("SET LOCAL deadlock_timeout = '20s'"))  # so that it is the other one that is ended
        session.execute(sa.text("SELECT 1 FROM issues FOR UPDATE"))
        marks.settle(outgoing(leased), stop)
        until_somebody_waits(app)
        session.execute(sa.text("UPDATE deliveries SET code = 1"))
    assert row(app, leased).state == "deferred"


def test_a_database_that_nobody_may_write_for_a_while_is_told_what_became_of_mails(on_postgresql: App) -> None:
    app = on_postgresql
    issue_id = queued(app)
    (leased,) = lease(app, issue_id)
    assert mark(app, leased)
    name = app.db.engine.url.database

    def read_only(value: str) -> None:
        with app.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
        app.db.dispose()

    refused_once = Event()
    sa.event.listen(app.db.engine, "handle_error", lambda _context: refused_once.set())
    read_only("on")
    with LedgerMarks(app.db, app.now, "me", issue_id) as marks:
        marks.settle(outgoing(leased), accepted(250, "taken"))
        assert refused_once.wait(timeout=20)
        read_only("off")
    assert row(app, leased).state == "sent"


def test_a_mail_that_an_earlier_attempt_brought_is_not_in_doubt_when_a_later_worker_dies(
    app_on_both: App, clock: Clock
) -> None:
    issue_id = queued(app_on_both)
    [first] = lease(app_on_both, issue_id, "slow")
    assert mark(app_on_both, first, "slow")
    for owner in ("reaped", "again"):
        clock.forward(seconds=HANDOFF_LEASE.total_seconds() + 1)
        with app_on_both.db.session() as session:
            reaped = lapses.reap(session, clock.at)
            if owner == "reaped":
                assert reaped == (0, 1)
                decisions.send_again(session, decisions.Which(DeliveryState.UNKNOWN), Word.POLICY, "again", clock.at)
        if owner == "reaped":
            clock.forward(minutes=15)
            [second] = lease(app_on_both, issue_id, "quick")
            assert mark(app_on_both, second, "quick")
            settle(app_on_both, first, accepted(250, "queued"), "slow")
    assert reaped == (0, 0)
    with app_on_both.db.snapshot() as session:
        assert session.exec(select(Delivery.state)).one() == "sent"


@pytest.mark.parametrize(
    "broken",
    ['{"considered": 1, "picks": [[1, 0.5]]}', '{"considered": 1}', "7", '"x"', '{"considered": "x", "picks": []}'],
)
def test_a_kept_selection_that_cannot_be_read_costs_nobody_else_their_mail(app_on_both: App, broken: str) -> None:
    issue_id = queued(app_on_both, 3)
    with app_on_both.db.session() as session:
        session.execute(sa.text("UPDATE deliveries SET selection = CAST(:broken AS JSON) WHERE subscriber_id = 2")
                        if app_on_both.db.engine.dialect.name == "postgresql"
                        else sa.text("UPDATE deliveries SET selection = :broken WHERE subscriber_id = 2"),
                        {"broken": broken})  # fmt: skip
    pipeline.deliver(app_on_both, issue_id)
    with app_on_both.db.snapshot() as session:
        found = dict(session.exec(select(Delivery.subscriber_id, Delivery.state)).all())
    assert found == {1: "sent", 2: "skipped", 3: "sent"}


def test_notices_that_the_relay_refuses_wait_before_others_are_tried(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(sqlite_url, smtp_url=f"{smtp.url}&connections=1")
    smtp.script = lambda step, _: "550 5.7.1 relaying denied" if step == "rcpt" else None
    for number in range(12):
        membership.ask(app, Asking(f"reader{number}@example.org", Preferences(), client=f"c{number}"))
    for _ in range(4):  # a minute and a half of a schedule that sweeps each half minute
        for issue_id in pipeline.sweep(app):
            pipeline.deliver(app, issue_id)
        clock.forward(seconds=30)
    with app.db.snapshot() as session:
        failed = session.exec(select(sa.func.count()).where(Delivery.state == "failed")).one()
    assert failed == 3


def test_a_run_that_goes_on_is_no_sign_of_an_old_copy(app: App) -> None:
    issue_id = queued(app)
    with app.db.snapshot() as session:
        assert custody.held_why(session) == ""
        pipeline.deliver(app, issue_id)  # the witness is ahead of this snapshot now
        assert custody.held_why(session) == ""


@pytest.mark.parametrize("broken", ["7", '{"picks": 5}', '{"picks": [7]}', '{"picks": [[]]}'])
def test_what_cannot_be_read_of_one_day_costs_nobody_the_next(app: App, clock: Clock, broken: str) -> None:
    pipeline.deliver(app, queued(app, 3))
    with app.db.session() as session:
        session.execute(
            sa.text("UPDATE deliveries SET selection = :broken WHERE subscriber_id = 2"), {"broken": broken}
        )
    clock.forward(days=1)
    add_papers(app, [record(2, listed_at=clock.at.replace(hour=0))])
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, issue.id or 0, issue.slot).sent == 3
