"""Who a link belongs to: every link is signed for one purpose, and says who may do what."""

from datetime import datetime, timedelta

from fastapi import HTTPException, Request

from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Delivery
from newsletter.errors import TokenError
from newsletter.signing import Purpose, Signed
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State, Subscriber
from newsletter.tracking import record
from newsletter.tracking.models import Kind
from newsletter.web.entrance import is_from_elsewhere

LINKS_LAST = timedelta(days=90)  # every mail brings a fresh one
_BAD = "this link is not valid"


def by_preferences(app: App, token: str) -> Subscriber:
    """Return the active subscriber whose preferences a link opens.

    :raises TokenError: it is forged, old, or was ended by its reader.
    """
    signed = app.signer.read(Purpose.PREFERENCES, token, now=app.now(), max_age=LINKS_LAST)
    with app.db.snapshot() as session:
        return _active(subscribers.get(session, signed.id), signed, app.now())


def by_feedback(app: App, token: str) -> tuple[Subscriber, Delivery]:
    """Return the active subscriber whose mail a link came with, and that mail.

    :raises TokenError: it is forged, old, or was ended by its reader.
    """
    signed = app.signer.read(Purpose.FEEDBACK, token, now=app.now(), max_age=LINKS_LAST)
    record.came_back(app.db, signed.id, Kind.CLICKED, app.now())
    with app.db.snapshot() as session:
        delivery = deliveries.get(session, signed.id)
        if delivery is None:
            raise TokenError(_BAD)
        return _active(subscribers.get(session, delivery.subscriber_id), signed, app.now()), delivery


def by_mail(app: App, token: str) -> tuple[Subscriber, Delivery, datetime] | None:
    """Return the mail that a link came with, its active reader, and when it was printed; ``None`` if it is too old.

    :raises TokenError: it is forged, or was ended by its reader.
    """
    signed = app.signer.read(Purpose.FEEDBACK, token, now=app.now())
    record.came_back(app.db, signed.id, Kind.CLICKED, app.now())
    with app.db.snapshot() as session:
        delivery = deliveries.get(session, signed.id)
        person = subscribers.get(session, delivery.subscriber_id) if delivery else None
    if delivery is None or app.now() - signed.at > LINKS_LAST:
        return None
    return _active(person, signed, app.now()), delivery, signed.at


def by_feed(app: App, token: str) -> Subscriber:
    """Return the active subscriber whose feed this is; its link is good until its reader ends it, or leaves.

    :raises TokenError: it is forged, or was ended.
    """
    signed = app.signer.read(Purpose.FEED, token, now=app.now())
    with app.db.snapshot() as session:
        person = subscribers.get(session, signed.id)
    if person is None or person.state != State.ACTIVE or _was_ended(person, signed):
        raise TokenError(_BAD)
    return person


def feed_path(app: App, person: Subscriber) -> str:
    """Return the path of a reader's feed, without the format's ending: the same one until they end their links."""
    at = person.links_since or person.confirmed_at or person.created_at
    return f"/feed/{app.signer.sign(Purpose.FEED, person.id or 0, now=at)}"


def by_unsubscribe(app: App, token: str) -> Subscriber:
    """Return whose link to leave this is; it never expires.

    :raises TokenError: it is forged, or its reader is gone.
    """
    signed = app.signer.read(Purpose.UNSUBSCRIBE, token, now=app.now())
    record.came_to_leave(app.db, {signed.id: signed.at}, app.now())
    with app.db.snapshot() as session:
        person = subscribers.get(session, signed.id)
    if person is None:
        raise TokenError(_BAD)
    return person


def preferences_path(app: App, person: Subscriber) -> str:
    """Return the path of a fresh link to a reader's preferences."""
    return app.identity.preferences_url(person, app.now()).removeprefix(app.settings.base_url)


def fingerprint(app: App, token: str) -> str:
    """Return what the log of consent keeps of a link: enough to recognise it, not enough to use it."""
    return app.signer.fingerprint(f"token {token}")


def refuse_other_sites(request: Request) -> None:
    """Let nobody press a button of ours from another site's page.

    :raises HTTPException: 403.
    """
    app: App = request.app.state.app
    if request.method == "POST" and is_from_elsewhere(request, app.settings.base_url):
        raise HTTPException(403)


def opens_preferences(person: Subscriber, signed: Signed, now: datetime) -> bool:
    """Return whether a link made then is one that still opens what is a reader's own."""
    return now - signed.at <= LINKS_LAST and not _was_ended(person, signed)


def _was_ended(person: Subscriber, signed: Signed) -> bool:
    return person.links_since is not None and signed.at < person.links_since


def _active(person: Subscriber | None, signed: Signed, now: datetime) -> Subscriber:
    if person is None or person.state != State.ACTIVE or not opens_preferences(person, signed, now):
        raise TokenError(_BAD)
    return person
