"""One clock for all machines: the database's. A machine whose own is wrong does no harm."""

from datetime import datetime, timedelta
from threading import Lock

from newsletter import clock, logs
from newsletter.db import Database

_log = logs.get(__name__)
_EVERY_SECONDS = 60.0
_WORTH_A_WORD = timedelta(seconds=5)


class DatabaseClock:
    """Tells PostgreSQL's time: asked for when first needed and once a minute, counted on between.

    While the database is away, time goes on from its last answer; before the first one, this machine's counts.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._asking = Lock()
        self._known: tuple[datetime, float] | None = None  # its time, and ours that never jumps, at the same moment
        self._asked_at = 0.0
        self._told = False

    def __call__(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        known, here = self._known, clock.monotonic()
        if known is None or here - self._asked_at > _EVERY_SECONDS:
            known = self._look(wait=known is None)
        if known is None:
            return clock.now()
        at, then = known
        return at + timedelta(seconds=clock.monotonic() - then)

    def _look(self, *, wait: bool) -> tuple[datetime, float] | None:
        """Ask the database, unless somebody else is just doing so."""
        if not self._asking.acquire(blocking=wait):
            return self._known
        try:
            before = clock.monotonic()
            if self._known is None or before - self._asked_at > _EVERY_SECONDS:
                self._asked_at = before
                at = self._db.time()
                if at is not None:  # if it is away, whoever needs it hears of it
                    self._known = at, (before + clock.monotonic()) / 2
                    self._compare(at - clock.now())
        finally:
            self._asking.release()
        return self._known

    def _compare(self, ahead: timedelta) -> None:
        """Say it once when this machine's clock is wrong."""
        if abs(ahead) > _WORTH_A_WORD and not self._told:
            self._told = True
            _log.warning("clock differs from the database's", behind_seconds=round(ahead.total_seconds(), 1))
