"""Readers join and leave: each step with the mail it asks for, in one transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session

from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Mail
from newsletter.subscribers import signup
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State, Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.tracking import record

_NOTICE_WITHIN = timedelta(days=2)


def add_subscriber(app: App, email: str, preferences: Preferences, *, confirmed: bool) -> bool:
    """Add a subscriber on an operator's word; return whether the address was new."""
    state = State.ACTIVE if confirmed else State.PENDING
    return import_subscribers(app, [Entry(email, preferences, state)], only_new=True)[0] == 1


def import_subscribers(app: App, entries: Sequence[Entry], *, only_new: bool = False) -> tuple[int, int]:
    """Write subscribers down and ask the pending ones to confirm; return how many are new, and changed."""
    now = app.now()
    with app.db.session() as session:
        added, changed = subscribers.write_entries(session, entries, now, only_new=only_new)
        people = subscribers.by_ids(session, added).values()
        _ask_to_confirm(session, [person for person in people if person.state == State.PENDING], now)
    app.wake(None)
    return len(added), changed


def sign_up(app: App, email: str, preferences: Preferences) -> None:
    """Take a sign-up: whoever it is gets at most one confirmation mail a day."""
    now = app.now()
    with app.db.session() as session:
        asked = signup.ask(session, email, preferences, now)
        if asked.confirm:
            _ask_to_confirm(session, [asked.subscriber], now)
    app.wake(None)


def confirm(app: App, subscriber_id: int) -> Subscriber | None:
    """Make a pending subscriber active and welcome them; return them, or ``None`` if they left or never were."""
    now = app.now()
    with app.db.session() as session:
        if subscribers.activate(session, subscriber_id, now):
            once = {subscriber_id: now.isoformat()}
            deliveries.queue_notices(session, Mail.WELCOME, once, now=now, within=_NOTICE_WITHIN)
        person = subscribers.get(session, subscriber_id)
    app.wake(None)
    return person if person and person.state == State.ACTIVE else None


def unsubscribe(app: App, subscriber_id: int) -> bool:
    """Let somebody leave; return whether there is such a subscriber.

    Every mail asks again right before its final dot.
    """
    now = app.now()
    with app.db.session() as session:
        if subscribers.leave(session, subscriber_id, now):
            record.left(session, subscriber_id, now)
        return subscribers.get(session, subscriber_id) is not None


def _ask_to_confirm(session: Session, people: Sequence[Subscriber], now: datetime) -> None:
    """Queue confirmations: one a day to an address, but another one after somebody left and comes back."""
    once = {person.id or 0: f"{now.date()}:{person.unsubscribed_at or ''}" for person in people}
    deliveries.queue_notices(session, Mail.CONFIRMATION, once, now=now, within=_NOTICE_WITHIN)
