"""Papers from JSON Lines: one object a line, only ``title`` is required."""

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from newsletter.papers.identity import arxiv_version, title_key
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import fields
from newsletter.papers.textclean import web_address

NAME = "file"
MAX_LINE_BYTES = 2**20
_KEYS = (
    "id", "title", "abstract", "summary", "authors", "categories", "keywords", "organization", "published_at",
    "url", "pdf_url", "code_url", "project_url", "picture_url", "upvotes", "comments", "stars",
)  # fmt: skip


def parse_lines(
    lines: Iterable[bytes], listed_at: datetime | None, now: datetime, chunk: int = 1_000
) -> Iterator[Parsed]:
    """Yield the papers of up to `chunk` lines at a time; a bad line is named by its number and skipped.

    :param listed_at: when to say the papers were listed; ``None`` takes each one's own
        ``published_at``, and `now` where it has none.
    """
    records: list[PaperRecord] = []
    dropped: Counter[str] = Counter()
    notes: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.removeprefix(codecs.BOM_UTF8).strip():
            continue
        record, trouble = _parse_line(line, listed_at, now)
        if record is not None:
            records.append(record)
        if trouble:
            notes.append(f"line {number}: {trouble}" + ("" if record else " (skipped)"))
        if record is None:
            dropped["bad_line"] += 1
        if len(records) + dropped.total() >= chunk:
            yield Parsed(tuple(records), dropped, tuple(notes))
            records, dropped, notes = [], Counter(), []
    if records or dropped:
        yield Parsed(tuple(records), dropped, tuple(notes))


def _parse_line(line: bytes, listed_at: datetime | None, now: datetime) -> tuple[PaperRecord | None, str]:
    """Return the record, or ``None``, and what is wrong with the line."""
    value = _decode(line)
    if isinstance(value, str):
        return None, value
    title = fields.prose(value.get("title"), MAX_TITLE)
    if not title:
        return None, "no title"
    key = _key(value.get("id"), title, fields.names(value.get("authors")))
    if key is None:
        return None, "id is neither an arXiv id nor a DOI"
    return _record(value, key, title, listed_at, now), _warnings(value)


def _decode(line: bytes) -> dict[str, Any] | str:
    """Return the object on a line, or what is wrong with it."""
    if len(line) > MAX_LINE_BYTES:
        return "longer than 1 MiB"
    try:
        # A byte order mark at the start of a file is no part of its first line.
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "not JSON"
    return value if isinstance(value, dict) else "not a JSON object"


def _key(identifier: Any, title: str, authors: Sequence[str]) -> str | None:  # noqa: ANN401  decoded JSON
    if identifier in (None, ""):
        return title_key(title, *authors[:1])
    return fields.key(identifier)


def _record(value: dict[str, Any], key: str, title: str, listed_at: datetime | None, now: datetime) -> PaperRecord:
    arxiv_id = key.removeprefix("arxiv:") if key.startswith("arxiv:") else ""
    published_at = fields.instant(value.get("published_at"))
    default_url = f"https://arxiv.org/abs/{arxiv_id}" if arxiv_id else ""
    if key.startswith("doi:"):
        default_url = web_address(f"https://doi.org/{key.removeprefix('doi:')}")
    return PaperRecord(
        key=key,
        title=title,
        listed_at=listed_at or min(published_at or now, now),
        source=NAME,
        version=arxiv_version(value["id"]) if arxiv_id else 0,
        abstract=fields.prose(value.get("abstract"), MAX_ABSTRACT),
        summary=fields.prose(value.get("summary"), MAX_TITLE),
        authors=fields.names(value.get("authors")),
        categories=fields.terms(value.get("categories")),
        keywords=fields.terms(value.get("keywords")),
        organization=fields.text(value.get("organization"), 200),
        url=web_address(value.get("url")) or default_url,
        pdf_url=web_address(value.get("pdf_url")) or (f"https://arxiv.org/pdf/{arxiv_id}" if arxiv_id else ""),
        code_url=web_address(value.get("code_url")),
        project_url=web_address(value.get("project_url")),
        picture_url=fields.picture(value.get("picture_url")),
        published_at=published_at,
        upvotes=fields.count(value.get("upvotes")),
        comments=fields.count(value.get("comments")),
        stars=fields.count(value.get("stars")),
    )


def _warnings(value: dict[str, Any]) -> str:
    said = [f"unknown key {key[:40]!r} kept out" for key in fields.others(value, _KEYS)]
    if value.get("published_at") is not None and fields.instant(value["published_at"]) is None:
        said.append("published_at is not a date")
    said += [
        f"{name} is not a text"
        for name in ("abstract", "summary", "organization")
        if not isinstance(value.get(name) or "", str)
    ]
    said += [
        f"{name} is not a list of texts"
        for name in ("authors", "categories", "keywords")
        if not _are_texts(value.get(name) or [])
    ]
    said += [
        f"{name} is not an http(s) address"
        for name in ("url", "pdf_url", "code_url", "project_url")
        if value.get(name) and not web_address(value[name])
    ]
    if value.get("picture_url") and not fields.picture(value["picture_url"]):
        said.append("picture_url is not an https address")
    said += [
        f"{name} is not a count"
        for name in ("upvotes", "comments", "stars")
        if value.get(name) is not None and fields.count(value[name]) is None
    ]
    return ", ".join(said[:5])


def _are_texts(values: Any) -> bool:  # noqa: ANN401  decoded JSON
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
