"""Asks a server several times, in turn with other processes: what `test_pace.py` does in a process of its own."""

from newsletter.db import Database
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.pace import DatabasePace, Pace, RedisPace


class NoPace:
    """Where the broker must answer: a turn from elsewhere would prove nothing."""

    interval_seconds = 0.0

    def turn(self):
        raise RuntimeError("the broker did not answer")


def ask(url: str, times: int, interval: float, hold: float, database: str = "", broker: str = "") -> None:
    """Ask so many times, each in a turn kept in the one or the other; a process that cannot ends with an error."""
    pace: Pace
    if broker:
        pace = RedisPace(broker, "test", interval, hold, fallback=NoPace())
    else:
        pace = DatabasePace(Database(database), "test", interval, hold)
    host = url.split("/")[2]
    web = Web(timeout_seconds=30, backoff_seconds=0, named=[url], paces={host: pace})
    for _ in range(times):
        assert web.get(url).status == 200
