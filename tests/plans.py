"""What a database does for a statement: its plan, as text, on SQLite and on PostgreSQL."""

import time as real_clock
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session

from newsletter.db import Database


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call asked the database.

    :ivar ms: how long the call took, with all its statements.
    :ivar plans: of each statement that reads or changes rows, in order.
    """

    ms: float
    plans: tuple[str, ...]

    @property
    def plan(self) -> str:
        """All plans, one after the other."""
        return "\n".join(self.plans)


class _TakenBackError(Exception):
    """Ends a transaction that must change nothing."""


def asked(db: Database, call: Callable[[Session], object], *, analyze: bool = False) -> Asked:
    """Return what `call` asks and how long that takes; what it changes is taken back.

    :param analyze: on PostgreSQL, run each statement for its plan, and say what it read.
    """
    seen: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
            seen.append((statement, values[0] if isinstance(values, list) else values))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    started = real_clock.perf_counter()
    try:
        with db.session() as session:
            call(session)
            ms = (real_clock.perf_counter() - started) * 1000
            raise _TakenBackError  # noqa: TRY301  the transaction ends with it
    except _TakenBackError:
        pass
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    with db.engine.connect() as connection:
        plans = [_plan(connection, statement, values, analyze=analyze) for statement, values in seen]
        connection.rollback()
    return Asked(ms, tuple(filter(None, plans)))


def _plan(connection: sa.Connection, statement: str, values: object, *, analyze: bool) -> str:
    if "set_config" in statement:  # holds for what follows, as it did
        connection.exec_driver_sql(statement, values)  # type: ignore[arg-type]
        return ""
    if connection.dialect.name == "sqlite":
        explain = "EXPLAIN QUERY PLAN "
    else:
        explain = "EXPLAIN (ANALYZE, BUFFERS) " if analyze else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, values).all())  # type: ignore[arg-type]
