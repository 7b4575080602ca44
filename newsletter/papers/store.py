"""All SQL about papers; what sources did is in ``sources/store.py``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import chunks, dialect, insert
from newsletter.papers.merge import COUNTS, Merged, merge, record_keys
from newsletter.papers.models import Paper, PaperKey, PaperRecord, Sighting, Stamp, StoredRecord, VoteCount

_CHUNK = 500
_ONE_AT_A_TIME = 7_261_100  # any number, as long as it is the same for everybody
_INSTANTS = ("listed_at", "published_at")
_LISTS = ("also", "related", "authors", "categories", "keywords")
_KEPT = tuple(each.name for each in fields(PaperRecord) if each.name not in {"also", "related", "listed_at"})


@dataclass(frozen=True, slots=True)
class Upserted:
    """What became of the papers that records told of: together they are all of them.

    :ivar unlisted: kept because a source told of a new version, but listed as new by none.
    """

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    unlisted: int = 0

    @property
    def papers(self) -> int:
        """How many papers there were."""
        return self.new + self.updated + self.unchanged + self.unlisted

    def plus(self, other: "Upserted") -> "Upserted":
        """Return both together."""
        return Upserted(
            self.new + other.new,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.unlisted + other.unlisted,
        )


def upsert(session: Session, records: Sequence[PaperRecord], now: datetime) -> Upserted:
    """Merge what a source tells now into what is known.

    The result is what `merge` makes of all records there ever were, in whatever order they came.
    """
    if dialect(session) == "postgresql":
        # Two pullers who both miss a paper would both add it; they wait for each other instead.
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
    became: dict[int, str] = {}
    for chunk in chunks(sorted(records, key=lambda record: record.key), _CHUNK):
        for paper_id, what in _upsert(session, [Sighting(record, now) for record in chunk], now).items():
            if became.get(paper_id, "unchanged") == "unchanged":
                became[paper_id] = what
    said = list(became.values())
    return Upserted(*(said.count(what) for what in ("new", "updated", "unchanged", "unlisted")))


def listed_between(session: Session, start: datetime, end: datetime) -> list[Paper]:
    """Return the papers listed in ``[start, end)``, by id: each work once, without those that were taken back."""
    return list(session.exec(select(Paper).where(*_candidates(start, end)).order_by(col(Paper.id))))


def any_listed(session: Session, start: datetime, end: datetime) -> bool:
    """Return whether a paper was listed in ``[start, end)``."""
    return session.exec(select(Paper.id).where(*_candidates(start, end)).limit(1)).first() is not None


def vote_looks(session: Session, paper_ids: Sequence[int], since: datetime) -> dict[int, list[VoteCount]]:
    """Return each paper's votes as last seen on each UTC day, oldest first."""
    found: dict[int, list[VoteCount]] = {}
    for chunk in chunks(sorted(paper_ids), _CHUNK):
        statement = (
            select(VoteCount)
            .where(col(VoteCount.paper_id).in_(chunk), col(VoteCount.day) >= since.date())
            .order_by(col(VoteCount.day))
        )
        for each in session.exec(statement):
            found.setdefault(each.paper_id, []).append(each)
    return found


def twins(session: Session, ids: Iterable[int]) -> dict[int, int]:
    """Return, for papers that turned out to be the same work as another, which one."""
    found: dict[int, int] = {}
    for chunk in chunks(sorted(set(ids)), _CHUNK):
        statement = select(Paper.id, Paper.same_as).where(col(Paper.id).in_(chunk), col(Paper.same_as).is_not(None))
        found |= {paper_id or 0: same_as or 0 for paper_id, same_as in session.exec(statement)}
    return found


def without_details(session: Session, source: str, listed_since: datetime, asked_before: datetime) -> list[str]:
    """Return the arXiv ids of listed papers of which `source` has not told the newest version yet, newest first.

    :param asked_before: leave out those that it was asked about since.
    """
    told = select(StoredRecord.id).where(
        StoredRecord.paper_id == Paper.id, StoredRecord.source == source, StoredRecord.version >= Paper.version
    )
    statement = (
        select(Paper.key)
        .where(
            col(Paper.listed),
            col(Paper.key).startswith("arxiv:"),
            col(Paper.listed_at) >= listed_since,
            sa.or_(col(Paper.details_asked_at).is_(None), col(Paper.details_asked_at) < asked_before),
            ~told.exists(),
        )
        .order_by(col(Paper.listed_at).desc(), col(Paper.id))
    )
    return [key.removeprefix("arxiv:") for key in session.exec(statement)]


def mark_asked(session: Session, arxiv_ids: Iterable[str], now: datetime) -> None:
    """Note that arXiv was asked about papers, whether or not it knows them."""
    keys = [f"arxiv:{each}" for each in arxiv_ids]
    session.execute(sa.update(Paper).where(col(Paper.key).in_(keys)).values(details_asked_at=now))


def by_ids(session: Session, ids: Iterable[int]) -> dict[int, Paper]:
    """Return papers by id; an id that is gone is missing."""
    found: dict[int, Paper] = {}
    for chunk in chunks(sorted(set(ids)), _CHUNK):
        found |= {paper.id or 0: paper for paper in session.exec(select(Paper).where(col(Paper.id).in_(chunk)))}
    return found


def count(session: Session) -> int:
    """Return how many papers were listed."""
    return session.exec(select(sa.func.count(col(Paper.id))).where(col(Paper.listed))).one()


def _candidates(start: datetime, end: datetime) -> tuple[Any, ...]:
    return (
        col(Paper.listed_at) >= start,
        col(Paper.listed_at) < end,
        col(Paper.listed),
        ~col(Paper.withdrawn),
        col(Paper.same_as).is_(None),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is stored of all papers that new records may belong to.

    :ivar homes: the paper that holds a record, by the record's source and key.
    :ivar stored: whether that record has a row of its own, and its id.
    """

    papers: dict[int, Paper]
    keys: dict[int, set[str]]
    sightings: list[Sighting]
    homes: dict[tuple[str, str], int]
    stored: dict[tuple[str, str], StoredRecord]


def _upsert(session: Session, fresh: Sequence[Sighting], now: datetime) -> dict[int, str]:
    """Merge new sightings with all that may touch them; return what became of the papers they are about."""
    known = _known(session, frozenset[str]().union(*(record_keys(each.record) for each in fresh)))
    merged = merge([*known.sightings, *fresh])
    homes = _find_homes(merged, known)
    ids, became = _write_papers(session, merged, homes, known, now)
    _write_same(session, merged, ids, known)
    _write_records(session, merged, ids, known)
    _write_keys(session, merged, ids, known)
    counted = {(each.record.source, each.record.key): each.record.upvotes is not None for each in fresh}
    touched: dict[int, str] = {}
    votes: dict[int, int] = {}
    for paper_id, paper in zip(ids, merged, strict=True):
        told = [place for each in paper.sightings if (place := (each.record.source, each.record.key)) in counted]
        if told:
            touched[paper_id] = became[paper_id]
        if any(counted[place] for place in told) and paper.record.upvotes is not None:
            votes[paper_id] = paper.record.upvotes
    _write_votes(session, votes, now)
    return touched


def _known(session: Session, keys: frozenset[str]) -> _Known:
    """Load every paper that is connected to some keys, be it over other papers."""
    found: dict[int, set[str]] = {}
    asked: set[str] = set()
    waiting = set(keys)
    while waiting:
        asked |= waiting
        held = _column(session, select(PaperKey.paper_id), PaperKey.key, waiting) - found.keys()
        waiting = set()
        for chunk in chunks(sorted(held), _CHUNK):
            for each in session.exec(select(PaperKey).where(col(PaperKey.paper_id).in_(chunk))):
                found.setdefault(each.paper_id, set()).add(each.key)
                waiting.add(each.key)
        waiting -= asked
    papers = by_ids(session, found)
    stored = {
        (each.source, each.key): each
        for chunk in chunks(sorted(found), _CHUNK)
        for each in session.exec(select(StoredRecord).where(col(StoredRecord.paper_id).in_(chunk)))
    }
    sightings = [Sighting(_thaw(each.record), each.seen_at, _thaw_older(each.older)) for each in stored.values()]
    homes = {place: each.paper_id for place, each in stored.items()}
    for paper_id in papers.keys() - set(homes.values()):  # kept before records were: it speaks for itself
        record = _speak(papers[paper_id])
        if papers[paper_id].same_as is None:
            sightings.append(Sighting(record, papers[paper_id].updated_at))
            homes[record.source, record.key] = paper_id
    return _Known(papers, found, sightings, homes, stored)


def _column(session: Session, statement: Any, column: Any, values: Iterable[Any]) -> set[Any]:  # noqa: ANN401
    return {
        value for chunk in chunks(sorted(values), _CHUNK) for value in session.exec(statement.where(column.in_(chunk)))
    }


def _find_homes(merged: Sequence[Merged], known: _Known) -> list[list[int]]:
    """Return the rows that become each paper, oldest first; a row whose records part stays with its own key."""
    claims: dict[int, list[int]] = {}
    for number, paper in enumerate(merged):
        for each in paper.sightings:
            row = known.homes.get((each.record.source, each.record.key))
            if row is not None and number not in claims.setdefault(row, []):
                claims[row].append(number)
    homes: list[list[int]] = [[] for _ in merged]
    for row in sorted(claims):
        own = [number for number in claims[row] if known.papers[row].key in merged[number].ids]
        homes[(own or claims[row])[0]].append(row)
    return homes


def _write_papers(
    session: Session, merged: Sequence[Merged], homes: Sequence[list[int]], known: _Known, now: datetime
) -> tuple[list[int], dict[int, str]]:
    """Add and update rows; return each paper's id, and what became of it."""
    became: dict[int, str] = {}
    changes: list[dict[str, Any]] = []
    fresh = [_row(paper.record, now) for paper, rows in zip(merged, homes, strict=True) if not rows]
    for paper, rows in zip(merged, homes, strict=True):
        if not rows:
            continue
        row = known.papers[rows[0]]
        change = {name: value for name, value in _values(paper.record).items() if getattr(row, name) != value}
        became[rows[0]] = "updated" if change else "unchanged"
        if change.get("listed"):
            became[rows[0]] = "new"
        if change:
            changes.append(change | {"id": rows[0], "updated_at": now})
        changes += [
            {"id": each, "key": f"merged:{each}", "listed": False, "same_as": rows[0], "updated_at": now}
            for each in rows[1:]
        ]
    moving = [{"id": each["id"], "key": f"moving:{each['id']}"} for each in changes if "key" in each]
    for batch in (moving, changes):  # a key that moves from one row to another must not be there twice
        for rows_alike in _alike(batch):
            session.execute(sa.update(Paper), rows_alike)
    added = iter(_add(session, fresh))
    ids = [rows[0] if rows else next(added) for rows in homes]
    for paper_id, paper, rows in zip(ids, merged, homes, strict=True):
        if not rows:
            became[paper_id] = "new" if paper.record.listed_at else "unlisted"
    return ids, became


def _alike(rows: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Return rows in groups that set the same columns: one statement each."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(sorted(row)), []).append(row)
    return groups.values()


def _add(session: Session, rows: Sequence[dict[str, Any]]) -> list[int]:
    if not rows:
        return []
    session.execute(sa.insert(Paper), rows)
    # Asked for by key: SQLite returns ids of many rows in no promised order.
    ids = {
        key: paper_id or 0
        for chunk in chunks(rows, _CHUNK)
        for key, paper_id in session.exec(
            select(Paper.key, Paper.id).where(col(Paper.key).in_([row["key"] for row in chunk]))
        )
    }
    return [ids[row["key"]] for row in rows]


def _write_same(session: Session, merged: Sequence[Merged], ids: Sequence[int], known: _Known) -> None:
    places = {paper.record.key: paper_id for paper_id, paper in zip(ids, merged, strict=True)}
    wanted = {
        paper_id: places[paper.same_as] if paper.same_as else None for paper_id, paper in zip(ids, merged, strict=True)
    }
    before = {paper_id: known.papers[paper_id].same_as if paper_id in known.papers else None for paper_id in ids}
    changed = [{"id": each, "same_as": wanted[each]} for each in ids if wanted[each] != before[each]]
    if changed:
        session.execute(sa.update(Paper), changed)


def _write_records(session: Session, merged: Sequence[Merged], ids: Sequence[int], known: _Known) -> None:
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for paper_id, paper in zip(ids, merged, strict=True):
        for each in paper.sightings:
            place, frozen = (each.record.source, each.record.key), _freeze(each.record)
            older = {name: [version, at.isoformat()] for name, (version, at) in each.older.items()}
            row = {"paper_id": paper_id, "version": each.record.version, "seen_at": each.seen_at}
            row |= {"record": frozen, "older": older}
            before = known.stored.get(place)
            if before is None:
                added.append(row | {"source": place[0], "key": place[1]})
            elif before.paper_id != paper_id or before.record != frozen:
                changed.append(row | {"id": before.id})
    if added:
        session.execute(sa.insert(StoredRecord), added)
    if changed:
        session.execute(sa.update(StoredRecord), changed)


def _write_keys(session: Session, merged: Sequence[Merged], ids: Sequence[int], known: _Known) -> None:
    rows = [
        {"key": key, "paper_id": paper_id}
        for paper_id, paper in zip(ids, merged, strict=True)
        for key in sorted(paper.keys - known.keys.get(paper_id, set()))
    ]
    gone = [
        (key, paper_id)
        for paper_id, paper in zip(ids, merged, strict=True)
        for key in known.keys.get(paper_id, set()) - paper.keys
    ]
    gone += [(key, paper_id) for paper_id, keys in known.keys.items() if paper_id not in set(ids) for key in keys]
    for chunk in chunks(gone, _CHUNK):
        session.execute(sa.delete(PaperKey).where(sa.tuple_(col(PaperKey.key), col(PaperKey.paper_id)).in_(chunk)))
    if rows:
        session.execute(sa.insert(PaperKey), rows)


def _write_votes(session: Session, votes: Mapping[int, int], now: datetime) -> None:
    rows = [
        {"paper_id": paper_id, "day": now.date(), "seen_at": now, "upvotes": upvotes}
        for paper_id, upvotes in votes.items()
    ]
    if rows:
        statement = insert(session, VoteCount)
        latest = {"upvotes": statement.excluded.upvotes, "seen_at": statement.excluded.seen_at}
        session.execute(statement.on_conflict_do_update(index_elements=["paper_id", "day"], set_=latest), rows)


def _values(record: PaperRecord) -> dict[str, Any]:
    """Return a paper's columns."""
    values = {name: getattr(record, name) for name in _KEPT}
    values |= {name: list(values[name]) for name in _LISTS if name in values}
    return values | ({"listed": True, "listed_at": record.listed_at} if record.listed_at else {"listed": False})


def _row(record: PaperRecord, now: datetime) -> dict[str, Any]:
    return {"listed_at": now} | _values(record) | {"first_seen_at": now, "updated_at": now}


def _freeze(record: PaperRecord) -> dict[str, Any]:
    """Return a record as JSON keeps it, without what is empty."""
    values = asdict(record)
    values |= {name: at.isoformat() for name in _INSTANTS if (at := getattr(record, name))}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value or (name in COUNTS and value == 0)
    }


def _thaw(frozen: dict[str, Any]) -> PaperRecord:
    values = {"title": "", "listed_at": None} | frozen
    values |= {name: tuple(values[name]) for name in _LISTS if name in values}
    values |= {name: datetime.fromisoformat(values[name]).astimezone(UTC) for name in _INSTANTS if values.get(name)}
    return PaperRecord(**values)


def _thaw_older(frozen: dict[str, Any]) -> dict[str, Stamp]:
    return {name: (version, datetime.fromisoformat(at)) for name, (version, at) in frozen.items()}


def _speak(paper: Paper) -> PaperRecord:
    values = {name: getattr(paper, name) for name in _KEPT}
    values |= {name: tuple(values[name]) for name in _LISTS if name in values}
    return PaperRecord(**values, listed_at=paper.listed_at if paper.listed else None)
