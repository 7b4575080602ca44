"""arXiv's feeds, read: RSS and Atom of announcements, Atom of the query API. Pure.

feedparser would join the authors of an entry and their affiliations into one; these feeds are plain XML.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from email.utils import parsedate_to_datetime
from itertools import islice
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from newsletter.errors import SourceError
from newsletter.papers.identity import arxiv_version
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import fields
from newsletter.papers.textclean import clean, web_address

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_OPENSEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"
# What is announced is brief; the query API tells in full, also of past announcements.
ANNOUNCED, IN_FULL = "arxiv", "arxiv-api"
_MOST = 5_000
_MOST_MIB = 12  # a full feed has 4
_FULL = 2_000  # the most items an announcement's feed holds
_HEAD = re.compile(r"^\s*arXiv:\S+\s+Announce Type:\s*\S+\s*(?:Abstract:)?\s*", re.IGNORECASE)
_CODE = re.compile(r"https?://(?:www\.)?(?:github|gitlab)\.com/[\w.-]+/[\w.-]+", re.IGNORECASE | re.ASCII)
# Papers may study withdrawn drugs, and comments speak of other papers: only "(this paper has been) withdrawn" counts.
_PAPER = r"(?:paper|article|submission|manuscript|work|preprint|version|note)"
_IS = r"(?:has|have)\s+(?:now\s+|since\s+)?been|was|is(?:\s+being)?"
_NOTICE = re.compile(
    rf"\W*(?:(?:(?:this|the|our)\s+)?(?:\w+\s+)?{_PAPER}\s+(?:{_IS})\s+)?(?:\w+ly\s+)?(?:withdrawn|retracted)\b",
    re.IGNORECASE,
)
_REMARK = re.compile(rf"\b{_PAPER}\s+(?:{_IS})\s+(?:\w+ly\s+)?withdrawn\b(?!\s+from\b)", re.IGNORECASE)


def parse(body: bytes, announced_on: date | None) -> Parsed:
    """Return the papers of a feed.

    :param announced_on: the day that papers of the query API count as listed on; ``None``: they are not listed.
        A feed of announcements says itself of which day it is.
    :raises SourceError: it is no feed of arXiv's, or says that something is wrong.
    """
    root = _root(body)
    if said := _error(root):
        raise SourceError(f"refused: {said}")
    entries = list(islice(_entries(root), _MOST + 1))
    if len(entries) > _MOST:
        raise SourceError(f"answered more than {_MOST} papers at once")
    full = len(entries) >= _FULL
    found = fields.collect(
        ((f"item {number}", _record(entry, announced_on)) for number, entry in enumerate(entries, start=1)),
        [f"a full feed of {len(entries)} papers, there may be more"] if full else (),
    )
    channel = root.find("channel")
    return found if channel is None else replace(found, day=_day(channel))


def count(body: bytes) -> int:
    """Return how many entries an answer holds."""
    return sum(1 for _ in _entries(_root(body)))


def total(body: bytes) -> int:
    """Return how many results the query has altogether."""
    said = _text(_root(body), f"{_OPENSEARCH}totalResults")
    return int(said) if said.isdecimal() and said.isascii() and len(said) < 10 else 0


def error_in(body: bytes) -> str:
    """Return in a few words what an answer says is wrong, or nothing."""
    try:
        return _error(_root(body))
    except SourceError:
        return ""


class _NoDoctype(TreeBuilder):
    def doctype(self, *_args: object) -> None:
        raise SourceError("answered XML with a document type: it could declare entities without end")


def _root(body: bytes) -> Element:
    # Without a document type there are no entities to expand and nothing to load.
    parser = XMLParser(target=_NoDoctype())  # noqa: S314
    try:
        parser.feed(fields.bounded(body, _MOST_MIB))
        root = parser.close()
    except (ParseError, ValueError, LookupError) as exc:  # a charset that does not exist is a LookupError
        raise SourceError("answered something that is not XML") from exc
    if not isinstance(root, Element) or root.tag not in {"rss", f"{_ATOM}feed"}:
        raise SourceError("answered XML that is not a feed")
    return root


def _entries(root: Element) -> Iterator[Element]:
    return root.iter("item" if root.tag == "rss" else f"{_ATOM}entry")


def _error(root: Element) -> str:
    """Return what an error feed says: the API's single entry links to its errors, the RSS feed's title begins so."""
    channel = root.find("channel") if root.tag == "rss" else root
    title = _text(channel, "title", f"{_ATOM}title") if channel is not None else ""
    if title.startswith("Feed error"):
        return clean(_text(channel, "description", f"{_ATOM}subtitle") or title, 200) if channel is not None else title
    for entry in _entries(root):
        if "/api/errors" in _text(entry, f"{_ATOM}id"):
            return clean(_text(entry, f"{_ATOM}summary") or "an error", 200)
    return ""


def _record(entry: Element, announced_on: date | None) -> PaperRecord | str:
    """Return one paper, or the reason why it is none."""
    identifier = _text(entry, "guid", f"{_ATOM}id")
    key = fields.key(identifier) or fields.key(_text(entry, "link"))
    if key is None or not key.startswith("arxiv:"):
        return "bad_id"
    title = fields.prose(_text(entry, "title", f"{_ATOM}title"), MAX_TITLE)
    if not title:
        return "no_title"
    kind = _text(entry, f"{_ARXIV}announce_type")
    if kind:
        announced_on = None if kind.startswith("replace") else _day(entry) or announced_on
    raw = _HEAD.sub("", _text(entry, "description", f"{_ATOM}summary"))
    comment = _text(entry, f"{_ARXIV}comment")
    code = _CODE.search(comment) or _CODE.search(raw)
    number = key.removeprefix("arxiv:")
    return PaperRecord(
        key=key,
        title=title,
        listed_at=datetime.combine(announced_on, time(), UTC) if announced_on else None,
        source=ANNOUNCED if kind else IN_FULL,
        related=_related(entry),
        version=arxiv_version(identifier),
        withdrawn=bool(_NOTICE.match(comment) or _REMARK.search(comment) or _NOTICE.match(raw)),
        abstract=fields.prose(raw, MAX_ABSTRACT),
        authors=_authors(entry),
        categories=_categories(entry),
        organization=fields.text(_text(entry, f"{_ATOM}author/{_ARXIV}affiliation"), 200),
        url=f"https://arxiv.org/abs/{number}",
        pdf_url=f"https://arxiv.org/pdf/{number}",
        code_url=web_address(code[0].rstrip(".")) if code else "",
        published_at=None if kind else fields.instant(_text(entry, f"{_ATOM}published")),
    )


def _text(entry: Element, *paths: str) -> str:
    """Return the text of the first of some elements that has any."""
    found = (entry.findtext(path) for path in paths)
    return next((text.strip() for text in found if text and text.strip()), "")


def _day(entry: Element) -> date | None:
    """Return the date in New York on which an item was announced: the date as written, in its own zone."""
    said = _text(entry, "pubDate", f"{_ATOM}published")
    try:
        at = parsedate_to_datetime(said) if "," in said else datetime.fromisoformat(said)
    except (ValueError, OverflowError):
        return None
    return at.date() if fields.instant(at.isoformat()) else None


def _authors(entry: Element) -> tuple[str, ...]:
    listed = [element.text or "" for element in entry.findall(f"{_ATOM}author/{_ATOM}name")]
    if not listed:
        listed = [element.text or "" for element in entry.findall(f"{_DC}creator")]
    # announcements name everybody in one string
    return fields.names(fields.people(listed[0]) if len(listed) == 1 and "," in listed[0] else listed)


def _categories(entry: Element) -> tuple[str, ...]:
    primary = entry.find(f"{_ARXIV}primary_category")
    first = [primary.get("term", "")] if primary is not None else []
    terms = [element.get("term", "") for element in entry.findall(f"{_ATOM}category")]
    terms += [element.text or "" for element in entry.findall("category")]
    return fields.terms([*first, *terms])


def _related(entry: Element) -> tuple[str, ...]:
    """Return the DOIs under which a journal published it; arXiv's own is never in these feeds."""
    said = f"{_text(entry, f'{_ARXIV}doi')} {_text(entry, f'{_ARXIV}DOI')}".split()
    return tuple(sorted({key for each in said if (key := fields.key(each)) and key.startswith("doi:")}))
