"""All SQL about changes of preferences and addresses, and about consent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.subscribers.addresses import address_hash
from newsletter.subscribers.changes.models import AddressChange, Consent, PreferenceChange


def keep_before(session: Session, subscriber_id: int, before: dict[str, Any], now: datetime) -> int:
    """Keep what was before a change; return the change's id."""
    change = PreferenceChange(subscriber_id=subscriber_id, changed_at=now, before=before)
    session.add(change)
    session.flush()
    return change.id or 0


def latest(session: Session, subscriber_id: int) -> PreferenceChange | None:
    """Return a reader's last change."""
    statement = (
        select(PreferenceChange)
        .where(PreferenceChange.subscriber_id == subscriber_id)
        .order_by(col(PreferenceChange.id).desc())
        .limit(1)
    )
    return session.exec(statement).first()


def ask_address(session: Session, subscriber_id: int, old: str, new: str, now: datetime) -> AddressChange:
    """Write down that a reader wants to be mailed elsewhere."""
    change = AddressChange(subscriber_id=subscriber_id, old_email=old, new_email=new, asked_at=now)
    session.add(change)
    session.flush()
    return change


def address_change(session: Session, change_id: int) -> AddressChange | None:
    """Return a change of address by id."""
    return session.get(AddressChange, change_id)


def address_changes(session: Session, ids: Sequence[int]) -> dict[int, AddressChange]:
    """Return changes of address by id."""
    found = session.exec(select(AddressChange).where(col(AddressChange.id).in_(ids)))
    return {each.id or 0: each for each in found}


def forget_address(session: Session, email: str) -> None:
    """Forget who wanted to be mailed at an address, and did not confirm it."""
    session.execute(sa.delete(AddressChange).where(col(AddressChange.new_email) == email))


def asked_since(session: Session, subscriber_id: int, since: datetime) -> int:
    """Return how many changes of address a reader has asked for since an instant."""
    statement = select(sa.func.count(col(AddressChange.id)))
    theirs = AddressChange.subscriber_id == subscriber_id, col(AddressChange.asked_at) > since
    return session.exec(statement.where(*theirs)).one()


def agree(
    session: Session, email_hash: str, act: str, now: datetime, *, entry: str, said: str = "", token: str = ""
) -> None:
    """Write down what somebody agreed to, or withdrew."""
    session.add(Consent(email_hash=email_hash, act=act, entry=entry, said=said, token=token, at=now))


def agree_all(
    session: Session, email_hashes: Sequence[str], act: str, now: datetime, *, entry: str, said: str = ""
) -> None:
    """Write down that many people agreed to the same, or withdrew."""
    if email_hashes:
        common = {"act": act, "entry": entry, "said": said, "token": "", "at": now}
        session.execute(sa.insert(Consent), [common | {"email_hash": each} for each in email_hashes])


def history(
    session: Session, subscriber_id: int, email_hash: str
) -> tuple[Sequence[PreferenceChange], Sequence[AddressChange], Sequence[Consent]]:
    """Return all changes of a reader and all that was agreed to for their addresses, oldest first."""
    changes = select(PreferenceChange).where(PreferenceChange.subscriber_id == subscriber_id)
    addresses = select(AddressChange).where(AddressChange.subscriber_id == subscriber_id)
    moves = session.exec(addresses.order_by(col(AddressChange.id))).all()
    theirs = [col(Consent.email_hash) == email_hash]
    theirs += [
        sa.and_(col(Consent.email_hash) == address_hash(each.old_email), col(Consent.at) <= each.done_at)
        for each in moves
        if each.done_at
    ]
    consents = select(Consent).where(sa.or_(*theirs))
    return (
        session.exec(changes.order_by(col(PreferenceChange.id))).all(),
        moves,
        session.exec(consents.order_by(col(Consent.id))).all(),
    )


def forget_old(session: Session, before: datetime) -> None:
    """Delete what can no longer be undone, and former addresses: they may be somebody else's by now."""
    session.execute(sa.delete(PreferenceChange).where(col(PreferenceChange.changed_at) < before))
    session.execute(sa.delete(AddressChange).where(col(AddressChange.asked_at) < before))
