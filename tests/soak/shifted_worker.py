"""A Celery worker whose clock can be put forward: ``shifted_worker.py [celery words]``.

The file that ``SHIFT_FILE`` names holds how many seconds the product's clock goes ahead; leases of the dead and waits
after refusals end when the test says so. Everything else is the worker of the product.
"""

import os
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from newsletter import clock
from newsletter.app import App
from worker import tasks
from worker.celery import celery

_build = tasks.newsletter


def shifted() -> datetime:
    """Return the time that the test wants it to be."""
    return clock.now() + timedelta(seconds=float(Path(os.environ["SHIFT_FILE"]).read_text() or 0))


@lru_cache(maxsize=1)
def newsletter() -> App:
    """Return the product's application on the test's clock."""
    return replace(_build(), now=shifted)


if __name__ == "__main__":
    tasks.newsletter = newsletter
    celery.worker_main(["worker", "--loglevel=ERROR", "--without-gossip", "--without-mingle", *sys.argv[1:]])
