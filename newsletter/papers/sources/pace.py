"""One request at a time, and not too often: for hosts that ask it of all our processes and machines together.

arXiv's terms are one request every three seconds over a single connection, however many machines one has
(https://info.arxiv.org/help/api/tou.html). The interval is counted from the end of the request before, when its arrival
is certainly past: counted from its beginning, a slow connection would bring two arrivals closer together.
"""

import math
import random
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

from newsletter import clock, logs
from newsletter.db import Database, plain_errors
from newsletter.errors import NewsletterError, SourceDownError
from newsletter.papers.sources import store

HOLD_SECONDS = 240.0
PATIENCE_SECONDS = 600.0
_SHORTEST_NAP_SECONDS, _LONGEST_NAP_SECONDS = 0.02, 1.0

log = logs.get(__name__)


class Pace(Protocol):
    """Whose turn it is to ask a host."""

    @property
    def interval_seconds(self) -> float:
        """How long the host is left alone after each request."""

    def turn(self) -> AbstractContextManager[None]:
        """Wait for one's turn, and hold it while the block lasts: one request, from connecting to its last byte.

        :raises SourceDownError: others had the turn for as long as we can wait.
        """


class DatabasePace:
    """Turns as a row of the database: no broker is needed.

    :param name: what is paced, the same in every process, such as ``arxiv``.
    :param hold_seconds: longer than any request may last: a holder that died loses its turn then.
    :param patience_seconds: how long one waits for a turn.
    """

    def __init__(
        self,
        db: Database,
        name: str,
        interval_seconds: float = 3.0,
        hold_seconds: float = HOLD_SECONDS,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        wait: Callable[[float], None] = clock.wait,
    ) -> None:
        self._db = db
        self._name = name
        self._interval = interval_seconds
        self._hold = hold_seconds
        self._patience = patience_seconds
        self._wait = wait

    @property
    def interval_seconds(self) -> float:
        """How long the host is left alone after each request."""
        return self._interval

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Pace.turn`; no transaction is open while one waits or asks."""
        holder = secrets.token_hex(8)
        _until(lambda: self._take(holder), self._patience, self._wait)
        try:
            yield
        finally:
            self._release(holder)

    def _take(self, holder: str) -> float:
        with self._db.session() as session:
            taken = store.take_turn(session, self._name, holder, self._interval, self._hold)
        return 0.0 if taken else max(_SHORTEST_NAP_SECONDS, min(self._interval / 4, _LONGEST_NAP_SECONDS))

    def _release(self, holder: str) -> None:
        try:
            with plain_errors(), self._db.session() as session:
                store.release_turn(session, self._name, holder)
        except NewsletterError as exc:  # the answer is good all the same, and the turn ends by itself
            log.warning("turn_not_given_back", name=self._name, error=str(exc))


class RedisPace:
    """Turns as a key of the broker, which runs out by Redis's own clock: while it is there, nobody may ask.

    :param url: ``redis://``, ``rediss://`` or ``redis+socket://``.
    :param fallback: used while Redis does not answer.
    """

    def __init__(
        self,
        url: str,
        name: str,
        interval_seconds: float = 3.0,
        hold_seconds: float = HOLD_SECONDS,
        *,
        fallback: Pace,
        patience_seconds: float = PATIENCE_SECONDS,
        wait: Callable[[float], None] = clock.wait,
    ) -> None:
        import redis  # noqa: PLC0415  half a second, for those with a broker only

        client = redis.Redis.from_url(
            re.sub(r"^redis\+socket://", "unix://", url), socket_timeout=5.0, socket_connect_timeout=5.0
        )
        self._trouble = redis.RedisError
        self._taking, self._releasing = client.register_script(_TAKE), client.register_script(_RELEASE)
        self._name = name
        self._key = f"newsletter:turn:{name}"
        self._interval = interval_seconds
        self._hold = hold_seconds
        self._fallback = fallback
        self._patience = patience_seconds
        self._wait = wait
        self._warned = False

    @property
    def interval_seconds(self) -> float:
        """How long the host is left alone after each request."""
        return self._interval

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Pace.turn`."""
        holder = secrets.token_hex(8)
        if not self._taken(holder):
            with self._fallback.turn():
                yield
            return
        try:
            yield
        finally:
            with suppress(self._trouble):  # it runs out by itself
                self._releasing(keys=[self._key], args=[holder, _milliseconds(self._interval)])

    def _taken(self, holder: str) -> bool:
        """Wait for the turn, and return whether Redis gave it; it says nothing if it is away."""
        try:
            _until(lambda: self._take(holder), self._patience, self._wait)
        except self._trouble as exc:
            if not self._warned:
                log.warning("pace_without_redis", name=self._name, error=type(exc).__name__)
            self._warned = True
            return False
        self._warned = False
        return True

    def _take(self, holder: str) -> float:
        left = int(self._taking(keys=[self._key], args=[holder, _milliseconds(self._hold)]))
        return max(_SHORTEST_NAP_SECONDS, min(left / 1000, _LONGEST_NAP_SECONDS)) if left else 0.0


# Asked twice by the same holder (an answer that was lost on its way), it is still the holder's.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 0
end
return math.max(redis.call('PTTL', KEYS[1]), 1)  -- it may be given back sooner
"""

# Nobody holds it any more, but it stays for the interval; one that ran out belongs to somebody else by now.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
end
"""


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000) + 1)  # a key may run out a part of a millisecond early


def _until(take: Callable[[], float], patience_seconds: float, wait: Callable[[float], None]) -> None:
    """Call `take` until it returns 0; else it returns how many seconds to let pass before asking again."""
    started = clock.monotonic()
    while left := take():
        if clock.monotonic() - started > patience_seconds:
            raise SourceDownError(f"is being asked by others: no turn within {patience_seconds:g} seconds")
        wait(left * random.uniform(1.0, 1.5))  # noqa: S311  so that those who wait do not ask in step
