"""All SQL about what readers say of papers."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import among, chunks, dialect, insert
from newsletter.subscribers.ratings.models import How, Rating, Said

_CHUNK = 500
_PAPER_KEYS = sa.table("paper_keys", sa.column("key", sa.String()), sa.column("paper_id", sa.Integer()))
_word = tuple.__new__  # as `Word._make`, in a third of the time: there are thousands in a batch
MAX_RATINGS = 1_000  # of one reader; a vector sum over more says no more


class Word(NamedTuple):
    """What a reader says of a paper, as a run sees it.

    :ivar key: the paper's key, where we do not know the paper ourselves; `text` is then what they pasted.
    """

    said: str
    paper_id: int | None
    title: str
    key: str
    text: str


def rate(
    session: Session,
    subscriber_id: int,
    key: str,
    said: Said,
    how: How,
    now: datetime,
    *,
    paper_id: int | None = None,
    title: str = "",
    text: str = "",
) -> int:
    """Write down a reader's word on a paper; the last one counts. Return the row's id."""
    values = {
        "subscriber_id": subscriber_id,
        "key": key,
        "paper_id": paper_id,
        "title": title,
        "text": text,
        "said": said,
        "how": how,
        "said_at": now,
        "taken_back_at": None,
    }
    changed = {name: values[name] for name in ("said", "how", "said_at", "taken_back_at", "paper_id")}
    changed |= {name: values[name] for name in ("title", "text") if values[name]}
    if paper_id is not None:  # what they said of it under another id, before we knew whose it is
        same = col(Rating.subscriber_id) == subscriber_id, col(Rating.paper_id) == paper_id, col(Rating.key) != key
        session.execute(sa.delete(Rating).where(*same))
    statement = insert(session, Rating).values(values)
    statement = statement.on_conflict_do_update(index_elements=["subscriber_id", "key"], set_=changed)
    return int(session.execute(statement.returning(col(Rating.id))).scalar_one())


def clicked(session: Session, subscriber_id: int, key: str, now: datetime, *, paper_id: int, title: str) -> None:
    """Write down that a reader followed a paper's link, unless they have said something of it, or taken it back."""
    same = sa.or_(col(Rating.paper_id) == paper_id, col(Rating.key) == key)
    if session.exec(select(Rating.id).where(Rating.subscriber_id == subscriber_id, same).limit(1)).first() is not None:
        return
    values = {"subscriber_id": subscriber_id, "key": key, "paper_id": paper_id, "title": title, "text": ""}
    statement = insert(session, Rating).values(values | {"said": Said.CLICKED, "how": How.MAIL, "said_at": now})
    session.execute(statement.on_conflict_do_nothing(index_elements=["subscriber_id", "key"]))


def forget_clicks(session: Session, subscriber_id: int, since: datetime) -> None:
    """Delete what a reader seemed to click: it was a machine."""
    theirs = col(Rating.subscriber_id) == subscriber_id, col(Rating.said) == Said.CLICKED
    session.execute(sa.delete(Rating).where(*theirs, col(Rating.said_at) >= since))


def forget_old_clicks(session: Session, before: datetime) -> None:
    """Delete what readers clicked long ago."""
    session.execute(sa.delete(Rating).where(col(Rating.said) == Said.CLICKED, col(Rating.said_at) < before))


def said(session: Session, subscriber_id: int, paper_id: int) -> str:
    """Return what a reader says of a paper now, or an empty text."""
    theirs = Rating.subscriber_id == subscriber_id, Rating.paper_id == paper_id, col(Rating.taken_back_at).is_(None)
    return session.exec(select(Rating.said).where(*theirs).limit(1)).first() or ""


def take_back(
    session: Session, subscriber_id: int, rating_id: int, now: datetime | None, was: Said | None = None
) -> Rating | None:
    """Take a word back, or with ``None`` put it back; return it, or ``None`` if it is not theirs.

    :param was: what the word was before, if there was one.
    """
    values = {"taken_back_at": now} | ({"said": was} if was else {})
    theirs = col(Rating.id) == rating_id, col(Rating.subscriber_id) == subscriber_id
    statement = sa.update(Rating).where(*theirs).values(values)
    session.execute(statement, execution_options={"synchronize_session": False})
    return session.exec(select(Rating).where(Rating.id == rating_id, Rating.subscriber_id == subscriber_id)).first()


def of_readers(
    session: Session, subscriber_ids: Sequence[int], before: datetime | None = None
) -> dict[int, list[Word]]:
    """Return what readers say now, each reader's newest word first.

    :param before: only what they had said by then.
    """
    words, given = _words(dialect(session)), {"readers": subscriber_ids}
    if before is not None:
        words = words.where(col(Rating.said_at) < before)
    found: dict[int, list[Word]] = {}
    for row in session.connection().execute(words, given):
        found.setdefault(row[0], []).append(_word(Word, row[1:]))
    return found


@cache
def _words(where: str) -> sa.Select[Any]:
    # of a paper that we know, no more is asked for: what was pasted may be long, and a batch has thousands
    unknown_ = col(Rating.paper_id).is_(None)
    pasted = (sa.case((unknown_, col(each)), else_="") for each in (Rating.key, Rating.text))
    columns: tuple[Any, ...] = (Rating.subscriber_id, Rating.said, Rating.paper_id, Rating.title, *pasted)
    theirs = among(where, col(Rating.subscriber_id), "readers"), col(Rating.taken_back_at).is_(None)
    return sa.select(*columns).where(*theirs).order_by(col(Rating.said_at).desc(), col(Rating.id).desc())


def count(session: Session, subscriber_id: int) -> int:
    """Return of how many papers a reader has said something in so many words."""
    theirs = Rating.subscriber_id == subscriber_id, Rating.said != Said.CLICKED
    return session.exec(select(sa.func.count(col(Rating.id))).where(*theirs)).one()


def all_of(session: Session, subscriber_id: int) -> Sequence[Rating]:
    """Return all that a reader said, taken back or not, by id."""
    return session.exec(select(Rating).where(Rating.subscriber_id == subscriber_id).order_by(col(Rating.id))).all()


def unknown(session: Session, prefix: str, looked_up_before: datetime, limit: int) -> list[str]:
    """Return the ids of rated papers that we do not know, without the `prefix` of their keys, newest first."""
    asked = sa.or_(col(Rating.looked_up_at).is_(None), col(Rating.looked_up_at) < looked_up_before)
    statement = (
        select(Rating.key, sa.func.max(Rating.id).label("newest"))
        .where(col(Rating.paper_id).is_(None), col(Rating.key).startswith(prefix), col(Rating.taken_back_at).is_(None))
        .where(asked)
        .group_by(col(Rating.key))
        .order_by(sa.desc("newest"))
        .limit(limit)
    )
    return [key.removeprefix(prefix) for key, _ in session.exec(statement)]


def mark_looked_up(session: Session, keys: Sequence[str], now: datetime) -> None:
    """Note that a source was asked about rated papers, whether or not it knows them."""
    for chunk in chunks(keys, _CHUNK):
        session.execute(sa.update(Rating).where(col(Rating.key).in_(chunk)).values(looked_up_at=now))


def link_known(session: Session) -> None:
    """Say which papers rated keys are, as far as we know them by now."""
    known = sa.select(sa.func.min(_PAPER_KEYS.c.paper_id)).where(_PAPER_KEYS.c.key == Rating.key).scalar_subquery()
    statement = sa.update(Rating).where(col(Rating.paper_id).is_(None), known.is_not(None)).values(paper_id=known)
    session.execute(statement, execution_options={"synchronize_session": False})


def forget_taken_back(session: Session, before: datetime) -> None:
    """Delete what was taken back long ago."""
    session.execute(sa.delete(Rating).where(col(Rating.taken_back_at) < before))
