"""bioRxiv and medRxiv: ``GET /details/{server}/{from}/{to}/{cursor}/json``, the preprints posted on some days.

A page holds 30 papers or 100; the cursor counts papers. What went wrong is said inside a 200.
https://api.biorxiv.org/
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

from newsletter.errors import SourceError
from newsletter.papers import calendar
from newsletter.papers.identity import canonical_key
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import Known, Page, fields
from newsletter.papers.sources.http import Validators, Web
from newsletter.papers.textclean import web_address

_MOST = 3_000  # preprints on one day; bioRxiv posts about 200
_PAGES = 100
_MOST_MIB = 6  # of a page
_NOTHING = "no posts found"


class Biorxiv:
    """The sources ``biorxiv`` and ``medrxiv``.

    :param base_url: such as ``https://api.biorxiv.org``, which serves both.
    """

    calendar = staticmethod(calendar.every_day)
    dated = True

    def __init__(self, web: Web, base_url: str, name: str = "biorxiv") -> None:
        self.name = name
        self.address = f"{base_url}/details/{name}"
        self._web = web

    def fetch(self, day: date, *, now: datetime, known: Known) -> Iterator[Page]:
        """Yield what was posted on a day; a day without any is one empty page."""
        del now
        cursor = 0
        for _ in range(_PAGES):
            url = f"{self.address}/{day}/{day}/{cursor}/json"
            answer = self._web.get(url, known=None if cursor else known.get(url))
            if answer.status == 304:
                yield Page(url, None, answer.validators)
                return
            if answer.status != 200:
                raise SourceError(f"answered {answer.status} for {day}")
            message, items = _open(answer.body)
            total = _number(message.get("total"))
            last = cursor + len(items) >= total
            yield Page(url, answer.body, answer.validators if last and not cursor else Validators(), last=last)
            cursor += len(items)
            if last:
                return
            if not items:
                raise SourceError(f"stopped at {cursor} of {total} papers for {day}")
            if cursor > _MOST:
                break
        raise SourceError(f"has more than {_MOST} papers for {day}, or gives too few at once")

    def parse(self, body: bytes, day: date) -> Parsed:
        """Return the papers of a page; a later version of a preprint is no new listing."""
        items = enumerate(_open(body)[1], start=1)
        return fields.collect(
            (f"{day} item {number}", _record(fields.mapping(item), day, self.name)) for number, item in items
        )


def _open(body: bytes) -> tuple[dict[str, Any], list[Any]]:
    """Return the message and the papers of an answer."""
    if not body.strip():
        raise SourceError("answered nothing at all")
    try:
        answer = json.loads(fields.bounded(body, _MOST_MIB))
    except (ValueError, RecursionError) as exc:
        raise SourceError("answered something that is not JSON") from exc
    messages = fields.mapping(answer).get("messages")
    message = fields.mapping(messages[0]) if isinstance(messages, list) and messages else {}
    status = fields.text(message.get("status"), 200)
    if status.lower().startswith(_NOTHING):
        return {}, []
    items = fields.mapping(answer).get("collection")
    if status != "ok" or not isinstance(items, list):
        raise SourceError(
            f"refused: {status}" if status and status != "ok" else "answered JSON that is not a list of papers"
        )
    return message, items


def _number(value: Any) -> int:  # noqa: ANN401  decoded JSON
    """Return a count that may come as a string."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return fields.count(value) or 0


def _record(item: dict[str, Any], day: date, source: str) -> PaperRecord | str:
    """Return one paper, or the reason why it is none."""
    doi = fields.text(item.get("doi"), 500)
    key = canonical_key(doi)
    if key is None or not key.startswith("doi:"):
        return "bad_id"
    title = fields.prose(item.get("title"), MAX_TITLE)
    if not title:
        return "no_title"
    version = _number(item.get("version"))
    journal = canonical_key(fields.text(item.get("published"), 500))  # "NA" for none
    page = f"https://www.{source}.org/content/{doi}v{version or 1}"
    posted = fields.instant(item.get("date"))
    return PaperRecord(
        key=key,
        title=title,
        listed_at=datetime.combine(day, time(), UTC) if version <= 1 else None,
        source=source,
        related=(journal,) if journal and journal != key else (),
        version=version,
        withdrawn=fields.text(item.get("type"), 60).lower() == "withdrawn",
        abstract=fields.prose(item.get("abstract"), MAX_ABSTRACT),
        authors=fields.names(fields.surname_first(fields.text(item.get("authors"), MAX_ABSTRACT))),
        categories=fields.terms([item.get("category")]),
        organization=fields.text(item.get("author_corresponding_institution"), 200),
        url=web_address(page),
        pdf_url=web_address(f"{page}.full.pdf"),
        published_at=posted if version <= 1 else None,
    )
