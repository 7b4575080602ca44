"""All SQL about turns at a host."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from newsletter import clock
from newsletter.db import dialect, insert
from newsletter.papers.models import Turn

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def take_turn(session: Session, name: str, holder: str, interval_seconds: float, hold_seconds: float) -> bool:
    """Give `holder` the turn if nobody has it and the last one ended `interval_seconds` ago; return whether.

    :param hold_seconds: from now on; whoever has not given the turn back by then has lost it.
    """
    first = {"name": name, "begun_at": _LONG_AGO, "holder": "", "held_until": _LONG_AGO}
    session.execute(insert(session, Turn).values(first).on_conflict_do_nothing())
    rested = col(Turn.held_until) <= _from_now(session, -interval_seconds)
    lost = sa.and_(col(Turn.holder) != "", col(Turn.held_until) <= _from_now(session, 0))
    # Later than anybody can hold it: the clock was set back.
    never = col(Turn.held_until) > _from_now(session, 2 * hold_seconds)
    taken = (
        sa.update(Turn)
        .where(col(Turn.name) == name, sa.or_(rested, lost, never))
        .values(holder=holder, begun_at=_from_now(session, 0), held_until=_from_now(session, hold_seconds))
        .returning(col(Turn.name))
    )
    return session.execute(taken).first() is not None


def release_turn(session: Session, name: str, holder: str) -> None:
    """End the turn now, unless `holder` has lost it."""
    session.execute(
        sa.update(Turn)
        .where(col(Turn.name) == name, col(Turn.holder) == holder)
        .values(holder="", held_until=_from_now(session, 0))
    )


def _from_now(session: Session, seconds: float) -> Any:  # noqa: ANN401  an instant, or SQL for one
    """Return an instant by the clock that all processes share: the database server's, or this machine's with SQLite.

    Both are read after the row is locked, or else an earlier reading could be compared with a later release.
    """
    by = timedelta(seconds=seconds)
    if dialect(session) == "postgresql":
        return sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)) + by
    session.connection()  # takes the write lock, if nothing has yet
    return clock.now() + by
