"""The schedule: one, whether its jobs run here or on workers.

A tick each minute calls functions that may run twice; correctness lies in the database's unique
slots, so a second scheduler is harmless, and a clock change neither skips nor repeats an issue.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

SCHEDULE = {
    # A list that has settled is asked for once an hour all the same; these are for one that is still to come.
    "pull": CronTrigger(minute="5,20,35,50", timezone="UTC"),
    "tick": CronTrigger(second=0, timezone="UTC"),
    "sweep": IntervalTrigger(seconds=30, timezone="UTC"),
    "tidy": CronTrigger(minute="10,40", timezone="UTC"),
    # Most issues are over by then, and the next ones not open yet; what was missed is made up for.
    "learn": CronTrigger(hour="*/3", minute=25, timezone="UTC"),
}


@contextmanager
def scheduled(call: Callable[[str], None]) -> Iterator[BackgroundScheduler]:
    """Call jobs by name when their time comes, until the block ends."""
    scheduler = BackgroundScheduler(
        timezone="UTC",
        # Late is better than never: each job looks at the clock itself.
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for name, trigger in SCHEDULE.items():
        scheduler.add_job(call, trigger, args=[name], id=name)
    for name in (
        "pull",
        "sweep",
        "learn",
    ):  # at once: what was missed while nothing ran, and what an earlier process left
        scheduler.add_job(call, args=[name])
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)
