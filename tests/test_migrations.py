"""Migrations give the tables that the models describe, on both databases, from the first on."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from newsletter.db import Database
from newsletter.errors import NewsletterError
from newsletter.migrate import check_schema, migrate
from newsletter.tables import TABLES, metadata


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
