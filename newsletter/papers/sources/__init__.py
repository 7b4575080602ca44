"""Sources of papers: `fetch` is the network, `parse` is pure and takes the bytes.

To add one: a module with a class that has these members, a stored answer and its test, and one line in
``app.py``. CONTRIBUTING.md has the recipe.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from newsletter.papers.calendar import Calendar
from newsletter.papers.models import Parsed
from newsletter.papers.sources.http import Validators

Known = Mapping[str, Validators]
"""By URL, what makes asking again a conditional request."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a source's answer.

    :ivar body: ``None``: nothing has changed since the answer that `validators` belong to.
    :ivar last: whether the list ends with it.
    """

    url: str
    body: bytes | None
    validators: Validators = field(default_factory=Validators)
    last: bool = True


class Source(Protocol):
    """Where papers come from, one day's list at a time."""

    @property
    def name(self) -> str:
        """The name in settings, reports and ``pull --source``."""

    @property
    def address(self) -> str:
        """What the URLs it asks for begin with."""

    @property
    def calendar(self) -> Calendar:
        """When the list of a day is expected."""

    @property
    def dated(self) -> bool:
        """Whether past lists can be asked for; a feed only ever has the latest."""

    def fetch(self, day: date, *, now: datetime, known: Known) -> Iterator[Page]:
        """Yield the answer for a UTC day, page by page; what was yielded before an error is good.

        :raises SourceError: it is down, slow, or refuses.
        """

    def parse(self, body: bytes, day: date) -> Parsed:
        """Return what a page holds; a bad record is counted and costs only itself.

        :raises SourceError: the answer as a whole is not what the source sends.
        """


class Details(Protocol):
    """Who can tell more about papers that others list."""

    @property
    def name(self) -> str:
        """The name in reports."""

    @property
    def batch(self) -> int:
        """How many papers one request may ask about."""

    def fetch(self, ids: Iterable[str]) -> bytes:
        """Return the answer about some papers, by arXiv id without version.

        :raises SourceError: it is down, slow, or refuses.
        """

    def parse(self, body: bytes) -> Parsed:
        """Return what the answer holds; ids that are not known are missing."""
