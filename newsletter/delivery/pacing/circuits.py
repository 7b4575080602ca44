"""The circuit breakers of relays and recipient domains, shared by all processes through the database."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import RLock

from newsletter import logs
from newsletter.db import Database
from newsletter.delivery.pacing import breaker as breakers
from newsletter.delivery.pacing import store
from newsletter.delivery.pacing.aside import Here
from newsletter.delivery.pacing.breaker import Breaker

LOOK = timedelta(seconds=1)
SOON_SECONDS = 0.002
_CLAIMED_SECONDS = 0.05
_PROBED = timedelta(seconds=1)
_PRUNE = timedelta(minutes=10)
_Change = Callable[[Breaker | None, datetime], Breaker | None]

log = logs.get(__name__)


class Circuits:
    """What this process knows of all breakers: read about every second, and changed at once by what it hears itself.

    :ivar seen_at: when they were read last; ``None`` before the first time.
    """

    def __init__(self, db: Database, aside: Here, lock: RLock) -> None:
        self._db = db
        self._aside = aside
        self._lock = lock
        self._breakers: dict[str, Breaker] = {}
        self._changing: dict[str, int] = {}
        self._claiming: set[str] = set()
        self._probes: dict[str, datetime] = {}
        self._looking = False
        self._looked_at = self._look_at = datetime.min.replace(tzinfo=UTC)
        self._prune_at: datetime | None = None
        self.seen_at: datetime | None = None

    def __bool__(self) -> bool:
        """Whether anything is slowed, or was lately."""
        return bool(self._breakers)

    def get(self, key: str) -> Breaker | None:
        """Return a breaker, or ``None`` where nothing is known against it."""
        return self._breakers.get(key)

    def look_if_due(self, now: datetime) -> None:
        """Have what other processes heard read about every second."""
        if not self.is_fresh(now) and not self._looking:
            self._looking, self._looked_at, self._look_at = True, now, now + LOOK
            self._aside.do(partial(self.look, now))

    def is_fresh(self, now: datetime) -> bool:
        """Return whether it is less than a second since others were last heard."""
        return self._looked_at <= now < self._look_at

    def look(self, now: datetime) -> None:
        """Read how all breakers stand."""
        try:
            with self._db.snapshot() as session:
                found = store.current(session, now)
            with self._lock:
                kept = {key: self._breakers[key] for key in self._changing if key in self._breakers}
                self._breakers = found | kept
                self.seen_at = now
            if self._prune_at is None or now >= self._prune_at:
                self._prune_at = now + _PRUNE
                with self._db.session() as session:
                    store.prune(session, now)
        finally:
            self._looking = False

    def wait(self, keys: Iterable[str], now: datetime) -> float:
        """Return for how many seconds nothing may be sent; 0 where all is well, or where we have the probe."""
        for key in keys:
            breaker = self._breakers.get(key)
            if breaker is None or breaker.closed or self._has_probe(key, now):
                continue
            rest = breakers.wait(breaker, now)
            if rest:
                # somebody's probe may be answered at any time
                return (rest if now < breaker.until else min(rest, _PROBED)).total_seconds()
            self._claim(key, now)
            if not self._has_probe(key, now):
                return _CLAIMED_SECONDS
        return 0.0

    def use(self, keys: Iterable[str]) -> None:
        """Note that a mail goes out: a probe is one mail."""
        for key in keys:
            self._probes.pop(key, None)

    def slow(self, key: str, now: datetime) -> None:
        """Note a refusal for now."""
        before = self._breakers.get(key)
        opened = breakers.slowed(before, now)
        self._probes.pop(key, None)
        if opened != before:
            log.warning("slowed", what=key, seconds=int(opened.rest.total_seconds()))
            self._breakers[key] = opened
            self._change(key, now, breakers.slowed)

    def worked(self, key: str, now: datetime) -> None:
        """Note that a mail was accepted."""
        before = self._breakers.get(key)
        closed = breakers.worked(before, now)
        if closed is not None and closed != before:
            log.info("works again", what=key)
            self._breakers[key] = closed
            self._change(key, now, breakers.worked)

    def unheard(self, key: str, now: datetime) -> None:
        """Note that a mail came to an end that says nothing of our pace: if it was a probe, it found nothing out."""
        before = self._breakers.get(key)
        freed = breakers.unheard(before, now)
        if freed is not None and freed != before:
            self._breakers[key] = freed
            self._change(key, now, breakers.unheard)

    def hold_open(self, key: str, now: datetime, rest: timedelta) -> None:
        """Open a breaker for all processes at once, on this thread."""
        with self._db.session() as session:
            _, opened = store.change(session, key, lambda found: breakers.held_open(found, now, rest))
        with self._lock:
            if opened is not None:
                self._breakers[key] = opened

    def _has_probe(self, key: str, now: datetime) -> bool:
        return key in self._probes and now < self._probes[key]

    def _change(self, key: str, now: datetime, how: _Change) -> None:
        self._changing[key] = self._changing.get(key, 0) + 1
        self._aside.do(partial(self._write, key, now, how))

    def _write(self, key: str, now: datetime, how: _Change) -> None:
        try:
            with self._db.session() as session:
                _, after = store.change(session, key, lambda found: how(found, now))
            with self._lock:
                if after is not None and self._changing[key] == 1:
                    self._breakers[key] = after
        finally:
            with self._lock:
                self._changing[key] -= 1
                if not self._changing[key]:
                    del self._changing[key]

    def _claim(self, key: str, now: datetime) -> None:
        if key not in self._claiming:
            self._claiming.add(key)
            self._aside.do(partial(self._ask_for_probe, key, now))

    def _ask_for_probe(self, key: str, now: datetime) -> None:
        try:
            with self._db.session() as session:
                before, after = store.change(session, key, lambda found: breakers.claimed(found, now))
            with self._lock:
                if after is None:  # forgotten meanwhile
                    self._breakers.pop(key, None)
                    return
                self._breakers[key] = after
                if after != before:
                    self._probes[key] = after.probing_until
        finally:
            self._claiming.discard(key)
