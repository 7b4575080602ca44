"""Opens and clicks, from a link's token to an event and a target."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import Session

from newsletter.db import Database
from newsletter.delivery import store as deliveries
from newsletter.delivery.decisions import store as decisions
from newsletter.delivery.kept import store as kept_mails
from newsletter.delivery.models import Delivery
from newsletter.papers import store as papers
from newsletter.papers.models import link_targets
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.ratings import store as ratings
from newsletter.tracking import store
from newsletter.tracking.models import Kind

_TOO_SOON, _AT_ONCE, _TOO_MANY = timedelta(seconds=10), timedelta(seconds=2), 3  # links: a scanner follows all
_IDS = 2**31  # of papers: a database refuses a larger number
Tracking = Literal["off", "aggregate", "personal"]


def came_back(db: Database, delivery_id: int, what: Kind, now: datetime) -> None:
    """Take any use of a link that only one mail holds, by whomever, as evidence that this mail has arrived.

    It settles a delivery that is unknown, and says nothing of its reader.
    """
    with db.snapshot() as session:
        doubtful = decisions.in_doubt(session, delivery_id)
    if doubtful:
        with db.session() as session:
            decisions.came_back(session, delivery_id, what, now)


def came_to_leave(db: Database, signed: Mapping[int, datetime], now: datetime) -> None:
    """Take links to leave as evidence: each names its reader, and when it was printed.

    :param signed: by subscriber, when their link was printed.
    """
    with db.snapshot() as session:
        found = decisions.brought_by(session, signed)
    if found:
        with db.session() as session:
            for delivery_id in found:
                decisions.came_back(session, delivery_id, Kind.UNSUBSCRIBED, now)


def opened(session: Session, delivery_id: int, now: datetime, tracking: Tracking) -> None:
    """Count an open."""
    _record(session, Kind.OPENED, delivery_id, now, tracking)


def target(session: Session, delivery_id: int, paper_id: int, kind: str) -> str | None:
    """Return where a link of a mail goes: an address from our own tables, for a paper that the mail holds.

    A mail that we no longer know of, or no longer what it held, may lead to any paper: old mails outlive their rows.
    """
    delivery = deliveries.get(session, delivery_id)
    if not 0 < paper_id < _IDS:
        return None
    if delivery and delivery.selection and paper_id not in kept_mails.picked_ids(delivery.selection):
        return None
    paper = papers.by_ids(session, [paper_id]).get(paper_id)
    return link_targets(paper).get(kind) if paper else None


def clicked(session: Session, delivery_id: int, paper_id: int, kind: str, now: datetime, tracking: Tracking) -> None:
    """Count a click on a link that has a target; a reader who may be told apart likes the paper, by half, from now on.

    A click within ten seconds of the mail, or one of three links of a mail within two, is a scanner's and says nothing.
    """
    delivery = _record(session, Kind.CLICKED, delivery_id, now, tracking, paper_id=paper_id, link=kind)
    paper = papers.by_ids(session, [paper_id]).get(paper_id) if delivery and tracking == "personal" else None
    if delivery is None or paper is None or delivery.done_at is None or now - delivery.done_at < _TOO_SOON:
        return
    who, just_now = delivery.subscriber_id, now - _AT_ONCE
    if store.links_since(session, who, delivery.issue_id or 0, just_now) >= _TOO_MANY:
        ratings.forget_clicks(session, who, just_now)
    else:
        ratings.clicked(session, who, paper.key, now, paper_id=paper_id, title=paper.title)


def left(session: Session, subscriber_ids: Iterable[int], now: datetime) -> None:
    """Record that people left."""
    store.record_all(session, Kind.UNSUBSCRIBED, now, subscriber_ids)


def spoke(session: Session, kind: Kind, subscriber_id: int, issue_id: int, paper_id: int, now: datetime) -> None:
    """Record that a reader said something of a paper: their own word, whatever is tracked."""
    store.record(session, kind, now, issue_id=issue_id, subscriber_id=subscriber_id, paper_id=paper_id)


def _record(
    session: Session,
    kind: Kind,
    delivery_id: int,
    now: datetime,
    tracking: Tracking,
    *,
    paper_id: int = 0,
    link: str = "",
) -> Delivery | None:
    """Count what came back; return the mail, if its reader's may be counted."""
    delivery = deliveries.get(session, delivery_id)
    if delivery is None or tracking == "off":
        return None
    reader = subscribers.get(session, delivery.subscriber_id)
    if reader is None or not reader.tracking:  # also by what was mailed before they said so
        return None
    who = delivery.subscriber_id if tracking == "personal" else 0
    store.record(session, kind, now, issue_id=delivery.issue_id or 0, subscriber_id=who, paper_id=paper_id, link=link)
    return delivery
