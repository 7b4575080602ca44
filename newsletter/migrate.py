"""Bring a database to the current schema, and say when it is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from newsletter.db import Database
from newsletter.errors import NewsletterError

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(db: Database) -> None:
    """Create or migrate the tables; safe to repeat, also by two processes at once on PostgreSQL."""
    with db.engine.connect() as connection, _without_references(connection), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7237201)"))
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as exc:
            raise NewsletterError(f"the database was made by a newer version: upgrade the program ({exc})") from exc


@contextmanager
def _without_references(connection: sa.Connection) -> Iterator[None]:
    """Let SQLite put a changed table in the place of one that others refer to (sqlite.org/lang_altertable.html, 7)."""
    raw = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or raw is None:
        yield
        return
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def check_schema(db: Database) -> None:
    """Return when the tables are as this version needs them.

    :raises NewsletterError: they are missing, older, or newer.
    """
    with db.snapshot() as session:
        found = MigrationContext.configure(session.connection()).get_current_revision()
    wanted = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise NewsletterError("the database has no tables yet: run newsletter init")
    if found != wanted:
        raise NewsletterError(f"the database is at revision {found}, this version needs {wanted}: run newsletter init")


def require_database(url: str) -> None:
    """Return unless `url` is a SQLite file that is not there: asking must not make it.

    :raises NewsletterError: it is not there.
    """
    parsed = sa.make_url(url) if "://" in url else None
    if parsed and parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).exists():
        raise NewsletterError(f"there is no database {parsed.database} yet: run newsletter init")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    return config
