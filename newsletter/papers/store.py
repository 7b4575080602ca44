"""All SQL about papers and pulls."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import chunks, insert
from newsletter.papers.models import Paper, PaperRecord, Pull

_CHUNK = 500
_TEXTS = ("abstract", "summary", "organization", "url", "pdf_url", "code_url", "project_url")
_LISTS = ("authors", "categories", "keywords")
_COUNTS = ("upvotes", "comments", "stars")


@dataclass(frozen=True, slots=True)
class Upserted:
    """What became of records: together they are all that came in."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0


def upsert(session: Session, records: Sequence[PaperRecord], now: datetime) -> Upserted:
    """Add or update papers by key; `records` hold each key once.

    A field the record lacks keeps what is known; the listing stays the earliest; votes follow the record.
    """
    new = updated = 0
    # In one order for everybody: two pullers that lock the same rows in different orders end in a deadlock.
    for chunk in chunks(sorted(records, key=lambda record: record.key), _CHUNK):
        known = {paper.key: paper for paper in _by_keys(session, [record.key for record in chunk])}
        fresh = [_row(record, now) for record in chunk if record.key not in known]
        changes = [
            change for record in chunk if (paper := known.get(record.key)) and (change := _change(paper, record))
        ]
        if fresh:
            # Another puller may have been faster: its row is as good as ours.
            statement = insert(session, Paper).on_conflict_do_nothing(index_elements=["key"]).returning(col(Paper.id))
            new += len(session.execute(statement, fresh).all())
        if changes:
            session.execute(sa.update(Paper), [change | {"updated_at": now} for change in changes])
            updated += len(changes)
    return Upserted(new, updated, len(records) - new - updated)


def record_pull(session: Session, pull: Pull) -> None:
    """Keep the report of one run over one source."""
    session.add(pull)


def latest_pulls(session: Session) -> list[tuple[Pull, datetime | None]]:
    """Return each source's latest pull with the instant of its last success, by name."""
    last = select(sa.func.max(Pull.id)).group_by(col(Pull.source))
    good = (
        select(Pull.source, sa.func.max(Pull.finished_at).label("at"))
        .where(Pull.error == "")
        .group_by(col(Pull.source))
        .subquery()
    )
    statement = (
        select(Pull, good.c.at)
        .join(good, good.c.source == Pull.source, isouter=True)
        .where(col(Pull.id).in_(last))
        .order_by(Pull.source)
    )
    return [(pull, at) for pull, at in session.exec(statement)]


def listed_between(session: Session, start: datetime, end: datetime) -> list[Paper]:
    """Return the papers listed in ``[start, end)``, by id."""
    statement = select(Paper).where(col(Paper.listed_at) >= start, col(Paper.listed_at) < end).order_by(col(Paper.id))
    return list(session.exec(statement))


def any_listed(session: Session, start: datetime, end: datetime) -> bool:
    """Return whether a paper was listed in ``[start, end)``."""
    statement = select(Paper.id).where(col(Paper.listed_at) >= start, col(Paper.listed_at) < end).limit(1)
    return session.exec(statement).first() is not None


def by_ids(session: Session, ids: Iterable[int]) -> dict[int, Paper]:
    """Return papers by id; an id that is gone is missing."""
    found: dict[int, Paper] = {}
    for chunk in chunks(sorted(set(ids)), _CHUNK):
        found |= {paper.id or 0: paper for paper in session.exec(select(Paper).where(col(Paper.id).in_(chunk)))}
    return found


def count(session: Session) -> int:
    """Return how many papers there are."""
    return session.exec(select(sa.func.count(col(Paper.id)))).one()


def _by_keys(session: Session, keys: Sequence[str]) -> list[Paper]:
    return list(session.exec(select(Paper).where(col(Paper.key).in_(keys))))


def _row(record: PaperRecord, now: datetime) -> dict[str, Any]:
    row = asdict(record) | {name: list(getattr(record, name)) for name in _LISTS}
    return row | {"first_seen_at": now, "updated_at": now}


def _change(paper: Paper, record: PaperRecord) -> dict[str, Any]:
    wanted: dict[str, Any] = {"title": record.title}
    wanted |= {name: value for name in _TEXTS if (value := getattr(record, name))}
    wanted |= {name: list(value) for name in _LISTS if (value := getattr(record, name))}
    wanted |= {name: value for name in _COUNTS if (value := getattr(record, name)) is not None}
    if record.published_at:
        wanted["published_at"] = record.published_at
    wanted["listed_at"] = min(paper.listed_at, record.listed_at)
    changed = {name: value for name, value in wanted.items() if getattr(paper, name) != value}
    return changed | {"id": paper.id} if changed else {}
