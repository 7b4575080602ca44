"""What we know of a reader: all of it on request, and none of it when they want to be forgotten."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, SQLModel

from newsletter.app import App
from newsletter.db import forget_deleted
from newsletter.delivery import store as deliveries
from newsletter.delivery.kept import store as kept_mails
from newsletter.delivery.models import Mail
from newsletter.papers import store as papers
from newsletter.ranking.types import Parts
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import address_hash, mailbox_hash
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.changes.models import Act
from newsletter.subscribers.intake import store as intake
from newsletter.subscribers.intake.models import EntryPoint
from newsletter.subscribers.models import ERASED, Subscriber
from newsletter.subscribers.ratings import store as ratings
from newsletter.tracking import store as events

_INTERNAL = {"id", "subscriber_id", "email_key", "lease_owner", "lease_until", "client", "domain"}


def everything(session: Session, person: Subscriber) -> dict[str, Any]:
    """Return everything that is kept about a reader, as JSON would have it (GDPR, articles 15 and 20)."""
    id_, hash_ = person.id or 0, address_hash(person.email)
    preference_changes, address_changes, consents = changes.history(session, id_, hash_)
    # What was mailed to an address that is not theirs yet would tell whether it is somebody's.
    mails = [each for each in deliveries.of_reader(session, id_) if each[0].mail != Mail.NEW_ADDRESS]
    sent = {paper_id for mail, _ in mails for paper_id in kept_mails.picked_ids(mail.selection)}
    titles = {paper_id: paper.title for paper_id, paper in papers.by_ids(session, sent).items()}
    return {
        "subscriber": _plain(person) | person.preferences.model_dump(mode="json"),
        "said_of_papers": [_plain(each) for each in ratings.all_of(session, id_)],
        "mails": [
            _plain(mail) | {"issue": slot, "papers": _picks(mail, titles), "trending": _named(mail, titles)}
            for mail, slot in mails
        ],
        "events": [_plain(each) for each in events.of_reader(session, id_)],
        "sign_ups": [_plain(each) for each in intake.of_address(session, id_, mailbox_hash(person.email))],
        "preference_changes": [_plain(each) for each in preference_changes],
        "address_changes": [_plain(each) for each in address_changes],
        "consents": [_plain(each) for each in consents],
    }


def erase(
    app: App, subscriber_id: int, entry: EntryPoint = EntryPoint.FORM, *, left_at: datetime | None = None
) -> bool:
    """Delete a reader and all that is kept about them; return whether there was such a reader.

    :param left_at: only if this is the second in which they left, and they have not come back.

    What stays: a number and a state in the accounting of the issues they were sent, and the hash of their
    address, in the log of consent and among those never to be mailed unless they sign up again themselves.
    """
    now = app.now()
    with app.db.session() as session:
        person = subscribers.locked(session, subscriber_id)
        if person is None or (left_at is not None and not subscribers.left_then(person, left_at)):
            return False
        hash_ = address_hash(person.email)
        deliveries.forget(session, [subscriber_id])
        events.forget(session, subscriber_id)
        _, moves, _ = changes.history(session, subscriber_id, hash_)
        emails = {person.email, *(each.old_email for each in moves)}
        intake.forget(session, subscriber_id, sorted(map(mailbox_hash, emails)))
        changes.forget_address(session, person.email)
        changes.agree(session, hash_, Act.ERASED, now, entry=entry)
        subscribers.suppress(session, person.email, ERASED, now)
        subscribers.delete(session, person)
    forget_deleted(app.db)
    return True


def _plain(row: SQLModel) -> dict[str, Any]:
    return row.model_dump(mode="json", exclude=_INTERNAL)


def _parts(parts: Sequence[float] | None = None, *_: object) -> dict[str, float]:
    """Return what a score was made of; nothing for what was chosen before that was kept."""
    return dict(zip(Parts._fields, parts or (), strict=False))


def _picks(mail: Any, titles: dict[int, str]) -> list[dict[str, Any]]:  # noqa: ANN401  a delivery
    picks = (mail.selection or {}).get("picks", ())
    return [
        {"title": titles.get(paper_id, ""), "score": score, "reason": reason, "parts": _parts(*parts)}
        for paper_id, score, reason, *parts in picks
    ]


def _named(mail: Any, titles: dict[int, str]) -> list[str]:  # noqa: ANN401  a delivery
    picks = {pick[0] for pick in (mail.selection or {}).get("picks", ())}
    return [titles.get(paper_id, "") for paper_id in sorted(kept_mails.picked_ids(mail.selection) - picks)]
