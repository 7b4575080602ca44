"""From leased deliveries to messages with their headers. Reads, never writes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from sqlmodel import Session

from newsletter import logs
from newsletter.delivery import dkim
from newsletter.delivery.alarms import store as alarms
from newsletter.delivery.alarms.models import Bundle
from newsletter.delivery.desk import Desk, Identity, Prepared, freeze
from newsletter.delivery.ledger import Leased
from newsletter.delivery.message import Envelope, build
from newsletter.delivery.models import Mail, SkipReason
from newsletter.delivery.transports import Outgoing
from newsletter.issues.digest import Selection
from newsletter.issues.words import cadence_words
from newsletter.rendering.placeholders import NO_TOKENS
from newsletter.rendering.templates import Templates
from newsletter.rendering.typeset import quoted_printable
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.changes.models import AddressChange
from newsletter.subscribers.models import ERASED, Addressee, State
from newsletter.subscribers.preferences import LISTS, Preferences

_log = logs.get(__name__)
_NO_WISHES = {name: json.dumps(value) if name in LISTS else value for name, value in Preferences().model_dump().items()}


def print_digests(
    session: Session, desk: Desk, leased: Sequence[Leased], identity: Identity, now: datetime
) -> tuple[list[Outgoing], dict[int, SkipReason]]:
    """Return the messages of a leased batch, and the deliveries that get none, with the reason."""
    deliveries = {each.subscriber_id: each.id for each in leased}
    kept = {each.subscriber_id: each.selection for each in leased if each.selection}
    prepared = desk.prepare(session, list(deliveries), kept, now, deliveries)
    outgoing: list[Outgoing] = []
    skipped: dict[int, SkipReason] = {}
    for each in leased:
        found = prepared[each.subscriber_id]
        if isinstance(found, SkipReason):
            skipped[each.id] = found
            continue
        made = _guarded(each, partial(address_digest, each, found, identity, now, desk.issue.slot))
        if isinstance(made, SkipReason):
            skipped[each.id] = made
        else:
            outgoing.append(made)
    return sign(outgoing, identity, now), skipped


def address_digest(leased: Leased, mail: Prepared, identity: Identity, now: datetime, slot: str) -> Outgoing:
    """Return a reader's mail with its headers, ready to be signed and handed over."""
    printed = mail.printed
    return _address(
        leased,
        mail.subscriber.email,
        printed.subject,
        (printed.text_pieces, printed.html_pieces, printed.tokens),
        identity,
        now,
        slot,
        mail.unsubscribe,
        mail.selection,
    )


def sign(batch: Sequence[Outgoing], identity: Identity, now: datetime) -> list[Outgoing]:
    """Return messages with their DKIM signatures, where there are keys for them."""
    if not identity.dkim_keys:
        return list(batch)
    signed = dkim.sign_all([(each.pieces, each.tokens) for each in batch], identity.dkim_keys, now)
    return [replace(each, pieces=pieces) for each, pieces in zip(batch, signed, strict=True)]


def print_notices(
    session: Session, templates: Templates, leased: Sequence[Leased], identity: Identity, now: datetime
) -> tuple[list[Outgoing], dict[int, SkipReason]]:
    """Return the messages of a leased batch of mails outside any issue, and those that are no longer wanted."""
    people = subscribers.addressees(session, [each.subscriber_id for each in leased])
    alarmed = alarms.bundles(session, {each.about_id or 0 for each in leased if each.mail is Mail.ALERT})
    about = [each.about_id for each in leased if each.about_id and each.mail.goes_elsewhere]
    moves = changes.address_changes(session, about)
    others = [address for move in moves.values() for address in (move.old_email, move.new_email)]
    barred = subscribers.suppressed(session, [*(each.email for each in people.values()), *others], but=ERASED)
    outgoing: list[Outgoing] = []
    skipped: dict[int, SkipReason] = {}
    for each in leased:
        bundle = alarmed.get(each.about_id or 0) if each.mail is Mail.ALERT else None
        if each.mail.is_for_operator:
            person = _operator(each, bundle, identity)
        else:
            person = _reader(each, people.get(each.subscriber_id))
        if isinstance(person, SkipReason):
            skipped[each.id] = person
            continue
        recipient = _recipient(each.mail, person, moves.get(each.about_id or 0))
        if recipient in barred and not each.mail.is_for_operator:
            skipped[each.id] = SkipReason.SUPPRESSED
            continue
        made = _guarded(each, partial(address_notice, each, person, recipient, templates, identity, now, bundle))
        if isinstance(made, SkipReason):
            skipped[each.id] = made
        else:
            outgoing.append(made)
    return sign(outgoing, identity, now), skipped


def _reader(leased: Leased, person: Addressee | None) -> Addressee | SkipReason:
    """Return who gets a mail; the one about leaving: who has not come back and left again since."""
    if person is None or person.state != leased.mail.wanted_by:
        return SkipReason.NOT_ACTIVE
    again = leased.mail is Mail.GOODBYE and person.unsubscribed_at != leased.queued_at
    return SkipReason.NOT_ACTIVE if again else person


def _operator(leased: Leased, bundle: Bundle | None, identity: Identity) -> Addressee | SkipReason:
    """Return who gets an alert, dressed as a reader: whoever has that place in the settings now."""
    place = -leased.subscriber_id
    if not 0 <= place < len(identity.operators):
        return SkipReason.NOT_ACTIVE
    if bundle is None:
        return SkipReason.NOTHING_NEW  # all of it is over
    return Addressee(0, identity.operators[place], State.ACTIVE, None, None, None, dict(_NO_WISHES))


def _recipient(mail: Mail, person: Addressee, move: AddressChange | None) -> str:
    if not mail.goes_elsewhere or move is None:
        return person.email
    return move.new_email if mail is Mail.NEW_ADDRESS else move.old_email


def address_notice(
    leased: Leased,
    person: Addressee,
    recipient: str,
    templates: Templates,
    identity: Identity,
    now: datetime,
    bundle: Bundle | None = None,
) -> Outgoing:
    """Return a mail outside any issue with its headers, ready to be signed and handed over.

    :param bundle: what an alert tells.
    """
    if leased.mail.is_for_operator:  # who is nobody's reader: a link of theirs would be a stranger's
        values = {"site": identity.letterhead, "alarms": bundle or Bundle()}
    else:
        values = notice_values(person, leased.about_id or 0, identity, now)
    content = templates.mail(leased.mail).render(values)
    parts = [quoted_printable(content.text)], [quoted_printable(content.html)], NO_TOKENS
    # A mail to an address that is nobody's yet must not let its owner unsubscribe somebody else.
    token = identity.signer.sign(Purpose.UNSUBSCRIBE, person.id, now=now) if leased.mail.is_of_list else ""
    return _address(leased, recipient, content.subject, parts, identity, now, "notices", token)


def _guarded(leased: Leased, make: Callable[[], Outgoing]) -> Outgoing | SkipReason:
    """Make a mail; one that cannot be made must not cost the others of its batch theirs."""
    try:
        return make()
    except Exception:  # noqa: BLE001  whatever it is, it is this mail's
        _log.exception("mail cannot be made", delivery=leased.id, mail=leased.mail)
        return SkipReason.UNPRINTABLE


def notice_values(person: Addressee, about_id: int, identity: Identity, now: datetime) -> dict[str, Any]:
    """Return what the templates of readers' mails outside any issue see: nothing that a stranger typed.

    :param about_id: the sign-up or the change of address that the mail is about.
    """
    sign, id_, wishes = identity.signer.sign, person.id, person.preferences
    return {
        "site": identity.letterhead,
        "hour": wishes.hour,
        "timezone": wishes.timezone,
        "when": cadence_words(wishes),
        "confirm_url": identity.links.confirm(sign(Purpose.CONFIRM, about_id, now=now)),
        "come_back_url": identity.links.rejoin(sign(Purpose.REJOIN, id_, now=person.unsubscribed_at or now)),
        "new_address_url": identity.links.new_address(sign(Purpose.NEW_ADDRESS, about_id, now=now)),
        "preferences_url": identity.preferences_url(person, now),
        "unsubscribe_url": identity.links.unsubscribe(sign(Purpose.UNSUBSCRIBE, id_, now=now)),
    }


def _address(
    leased: Leased,
    recipient: str,
    subject: str,
    parts: tuple[list[bytes], list[bytes], Mapping[bytes, bytes]],
    identity: Identity,
    now: datetime,
    folder: str,
    token: str,
    selection: Selection | None = None,
) -> Outgoing:
    sender = identity.sender
    mark = identity.signer.fingerprint(f"{leased.mail}.{leased.id}.{leased.subscriber_id}")
    message_id = leased.message_id or f"<{folder}.{leased.id}.{mark}@{sender.domain}>"
    envelope = Envelope(
        sender_name=sender.name,
        sender_address=sender.address,
        recipient=recipient,
        subject=subject,
        date=now,
        message_id=message_id,
        list_id=f"{leased.mail}.{sender.domain}",
        unsubscribe_url=identity.links.unsubscribe(token) if token else "",
        # read by people at the sender's address, who have a command for it
        unsubscribe_mailto=f"mailto:{sender.address}?subject=unsubscribe%20{token}",
        feedback_id=f"{folder}:{leased.mail}:newsletter:{_sender_id(sender.domain)}",
    )
    text, html, tokens = parts
    return Outgoing(
        leased=leased,
        folder=folder,
        # an address of its own for each mail tells which one bounced (VERP)
        sender=f"bounce+{leased.id}-{mark[:10]}@{identity.envelope_domain}",
        recipient=recipient,
        message_id=message_id,
        pieces=build(envelope, text, html),
        selection=freeze(selection) if selection else None,
        tokens=tokens,
    )


@lru_cache(maxsize=10)
def _sender_id(domain: str) -> str:
    """Return the 5 to 15 characters that mailbox providers know a sender by."""
    return "".join(char for char in domain if char.isalnum())[:15].ljust(5, "0")
