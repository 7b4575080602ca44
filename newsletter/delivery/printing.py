"""From leased deliveries to messages: rank the batch, select, compose, print. Reads, never writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlmodel import Session

from newsletter import logs
from newsletter.delivery import store
from newsletter.delivery.ledger import Leased
from newsletter.delivery.message import Envelope, build
from newsletter.delivery.models import Mail, SkipReason
from newsletter.delivery.transports import Outgoing
from newsletter.issues.compose import DigestPick, Edition, Reader, Selection
from newsletter.issues.models import Issue
from newsletter.issues.store import Draft
from newsletter.papers import store as papers
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import Templates
from newsletter.rendering.typeset import Press, Printed, quoted_printable
from newsletter.rendering.views import Tokens
from newsletter.settings import Sender
from newsletter.signing import Purpose, Signer
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State, Subscriber

_log = logs.get(__name__)
_SEEN_MARGIN = timedelta(days=2)  # an issue may have been queued before the listing's own day began


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the mails come from, and what signs their links."""

    sender: Sender
    envelope_domain: str
    letterhead: Letterhead
    links: Links
    signer: Signer


@dataclass(frozen=True, slots=True)
class Prepared:
    """A reader's mail, all but its address and its delivery: what a dry run shows and a real run sends."""

    subscriber: Subscriber
    selection: Selection
    printed: Printed
    warnings: tuple[str, ...] = ()


class Desk:
    """One issue on the printers' desk: its edition and its press, made once and shared by all batches."""

    def __init__(self, session: Session, draft: Draft, identity: Identity, templates: Templates) -> None:
        found = papers.by_ids(session, [each.paper_id for each in draft.candidates])
        self.issue: Issue = draft.issue
        self.papers = found
        self._edition = Edition(draft.issue.day, draft.candidates, found, draft.issue.news)
        # a candidate may have been listed before the window, by another source, and been sent then
        self._known_since = min(
            (each.first_listed_at for each in found.values() if each.first_listed_at), default=self.issue.window_start
        )
        self._identity = identity
        self._press = Press(templates.mail(Mail.DIGEST), self._edition, identity.letterhead, identity.links)

    def prepare(
        self, session: Session, subscriber_ids: Sequence[int], tokens: dict[int, int], now: datetime
    ) -> dict[int, Prepared | SkipReason]:
        """Return each subscriber's mail, or why there is none.

        :param tokens: by subscriber, the delivery whose id the links carry; selections kept by earlier
            attempts of the same issue are sent again as they were.
        """
        people = subscribers.by_ids(session, subscriber_ids)
        barred = subscribers.suppressed(session, [each.email for each in people.values()])
        found: dict[int, Prepared | SkipReason] = {}
        for subscriber_id in subscriber_ids:
            person = people.get(subscriber_id)
            if person is None or person.state != State.ACTIVE:
                found[subscriber_id] = SkipReason.NOT_ACTIVE
            elif person.email in barred:
                found[subscriber_id] = SkipReason.SUPPRESSED
            elif not _readable(person):
                found[subscriber_id] = SkipReason.UNPRINTABLE
        readers = [people[each] for each in subscriber_ids if each not in found]
        for person, selection in zip(readers, self._selections(session, readers), strict=True):
            id_ = person.id or 0
            found[id_] = (
                self._print(person, selection, tokens.get(id_, 0), now)
                if self._edition.worth_a_mail(person.preferences, selection)
                else SkipReason.NOTHING_NEW
            )
        return found

    def _print(
        self, person: Subscriber, selection: Selection, delivery_id: int, now: datetime
    ) -> Prepared | SkipReason:
        try:
            return self._printed(person, selection, delivery_id, now)
        except Exception:  # noqa: BLE001  one reader's broken mail must not cost the others theirs
            _log.exception("mail cannot be printed", subscriber=person.id, issue=self.issue.slot)
            return SkipReason.UNPRINTABLE

    def _selections(self, session: Session, readers: Sequence[Subscriber]) -> list[Selection]:
        ids = [person.id or 0 for person in readers]
        kept = store.kept_selections(session, self.issue.id or 0, ids)
        sent = store.seen_papers(session, ids, self._known_since - _SEEN_MARGIN)
        twins = papers.twins(session, (paper_id for each in sent.values() for paper_id in each))
        # who was sent a paper was sent what turned out to be the same one, too
        seen = {reader: each | {twins[paper_id] for paper_id in each & twins.keys()} for reader, each in sent.items()}
        fresh = [person for person in readers if (person.id or 0) not in kept]
        chosen = self._edition.choose([Reader(each.preferences, seen.get(each.id or 0, frozenset())) for each in fresh])
        new = {each.id: selection for each, selection in zip(fresh, chosen, strict=True)}
        return [new[person.id] if person.id in new else thaw(kept[person.id or 0]) for person in readers]

    def _printed(self, person: Subscriber, selection: Selection, delivery_id: int, now: datetime) -> Prepared:
        fitted = self._press.fit(selection)
        digest = self._edition.compose(person.preferences, fitted)
        sign = self._identity.signer.sign
        tokens = Tokens(sign(Purpose.READ, delivery_id, now=now), sign(Purpose.UNSUBSCRIBE, person.id or 0, now=now))
        left_out = len(selection.picks) - len(fitted.picks)
        warnings = (f"{left_out} papers wait for the next issue: the mail would be too large",) if left_out else ()
        return Prepared(person, fitted, self._press.print(digest, tokens), warnings)


def _readable(person: Subscriber) -> bool:
    """Return whether what is kept of a reader's wishes still means something."""
    try:
        _ = person.preferences
    except ValueError:
        _log.exception("wishes cannot be read", subscriber=person.id)
        return False
    return True


def print_digests(
    session: Session, desk: Desk, leased: Sequence[Leased], identity: Identity, now: datetime
) -> tuple[list[Outgoing], dict[int, SkipReason]]:
    """Return the messages of a leased batch, and the deliveries that get none, with the reason."""
    deliveries = {each.subscriber_id: each.id for each in leased}
    prepared = desk.prepare(session, list(deliveries), deliveries, now)
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
    return outgoing, skipped


def address_digest(leased: Leased, mail: Prepared, identity: Identity, now: datetime, slot: str) -> Outgoing:
    """Return a reader's mail with its headers, ready to be handed over."""
    printed = mail.printed
    return _address(
        leased,
        mail.subscriber,
        printed.subject,
        (printed.text, printed.html),
        identity,
        now,
        slot,
        mail.selection,
    )


def print_notices(
    session: Session, templates: Templates, leased: Sequence[Leased], identity: Identity, now: datetime
) -> tuple[list[Outgoing], dict[int, SkipReason]]:
    """Return the messages of a leased batch of mails outside any issue, and those that are no longer wanted."""
    people = subscribers.by_ids(session, [each.subscriber_id for each in leased])
    barred = subscribers.suppressed(session, [each.email for each in people.values()])
    outgoing: list[Outgoing] = []
    skipped: dict[int, SkipReason] = {}
    for each in leased:
        person = people.get(each.subscriber_id)
        wanted = State.PENDING if each.mail is Mail.CONFIRMATION else State.ACTIVE
        if person is None or person.state != wanted:
            skipped[each.id] = SkipReason.NOT_ACTIVE
        elif person.email in barred:
            skipped[each.id] = SkipReason.SUPPRESSED
        else:
            made = _guarded(each, partial(_notice, each, person, templates, identity, now))
            if isinstance(made, SkipReason):
                skipped[each.id] = made
            else:
                outgoing.append(made)
    return outgoing, skipped


def _notice(leased: Leased, person: Subscriber, templates: Templates, identity: Identity, now: datetime) -> Outgoing:
    content = templates.mail(leased.mail).render(notice_values(person, identity, now))
    parts = quoted_printable(content.text), quoted_printable(content.html)
    return _address(leased, person, content.subject, parts, identity, now, "notices", None)


def _guarded(leased: Leased, make: Callable[[], Outgoing]) -> Outgoing | SkipReason:
    """Make a mail; one that cannot be made must not cost the others of its batch theirs."""
    try:
        return make()
    except Exception:  # noqa: BLE001  whatever it is, it is this mail's
        _log.exception("mail cannot be made", delivery=leased.id, mail=leased.mail)
        return SkipReason.UNPRINTABLE


def notice_values(person: Subscriber, identity: Identity, now: datetime) -> dict[str, Any]:
    """Return what the templates of confirmation and welcome see: nothing that a stranger typed."""
    sign, id_ = identity.signer.sign, person.id or 0
    return {
        "site": identity.letterhead,
        "hour": person.hour,
        "timezone": person.timezone,
        "when": {"daily": "every day", "weekdays": "on weekdays", "weekly": "on Mondays"}[person.cadence],
        "confirm_url": identity.links.confirm(sign(Purpose.CONFIRM, id_, now=now)),
        "unsubscribe_url": identity.links.unsubscribe(sign(Purpose.UNSUBSCRIBE, id_, now=now)),
    }


def freeze(selection: Selection) -> dict[str, Any]:
    """Return a selection as the ledger keeps it."""
    return {
        "considered": selection.considered,
        "picks": [[each.paper_id, each.score, each.reason] for each in selection.picks],
    }


def thaw(kept: dict[str, Any]) -> Selection:
    """Return the selection that `freeze` kept."""
    return Selection(kept["considered"], tuple(DigestPick(*pick) for pick in kept["picks"]))


def _address(
    leased: Leased,
    person: Subscriber,
    subject: str,
    parts: tuple[bytes, bytes],
    identity: Identity,
    now: datetime,
    folder: str,
    selection: Selection | None,
) -> Outgoing:
    sender, signer = identity.sender, identity.signer
    mark = signer.fingerprint(f"{leased.mail}.{leased.id}.{leased.subscriber_id}")
    message_id = leased.message_id or f"<{folder}.{leased.id}.{mark}@{sender.domain}>"
    token = signer.sign(Purpose.UNSUBSCRIBE, leased.subscriber_id, now=now)
    envelope = Envelope(
        sender_name=sender.name,
        sender_address=sender.address,
        recipient=person.email,
        subject=subject,
        date=now,
        message_id=message_id,
        list_id=f"{leased.mail}.{sender.domain}",
        unsubscribe_url=identity.links.unsubscribe(token),
        # read by people at the sender's address, who have a command for it
        unsubscribe_mailto=f"mailto:{sender.address}?subject=unsubscribe%20{token}",
        feedback_id=f"{folder}:{leased.mail}:newsletter:{_sender_id(sender.domain)}",
    )
    return Outgoing(
        leased=leased,
        folder=folder,
        # an address of its own for each mail tells which one bounced (VERP)
        sender=f"bounce+{leased.id}-{mark[:10]}@{identity.envelope_domain}",
        recipient=person.email,
        message_id=message_id,
        message=build(envelope, *parts),
        selection=freeze(selection) if selection else None,
    )


def _sender_id(domain: str) -> str:
    """Return the 5 to 15 characters that mailbox providers know a sender by."""
    return "".join(char for char in domain if char.isalnum())[:15].ljust(5, "0")
