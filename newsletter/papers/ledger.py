"""What every source ever told, and the papers that it makes: all SQL that writes papers.

Each source's newest word on a paper is a row; `merge` makes papers of all of them, so that the order of pulls,
who pulls, and how often, changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import chunks, insert, take_turn
from newsletter.papers.merge import COUNTS, CROWD, Merged, merge, record_keys
from newsletter.papers.models import Paper, PaperKey, PaperRecord, Sighting, Stamp, StoredRecord, VoteCount
from newsletter.papers.store import by_ids

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
    # Two pullers who both miss a paper would both add it, or lock rows in opposite orders; they wait instead.
    take_turn(session, _ONE_AT_A_TIME)
    became: dict[int, str] = {}
    for chunk in chunks(sorted(records, key=lambda record: record.key), _CHUNK):
        for paper_id, what in _upsert(session, [Sighting(record, now) for record in chunk], now).items():
            if became.get(paper_id, "unchanged") == "unchanged":
                became[paper_id] = what
    said = list(became.values())
    return Upserted(*(said.count(what) for what in ("new", "updated", "unchanged", "unlisted")))


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
    crowded: frozenset[str]


def _upsert(session: Session, fresh: Sequence[Sighting], now: datetime) -> dict[int, str]:
    """Merge new sightings with all that may touch them; return what became of the papers they are about."""
    known = _known(session, frozenset[str]().union(*(record_keys(each.record) for each in fresh)))
    merged = merge([*known.sightings, *fresh], known.crowded)
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
    crowded = _crowded(session, keys)
    waiting = set(keys - crowded)
    while waiting:
        asked |= waiting
        held = _column(session, select(PaperKey.paper_id), PaperKey.key, waiting) - found.keys()
        waiting = set()
        for chunk in chunks(sorted(held), _CHUNK):
            for each in session.exec(select(PaperKey).where(col(PaperKey.paper_id).in_(chunk))):
                found.setdefault(each.paper_id, set()).add(each.key)
                waiting.add(each.key)
        crowded |= _crowded(session, waiting - asked)
        waiting -= asked | crowded
    papers = by_ids(session, found)
    stored = {
        (each.source, each.key): each
        for chunk in chunks(sorted(found), _CHUNK)
        for each in session.exec(select(StoredRecord).where(col(StoredRecord.paper_id).in_(chunk)))
    }
    sightings = [
        Sighting(_thaw(each.record), each.seen_at, _thaw_older(each.older), frozenset(each.titles))
        for each in stored.values()
    ]
    homes = {place: each.paper_id for place, each in stored.items()}
    for paper_id in papers.keys() - set(homes.values()):  # kept before records were: it speaks for itself
        record = _speak(papers[paper_id], found[paper_id])
        if papers[paper_id].same_as is None:
            sightings.append(Sighting(record, papers[paper_id].updated_at))
            homes[record.source, record.key] = paper_id
    return _Known(papers, found, sightings, homes, stored, frozenset(crowded))


def _crowded(session: Session, keys: Iterable[str]) -> set[str]:
    """Return the titles that so many papers bear that following them would load the whole archive."""
    statement = select(PaperKey.key).group_by(col(PaperKey.key)).having(sa.func.count() > CROWD)
    return _column(session, statement, PaperKey.key, {key for key in keys if key.startswith("fingerprint:")})


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
    fresh = [_row(paper, now) for paper, rows in zip(merged, homes, strict=True) if not rows]
    for paper, rows in zip(merged, homes, strict=True):
        if not rows:
            continue
        row = known.papers[rows[0]]
        change = {name: value for name, value in _values(paper).items() if getattr(row, name) != value}
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
    again: dict[datetime, list[int]] = {}
    for paper_id, paper in zip(ids, merged, strict=True):
        for each in paper.sightings:
            place, frozen = (each.record.source, each.record.key), _freeze(each.record)
            older = {name: [version, at.isoformat()] for name, (version, at) in each.older.items()}
            row = {"paper_id": paper_id, "version": each.record.version, "seen_at": each.seen_at}
            row |= {"record": frozen, "older": older, "titles": sorted(each.titles)}
            before = known.stored.get(place)
            if before is None:
                added.append(row | {"source": place[0], "key": place[1]})
            elif any(getattr(before, name) != row[name] for name in ("paper_id", "record", "older", "titles")):
                changed.append(row | {"id": before.id})
            elif before.seen_at != each.seen_at:
                again.setdefault(each.seen_at, []).append(before.id or 0)
    if added:
        session.execute(sa.insert(StoredRecord), added)
    if changed:
        session.execute(sa.update(StoredRecord), changed)
    for seen_at, same in again.items():  # said once more: which of two sources spoke last may decide
        for chunk in chunks(same, _CHUNK):
            session.execute(sa.update(StoredRecord).where(col(StoredRecord.id).in_(chunk)).values(seen_at=seen_at))


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


def _values(paper: Merged) -> dict[str, Any]:
    """Return a paper's columns."""
    record = paper.record
    values = {name: getattr(record, name) for name in _KEPT}
    values |= {name: list(values[name]) for name in _LISTS if name in values}
    if record.listed_at is None:
        return values | {"listed": False, "first_listed_at": None}
    return values | {"listed": True, "listed_at": record.listed_at, "first_listed_at": paper.first_listed_at}


def _row(paper: Merged, now: datetime) -> dict[str, Any]:
    return {"listed_at": now} | _values(paper) | {"first_seen_at": now, "updated_at": now}


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


def _speak(paper: Paper, keys: Iterable[str]) -> PaperRecord:
    ids = tuple(sorted(key for key in keys if key != paper.key and not key.startswith("fingerprint:")))
    values = {name: getattr(paper, name) for name in _KEPT}
    values |= {name: tuple(values[name]) for name in _LISTS if name in values}
    return PaperRecord(**values, also=ids, listed_at=paper.listed_at if paper.listed else None)
