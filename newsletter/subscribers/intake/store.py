"""All SQL about what strangers ask for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import take_turn
from newsletter.subscribers.addresses import mailbox_hash
from newsletter.subscribers.intake.limits import DAY, HOUR, MONTH, Mailed
from newsletter.subscribers.intake.models import EntryPoint, Outcome, SignUp
from newsletter.subscribers.models import State, Subscriber

_LINK = "link"
_BLANK: dict[str, Any] = {"email": "", "wishes": None, "liked": [], "said": ""}
_ONE_AT_A_TIME = 7237203  # two workers must not each allow the last mail that a limit leaves


def of_ours(email: str, entry: EntryPoint, mail: str, now: datetime, subscriber_id: int | None = None) -> SignUp:
    """Return a request that no stranger made: it is mailed at once, and counts for the address alone."""
    return SignUp(
        email=email,
        email_hash=mailbox_hash(email),
        domain="",
        client="",
        entry=entry,
        asked_at=now,
        not_before=now,
        mail=mail,
        outcome=Outcome.MAILED,
        mailed_at=now,
        subscriber_id=subscriber_id,
    )


def write(session: Session, sign_up: SignUp) -> None:
    """Write a request down."""
    session.add(sign_up)


def write_mailed(session: Session, rows: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Write down requests of the operator, who is mailed at once; return their ids by subscriber."""
    if not rows:
        return {}
    statement = sa.insert(SignUp).returning(col(SignUp.subscriber_id), col(SignUp.id))
    return {row[0]: row[1] for row in session.execute(statement, list(rows))}


def waiting(session: Session, now: datetime, limit: int) -> Sequence[SignUp]:
    """Return requests that are to be looked at, oldest first; only one worker gets any."""
    take_turn(session, _ONE_AT_A_TIME)
    return session.exec(select(SignUp).where(*_due(now)).order_by(col(SignUp.id)).limit(limit)).all()


def any_waiting(session: Session, now: datetime) -> bool:
    """Return whether there is a request to be looked at."""
    return session.exec(select(SignUp.id).where(*_due(now)).limit(1)).first() is not None


def get(session: Session, sign_up_id: int) -> SignUp | None:
    """Return a request by id."""
    return session.get(SignUp, sign_up_id)


def asked(session: Session, client: str, now: datetime) -> tuple[int, int]:
    """Return how often a client, and everybody, asked within the last hour."""
    since = col(SignUp.asked_at) > now - HOUR, col(SignUp.entry) != EntryPoint.OPERATOR
    return _count(session, *since, col(SignUp.client) == client), _count(session, *since)


def mailed(session: Session, sign_up: SignUp, now: datetime) -> Mailed:
    """Return what was mailed lately that counts against one mail more; reminders count for the address."""
    at, strangers = col(SignUp.mailed_at), col(SignUp.entry) != EntryPoint.OPERATOR
    same = col(SignUp.mail) == _LINK if sign_up.mail == _LINK else col(SignUp.mail) != _LINK
    address = sa.and_(col(SignUp.email_hash) == sign_up.email_hash, same)
    hour = at > now - HOUR, strangers
    before = col(SignUp.asked_at) > sign_up.asked_at - HOUR, col(SignUp.id) < (sign_up.id or 0)
    return Mailed(
        address_day=_count(session, address, at > now - DAY),
        address_month=_count(session, address, at > now - MONTH)
        + _count(session, address, col(SignUp.reminded_at) > now - MONTH),
        domain_hour=_count(session, *hour, col(SignUp.domain) == sign_up.domain),
        # What was asked, not what was mailed: or what is mailed to others would tell who is a subscriber.
        client_hour=_count(session, *before, col(SignUp.client) == sign_up.client, col(SignUp.client) != ""),
        all_hour=_count(session, *hour),
    )


def open_request(session: Session, sign_up: SignUp) -> SignUp | None:
    """Return the request whose confirmation was mailed already, if the same client asks again for the same address."""
    statement = (
        select(SignUp)
        .where(SignUp.email_hash == sign_up.email_hash, SignUp.client == sign_up.client)
        .where(sa.func.lower(SignUp.email) == sign_up.email.lower())
        .where(SignUp.outcome == Outcome.MAILED, col(SignUp.wishes).is_not(None))
        .order_by(col(SignUp.id).desc())
        .limit(1)
    )
    return session.exec(statement).first()


def last_wish(session: Session, subscriber_id: int) -> SignUp | None:
    """Return the last request of a pending subscriber that says what they want."""
    theirs = SignUp.subscriber_id == subscriber_id, SignUp.outcome == Outcome.MAILED, col(SignUp.wishes).is_not(None)
    return session.exec(select(SignUp).where(*theirs).order_by(col(SignUp.id).desc()).limit(1)).first()


def to_remind(session: Session, mailed_before: datetime, mailed_after: datetime, limit: int) -> list[SignUp]:
    """Return requests whose confirmation was mailed a while ago, not reminded of, of subscribers still pending."""
    other = sa.orm.aliased(SignUp)
    reminded = select(other.id).where(
        col(other.subscriber_id) == col(SignUp.subscriber_id), col(other.reminded_at).is_not(None)
    )
    statement = (
        select(SignUp)
        .join(Subscriber, col(Subscriber.id) == col(SignUp.subscriber_id))
        .where(SignUp.outcome == Outcome.MAILED, Subscriber.state == State.PENDING)
        .where(col(SignUp.mailed_at) <= mailed_before, col(SignUp.mailed_at) > mailed_after)
        .where(~reminded.exists())
        .order_by(col(SignUp.id))
        .limit(limit)
    )
    return list(session.exec(statement))


def mark_reminded(session: Session, sign_up_ids: Sequence[int], now: datetime) -> None:
    """Note which requests somebody was reminded of."""
    session.execute(sa.update(SignUp).where(col(SignUp.id).in_(sign_up_ids)).values(reminded_at=now))


def forget_old(session: Session, now: datetime, keep: timedelta) -> None:
    """Forget who asked and for what when it can no longer be confirmed; what limits count goes after 30 days."""
    since = sa.func.coalesce(SignUp.mailed_at, SignUp.asked_at)
    session.execute(
        sa.update(SignUp).where(since < now - keep, col(SignUp.email) != "").values(_BLANK | {"client": ""})
    )
    session.execute(sa.delete(SignUp).where(col(SignUp.asked_at) < now - MONTH))


def forget(session: Session, subscriber_id: int, email_hashes: Sequence[str]) -> None:
    """Forget all that was asked for addresses but when it was: who is erased must not be mailed all the more."""
    theirs = _theirs(subscriber_id, email_hashes)
    session.execute(sa.update(SignUp).where(theirs).values(_BLANK | {"subscriber_id": None}))


def of_address(session: Session, subscriber_id: int, email_hash: str) -> Sequence[SignUp]:
    """Return what was asked for an address, oldest first."""
    return session.exec(select(SignUp).where(_theirs(subscriber_id, [email_hash])).order_by(col(SignUp.id))).all()


def _due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return col(SignUp.outcome) == Outcome.NEW, col(SignUp.not_before) <= now


def _theirs(subscriber_id: int, email_hashes: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a request is a subscriber's: of one mailbox, or of an address that moved, others may ask as well."""
    nobodys = sa.and_(col(SignUp.subscriber_id).is_(None), col(SignUp.email_hash).in_(email_hashes))
    return sa.or_(col(SignUp.subscriber_id) == subscriber_id, nobodys)


def _count(session: Session, *where: Any) -> int:  # noqa: ANN401  SQLAlchemy's conditions
    return session.exec(select(sa.func.count(col(SignUp.id))).where(*where)).one()
