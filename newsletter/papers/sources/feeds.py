"""Any RSS, Atom or JSON Feed, read by feedparser and by https://www.jsonfeed.org/version/1.1/."""

import io
import json
import re
from calendar import timegm
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from html import unescape
from typing import Any
from xml.sax import SAXException

import feedparser

from newsletter.errors import SourceError
from newsletter.papers import calendar
from newsletter.papers.identity import guid_key
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import Known, Page, fields
from newsletter.papers.sources.http import Web
from newsletter.papers.textclean import web_address

_MOST = 2_000  # entries read of one feed
_MAX_BYTES = 8 * 2**20  # feedparser takes about a second for each MiB
_MAX_HTML = 4 * MAX_ABSTRACT
_SILENT = {"script", "style", "template", "head"}
_APART = {"p", "br", "div", "li", "ul", "ol", "tr", "td", "h1", "h2", "h3", "h4", "blockquote"}
# Comments, declarations, and tags, whose attributes may hold a ">". From no "<" is it far to where a tag ends or cannot
# go on: html.parser takes the square of time to find out.
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<[!?][^<>]*>"
    r"|<(?P<end>/?)(?P<name>[a-z][^\s/<>\"']*+)(?:(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+|[^<>]*)>",
    re.IGNORECASE | re.DOTALL,
)
_DECLARATION = re.compile(r"\A\s*<\?xml[^<>]*\?>")
# What can be read as ASCII is not UTF-16, whatever it says; the other two are for names of hosts.
_CHARSET = re.compile(
    rb"\s*<\?xml[^<>]{1,200}?\sencoding\s*=\s*[\"'](?!(?i:utf.?(?:16|32)|punycode|idna))([\w.:-]{1,40})[\"']"
)
_YEAR = re.compile(r"\s*\d{4}(?:-\d\d)?\s*")
_BOMB = re.compile(r"<!(?:ENTITY|ATTLIST)")
_ENDLESS = re.compile(r"\s{200,}|[\w.+-]{500,}", re.ASCII)


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
        whole = True
        if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
            entries = _json_entries(body)
        else:
            entries, whole = _xml_entries(body)
        found = fields.collect(
            (
                (f"entry {number}", self._record(entry, day) if number <= _MOST else f"beyond_{_MOST}")
                for number, entry in enumerate(entries, start=1)
            ),
            () if whole else [f"the feed breaks off, or is no proper XML; {len(entries)} entries could be read"],
        )
        return replace(found, whole=whole)

    def _record(self, entry: dict[str, Any], day: date) -> PaperRecord | str:
        """Return one paper, or the reason why it is none."""
        title = fields.prose(_plain(entry.get("title")), MAX_TITLE)
        if not title:
            return "no_title"
        guid = fields.text(entry.get("guid"), 2_000) or fields.text(entry.get("link"), 2_000) or title
        keys = [*filter(None, map(fields.key, entry["ids"])), guid_key(self.address, guid)]
        at, latest = fields.instant(entry.get("at")), datetime.combine(day, time(), UTC) + timedelta(days=1)
        return PaperRecord(
            key=keys[0],
            title=title,
            listed_at=at if at and at < latest else datetime.combine(day, time(), UTC),
            source=self.name,
            also=tuple(sorted(set(keys) - {keys[0]})),
            abstract=fields.prose(_plain(entry.get("text")), MAX_ABSTRACT),
            authors=fields.names(entry.get("authors")),
            categories=fields.terms(entry.get("tags")),
            url=web_address(entry.get("link")),
            picture_url=fields.picture(entry.get("picture")),
            published_at=at if at and at < latest else None,
        )


def _xml_entries(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the entries, and whether the feed is proper XML to its end."""
    text = _text(body)
    if _BOMB.search(text):
        raise SourceError("answered XML that declares entities")
    # feedparser takes the square of time for words, spaces, and first lines without end.
    text = "\n" + _ENDLESS.sub(lambda run: run[0][:200], _DECLARATION.sub("", text, 1))
    try:
        # A stream: a text could be taken for an address or a file's name, and opened.
        stream = io.BytesIO(text.encode("utf-8", "replace"))
        feed = feedparser.parse(stream, sanitize_html=False, resolve_relative_uris=False)
    except Exception as exc:
        raise SourceError("answered a feed that cannot be read") from exc
    if not feed.get("version") and not feed.entries:
        raise SourceError("answered something that is not a feed")
    return [_xml_entry(entry) for entry in feed.entries], not isinstance(feed.get("bozo_exception"), SAXException)


def _text(body: bytes) -> str:
    """Return XML as text, in the charset that its first bytes show or its declaration says, if it is that."""
    said = _CHARSET.match(body)
    charset = said[1].decode().lower() if said else json.detect_encoding(body)
    for each in ("gb18030" if charset == "gb2312" else charset, "utf-8-sig", "cp1252"):
        try:
            return body.decode(each)
        except (LookupError, ValueError):
            continue
    return body.decode("latin-1")


def _xml_entry(entry: Any) -> dict[str, Any]:  # noqa: ANN401  feedparser's dictionary
    said = entry.get("published") or entry.get("updated") or ""
    # A journal that only says the year would have listed everything on New Year's Day.
    parsed = None if _YEAR.fullmatch(said) else entry.get("published_parsed") or entry.get("updated_parsed")
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
        "picture": next((fields.mapping(each).get("url") for each in entry.get("media_thumbnail") or []), None),
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
        "picture": item.get("image") or item.get("banner_image"),
        "at": item.get("date_published") or item.get("date_modified"),
    }


def _plain(value: Any) -> str:  # noqa: ANN401  whatever a feed holds
    """Return the text of a piece of HTML; text that is no HTML stays as it is."""
    if not isinstance(value, str):
        return ""
    text = str(value[:_MAX_HTML])
    if not re.search(r"<[a-zA-Z/!]|&[#\w]+;", text):
        return text
    parts: list[str] = []
    silent = done = 0
    for tag in _TAG.finditer(text):
        parts.append("" if silent else text[done : tag.start()])
        done = tag.end()
        name = (tag["name"] or "").lower()
        if name in _SILENT and not tag.group().endswith("/>"):
            silent = max(0, silent - 1) if tag["end"] else silent + 1
        parts.append(" " if name in _APART else "")
    said = "".join([*parts, "" if silent else text[done:]])
    try:
        return unescape(said)
    except ValueError:  # "&#999…", with thousands of digits
        return said
