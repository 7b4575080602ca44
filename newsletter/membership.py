"""Readers join and leave: each step with the mail it asks for, in one transaction.

What strangers ask for is written down as it comes, the same for every address, and looked at by a worker:
so no answer, and no time an answer takes, tells who is a subscriber.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import Session

from newsletter import logs, steering
from newsletter.app import App
from newsletter.db import forget_deleted
from newsletter.delivery import store as deliveries
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.models import Mail
from newsletter.issues import store as issues
from newsletter.papers.pasted import PastedPaper
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import address_hash, mailbox_hash
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.changes.models import Act
from newsletter.subscribers.intake import store as intake
from newsletter.subscribers.intake.limits import ADDRESS_MONTH, Limits, is_flood, refusal
from newsletter.subscribers.intake.models import EntryPoint, Outcome, SignUp
from newsletter.subscribers.models import ERASED, Entry, State, Subscriber
from newsletter.subscribers.preferences import Cadence, Preferences
from newsletter.subscribers.ratings import store as ratings
from newsletter.tracking import record
from newsletter.tracking import store as events

_log = logs.get(__name__)
CONFIRM_WITHIN = timedelta(days=7)  # a sign-up on Friday can still be confirmed on Monday
REMIND_AFTER = timedelta(hours=24)
RETURN_WITHIN = timedelta(days=1)
REJOIN_WITHIN = timedelta(days=30)  # by the mail that says goodbye, which says so
_NOTICE_WITHIN = timedelta(days=2)
_FIRST_ISSUE_FROM = timedelta(days=3)  # older ones are no news to anybody
_PAUSE = timedelta(weeks=4)
_EVENTS_KEPT = timedelta(days=90)
_BATCH = 20  # requests in one transaction: nobody else writes while it lasts
_REMINDED = 100
_PURGED = 200  # people, the same
_LIKED_CHARS = 50_000  # of what somebody pasted, before they have confirmed
_AGAIN = timedelta(minutes=10)  # when too much is asked for at the moment
_GIVE_UP = timedelta(hours=24)
How = Literal["undo", "weekly", "pause"]


@dataclass(frozen=True, slots=True)
class Asking:
    """What somebody asks for who has not proved that the address is theirs.

    :ivar wishes: ``None`` asks for the link to the preferences only.
    :ivar client: a hash of who asks; empty for the operator.
    :ivar said: the words they agree to.
    """

    email: str
    wishes: Preferences | None = None
    liked: tuple[PastedPaper, ...] = ()
    client: str = ""
    entry: EntryPoint = EntryPoint.FORM
    said: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A subscriber who is active now; `first` tells whether an issue is on its way to them."""

    subscriber: Subscriber
    first: bool = False


def ask(app: App, asking: Asking) -> None:
    """Write down a sign-up, or a request for a link: the same work for every address, whoever it belongs to."""
    now = app.now()
    _, _, domain = asking.email.rpartition("@")
    with app.db.session() as session:
        if asking.client and is_flood(*intake.asked(session, asking.client, now), _limits(app)):
            _log.warning("flood of sign-ups", entry=asking.entry)
            return
        intake.write(
            session,
            SignUp(
                email=asking.email,
                email_hash=mailbox_hash(asking.email),
                domain=address_hash(domain),
                client=asking.client,
                entry=asking.entry,
                asked_at=now,
                not_before=now,
                wishes=asking.wishes.model_dump(mode="json") if asking.wishes else None,
                liked=_kept(asking.liked),
                said=asking.said,
            ),
        )
    app.wake(None)


def admit(app: App) -> int:
    """Look at what strangers asked for, and mail whom the limits allow; return how many requests there were."""
    looked, found = 0, _BATCH
    while found == _BATCH and not app.stopping.is_set():
        now = app.now()
        with app.db.session() as session:
            waiting = intake.waiting(session, now, _BATCH)
            for sign_up in waiting:
                try:
                    with session.begin_nested():
                        _admit(session, sign_up, _limits(app), now)  # written at its end: the next is counted with it
                except Exception as exc:  # noqa: BLE001  one that nobody foresaw must not hold up all others, for ever
                    _log.error("sign-up not understood", sign_up=sign_up.id, error=type(exc).__name__)
                    _refuse(sign_up, "broken")
        found = len(waiting)
        looked += found
    return looked


def any_waiting(session: Session, now: datetime) -> bool:
    """Return whether a request waits to be looked at."""
    return intake.any_waiting(session, now)


def add_subscriber(app: App, email: str, preferences: Preferences, *, confirmed: bool) -> bool:
    """Add a subscriber on an operator's word; return whether the address was new."""
    state = State.ACTIVE if confirmed else State.PENDING
    return import_subscribers(app, [Entry(email, preferences, state)], only_new=True)[0] == 1


def import_subscribers(app: App, entries: Sequence[Entry], *, only_new: bool = False) -> tuple[int, int]:
    """Write subscribers down and ask the pending ones to confirm; return how many are new, and changed."""
    now = app.now()
    with app.db.session() as session:
        added, changed = subscribers.write_entries(session, entries, now, only_new=only_new)
        pending = {id_: entry.email for id_, entry in added.items() if entry.state is State.PENDING}
        emails = pending.values()  # whoever was erased is asked nothing unless they sign up again themselves
        erased = subscribers.suppressed(session, emails) - subscribers.suppressed(session, emails, but=ERASED)
        _ask_on_operators_word(session, {id_: each for id_, each in pending.items() if each not in erased}, now)
        agreed = [address_hash(entry.email) for entry in added.values() if entry.state is State.ACTIVE]
        changes.agree_all(session, agreed, Act.CONFIRMED, now, entry=EntryPoint.OPERATOR, said="told by the operator")
    app.wake(None)
    return len(added), changed


def confirm(app: App, sign_up_id: int, *, said: str = "", token: str = "") -> Confirmed | None:
    """Make a pending subscriber active, with what this sign-up asked for, and send them the first issue there is.

    :param said: the words they pressed the button under.
    :param token: a fingerprint of the link.
    :returns: ``None`` if they left, never were, or somebody else's sign-up is asked for.
    """
    now, first = app.now(), None
    with app.db.session() as session:
        sign_up = intake.get(session, sign_up_id)
        person = subscribers.locked(session, sign_up.subscriber_id) if sign_up and sign_up.subscriber_id else None
        if sign_up is None or person is None or is_over(sign_up, person):
            return None
        if subscribers.activate(session, person.id or 0, now):
            first = _welcome(session, person, sign_up, now)
            mark = {"entry": sign_up.entry, "token": token}
            changes.agree(session, address_hash(person.email), Act.CONFIRMED, now, said=said, **mark)
        session.flush()
        session.refresh(person)
    app.wake(first)
    return Confirmed(person, first is not None)


def is_over(sign_up: SignUp, person: Subscriber) -> bool:
    """Return whether a sign-up cannot be confirmed (any more): leaving ends all that were mailed before."""
    left = person.unsubscribed_at
    if sign_up.outcome not in {Outcome.MAILED, Outcome.CONFIRMED}:
        return True
    return person.state == State.UNSUBSCRIBED or bool(left and sign_up.mailed_at and sign_up.mailed_at < left)


def unsubscribe(
    app: App, subscriber_ids: Collection[int], entry: EntryPoint = EntryPoint.FORM, *, goodbye: bool = True
) -> tuple[set[int], set[int]]:
    """Let people leave; return those of them whom we know, and those who left just now.

    Every mail asks again right before its final dot. Who says themselves that they leave gets no last mail any more,
    even if an operator has taken them off before.

    :param goodbye: whether those whom an operator takes off, who see no page, are mailed that it is done.
    """
    now = app.now()
    with app.db.session() as session:
        left = subscribers.leave(session, subscriber_ids, now)
        record.left(session, left, now)
        changes.agree_all(session, [address_hash(email) for email in left.values()], Act.LEFT, now, entry=entry)
        known = left.keys() | subscribers.known_ids(session, subscriber_ids)
        told = goodbye and entry is EntryPoint.OPERATOR and _say_goodbye(session, left, now)
        if entry is not EntryPoint.OPERATOR:
            lapses.call_off_goodbyes(session, subscriber_ids, now)
    if told:
        app.wake(None)
    return known, set(left)


def come_back(app: App, subscriber_id: int, left_at: datetime, how: How) -> Subscriber | None:
    """Undo leaving, with fewer mails or a pause if they like; ``None`` if it was undone, or they left again since.

    :param left_at: when they left, to the second: nobody can undo an earlier or a later leaving.
    """
    now = app.now()
    with app.db.session() as session:
        person = subscribers.come_back(session, subscriber_id, left_at)
        if person is None:
            return None
        if how == "weekly" and person.state == State.ACTIVE:
            wishes = person.preferences.model_copy(update={"cadence": Cadence.WEEKLY})
            steering.change(session, person, wishes, now)
        elif how == "pause" and person.state == State.ACTIVE:
            steering.pause_until(session, person, steering.local_day(person, now) + _PAUSE, now)
        changes.agree(session, address_hash(person.email), Act.CAME_BACK, now, entry=EntryPoint.FORM, said=how)
    return person


def remind(app: App) -> int:
    """Remind, once, those who have not confirmed after a day; return how many."""
    now = app.now()
    with app.db.session() as session:
        waiting = intake.to_remind(session, now - REMIND_AFTER, now - CONFIRM_WITHIN + REMIND_AFTER, _REMINDED)
        due = {each.subscriber_id or 0: each for each in waiting}  # the newest one of each
        intake.mark_reminded(session, [each.id or 0 for each in due.values()], now)
        allowed = [each for each in due.values() if intake.mailed(session, each, now).address_month <= ADDRESS_MONTH]
        for each in allowed:
            _notice(session, Mail.REMINDER, each, now)
    if allowed:
        app.wake(None)
    return len(allowed)


def purge(app: App) -> int:
    """Delete who has not confirmed within 7 days, and what is kept for a while only; return how many people."""
    now, gone, found = app.now(), 0, _PURGED
    while found == _PURGED:
        with app.db.session() as session:
            ids, found = subscribers.purge_pending(session, now - CONFIRM_WITHIN, _PURGED)
            deliveries.forget(session, ids)
        gone += len(ids)
    with app.db.session() as session:
        intake.forget_old(session, now, CONFIRM_WITHIN)
        steering.forget_old(session, now)
        events.forget_old(session, now - _EVENTS_KEPT)
        ratings.forget_old_clicks(session, now - _EVENTS_KEPT)
    forget_deleted(app.db)
    return gone


def _admit(session: Session, sign_up: SignUp, limits: Limits, now: datetime) -> None:
    person = subscribers.find(session, sign_up.email)
    barred = subscribers.suppressed(session, [sign_up.email])
    by_others = subscribers.suppressed(session, [sign_up.email], but=ERASED)
    # Who erased everything has to confirm again, even if an operator's list has brought them back.
    active = person is not None and person.state == State.ACTIVE and not barred
    sign_up.mail = Mail.LINK if active else Mail.CONFIRMATION
    sign_up.subscriber_id = person.id if person else None
    if sign_up.wishes is None and (person is None or person.state == State.UNSUBSCRIBED):
        why = "nobody"
    elif by_others:
        why = "suppressed"
    else:
        why = refusal(intake.mailed(session, sign_up, now), limits)
    if why in {"domain", "all"} and now - sign_up.asked_at < _GIVE_UP:  # not their fault: they were told of a mail
        sign_up.not_before, sign_up.why = now + _AGAIN, why
        return
    if why:
        mailed = intake.open_request(session, sign_up) if why == "address" and sign_up.client else None
        if mailed and sign_up.wishes:  # who corrects what they typed need not wait for tomorrow's mail
            mailed.wishes, mailed.liked = sign_up.wishes, sign_up.liked
        _refuse(sign_up, why)
        return
    if sign_up.wishes is None and person and not active and (last := intake.last_wish(session, person.id or 0)):
        sign_up.wishes, sign_up.liked = last.wishes, last.liked  # who asks for the link again wants the same
    wishes = Preferences.model_validate(sign_up.wishes or {})
    if person is None:
        person = subscribers.add(session, sign_up.email, wishes, State.PENDING, now)
    elif not active:
        person.state, person.pending_since = State.PENDING, now
    if sign_up.wishes and person.state != State.ACTIVE:
        hash_ = address_hash(sign_up.email)
        changes.agree(session, hash_, Act.ASKED, now, entry=sign_up.entry, said=sign_up.said)
    sign_up.subscriber_id, sign_up.outcome, sign_up.mailed_at = person.id, Outcome.MAILED, now
    sign_up.why = ""
    session.flush()
    _notice(session, Mail(sign_up.mail), sign_up, now)


def _refuse(sign_up: SignUp, why: str) -> None:
    """Refuse a request; what it held is kept no longer, as strangers could fill the disk with it."""
    sign_up.outcome, sign_up.why, sign_up.wishes, sign_up.liked = Outcome.REFUSED, why, None, []


def _kept(liked: Sequence[PastedPaper]) -> list[list[str]]:
    """Return pasted papers as a request keeps them: long texts fall away first."""
    room, kept = _LIKED_CHARS, []
    for each in liked:
        text = each.text if len(each.text) <= room else ""
        room -= len(text)
        kept.append([each.key, each.title, text])
    return kept


def _welcome(session: Session, person: Subscriber, sign_up: SignUp, now: datetime) -> int | None:
    """Put a sign-up's wishes into force, and queue a welcome or, if there is one, the latest issue: return its id."""
    if sign_up.wishes:
        subscribers.change_preferences(session, person, Preferences.model_validate(sign_up.wishes))
    steering.like_all(session, person, [PastedPaper(*each) for each in sign_up.liked], now)
    subscribers.lift_suppression(session, person.email, ERASED)
    sign_up.outcome = Outcome.CONFIRMED
    person.paused_from = person.paused_until = None  # who signs up wants mail now, whatever they wanted before
    issue = issues.latest_open(session, now - _FIRST_ISSUE_FROM)
    if issue is not None and deliveries.queue_one(session, issue.id or 0, person.id or 0, now=now):
        return issue.id
    once = {person.id or 0: now.isoformat()}
    deliveries.queue_notices(session, Mail.WELCOME, once, now=now, within=_NOTICE_WITHIN)
    return None


def _ask_on_operators_word(session: Session, people: Mapping[int, str], now: datetime) -> None:
    made = (intake.of_ours(email, EntryPoint.OPERATOR, Mail.CONFIRMATION, now, id_) for id_, email in people.items())
    rows = [each.model_dump(exclude={"id"}) for each in made]
    about = intake.write_mailed(session, rows)
    once = {subscriber_id: str(sign_up_id) for subscriber_id, sign_up_id in about.items()}
    deliveries.queue_notices(session, Mail.CONFIRMATION, once, now=now, within=_NOTICE_WITHIN, about=about)


def _notice(session: Session, mail: Mail, sign_up: SignUp, now: datetime) -> None:
    who, about = sign_up.subscriber_id or 0, sign_up.id or 0
    deliveries.queue_notices(session, mail, {who: str(about)}, now=now, within=_NOTICE_WITHIN, about={who: about})


def _say_goodbye(session: Session, left: Mapping[int, str], now: datetime) -> bool:
    """Queue a last mail for those who have left, but for who never agreed to any; return whether there are any."""
    agreed, barred = subscribers.who_agreed(session, left), subscribers.suppressed(session, left.values())
    once = {id_: now.isoformat() for id_, email in left.items() if id_ in agreed and email not in barred}
    deliveries.queue_notices(session, Mail.GOODBYE, once, now=now, within=_NOTICE_WITHIN)
    return bool(once)


def _limits(app: App) -> Limits:
    settings = app.settings
    return Limits(settings.signups_per_hour, settings.signups_per_hour_domain, settings.signups_per_hour_client)
