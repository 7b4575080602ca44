"""Hugging Face's daily papers: ``GET /api/daily_papers?date=YYYY-MM-DD``, the community's picks of a UTC day.

The answer is a JSON array; summaries, keywords, code and stars live under ``paper``. ``publishedAt`` is
not the time of listing; the requested day is.
https://huggingface.co/docs/hub/api
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlencode

from newsletter.errors import SourceError
from newsletter.papers import calendar
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import Known, Page, fields
from newsletter.papers.sources.http import Validators, Web
from newsletter.papers.textclean import web_address

_PAGE = 100  # the most the API gives at once
_PAGES = 20
_MOST = 1_000
_MOST_MIB = 6  # of a page; the longest recorded one has half of one
_CODE = re.compile(r"https://(?:www\.)?github\.com/[\w.-]+/[\w.-]+/?$", re.ASCII)


class HuggingFace:
    """The source ``huggingface``.

    :param base_url: without a trailing slash, such as ``https://huggingface.co``.
    """

    name = "huggingface"
    calendar = staticmethod(calendar.huggingface)
    dated = True

    def __init__(self, web: Web, base_url: str) -> None:
        self._web = web
        self.address = f"{base_url}/api/daily_papers"

    def fetch(self, day: date, *, now: datetime, known: Known) -> Iterator[Page]:
        """Yield the list of a day, most upvotes first; a weekend is an empty list, a day to come a 400."""
        del now
        for number in range(_PAGES):
            query = {"date": day.isoformat(), "limit": str(_PAGE)} | ({"p": str(number)} if number else {})
            url = f"{self.address}?{urlencode(query)}"
            answer = self._web.get(url, known=known.get(url))
            if answer.status == 304:
                yield Page(url, None, answer.validators)
                return
            if answer.status != 200:
                raise SourceError(f"answered {answer.status} for {day}")
            # Only a list of one page is asked for conditionally: votes move papers from page to page.
            full = len(_items(answer.body)) >= _PAGE
            yield Page(url, answer.body, Validators() if full or number else answer.validators, last=not full)
            if not full:
                return
        raise SourceError(f"has more than {_PAGES * _PAGE} papers for {day}")

    def parse(self, body: bytes, day: date) -> Parsed:
        """Return the papers of a page of a list."""
        items = enumerate(_items(body), start=1)
        return fields.collect((f"{day} item {number}", _record(item, day)) for number, item in items)


def _items(body: bytes) -> list[Any]:
    try:
        items = json.loads(fields.bounded(body, _MOST_MIB))
    except (ValueError, RecursionError) as exc:
        raise SourceError("answered something that is not JSON") from exc
    if not isinstance(items, list):
        raise SourceError("answered JSON that is not a list")
    if len(items) > _MOST:
        raise SourceError(f"answered {len(items)} papers at once")
    return items


def _record(item: Any, day: date) -> PaperRecord | str:  # noqa: ANN401  decoded JSON
    """Return one paper, or the reason why it is none."""
    outer = fields.mapping(item)
    paper = fields.mapping(outer.get("paper"))
    if not paper:
        return "no_paper"
    key = fields.key(paper.get("id"))
    if key is None or not key.startswith("arxiv:"):
        return "bad_id"
    title = fields.prose(paper.get("title"), MAX_TITLE) or fields.prose(outer.get("title"), MAX_TITLE)
    if not title:
        return "no_title"
    arxiv_id = key.removeprefix("arxiv:")
    organization = fields.mapping(paper.get("organization") or outer.get("organization"))
    code, project = web_address(paper.get("githubRepo")), web_address(paper.get("projectPage"))
    if not code and _CODE.match(project):  # some have their code as their only page
        code, project = project, ""
    return PaperRecord(
        key=key,
        title=title,
        listed_at=datetime.combine(day, time(), UTC),
        source=HuggingFace.name,
        abstract=fields.prose(paper.get("summary") or outer.get("summary"), MAX_ABSTRACT),
        summary=fields.prose(paper.get("ai_summary"), MAX_TITLE),
        authors=_authors(paper.get("authors")),
        keywords=fields.terms(paper.get("ai_keywords")),
        organization=fields.text(organization.get("fullname") or organization.get("name"), 200),
        url=f"https://arxiv.org/abs/{arxiv_id}",
        pdf_url=f"https://arxiv.org/pdf/{arxiv_id}",
        code_url=code,
        project_url=project,
        picture_url=fields.picture(outer.get("thumbnail")),
        published_at=fields.instant(paper.get("publishedAt")),
        upvotes=fields.count(paper.get("upvotes")),
        comments=fields.count(outer.get("numComments")),
        stars=fields.count(paper.get("githubStars")),
    )


def _authors(values: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the names in order, without those who asked to be hidden."""
    people = [fields.mapping(value) for value in values] if isinstance(values, list) else []
    return fields.names([person.get("name") for person in people if person.get("hidden") is not True])
