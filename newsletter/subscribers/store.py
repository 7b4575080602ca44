"""All SQL about subscribers and suppressions."""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import among, chunks, dialect, insert
from newsletter.subscribers.addresses import address_hash, address_key
from newsletter.subscribers.models import (
    ERASED,
    Addressee,
    Entry,
    State,
    Subscriber,
    Suppression,
    preference_columns,
)
from newsletter.subscribers.preferences import LISTS, Preferences

_CHUNK = 500
_ASKED = tuple(Preferences.model_fields)
_WHO = ("id", "email", "state", "paused_from", "paused_until", "links_since", "unsubscribed_at")
_AT_ONCE = timedelta(seconds=10)  # between leaving and the page that offers the way back


def find(session: Session, email: str) -> Subscriber | None:
    """Return the subscriber with that address, in any spelling."""
    return session.exec(select(Subscriber).where(Subscriber.email_key == address_key(email))).first()


def get(session: Session, subscriber_id: int) -> Subscriber | None:
    """Return a subscriber by id."""
    return session.get(Subscriber, subscriber_id)


@cache
def _addressees(where: str) -> sa.Select[Any]:
    # their lists as texts: many readers have the same
    asked = ((name, getattr(Subscriber, name)) for name in _ASKED)
    columns = (sa.cast(column, sa.Text) if name in LISTS else column for name, column in asked)
    who = (getattr(Subscriber, name) for name in _WHO)
    return sa.select(*who, *columns).where(among(where, col(Subscriber.id), "ids"))


def addressees(session: Session, ids: Sequence[int]) -> dict[int, Addressee]:
    """Return subscribers by id, as a run sees them."""
    found: dict[int, Addressee] = {}
    # on the connection itself: a session takes each row for a part of its objects
    rows = session.connection().execute(_addressees(dialect(session)), {"ids": ids})
    for id_, email, state, paused_from, paused_until, links_since, left_at, *asked in rows:
        wishes = dict(zip(_ASKED, asked, strict=True))
        found[id_] = Addressee(id_, email, state, paused_from, paused_until, links_since, wishes, left_at)
    return found


def add(session: Session, email: str, preferences: Preferences, state: State, now: datetime) -> Subscriber:
    """Add a subscriber whose address is new; return who has it: another process may have been faster."""
    write_entries(session, [Entry(email, preferences, state)], now, only_new=True)
    return session.exec(select(Subscriber).where(Subscriber.email_key == address_key(email))).one()


def change_preferences(session: Session, subscriber: Subscriber, preferences: Preferences) -> None:
    """Replace what a subscriber asked for."""
    subscriber.sqlmodel_update(preference_columns(preferences))
    session.add(subscriber)


def activate(session: Session, subscriber_id: int, now: datetime) -> bool:
    """Make a pending subscriber active; return whether this call did it."""
    statement = (
        sa.update(Subscriber)
        .where(col(Subscriber.id) == subscriber_id, col(Subscriber.state) == State.PENDING)
        .values(state=State.ACTIVE, confirmed_at=now, unsubscribed_at=None)
        .returning(col(Subscriber.id))
    )
    return session.execute(statement).first() is not None


def leave(session: Session, subscriber_ids: Collection[int], now: datetime) -> dict[int, str]:
    """Unsubscribe those who are pending or active; return the addresses of those whom this call unsubscribed, by id."""
    statement = (
        sa.update(Subscriber)
        .where(col(Subscriber.id).in_(subscriber_ids), col(Subscriber.state) != State.UNSUBSCRIBED)
        .values(state=State.UNSUBSCRIBED, unsubscribed_at=now)
        .returning(col(Subscriber.id), col(Subscriber.email))
    )
    rows = session.execute(statement, execution_options={"synchronize_session": False})
    return {row[0]: row[1] for row in rows}


def who_agreed(session: Session, subscriber_ids: Collection[int]) -> set[int]:
    """Return those of the ids whose owners have confirmed since they were last asked to."""
    theirs = select(Subscriber).where(col(Subscriber.id).in_(subscriber_ids))
    return {each.id or 0 for each in session.exec(theirs) if each.has_agreed}


def known_ids(session: Session, subscriber_ids: Collection[int]) -> set[int]:
    """Return those of the ids that are somebody's."""
    return {id_ or 0 for id_ in session.exec(select(Subscriber.id).where(col(Subscriber.id).in_(subscriber_ids)))}


def come_back(session: Session, subscriber_id: int, left_at: datetime) -> Subscriber | None:
    """Undo the leaving of somebody who left at that second; who had not confirmed since they asked is pending again."""
    person = locked(session, subscriber_id)
    if person is None or not left_then(person, left_at):
        return None
    person.state = State.ACTIVE if person.has_agreed else State.PENDING
    person.unsubscribed_at = None
    session.add(person)
    return person


def pause(session: Session, subscriber_id: int, first: date, until: date) -> None:
    """Send somebody nothing from one local day on until another."""
    theirs = sa.update(Subscriber).where(col(Subscriber.id) == subscriber_id)
    session.execute(theirs.values(paused_from=first, paused_until=until))


def left_then(person: Subscriber, at: datetime) -> bool:
    """Return whether somebody left in that second, and has not come back or left again since."""
    if person.state != State.UNSUBSCRIBED or person.unsubscribed_at is None:
        return False
    return timedelta() <= at - person.unsubscribed_at.replace(microsecond=0) <= _AT_ONCE


def purge_pending(session: Session, asked_before: datetime, limit: int) -> tuple[list[int], int]:
    """Delete some who never confirmed, and let those be unsubscribed again who had left before.

    :returns: who is gone, and how many there were of both.
    """
    since = sa.func.coalesce(Subscriber.pending_since, Subscriber.created_at)
    over = col(Subscriber.state) == State.PENDING, since < asked_before
    some = select(Subscriber.id).where(*over).limit(limit)
    ids = list(session.exec(some))
    # Asked once more: who confirms at this moment stays.
    theirs = col(Subscriber.id).in_(ids), *over
    never, once = col(Subscriber.confirmed_at).is_(None), col(Subscriber.confirmed_at).is_not(None)
    gone = session.execute(sa.delete(Subscriber).where(*theirs, never).returning(col(Subscriber.id)))
    found = [row[0] for row in gone]
    session.execute(sa.update(Subscriber).where(*theirs, once).values(state=State.UNSUBSCRIBED))
    return found, len(ids)


def locked(session: Session, subscriber_id: int) -> Subscriber | None:
    """Return a subscriber whom nobody else changes before this transaction ends."""
    return session.get(Subscriber, subscriber_id, with_for_update=True)


def delete(session: Session, subscriber: Subscriber) -> None:
    """Delete a subscriber, and with them what they said and changed."""
    session.delete(subscriber)
    session.flush()


def write_entries(
    session: Session, entries: Sequence[Entry], now: datetime, *, only_new: bool = False
) -> tuple[dict[int, Entry], int]:
    """Add the addresses that are new and give known ones their new preferences; of two spellings the first counts.

    The state of a known subscriber stays: an import neither brings back somebody who left nor takes
    anybody out.

    :param only_new: leave the preferences of known ones alone, too.
    :returns: those who were added, by id, and how many known ones were changed.
    """
    wanted = {address_key(entry.email): entry for entry in reversed(entries)}
    known: dict[str, Subscriber] = {}
    for chunk in chunks(list(wanted), _CHUNK):
        statement = select(Subscriber).where(col(Subscriber.email_key).in_(chunk))
        known |= {row.email_key: row for row in session.exec(statement)}
    rows, changed = [], 0
    for key, entry in reversed(wanted.items()):
        if subscriber := known.get(key):
            if not only_new and subscriber.preferences != entry.preferences:
                changed += 1
                change_preferences(session, subscriber, entry.preferences)
            continue
        rows.append(
            preference_columns(entry.preferences)
            | {
                "email": entry.email,
                "email_key": key,
                "state": entry.state,
                "created_at": now,
                "pending_since": now if entry.state is State.PENDING else None,
                "confirmed_at": now if entry.state is State.ACTIVE else None,
                "unsubscribed_at": now if entry.state is State.UNSUBSCRIBED else None,
            },
        )
    if not rows:
        return {}, changed
    fresh = insert(session, Subscriber).on_conflict_do_nothing(index_elements=["email_key"])
    added = session.execute(fresh.returning(col(Subscriber.id), col(Subscriber.email_key)), rows)
    return {id_: wanted[key] for id_, key in sorted(tuple(row) for row in added)}, changed


def every(session: Session, state: State | None = None) -> Iterator[Subscriber]:
    """Yield all subscribers by id, a few hundred in memory at a time."""
    last = 0
    while True:
        statement = select(Subscriber).where(col(Subscriber.id) > last).order_by(col(Subscriber.id)).limit(_CHUNK)
        if state is not None:
            statement = statement.where(Subscriber.state == state)
        page = list(session.exec(statement))
        yield from page
        if len(page) < _CHUNK:
            return
        last = page[-1].id or 0
        session.expunge_all()


def counts(session: Session) -> dict[str, int]:
    """Return how many subscribers are in each state."""
    statement = select(Subscriber.state, sa.func.count()).group_by(col(Subscriber.state))
    return {state.value: 0 for state in State} | dict(session.exec(statement).all())


def suppress(session: Session, email: str, reason: str, now: datetime) -> None:
    """Never mail this address again."""
    row = {"email_hash": address_hash(email), "reason": reason, "suppressed_at": now}
    statement = insert(session, Suppression).values(row)
    changed = {"reason": reason, "suppressed_at": now}
    theirs = col(Suppression.reason) == ERASED  # a sign-up of their own lifts that, but nothing else
    session.execute(statement.on_conflict_do_update(index_elements=["email_hash"], set_=changed, where=theirs))


def lift_suppression(session: Session, email: str, reason: str) -> None:
    """Let an address be mailed again that is suppressed for this reason."""
    theirs = col(Suppression.email_hash) == address_hash(email), col(Suppression.reason) == reason
    session.execute(sa.delete(Suppression).where(*theirs))


def suppressed(session: Session, emails: Collection[str], *, but: str = "") -> set[str]:
    """Return those of `emails` that must not be mailed.

    :param but: a reason that does not count.
    """
    hashes = {address_hash(email): email for email in emails}
    rows = session.connection().execute(_suppressed(dialect(session)), {"hashes": hashes, "but": but})
    return {hashes[row[0]] for row in rows}


@cache
def _suppressed(where: str) -> sa.Select[Any]:
    theirs = among(where, col(Suppression.email_hash), "hashes"), col(Suppression.reason) != sa.bindparam("but")
    return sa.select(col(Suppression.email_hash)).where(*theirs)
