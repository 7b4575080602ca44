"""All SQL about how fast mails may go out."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter import clock
from newsletter.db import dialect, insert
from newsletter.delivery.pacing.breaker import Breaker
from newsletter.delivery.pacing.bucket import Limit, Reading, Run, micros, reserve
from newsletter.delivery.pacing.models import PaceBreaker, PaceBucket, PaceDay

_KEPT = timedelta(days=2)


def reserve_slots(
    session: Session, asks: Sequence[tuple[str, Limit, int]], now: Callable[[], datetime], delay: int = 0
) -> tuple[Reading, list[Run]]:
    """Reserve slots of several limits, each a key, the limit and how many are wanted at most.

    The shared clock is the database server's, or this machine's with SQLite. What is lost with a crash of the database
    was worth less than the time it takes to start again: nobody waits for the disk.

    :param delay: see `bucket.reserve`.
    """
    if dialect(session) == "postgresql":
        session.execute(sa.text("SET LOCAL synchronous_commit = off"))
    keys = sorted({key for key, _, _ in asks})
    session.execute(insert(session, PaceBucket).values([{"key": key, "after": 0} for key in keys])
                    .on_conflict_do_nothing())  # fmt: skip
    stored = select(PaceBucket.key, PaceBucket.after).where(col(PaceBucket.key).in_(keys))
    after = {key: at for key, at in session.exec(stored.order_by(PaceBucket.key).with_for_update())}  # noqa: C416
    before = micros(now())
    shared = _shared_now(session)
    reading = Reading(before, shared, micros(now()))
    runs = []
    for key, limit, want in asks:
        run = reserve(limit, after[key], shared, want, delay)
        runs.append(run)
        if run.count:
            after[key] = run.after
            session.execute(sa.update(PaceBucket).where(col(PaceBucket.key) == key).values(after=run.after))
    return reading, runs


def allot(session: Session, relay: str, day: date, want: int, cap: int) -> int:
    """Count permits of a day as given out, `want` at most and never more than `cap` altogether; return how many."""
    session.execute(insert(session, PaceDay).values(relay=relay, day=day, taken=0).on_conflict_do_nothing())
    row = (col(PaceDay.relay) == relay, col(PaceDay.day) == day)
    taken = session.exec(select(PaceDay.taken).where(*row).with_for_update()).one()
    given = max(0, min(want, cap - taken))
    if given:
        session.execute(sa.update(PaceDay).where(*row).values(taken=taken + given))
    return given


def give_back(session: Session, relay: str, day: date, left: int) -> None:
    """Count permits that were not used as not given out."""
    row = (col(PaceDay.relay) == relay, col(PaceDay.day) == day)
    session.execute(sa.update(PaceDay).where(*row).values(taken=col(PaceDay.taken) - left))


def taken(session: Session, day: date) -> Mapping[str, int]:
    """Return how many permits were given out on a day, by relay."""
    return dict(session.exec(select(PaceDay.relay, PaceDay.taken).where(col(PaceDay.day) == day)).all())


def current(session: Session, now: datetime) -> dict[str, Breaker]:
    """Return the breakers that are not forgotten, by key."""
    rows = session.exec(
        select(PaceBreaker).where(sa.or_(col(PaceBreaker.closed).is_(False), col(PaceBreaker.until_at) > now))
    )
    return {row.key: _breaker(row) for row in rows}


def change(
    session: Session, key: str, how: Callable[[Breaker | None], Breaker | None]
) -> tuple[Breaker | None, Breaker | None]:
    """Let a breaker be what `how` says; ``None`` leaves it. Return how it stood, and how it stands."""
    found = session.exec(select(PaceBreaker).where(PaceBreaker.key == key).with_for_update()).first()
    before = _breaker(found) if found else None
    after = how(before)
    if after is None or after == before:
        return before, before
    row: dict[str, Any] = {"failures": after.failures, "closed": after.closed, "since_at": after.since}
    row |= {"until_at": after.until, "probing_until_at": after.probing_until}
    statement = insert(session, PaceBreaker).values(key=key, **row)
    session.execute(statement.on_conflict_do_update(index_elements=["key"], set_=row))
    return before, after


def prune(session: Session, now: datetime) -> None:
    """Forget buckets and breakers that nobody needs any more, so that their number stays bounded."""
    old = micros(now - _KEPT)
    session.execute(sa.delete(PaceBucket).where(col(PaceBucket.after) < old))
    forgotten = sa.or_(
        sa.and_(col(PaceBreaker.closed).is_(True), col(PaceBreaker.until_at) <= now),
        col(PaceBreaker.until_at) < now - _KEPT,
    )
    session.execute(sa.delete(PaceBreaker).where(forgotten))
    session.execute(sa.delete(PaceDay).where(col(PaceDay.day) < (now - timedelta(days=400)).date()))


def _breaker(row: PaceBreaker) -> Breaker:
    return Breaker(row.failures, row.closed, row.since_at, row.until_at, row.probing_until_at)


def _shared_now(session: Session) -> int:
    if dialect(session) == "postgresql":
        at = session.execute(sa.select(sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)))).scalar_one()
        return micros(at)
    return micros(clock.now())
