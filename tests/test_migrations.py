"""Migrations give the tables that the models describe, on both databases, from the first on."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from samples import join

import newsletter
from newsletter import privacy
from newsletter.app import App
from newsletter.db import Database
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Delivery, Mail
from newsletter.errors import NewsletterError
from newsletter.migrate import check_schema, migrate
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State
from newsletter.subscribers.preferences import Cadence, Preferences
from newsletter.tables import TABLES, metadata

AT = "2026-08-01 08:00:00.000000+00:00"
LISTS = dict.fromkeys(("keywords", "authors", "categories", "mutes"), "[]")
PERSON = LISTS | {"topics": '["proteins"]', "timezone": "Europe/Berlin", "hour": 7, "max_papers": 5, "created_at": AT}
MAIL = {"queued_at": AT, "not_before": AT, "expires_at": AT, "attempts": 1}
TRY = {"delivery_id": 1, "tried_at": AT, "phase": "dot", "reply": "said"}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("subscribers", PERSON | {"email": "Ada@example.org", "email_key": "ada@example.org", "state": "active",
                              "cadence": "weekdays", "confirmed_at": AT}),
    ("subscribers", PERSON | {"email": "bob@example.org", "email_key": "bob@example.org", "state": "pending",
                              "cadence": "daily"}),
    ("subscribers", PERSON | {"email": "eve@example.org", "email_key": "eve@example.org", "state": "unsubscribed",
                              "cadence": "weekly", "confirmed_at": AT, "unsubscribed_at": AT}),
    ("issues", {"slot": "2026-08-01", "day": "2026-08-01", "state": "open", "window_start": AT, "window_end": AT,
                "opened_at": AT, "stopped_why": ""}),
    ("deliveries", MAIL | {"mail": "digest", "issue_id": 1, "subscriber_id": 1, "state": "sent", "code": 250,
                           "done_at": AT, "message_id": "<1@example.org>",
                           "selection": '{"considered": 0, "picks": []}'}),
    ("deliveries", MAIL | {"mail": "confirmation", "notice_key": "confirmation:2:x", "subscriber_id": 2,
                           "state": "queued"}),
    ("deliveries", MAIL | {"mail": "digest", "issue_id": 1, "subscriber_id": 3, "state": "skipped", "done_at": AT,
                           "skip_reason": "not_active"}),
    ("attempts", TRY | {"no": 1, "outcome": "deferred"}),
    ("attempts", TRY | {"no": 2, "outcome": "sent"}),
]  # fmt: skip


def test_migrated_tables_are_the_models(database_url: str) -> None:
    db = Database(database_url)
    migrate(db)  # a second time changes nothing
    with db.snapshot() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    check_schema(db)
    assert {table.__tablename__ for table in TABLES} == set(metadata.tables)
    db.dispose()


def test_a_database_without_tables_is_named(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(NewsletterError, match="newsletter init"):
        check_schema(db)
    db.dispose()


def test_sqlite_is_set_up_to_survive_a_power_cut(sqlite_url: str) -> None:
    db = Database(sqlite_url)
    with db.session() as session:
        pragmas = {name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar() for name in
                   ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    db.dispose()


def old_database(url: str, revision: str) -> dict[str, list[dict[str, Any]]]:
    """Make the tables of an earlier version, with readers and what they were mailed; return all rows."""
    if url.startswith("postgresql"):
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        admin.dispose()
    db = Database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(newsletter.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with db.engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    with db.session() as session:
        for table, row in ROWS:
            values = ", ".join(f"'{value}'" for value in row.values())
            session.connection().exec_driver_sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})")
    found = rows_of(db)
    db.dispose()
    return found


def rows_of(db: Database) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every table, by the names of their columns."""
    known = sa.MetaData()
    with db.engine.connect() as connection:
        known.reflect(connection)
        found = {}
        for table in known.tables.values():
            order = list(table.primary_key.columns)
            found[table.name] = [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(*order))]
    return found


@pytest.fixture
def old_url(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> str:
    """A database to make tables of an earlier version in."""
    own = f"sqlite:///{tmp_path / 'old.db'}"
    return str(request.getfixturevalue("postgresql_url")) if kind == "postgresql" else own


on_both = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@on_both
@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_database_of_an_earlier_version_keeps_every_row(old_url: str, revision: str) -> None:
    before = old_database(old_url, revision)
    assert [len(before[name]) for name in ("subscribers", "issues", "deliveries", "attempts")] == [3, 1, 3, 2]
    db = Database(old_url)
    for _ in range(2):  # a second time changes nothing
        migrate(db)
        check_schema(db)
        after = rows_of(db)
        for name, rows in before.items():
            if name != "alembic_version":
                kept = [{column: row[column] for column in old} for row, old in zip(after[name], rows, strict=True)]
                assert kept == rows
    with db.snapshot() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        people = list(subscribers.every(session))
    db.dispose()
    assert [each.state for each in people] == [State.ACTIVE, State.PENDING, State.UNSUBSCRIBED]
    assert people[0].preferences == Preferences(
        topics=("proteins",), timezone="Europe/Berlin", hour=7, max_papers=5, cadence=Cadence.WEEKDAYS
    )


@on_both
def test_a_delivery_outlives_its_reader_and_keeps_its_number_in_a_migrated_database(old_url: str) -> None:
    old_database(old_url, "0002")
    db = Database(old_url)
    migrate(db)
    found = sa.inspect(db.engine)
    assert {key["referred_table"] for key in found.get_foreign_keys("deliveries")} == {"issues"}
    assert {key["referred_table"] for key in found.get_foreign_keys("attempts")} == {"deliveries"}
    [in_flight] = [each for each in found.get_indexes("deliveries") if each["name"] == "uq_deliveries_in_flight"]
    assert in_flight["unique"]
    assert any("lease_owner" in str(value) for value in in_flight["dialect_options"].values())
    with db.session() as session:
        session.execute(sa.text("DELETE FROM attempts"))
        session.execute(sa.text("DELETE FROM deliveries"))
    with db.session() as session:
        at = datetime(2026, 8, 5, tzinfo=UTC)
        fresh = Delivery(mail=Mail.WELCOME, subscriber_id=99, queued_at=at, not_before=at, expires_at=at)
        session.add(fresh)
        session.flush()
        assert fresh.id == 4, "an id that links carry is never given again"
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'deliveries'").scalar()
            assert "AUTOINCREMENT" in str(made)
    db.dispose()


@on_both
def test_readers_of_an_earlier_version_go_on_in_the_new_one(make_app: Callable[..., App], old_url: str) -> None:
    old_database(old_url, "0002")
    app = make_app(old_url)
    migrate(app.db)
    assert join(app, "BOB@example.org", hour=4) == 2
    assert join(app, "eve@example.org", hour=5) == 3
    assert privacy.erase(app, 1)
    with app.db.snapshot() as session:
        assert [(each.email, each.state, each.hour) for each in subscribers.every(session)] == [
            ("bob@example.org", State.ACTIVE, 4),
            ("eve@example.org", State.ACTIVE, 5),
        ]
        accounting = deliveries.accounting(session, 1, "2026-08-01")
    assert (accounting.eligible, accounting.sent, accounting.skipped) == (2, 1, {"not_active": 1})
