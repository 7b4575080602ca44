"""Warm-up: how many mails of the day's cap this process may still send, taken from the database a few at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from threading import RLock

from newsletter import logs
from newsletter.db import Database
from newsletter.delivery.pacing import store
from newsletter.delivery.pacing.aside import Here
from newsletter.delivery.pacing.circuits import SOON_SECONDS
from newsletter.rates import WarmUp, cap_of

_AGAIN = timedelta(minutes=1)  # somebody may have given some back
_FAILED = timedelta(seconds=1)
_HUNDREDTH = 100

log = logs.get(__name__)


@dataclass
class _Allotment:
    day: date
    left: int = 0
    want: int = 1
    asking: bool = False
    full: bool = False
    ask_at: datetime | None = None


class Allotments:
    """Permits of warm-up plans; whoever dies loses at most a hundredth of the day's cap.

    :param plans: see `rates.parse_warm_ups`.
    """

    def __init__(
        self,
        db: Database,
        plans: Mapping[str, WarmUp],
        aside: Here,
        lock: RLock,
    ) -> None:
        self._db = db
        self._plans = plans
        self._aside = aside
        self._lock = lock
        self._allotted: dict[str, _Allotment] = {}

    def wait(self, relay: str, now: datetime) -> float:
        """Return 0 when a mail may go out, else seconds to wait: when the cap is reached, to the next day."""
        day = now.astimezone(UTC).date()
        cap = cap_of(self._plans, relay, day)
        if cap is None:
            return 0.0
        mine = self._allotted.get(relay)
        if mine is None or mine.day != day:
            mine = self._allotted[relay] = _Allotment(day)
        if mine.left <= mine.want // 2 and not mine.asking and (mine.ask_at is None or now >= mine.ask_at):
            mine.asking, mine.ask_at = True, now + _FAILED
            self._aside.do(partial(self._ask, relay, mine, cap, now))
        if mine.left:
            return 0.0
        if mine.full:
            return (datetime.combine(day + timedelta(days=1), time(), UTC) - now).total_seconds()
        return SOON_SECONDS

    def use(self, relay: str) -> None:
        """Note that a mail goes out."""
        if mine := self._allotted.get(relay):
            mine.left -= 1

    def give_back(self) -> None:
        """Give back what was not used."""
        with self._lock:
            unused = {relay: mine for relay, mine in self._allotted.items() if mine.left}
            self._allotted.clear()
        if unused:
            with self._db.session() as session:
                for relay, mine in unused.items():
                    store.give_back(session, relay, mine.day, mine.left)

    def _ask(self, relay: str, mine: _Allotment, cap: int, now: datetime) -> None:
        try:
            with self._db.session() as session:
                given = store.allot(session, relay, mine.day, mine.want, cap)
            with self._lock:
                self._got(relay, mine, given, cap, now)
        finally:
            mine.asking = False

    def _got(self, relay: str, mine: _Allotment, given: int, cap: int, now: datetime) -> None:
        full = given < mine.want
        if full and not mine.full:
            log.info("warm-up cap reached", relay=relay, day=str(mine.day), cap=cap)
        mine.left += given
        mine.full, mine.ask_at, mine.asking = full, now + _AGAIN if full else None, False
        mine.want = min(mine.want * 2, max(1, cap // _HUNDREDTH))
