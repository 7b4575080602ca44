"""Where the slots of all processes are counted: in Redis with a broker, in the database without."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from newsletter import logs
from newsletter.db import Database
from newsletter.delivery.pacing import store
from newsletter.delivery.pacing.bucket import SECOND, Limit, Reading, Run, micros
from newsletter.errors import NewsletterError

_KEPT_SECONDS = 3_600
_PREFIX = "newsletter:pace:"

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """Slots that are wanted: of which limit, and how many at most."""

    key: str
    limit: Limit
    want: int


class BrokerAwayError(NewsletterError):
    """Redis does not answer: slots must be counted elsewhere."""


class Buckets(Protocol):
    """Token buckets that all processes share."""

    def reserve(self, asks: Sequence[Ask], delay: timedelta = timedelta(0)) -> tuple[Reading, list[Run]]:
        """Reserve slots, and say what the clock showed by which they are counted.

        :param delay: from now; there are no slots before.
        :raises BrokerAwayError: it is a broker's, and it does not answer.
        """


class DatabaseBuckets:
    """Rows of the database; the clock is its server's, or this machine's with SQLite."""

    def __init__(self, db: Database, now: Callable[[], datetime]) -> None:
        self._db = db
        self._now = now

    def reserve(self, asks: Sequence[Ask], delay: timedelta = timedelta(0)) -> tuple[Reading, list[Run]]:
        """See `Buckets.reserve`."""
        wanted = [(each.key, each.limit, each.want) for each in asks]
        with self._db.session() as session:
            return store.reserve_slots(session, wanted, self._now, _micros(delay))


class RedisBuckets:
    """Keys of the broker, by Redis's own clock; one script, so that nobody comes between.

    :param url: ``redis://``, ``rediss://`` or ``redis+socket://``.
    """

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        import redis  # noqa: PLC0415  half a second, for those with a broker only

        client = redis.Redis.from_url(
            re.sub(r"^redis\+socket://", "unix://", url), socket_timeout=2.0, socket_connect_timeout=2.0
        )
        self._trouble = redis.RedisError
        self._script = client.register_script(_RESERVE)
        self._now = now

    def reserve(self, asks: Sequence[Ask], delay: timedelta = timedelta(0)) -> tuple[Reading, list[Run]]:
        """See `Buckets.reserve`."""
        keys = [f"{_PREFIX}since", *(_PREFIX + each.key for each in asks)]
        args: list[float | int] = [SECOND, _KEPT_SECONDS, _micros(delay)]
        for each in asks:
            args += [each.limit.interval, each.limit.ahead, each.want]
        before = micros(self._now())
        try:
            shared, *runs = self._script(keys=keys, args=args)
        except self._trouble as exc:
            raise BrokerAwayError(type(exc).__name__) from exc
        reading = Reading(before, int(shared), micros(self._now()))
        return reading, [Run(int(first), int(count), int(after)) for first, count, after in runs]


# The same as `bucket.reserve`. Instants are kept, and leave, as text: tostring() would round them. When Redis has
# forgotten everything, others may still hold slots that it knows nothing of: nobody gets any before those are over.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local second, kept, delay = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function text(number) return string.format('%.0f', number) end
redis.call('SET', KEYS[1], text(now), 'NX')
local since = tonumber(redis.call('GET', KEYS[1]))
if since > now then  -- the clock was set back
    since = now
    redis.call('SET', KEYS[1], text(now))
end
local answer = {text(now)}
for number = 2, #KEYS do
    local interval, ahead = tonumber(ARGV[3 * number - 2]), tonumber(ARGV[3 * number - 1])
    local want, furthest = tonumber(ARGV[3 * number]), now + ahead
    local after = tonumber(redis.call('GET', KEYS[number]) or since + 2 * ahead)
    if after > furthest + ahead + second then after = 0 end
    local first, count = math.max(after, now + delay), 0
    if first <= furthest then count = math.min(want, math.floor((furthest - first) / interval) + 1) end
    after = first + math.ceil(count * interval)
    if count > 0 then
        redis.call('SET', KEYS[number], text(after), 'EX', kept + math.ceil(ahead / second))
    end
    answer[#answer + 1] = {text(first), count, text(after)}
end
return answer
"""


def _micros(delay: timedelta) -> int:
    return max(0, delay // timedelta(microseconds=1))
