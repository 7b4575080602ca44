"""All SQL that reads papers; what writes them is in ``ledger.py``."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import chunks
from newsletter.papers.identity import fingerprint
from newsletter.papers.models import Paper, PaperKey, StoredRecord, VoteCount
from newsletter.papers.pasted import PastedPaper

_CHUNK = 500


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
    """Return, for papers that turned out to be the same work as another, which one: the one that is left in the end."""
    found: dict[int, int] = {}
    waiting = set(ids)
    while waiting:
        met: set[int] = set()
        for chunk in chunks(sorted(waiting), _CHUNK):
            statement = select(Paper.id, Paper.same_as).where(col(Paper.id).in_(chunk), col(Paper.same_as).is_not(None))
            for paper_id, same_as in session.exec(statement):
                found[paper_id or 0] = same_as or 0
                met.add(same_as or 0)
        waiting = met - found.keys()
    for paper_id, same_as in found.items():
        while same_as in found:
            same_as = found[same_as]  # noqa: PLW2901  to the end of the chain
        found[paper_id] = same_as
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
    if not keys:
        return
    session.execute(sa.update(Paper).where(col(Paper.key).in_(keys)).values(details_asked_at=now))


def by_ids(session: Session, ids: Iterable[int]) -> dict[int, Paper]:
    """Return papers by id; an id that is gone is missing."""
    found: dict[int, Paper] = {}
    for chunk in chunks(sorted(set(ids)), _CHUNK):
        found |= {paper.id or 0: paper for paper in session.exec(select(Paper).where(col(Paper.id).in_(chunk)))}
    return found


def find(session: Session, keys: Iterable[str]) -> dict[str, Paper]:
    """Return papers by what they may be recognised by, such as ``arxiv:2608.17253``; the one known first counts."""
    found: dict[str, Paper] = {}
    for chunk in chunks(sorted(set(keys)), _CHUNK):
        statement = select(PaperKey.key, Paper).join(Paper, col(Paper.id) == col(PaperKey.paper_id))
        found |= dict(session.exec(statement.where(col(PaperKey.key).in_(chunk)).order_by(col(Paper.id).desc())).all())
    return found


def find_pasted(session: Session, pasted: Sequence[PastedPaper]) -> dict[str, Paper]:
    """Return those of the pasted papers that we know, by their keys; one whose id we do not know, by its title."""
    prints = {each.key: fingerprint(each.title) or each.key for each in pasted}
    known = find(session, [*prints, *prints.values()])
    return {key: paper for key, print_ in prints.items() if (paper := known.get(key) or known.get(print_))}


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
