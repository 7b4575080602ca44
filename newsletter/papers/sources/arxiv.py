"""arXiv: what was announced today from its RSS feed, past days and details from its query API.

``https://rss.arxiv.org/rss/cs.CL+cs.LG`` holds the last announcement, of every kind: ``new`` and ``cross`` are
listed, ``replace`` and ``replace-cross`` are new versions. The API tells who submitted what when, comments, and
journals. https://info.arxiv.org/help/rss_specifications.html, https://info.arxiv.org/help/api/user-manual.html
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from newsletter.errors import SourceError, SourceRefusedError
from newsletter.papers import calendar
from newsletter.papers.models import Parsed
from newsletter.papers.sources import Known, Page
from newsletter.papers.sources.arxiv_feed import IN_FULL, count, error_in, parse, total
from newsletter.papers.sources.http import Answer, Web

_SLICE = 200  # results a request; the API allows 2,000, and gives half-empty answers more often for large ones
_PAGES = 40  # for one day's announcement; a large day has 2,000 papers, which are 10
_MINUTE = timedelta(minutes=1)


class Arxiv:
    """The source ``arxiv:cs.CL+cs.LG``: what arXiv announces in some categories.

    :param rss_url: such as ``https://rss.arxiv.org``.
    :param api_url: such as ``https://export.arxiv.org``.
    """

    calendar = staticmethod(calendar.arxiv)
    dated = True

    def __init__(self, web: Web, rss_url: str, api_url: str, categories: Sequence[str]) -> None:
        self.name = f"arxiv:{'+'.join(categories)}"
        self.address = f"{rss_url}/rss/{'+'.join(categories)}"
        self._web = web
        self._api = api_url
        self._categories = categories

    def fetch(self, day: date, *, now: datetime, known: Known) -> Iterator[Page]:
        """Yield the feed for the date it is in New York, else the answers of the API for that day's announcement."""
        if day < now.astimezone(calendar.EASTERN).date():
            yield from self._search(day)
            return
        answer = self._web.get(self.address, known=known.get(self.address))
        if answer.status == 304:
            yield Page(self.address, None, answer.validators)
        else:
            yield Page(self.address, _good(answer), answer.validators)

    def parse(self, body: bytes, day: date) -> Parsed:
        """Return the papers of a feed, or of an answer of the API as announced on `day`."""
        return parse(body, announced_on=day)

    def _search(self, day: date) -> Iterator[Page]:
        window = calendar.arxiv_submissions(day)
        if window is None:
            return
        categories = " OR ".join(f"cat:{category}" for category in self._categories)
        first, last = f"{window[0]:%Y%m%d%H%M}", f"{window[1] - _MINUTE:%Y%m%d%H%M}"
        query = {
            "search_query": f"({categories}) AND submittedDate:[{first} TO {last}]",
            "sortBy": "submittedDate",
            "sortOrder": "ascending",
        }
        start = 0
        for _ in range(_PAGES):
            url = f"{self._api}/api/query?{urlencode(query | {'start': str(start), 'max_results': str(_SLICE)})}"
            body = _good(self._web.get(url))
            number, there = count(body), total(body)
            if number == 0 and start < there:
                raise SourceError(f"stopped at {start} of {there} papers for {day}")
            yield Page(url, body, last=start + number >= there)
            start += number
            if number == 0 or start >= there:
                return
        raise SourceError(f"gives too little at once: {start} papers for {day} in {_PAGES} answers")


class ArxivDetails:
    """What the query API tells of papers that are known by their id: real TeX, comments, journals, versions."""

    name = IN_FULL
    batch = 100

    def __init__(self, web: Web, api_url: str) -> None:
        self._web = web
        self._api = api_url

    def fetch(self, ids: Iterable[str]) -> bytes:
        """Return the answer about some papers; ids that arXiv does not know are missing in it without a word."""
        wanted = list(ids)
        query = urlencode({"id_list": ",".join(wanted), "max_results": str(len(wanted))}, safe=",/")
        return _good(self._web.get(f"{self._api}/api/query?{query}"))

    def parse(self, body: bytes) -> Parsed:
        """Return what is told; nothing of it is a listing."""
        return parse(body, announced_on=None)


def _good(answer: Answer) -> bytes:
    """Return the body; a 400 comes with a feed that says why."""
    if answer.status != 200:
        said = error_in(answer.body)
        refused = SourceRefusedError if answer.status == 400 else SourceError
        raise refused(f"answered {answer.status}" + (f": {said}" if said else ""))
    if not answer.body.strip():
        raise SourceError("answered nothing at all")
    return answer.body
