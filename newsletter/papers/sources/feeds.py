"""Any RSS, Atom or JSON Feed, read by feedparser and by https://www.jsonfeed.org/version/1.1/."""

import io
import json
import re
from calendar import timegm
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from html.parser import HTMLParser
from typing import Any

import feedparser

from newsletter.errors import SourceError
from newsletter.papers import calendar
from newsletter.papers.identity import canonical_key, guid_key
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import Known, Page, fields
from newsletter.papers.sources.http import Web
from newsletter.papers.textclean import web_address

_MOST = 2_000  # entries read of one feed
_MAX_BYTES = 8 * 2**20  # feedparser takes about a second for each MiB
_MAX_HTML = 4 * MAX_ABSTRACT
_SILENT = {"script", "style", "template", "head"}
_APART = {"p", "br", "div", "li", "ul", "ol", "tr", "td", "h1", "h2", "h3", "h4", "blockquote"}
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE[^>\[]*\[|ENTITY)", re.IGNORECASE)


class Feed:
    """The source ``feed:https://…``."""

    calendar = staticmethod(calendar.every_day)
    dated = False

    def __init__(self, web: Web, url: str) -> None:
        self.name = f"feed:{url}"
        self.address = url
        self._web = web

    def fetch(self, day: date, *, now: datetime, known: Known) -> Iterator[Page]:
        """Yield the feed as it is now, whatever the day."""
        del day, now
        answer = self._web.get(self.address, known=known.get(self.address))
        if answer.status not in {200, 304}:
            raise SourceError(f"answered {answer.status}")
        yield Page(self.address, answer.body if answer.status == 200 else None, answer.validators)

    def parse(self, body: bytes, day: date) -> Parsed:
        """Return the feed's papers, each listed on its own date; one without, or with one to come, on `day`."""
        if len(body) > _MAX_BYTES:
            raise SourceError(f"answered a feed of more than {_MAX_BYTES // 2**20} MiB")
        entries = _json_entries(body) if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else _xml_entries(body)
        found = enumerate(entries, start=1)
        return fields.collect(
            (f"entry {number}", self._record(entry, day) if number <= _MOST else f"beyond_{_MOST}")
            for number, entry in found
        )

    def _record(self, entry: dict[str, Any], day: date) -> PaperRecord | str:
        """Return one paper, or the reason why it is none."""
        title = fields.prose(_plain(entry.get("title")), MAX_TITLE)
        if not title:
            return "no_title"
        ids = _ids(entry)
        guid = fields.text(entry.get("guid"), 2_000) or fields.text(entry.get("link"), 2_000) or title
        public = [key for said in ids if (key := canonical_key(said))]
        at, latest = fields.instant(entry.get("at")), datetime.combine(day, time(), UTC) + timedelta(days=1)
        return PaperRecord(
            key=public[0] if public else guid_key(self.address, guid),
            title=title,
            listed_at=at if at and at < latest else datetime.combine(day, time(), UTC),
            source=self.name,
            also=tuple(sorted({*public[1:], guid_key(self.address, guid)} - set(public[:1]))),
            abstract=fields.prose(_plain(entry.get("text")), MAX_ABSTRACT),
            authors=fields.names(entry.get("authors")),
            categories=fields.terms(entry.get("tags")),
            url=web_address(entry.get("link")),
            published_at=at if at and at < latest else None,
        )


def _xml_entries(body: bytes) -> list[dict[str, Any]]:
    if _DOCTYPE.search(body.replace(b"\0", b"")[:65_536]):
        raise SourceError("answered XML that declares entities")
    try:
        # A stream: a text could be taken for an address or a file's name, and opened.
        feed = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    except Exception as exc:
        raise SourceError("answered a feed that cannot be read") from exc
    if not feed.get("version") and not feed.entries:
        raise SourceError("answered something that is not a feed")
    return [_xml_entry(entry) for entry in feed.entries]


def _xml_entry(entry: Any) -> dict[str, Any]:  # noqa: ANN401  feedparser's dictionary
    parsed = entry.get("published_parsed") or entry.get("updated_parsed")
    people = [fields.mapping(each).get("name") for each in entry.get("authors") or []]
    if len(people) == 1 and isinstance(people[0], str):
        people = list(fields.people(people[0]))
    content = [fields.mapping(each).get("value") for each in entry.get("content") or []]
    return {
        "title": entry.get("title"),
        "guid": entry.get("id"),
        "link": entry.get("link"),
        "ids": [entry.get(name) for name in ("prism_doi", "dc_identifier", "arxiv_doi", "id", "link")],
        "text": entry.get("summary") or next(filter(None, content), ""),
        "authors": people,
        "tags": [fields.mapping(each).get("term") for each in entry.get("tags") or []],
        "at": _iso(parsed),
    }


def _iso(parsed: Any) -> str:  # noqa: ANN401  a struct_time in UTC, or nothing
    try:
        return datetime.fromtimestamp(timegm(parsed), UTC).isoformat() if parsed else ""
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _json_entries(body: bytes) -> list[dict[str, Any]]:
    try:
        feed = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise SourceError("answered something that is not JSON") from exc
    items = fields.mapping(feed).get("items")
    if not isinstance(items, list):
        raise SourceError("answered JSON that is not a JSON Feed")
    return [_json_entry(fields.mapping(item)) for item in items]


def _json_entry(item: dict[str, Any]) -> dict[str, Any]:
    people = item.get("authors") if isinstance(item.get("authors"), list) else [item.get("author")]  # author: version 1
    link = item.get("url") or item.get("external_url")
    return {
        "title": item.get("title"),
        "guid": item.get("id"),
        "link": link,
        "ids": [item.get("id"), link, item.get("external_url")],
        "text": item.get("content_text") or item.get("summary") or item.get("content_html"),
        "authors": [fields.mapping(each).get("name") for each in people or []],
        "tags": item.get("tags"),
        "at": item.get("date_published") or item.get("date_modified"),
    }


def _ids(entry: dict[str, Any]) -> list[str]:
    return [each for each in entry["ids"] if isinstance(each, str) and len(each) < 2_000]


class _Text(HTMLParser):
    """Collects what a person would read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._silent += tag in _SILENT
        self.parts.append(" " if tag in _APART else "")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        self.parts.append(" " if tag in _APART else "")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def _plain(value: Any) -> str:  # noqa: ANN401  whatever a feed holds
    """Return the text of a piece of HTML; text that is no HTML stays as it is."""
    if not isinstance(value, str):
        return ""
    text = str(value[:_MAX_HTML])
    if not re.search(r"<[a-zA-Z/!]|&[#\w]+;", text):
        return text
    parser = _Text()
    try:
        parser.feed(text)
        parser.close()
    except AssertionError:  # html.parser on a broken declaration
        return re.sub(r"<[^>]*>", " ", text)
    return "".join(parser.parts)
