"""The database: one block is one transaction, on SQLite and on PostgreSQL alike."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, SQLModel

from newsletter.errors import NewsletterError, SettingsError

# Named constraints, so that a migration can refer to them on both databases.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
_BUSY_TIMEOUT_SECONDS = 30
_READ_ONLY = "25006"  # what PostgreSQL says while a standby takes over, or a provider's disk is full
_AFTER = "after commit"
_T = TypeVar("_T")
Instant = datetime | str  # as a driver takes it
_WRITTEN: dict[tuple[sa.ClauseElement, str], "Written"] = {}  # of statements that are made once, by dialect
_IN_INDEX_ORDER = sa.select(
    *(sa.func.set_config(name, "off", True) for name in ("enable_sort", "enable_bitmapscan", "jit"))
)

# Some millions of mails a day outgrow 32 bits; SQLite counts only plain INTEGER keys up by itself.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class UTCDateTime(TypeDecorator[datetime]):
    """An instant: aware going in (a naive one is refused), aware UTC coming out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Store UTC; SQLite keeps no zone, so the zone is dropped there only after converting."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the stored instant as aware UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_UTC = UTCDateTime()


class _Many(TypeDecorator[Collection[Any]]):
    """Values in one parameter: an array, where there are none a JSON list."""

    impl = sa.ARRAY
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return what holds them."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else self.impl_instance)

    def process_bind_param(self, value: Collection[Any] | None, dialect: sa.Dialect) -> Any:  # noqa: ANN401
        """Return them as they are sent."""
        return json.dumps(list(value or ())) if dialect.name == "sqlite" else list(value or ())


class Database:
    """An engine with the house's transaction rules.

    :param url: ``sqlite:///path`` or ``postgresql+psycopg://…``.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        # SQLite lets waiting writers sleep and look again, in no order: threads of one process queue up here instead.
        self._turn = RLock() if self.engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session whose block is one writing transaction, committed at its end.

        On SQLite the write lock is taken first (BEGIN IMMEDIATE): a transaction that reads and
        then writes can otherwise lose updates or fail half-way with "database is locked".
        """
        with self._turn, Session(self.engine, expire_on_commit=False) as session:
            with session.begin():
                yield session
            for call in session.info.get(_AFTER, ()):
                call()

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Yield a session that sees one moment of the database and cannot write."""
        options = {"newsletter_read_only": True}
        if self.engine.dialect.name == "postgresql":
            options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}  # type: ignore[dict-item]
        with self.engine.connect().execution_options(**options) as connection, Session(connection) as session:
            yield session
            session.expunge_all()  # rows stay good as values after the block

    def time(self) -> datetime | None:
        """Return what time it is by PostgreSQL's clock; ``None`` while it does not answer."""
        try:
            with self.engine.connect() as connection:
                at: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        except SQLAlchemyError:
            return None
        return at.astimezone(UTC)

    def dispose(self) -> None:
        """Close all connections; the next block opens new ones."""
        self.engine.dispose()


def after_commit(session: Session, call: Callable[[], None]) -> None:
    """Have something done right after a session's block is committed, and before another one of SQLite's begins."""
    session.info.setdefault(_AFTER, []).append(call)


def insert(session: Session, model: type[SQLModel]) -> Any:  # noqa: ANN401  the two dialects' inserts share no type
    """Return the dialect's INSERT for `model`, which knows ON CONFLICT."""
    table = model.__table__  # type: ignore[attr-defined]
    return postgresql.insert(table) if dialect(session) == "postgresql" else sqlite.insert(table)


def listed(session: Session, name: str, **columns: sa.types.TypeEngine[Any]) -> sa.Subquery:
    """Return rows of a statement's own as something to select from: a JSON list of objects, in one parameter.

    So a statement about many rows takes as many parameters as one about a single row, and is prepared once.

    :param name: the parameter's.
    :param columns: the objects' keys, and what they hold.
    """
    given = sa.bindparam(name, type_=sa.Text)
    if dialect(session) == "postgresql":
        typed = [sa.column(key, type_) for key, type_ in columns.items()]
        rows = sa.func.json_to_recordset(sa.cast(given, postgresql.JSON)).table_valued(*typed)
        return sa.select(rows.render_derived(name, with_types=True)).subquery(f"{name}_listed")
    value = sa.func.json_each(given).table_valued("value", name=name).c.value
    held = [sa.type_coerce(sa.func.json_extract(value, f"$.{key}"), type_).label(key) for key, type_ in columns.items()]
    return sa.select(*held).subquery(f"{name}_listed")


def among(where: str, column: Any, name: str) -> sa.ColumnElement[bool]:  # noqa: ANN401  a mapped attribute
    """Return whether a column is one of the values in the parameter `name`.

    So a statement is the same however many these are, and nobody writes it down and reads it anew each time.

    :param where: the dialect.
    """
    given = sa.bindparam(name, type_=_Many(column.type))
    if where == "postgresql":
        return cast("sa.ColumnElement[bool]", column == sa.any_(given))
    values = sa.func.json_each(given).table_valued("value", name=name)
    return cast("sa.ColumnElement[bool]", column.in_(sa.select(values.c.value)))


@dataclass(frozen=True, slots=True)
class Written:
    """A statement in a database's own words. SQLAlchemy takes longer to find out what they are than it takes to run it.

    :ivar constants: the parameters whose values stand in the statement itself.
    """

    text: str
    constants: Mapping[str, Any]

    def ask(self, session: Session, **values: Any) -> Sequence[tuple[Any, ...]]:  # noqa: ANN401  whatever the driver takes
        """Run it; return its rows, as the driver gives them."""
        result = session.connection().exec_driver_sql(self.text, {**self.constants, **values})
        return result.all() if result.returns_rows else ()

    def tell(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run it for each of some rows; return how many rows of its table that changed."""
        if not rows:
            return 0
        values = [{**self.constants, **row} for row in rows]
        return session.connection().exec_driver_sql(self.text, values).rowcount


def written(session: Session, statement: sa.ClauseElement) -> Written:
    """Write a statement down, with its parameters by name; kept for the next time that it is asked for.

    Nothing is converted: instants come as `instant` has them, JSON as text.
    """
    spoken = session.get_bind().dialect
    key = statement, spoken.name
    if key not in _WRITTEN:
        words = sqlite.dialect(paramstyle="named") if spoken.name == "sqlite" else spoken
        compiled = statement.compile(dialect=words, compile_kwargs={"render_postcompile": True})
        plain = {name: each.value if isinstance(each, Enum) else each for name, each in compiled.params.items()}
        _WRITTEN[key] = Written(str(compiled), {name: each for name, each in plain.items() if each is not None})
    return _WRITTEN[key]


def instant(session: Session, at: datetime) -> Instant:
    """Return an instant as the driver takes it; what SQLite keeps is text."""
    stored = _UTC.process_bind_param(at, session.get_bind().dialect) or at
    return stored.isoformat(" ", "microseconds") if dialect(session) == "sqlite" else stored


def moment(kept: Instant) -> datetime:
    """Return an instant that a driver gave, in aware UTC."""
    at = datetime.fromisoformat(kept) if isinstance(kept, str) else kept
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield `items` in runs of at most `size`: a statement takes only so many values."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def is_away(exc: Exception) -> bool:
    """Return whether the database itself cannot be written just now, rather than this or that row."""
    if isinstance(exc, DBAPIError) and _sqlstate(exc) == _READ_ONLY:
        return True
    return isinstance(exc, OperationalError | InterfaceError) and not is_over(exc)


def is_over(exc: Exception) -> bool:
    """Return whether what kept a transaction from being written is over at the next try: a deadlock."""
    return isinstance(exc, DBAPIError) and _sqlstate(exc).startswith("40")


def _sqlstate(exc: DBAPIError) -> str:
    return str(getattr(exc.orig, "sqlstate", "") or "")


def dialect(session: Session) -> str:
    """Return ``"sqlite"`` or ``"postgresql"``."""
    return session.get_bind().dialect.name


def take_turn(session: Session, lock: int) -> None:
    """Wait until no other transaction on PostgreSQL holds `lock`; on SQLite whoever writes is alone anyway."""
    if dialect(session) == "postgresql":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))


def in_index_order(session: Session) -> None:
    """Let this transaction find its first rows by walking an index, never by sorting all there are.

    PostgreSQL chooses by statistics, and these are hours behind a queue that grows by a million rows in a minute. What
    is ordered by all columns of an index, from the first on, it sees to be in the index's order.
    """
    if dialect(session) == "postgresql":
        written(session, _IN_INDEX_ORDER).ask(session)


def forget_deleted(db: Database) -> None:
    """Let nothing of deleted rows be left in SQLite's log file; PostgreSQL's vacuum does its own."""
    if db.engine.dialect.name == "sqlite":
        with db.engine.connect() as connection:
            raw = connection.connection.driver_connection
            if raw is not None:
                raw.execute("PRAGMA busy_timeout=1000")  # who reads just now holds it up: the next time will do
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                raw.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_SECONDS * 1000}")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn the driver's errors into one line that names no statement and no value."""
    try:
        yield
    except IntegrityError as exc:
        raise NewsletterError("the database refused the change: it would break one of its rules") from exc
    except OperationalError as exc:
        raise NewsletterError(f"the database does not answer: {_first_line(exc)}") from exc
    except SQLAlchemyError as exc:
        raise NewsletterError(f"the database failed: {_first_line(exc)}") from exc


def _first_line(exc: SQLAlchemyError) -> str:
    text = str(getattr(exc, "orig", None) or exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise SettingsError("NEWSLETTER_DATABASE_URL is not a database URL") from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "postgresql":
        # hide_parameters: an error message must not carry somebody's address. Nothing is prepared: a prepared statement
        # keeps the plan that it got while a table was small, for hours after a million rows were queued.
        options = {"hide_parameters": True, "pool_pre_ping": True, "pool_size": 8, "max_overflow": 32}
        return sa.create_engine(parsed, connect_args={"prepare_threshold": None}, **options)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    raise SettingsError(f"NEWSLETTER_DATABASE_URL: {parsed.drivername} is not supported, use sqlite or postgresql")


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, hide_parameters=True, pool_size=8, max_overflow=32)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # a handoff mark must survive a power cut
            "foreign_keys=ON",
            "secure_delete=ON",  # who is erased must not be found in the file's free pages
            f"busy_timeout={_BUSY_TIMEOUT_SECONDS * 1000}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        read_only = bool(connection.get_execution_options().get("newsletter_read_only"))
        if connection.info.get("read_only") is not read_only:  # each time it is said, SQLite forgets all statements
            connection.exec_driver_sql(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
            connection.info["read_only"] = read_only
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
