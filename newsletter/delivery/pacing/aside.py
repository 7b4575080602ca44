"""Work on the side: whoever sends mails must not wait for a database or a broker."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from newsletter import logs
from newsletter.db import plain_errors
from newsletter.errors import NewsletterError

log = logs.get(__name__)

Job = Callable[[], None]


class Here:
    """Does each job at once, and lets the caller wait."""

    def __init__(self) -> None:
        self._warned = False

    def do(self, job: Job) -> None:
        """Do a job; what it was to bring is asked for again if it fails."""
        try:
            with plain_errors():
                job()
        except NewsletterError as exc:
            if not self._warned:
                log.warning("pacing_without_database", error=str(exc))
            self._warned = True
        else:
            self._warned = False

    def close(self) -> None:
        """Nothing is left to do."""


class Aside(Here):
    """Does one job after the other on a thread of its own, which begins with the first."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pacing")

    def do(self, job: Job) -> None:
        """Have a job done soon."""
        self._thread.submit(self._logged, job)

    def close(self) -> None:
        """Wait for what was to be done."""
        self._thread.shutdown()

    def _logged(self, job: Job) -> None:
        try:
            super().do(job)
        except Exception:  # nobody waits for it who could be told
            log.exception("pacing_failed")
