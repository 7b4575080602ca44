"""The edition that samples are taken from: made once for each issue, shared by all who ask."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock, Semaphore

from newsletter.issues.compose import Edition

_GOOD_FOR = timedelta(minutes=10)  # a day that is not frozen yet may have new papers by then
_AT_ONCE = 2  # choosing is all arithmetic: more at once would only take turns, and starve the deliveries


class Shelf:
    """Holds the editions of the newest issue.

    :ivar turns: to be held while choosing for a stranger.
    """

    def __init__(self) -> None:
        self.turns = Semaphore(_AT_ONCE)
        self._lock = Lock()
        self._kept: dict[str, tuple[datetime, Edition]] = {}

    def edition(self, name: str, now: datetime, make: Callable[[], Edition]) -> Edition:
        """Return the edition of that name, made anew after ten minutes; older issues' are let go."""
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or now - kept[0] > _GOOD_FOR:
                self._kept = {key: each for key, each in self._kept.items() if now - each[0] <= _GOOD_FOR}
                kept = now, make()
                if kept[1].papers:  # one without any is made at once, and the first papers are looked for
                    self._kept[name] = kept
            return kept[1]
