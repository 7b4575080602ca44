"""All SQL about what a reader's mails held."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import among, dialect
from newsletter.delivery.models import SPENT, Delivery, DeliveryState, Mail

MOST_ID = 2**31 - 1  # that a column takes


def newest(session: Session, subscriber_id: int, limit: int) -> list[tuple[datetime, Any]]:
    """Return when a reader's newest digests were accepted by our relay, and what they held, newest first."""
    statement = (
        select(Delivery.done_at, Delivery.queued_at, Delivery.selection)
        .where(
            Delivery.subscriber_id == subscriber_id,
            Delivery.mail == Mail.DIGEST,
            Delivery.state == DeliveryState.SENT,
            col(Delivery.selection).is_not(None),
        )
        .order_by(col(Delivery.queued_at).desc(), col(Delivery.id).desc())
        .limit(limit)
    )
    return [(done_at or queued_at, selection) for done_at, queued_at, selection in session.exec(statement)]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a reader was sent, or may have been sent.

    :ivar subject: what was inside the last mail.
    """

    papers: frozenset[int] = frozenset()
    subject: str = ""


def sent(
    session: Session, subscriber_ids: Sequence[int], since: datetime, *, but: int | None = None
) -> dict[int, Sent]:
    """Return what each reader was sent, or may have been sent, by mails queued since an instant.

    :param but: an issue that does not count.
    """
    statement = _sent(dialect(session))
    if but is not None:
        statement = statement.where(col(Delivery.issue_id) != but)
    rows = session.connection().execute(statement, {"readers": subscriber_ids, "since": since})
    papers: dict[int, set[int]] = {}
    last: dict[int, Any] = {}
    for subscriber_id, selection in rows:
        papers.setdefault(subscriber_id, set()).update(picked_ids(selection))
        last[subscriber_id] = selection
    return {each: Sent(frozenset(papers[each]), _subject(selection)) for each, selection in last.items()}


@cache
def _sent(where: str) -> sa.Select[Any]:
    theirs = (
        among(where, col(Delivery.subscriber_id), "readers"),
        col(Delivery.queued_at) >= sa.bindparam("since"),
        col(Delivery.state).in_(SPENT),
        col(Delivery.selection).is_not(None),
    )
    found = sa.select(col(Delivery.subscriber_id), col(Delivery.selection)).where(*theirs)
    return found.order_by(col(Delivery.subscriber_id), col(Delivery.queued_at))  # as the index has them


def _subject(selection: Any) -> str:  # noqa: ANN401  JSON, of whatever version wrote it
    return str(selection.get("subject", "")) if isinstance(selection, dict) else ""


def picked_ids(selection: Any) -> set[int]:  # noqa: ANN401  JSON, of whatever version wrote it
    """Return the papers of a kept selection, those that it only names among them; none of one that cannot be read."""
    try:
        shown = (*selection["picks"], *selection.get("trending", ()))
        return {int(each[0]) for each in shown if 0 <= each[0] <= MOST_ID}
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return set()
