"""The page of daily papers, copied as text: a date, then titles and abstracts in turn, an empty line between. Pure.

It holds no ids and no authors; titles tell which papers they are.
"""

import re
from collections import Counter
from datetime import datetime

from newsletter.errors import InputError
from newsletter.papers.identity import title_key
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, PaperRecord, Parsed
from newsletter.papers.sources import fields

_SIGN = "Get trending papers in your email inbox"
_DATE = re.compile(r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.? (\d{1,2})(?:,? (\d{4}))?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HEAD_BYTES = 512  # within which the page shows what it is
MAX_PAGE_BYTES = 16 * 2**20


def is_page(head: bytes) -> bool:
    """Return whether a file that begins like this is such a page."""
    return _SIGN in head.decode("utf-8", "replace")


def parse_page(body: bytes, listed_at: datetime | None, now: datetime, source: str) -> Parsed:
    """Return the papers of a page.

    :param listed_at: when to say they were listed; ``None`` takes the page's own date, in the last
        year that has it, and `now` where the page has none.
    :raises InputError: it is not text, or holds no paper.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError("the page is not UTF-8") from exc
    blocks = [block.strip() for block in re.split(r"\r?\n\s*\n", text) if block.strip()]
    where = next((n for n, block in enumerate(blocks) if _DATE.fullmatch(block)), None)
    if where is None:
        where = next((n for n, block in enumerate(blocks) if block.startswith("by")), 0)
    at = listed_at or _date("".join(blocks[where : where + 1]), now) or now
    papers = blocks[where + 1 :]
    records: list[PaperRecord] = []
    dropped: Counter[str] = Counter()
    for title_, abstract in zip(papers[::2], [*papers[1::2], ""], strict=False):
        title = fields.prose(title_, MAX_TITLE)
        if not title or len(title_) > MAX_TITLE:  # a title and its abstract have changed places: something is missing
            dropped["no_title"] += 1
            continue
        records.append(PaperRecord(title_key(title), title, at, source, abstract=fields.prose(abstract, MAX_ABSTRACT)))
    if not records:
        raise InputError("the page holds no paper")
    notes = ("the last title has no abstract",) if len(papers) % 2 else ()
    return Parsed(tuple(records), dropped, notes)


def _date(text: str, now: datetime) -> datetime | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    month = _MONTHS.index(found[1]) + 1
    for year in [int(found[3])] if found[3] else range(now.year, now.year - 9, -1):  # 29 February comes back
        at = fields.instant(f"{year:04}-{month:02}-{int(found[2]):02}")
        if at and at <= now:
            return at
    return None
