"""What leasing and sweeping ask of the database finds its rows by an index, and stays in its order."""

from collections.abc import Callable

import ledgers
import pytest
import sqlalchemy as sa
from plans import asked

from newsletter.app import App
from newsletter.delivery import ledger, store
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.models import Mail

ISSUE = 3
NOW = ledgers.noon(ISSUE)


@pytest.fixture
def long_past(app_on_both: App) -> App:
    """Two old issues, and one that all readers wait for."""
    ledgers.fill(app_on_both.db, 40, 2)
    assert ledgers.queue(app_on_both.db, ISSUE) == 40
    return app_on_both


def test_what_is_next_is_the_first_of_an_index_on_both_databases(long_past: App) -> None:
    with long_past.db.session() as session:
        store.queue_notices(session, Mail.WELCOME, {1: "x"}, now=NOW, within=ledgers.noon(9) - NOW)
    for call in (
        lambda session: ledger.lease(session, ISSUE, owner="me", now=NOW, limit=5),
        lambda session: ledger.lease(session, None, owner="me", now=NOW, limit=5),
        lambda session: store.due_issues(session, NOW),
        lambda session: store.oldest_due(session, NOW),
    ):
        plan = asked(long_past.db, call).plan
        assert "ix_deliveries_due" in plan
        assert "Sort" not in plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan
    with long_past.db.snapshot() as session:
        assert store.due_issues(session, NOW) == [None, ISSUE]
        assert store.oldest_due(session, NOW)


def test_no_plan_is_kept_from_when_a_table_was_small(make_app: Callable[..., App], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    for _ in range(20):  # psycopg prepares what it has sent five times, and PostgreSQL then keeps one plan
        with app.db.session() as session:
            ledger.settle(session, [], owner="me", now=NOW)
            kept = session.execute(sa.text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
    assert kept == 0


def test_ending_leases_and_giving_up_look_at_no_old_mail(app: App) -> None:
    ledgers.fill(app.db, 40, 2)  # SQLite, whose plans do not depend on how many rows there are
    for call, index in (
        (lambda session: lapses.reap(session, NOW), "ix_deliveries_leases"),
        (lambda session: lapses.expire(session, NOW), "ix_deliveries_expiry"),
        (store.unknown_count, "ix_deliveries_unknown"),
        (store.unknown_outside, "ix_deliveries_unknown"),
    ):
        plan = asked(app.db, call).plan
        assert index in plan
        assert "SCAN deliveries\n" not in plan + "\n"


def test_queueing_a_second_time_says_that_nobody_was_added(long_past: App) -> None:
    assert ledgers.queue(long_past.db, ISSUE) == 0
