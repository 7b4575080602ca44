"""The only module that reads a clock; everything else is given the time as a value."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the current instant, aware, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds on a clock that never jumps, for measuring how long something took."""
    return time.monotonic()


def wait(seconds: float) -> None:
    """Let `seconds` pass."""
    time.sleep(seconds)
