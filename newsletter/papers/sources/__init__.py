"""Sources of papers: `fetch` is the network, `parse` is pure and takes the bytes.

To add one: a module with a class that has these three members, a stored answer and its test, and one
line in ``app.py``.
"""

from datetime import date
from typing import Protocol

from newsletter.papers.models import Parsed


class Source(Protocol):
    """Where papers come from, one day at a time."""

    @property
    def name(self) -> str:
        """The name in settings, reports and ``pull --source``."""

    def fetch(self, day: date) -> bytes:
        """Return the source's answer for a UTC day.

        :raises SourceError: it is down, slow, or refuses.
        """

    def parse(self, body: bytes, day: date) -> Parsed:
        """Return what the answer holds; a bad record is counted and costs only itself.

        :raises SourceError: the answer as a whole is not what the source sends.
        """
