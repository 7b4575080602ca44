"""Joining and leaving: what each step does to the row, and which mail it asks for."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from newsletter.subscribers import store
from newsletter.subscribers.models import State, Subscriber
from newsletter.subscribers.preferences import Preferences

CONFIRM_WITHIN = timedelta(days=7)  # a sign-up on Friday can still be confirmed on Monday


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a sign-up; `confirm` is false when no confirmation is to be mailed."""

    subscriber: Subscriber
    confirm: bool


def ask(session: Session, email: str, preferences: Preferences, now: datetime) -> Asked:
    """Take a sign-up from somebody who has not yet proved that the address is theirs.

    An active subscriber's row stays as it is: a stranger may be typing. Somebody who left is pending again.
    """
    subscriber = store.find(session, email)
    if subscriber is None:
        subscriber = store.add(session, email, preferences, State.PENDING, now)
    elif subscriber.state != State.ACTIVE:
        subscriber.state = State.PENDING
        store.change_preferences(session, subscriber, preferences)
    blocked = bool(store.suppressed(session, [subscriber.email]))
    return Asked(subscriber, confirm=subscriber.state == State.PENDING and not blocked)
