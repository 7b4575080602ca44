"""Asks a server several times, in turn with other processes: started by `test_pace.py` as a process of its own."""

import argparse

from newsletter.db import Database
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.pace import DatabasePace, Pace, RedisPace


class NoPace:
    """Where the broker must answer: a turn from elsewhere would prove nothing."""

    interval_seconds = 0.0

    def turn(self):
        raise RuntimeError("the broker did not answer")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--database", default="")
    parser.add_argument("--broker", default="")
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--hold", type=float, required=True)
    given = parser.parse_args()
    pace: Pace
    if given.broker:
        pace = RedisPace(given.broker, "test", given.interval, given.hold, fallback=NoPace())
    else:
        pace = DatabasePace(Database(given.database), "test", given.interval, given.hold)
    host = given.url.split("/")[2]
    web = Web(timeout_seconds=30, backoff_seconds=0, named=[given.url], paces={host: pace})
    for _ in range(given.times):
        assert web.get(given.url).status == 200
    print("done")


if __name__ == "__main__":
    main()
