"""The slots of this process: reserved a little ahead in Redis or the database, by a thread that nobody waits for."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import RLock

from newsletter import logs
from newsletter.db import Database
from newsletter.delivery.pacing.aside import Here
from newsletter.delivery.pacing.bucket import SECOND, Held, Limit, Reading, Run, SharedClock, micros
from newsletter.delivery.pacing.circuits import LOOK, SOON_SECONDS, Circuits
from newsletter.delivery.pacing.shared import Ask, BrokerAwayError, Buckets, DatabaseBuckets

BROKER = "broker"
_FALLBACK = timedelta(seconds=30)
# By then everybody has looked where slots are counted, has had the broker's answer and has used what was reserved.
_SETTLED = 5 * LOOK
_IDLE = 600 * SECOND
_MANY = 1_000

log = logs.get(__name__)


class Slots:
    """Permits of limits; see `bucket` for what they promise.

    While Redis does not answer, all processes count in the database: the first that notices opens the breaker of the
    broker there, and nobody gets a slot on the new side before everybody has left the old one.

    :param broker: where slots are counted if it answers; ``None`` is the database alone.
    """

    def __init__(
        self,
        db: Database,
        now: Callable[[], datetime],
        circuits: Circuits,
        aside: Here,
        lock: RLock,
        broker: Buckets | None = None,
    ) -> None:
        self._now = now
        self._circuits = circuits
        self._aside = aside
        self._lock = lock
        self._broker = broker
        self._database = DatabaseBuckets(db, now)
        self._on: Buckets | None = None
        self._clock = SharedClock()
        self._held: dict[str, Held] = {}
        self._wanted: list[tuple[str, Held]] = []
        self._asking = False
        self._again_at = 0

    def wait(self, key: str, rate: float, at: int) -> float:
        """Return 0 when there is a slot for a mail now, else seconds to the next; have more reserved in time."""
        held = self._held.get(key)
        if held is None:
            held = self._add(key, Limit(rate), at)
        if held.is_short(self._clock.bounds(at)[0]) and not 0 < self._again_at - at <= SECOND:
            held.asking = True
            self._wanted.append((key, held))
            if not self._asking:
                self._asking = True
                self._aside.do(self._reserve)
        wait = held.wait(*self._clock.bounds(at))
        return wait / SECOND if wait >= 0 else SOON_SECONDS

    def use(self, key: str, at: int) -> None:
        """Use the slot that `wait` found good."""
        self._held[key].use(at)

    def _add(self, key: str, limit: Limit, at: int) -> Held:
        if len(self._held) >= _MANY:
            self._held = {name: held for name, held in self._held.items() if held.asking or held.used_at > at - _IDLE}
        held = self._held[key] = Held(limit)
        held.used_at = at
        return held

    def _reserve(self) -> None:
        """Reserve what is wanted, all of it at once, until nothing more is."""
        with self._lock:
            wanted, self._wanted = self._wanted, []
        now = self._now()
        self._again_at = micros(now) + SECOND  # if nothing comes of it
        try:
            if self._broker and (self._circuits.seen_at is None or now - self._circuits.seen_at > LOOK):
                self._circuits.look(now)
            asks = [Ask(key, held.limit, held.want) for key, held in wanted]
            place, delay = self._place(asks, now)
            with self._lock:
                if place is not self._on:
                    self._move(place)
            reading, runs = self._asked(place, asks, delay)
            with self._lock:
                self._add_runs(place, wanted, reading, runs)
                self._again_at = 0
        finally:
            with self._lock:
                for _, held in wanted:
                    held.asking = False
                self._asking = bool(self._wanted)
                if self._asking:
                    self._aside.do(self._reserve)

    def _add_runs(self, place: Buckets, wanted: list[tuple[str, Held]], reading: Reading, runs: list[Run]) -> None:
        if place is self._on and runs:
            self._clock.read(reading)
            for (_, held), run in zip(wanted, runs, strict=True):
                held.add(run)

    def _asked(self, place: Buckets, asks: list[Ask], delay: timedelta) -> tuple[Reading, list[Run]]:
        try:
            return place.reserve(asks, delay)
        except BrokerAwayError as exc:
            log.warning("pacing_without_redis", error=str(exc))
            self._circuits.hold_open(BROKER, self._now(), _FALLBACK)
            return Reading(0, 0, 0), []

    def _place(self, asks: list[Ask], now: datetime) -> tuple[Buckets, timedelta]:
        """Return where slots are counted just now, and for how long there must not be any yet."""
        if self._broker is None:
            return self._database, timedelta(0)
        breaker = self._circuits.get(BROKER)
        if breaker is None:
            return self._broker, timedelta(0)
        settled = _SETTLED + timedelta(microseconds=2 * max(ask.limit.ahead for ask in asks))
        if now < breaker.until:
            return self._database, max(timedelta(0), breaker.since + settled - now)
        return self._broker, max(timedelta(0), breaker.until + settled - now)

    def _move(self, place: Buckets) -> None:
        self._on, self._clock = place, SharedClock()
        for held in self._held.values():
            held.drop()
