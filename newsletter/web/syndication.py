"""Feeds as Atom (RFC 4287) and as JSON Feed 1.1 (jsonfeed.org). Pure."""

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

_NAMESPACE = "http://www.w3.org/2005/Atom"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


@dataclass(frozen=True, slots=True)
class Entry:
    """A paper in a feed.

    :ivar at: when it came into the feed; that never changes.
    :ivar summary: readable text.
    :ivar content: HTML.
    """

    id: str
    title: str
    url: str
    at: datetime
    authors: Sequence[str]
    categories: Sequence[str]
    summary: str
    content: str


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed, newest entry first.

    :ivar home: the page that it belongs to.
    :ivar paths: its own addresses by format, ``atom`` and ``json``.
    """

    id: str
    title: str
    subtitle: str
    home: str
    paths: dict[str, str]
    author: str
    language: str
    updated: datetime
    entries: Sequence[Entry]


def lasting_id(base_url: str, what: str) -> str:
    """Return an id that stays the same as long as an installation keeps its address (RFC 9562, version 5)."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{base_url}/{what}").urn


def atom(feed: Feed) -> bytes:
    """Return a feed as Atom."""
    ET.register_namespace("", _NAMESPACE)
    root = ET.Element(_name("feed"), {"{http://www.w3.org/XML/1998/namespace}lang": feed.language})
    _texts(root, id=feed.id, title=feed.title, subtitle=feed.subtitle, updated=_written(feed.updated))
    _link(root, "self", feed.paths["atom"], "application/atom+xml")
    _link(root, "alternate", feed.home, "text/html")
    _texts(ET.SubElement(root, _name("author")), name=feed.author)
    for entry in feed.entries:
        _entry(root, entry)
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body


def json_feed(feed: Feed) -> bytes:
    """Return a feed as JSON Feed."""
    said: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "description": feed.subtitle,
        "home_page_url": feed.home,
        "feed_url": feed.paths["json"],
        "language": feed.language,
        "authors": [{"name": feed.author}],
        "items": [_item(entry) for entry in feed.entries],
    }
    return json.dumps(said).encode()  # in ASCII, so that no half of a character stands in anybody's way


def _entry(root: ET.Element, entry: Entry) -> None:
    node = ET.SubElement(root, _name("entry"))
    at = _written(entry.at)
    _texts(node, id=entry.id, title=entry.title, published=at, updated=at, summary=entry.summary)
    _link(node, "alternate", entry.url, "text/html")
    for name in entry.authors:
        _texts(ET.SubElement(node, _name("author")), name=name)
    for term in entry.categories:
        ET.SubElement(node, _name("category"), term=_xml(term))
    content = ET.SubElement(node, _name("content"), type="html")
    content.text = _xml(entry.content)


def _item(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "url": entry.url,
        "title": entry.title,
        "summary": entry.summary,
        "content_html": entry.content,
        "date_published": _written(entry.at),
        "authors": [{"name": name} for name in entry.authors],
        "tags": list(entry.categories),
    }


def _texts(node: ET.Element, **texts: str) -> None:
    for name, text in texts.items():
        ET.SubElement(node, _name(name)).text = _xml(text)


def _link(node: ET.Element, rel: str, href: str, type_: str) -> None:
    ET.SubElement(node, _name("link"), rel=rel, href=_xml(href), type=type_)


def _name(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"


def _xml(text: str) -> str:
    return _NO_XML.sub("", text)


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"  # RFC 3339; all our instants are UTC
