"""Readers steer: what they ask for, what they say of papers, when they pause, where they are mailed.

Each change is one transaction, keeps what was before for undo, and acts from the next mail on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlmodel import Session

from newsletter.app import App
from newsletter.db import take_turn
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Mail
from newsletter.errors import InputError
from newsletter.papers import store as papers
from newsletter.papers.models import Paper
from newsletter.papers.pasted import PastedPaper
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import address_hash, address_key
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.changes.models import Act
from newsletter.subscribers.intake import store as intake
from newsletter.subscribers.intake.limits import ADDRESS_DAY, ADDRESS_MONTH
from newsletter.subscribers.intake.models import EntryPoint
from newsletter.subscribers.models import ERASED, State, Subscriber
from newsletter.subscribers.preferences import Preferences, parse_preferences
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import How, Rating, Said
from newsletter.tracking import record
from newsletter.tracking.models import Kind

LONGEST_PAUSE = timedelta(days=366)
MOVE_WITHIN = timedelta(days=2)
_KEEP = timedelta(days=30)  # for undo
_MOVES_A_DAY = 3
_LINKS_A_DAY = 3
_ONE_MOVE_AT_A_TIME = 7237204  # two readers must not both get the same address


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a reader said of a paper, written down.

    :ivar rating_id: 0 for a mute.
    :ivar change_id: of the preferences, 0 unless it is a mute.
    :ivar was: what they had said of it before, or empty.
    """

    rating_id: int = 0
    change_id: int = 0
    was: str = ""


def save(app: App, subscriber_id: int, wishes: Preferences) -> int:
    """Put new preferences into force; return the id under which it can be undone, 0 if nothing changed."""
    with app.db.session() as session:
        return change(session, _reader(session, subscriber_id), wishes, app.now())


def undo(app: App, subscriber_id: int, change_id: int) -> bool:
    """Put back what was before a reader's last change; return whether that is what `change_id` was."""
    now = app.now()
    with app.db.session() as session:
        person, last = _reader(session, subscriber_id), changes.latest(session, subscriber_id)
        if last is None or last.id != change_id:
            return False
        before = dict(last.before)
        pause = {name: before.pop(name) for name in ("paused_from", "paused_until")}
        _keep_before(session, person, now)
        subscribers.change_preferences(session, person, Preferences.model_validate(before))
        person.paused_from, person.paused_until = (date.fromisoformat(day) if day else None for day in pause.values())
        return True


def pause(app: App, subscriber_id: int, until: date) -> int:
    """Send no issue before the local day `until`; the first one then is the best of what was missed.

    :raises InputError: the day is today, past, or more than a year away.
    """
    now = app.now()
    with app.db.session() as session:
        person = _reader(session, subscriber_id)
        if not timedelta() < until - local_day(person, now) <= LONGEST_PAUSE:
            raise InputError("Please choose a day between tomorrow and a year from now.")
        return pause_until(session, person, until, now)


def resume(app: App, subscriber_id: int) -> int:
    """End a pause today; return the id of the change, 0 if there is none to end."""
    now = app.now()
    with app.db.session() as session:
        person = _reader(session, subscriber_id)
        today = local_day(person, now)
        if person.paused_until is None or person.paused_until <= today:
            return 0
        kept = _keep_before(session, person, now)
        person.paused_until = today
        return kept


def change(session: Session, person: Subscriber, wishes: Preferences, now: datetime) -> int:
    """Replace preferences; return the id of the change, 0 if nothing changed."""
    if person.preferences == wishes:
        return 0
    kept = _keep_before(session, person, now)
    subscribers.change_preferences(session, person, wishes)
    return kept


def pause_until(session: Session, person: Subscriber, until: date, now: datetime) -> int:
    """Begin a pause, or move the end of the one that is or was not caught up with; return the id of the change."""
    kept, id_ = _keep_before(session, person, now), person.id or 0
    last = deliveries.caught_up(session, [id_], 0).get(id_, date.min)
    if person.paused_from is None or person.paused_until is None or last >= person.paused_until:
        person.paused_from = local_day(person, now)
    person.paused_until = until
    session.add(person)
    return kept


def local_day(person: Subscriber, now: datetime) -> date:
    """Return the day it is where a reader lives."""
    return now.astimezone(ZoneInfo(person.timezone)).date()


def speak(app: App, subscriber_id: int, issue_id: int, paper: Paper, said: Said) -> Spoken:
    """Write down a reader's word on a paper of their mail; the last one counts."""
    now = app.now()
    with app.db.session() as session:
        _reader(session, subscriber_id)
        before = ratings.said(session, subscriber_id, paper.id or 0)
        rating_id = ratings.rate(
            session, subscriber_id, paper.key, said, How.MAIL, now, paper_id=paper.id, title=paper.title
        )
        if before != said:  # a second press says nothing new
            record.spoke(session, Kind(said), subscriber_id, issue_id, paper.id or 0, now)
    return Spoken(rating_id=rating_id, was=before if before != said else "")


def mute(app: App, subscriber_id: int, issue_id: int, paper: Paper, words: Sequence[str]) -> Spoken:
    """Never show a reader papers with these words, authors or categories again.

    :raises InputError: no word is given, or their list is full.
    """
    now = app.now()
    with app.db.session() as session:
        person = _reader(session, subscriber_id)
        wishes = person.preferences.model_dump(mode="json")
        muted = parse_preferences(wishes | {"mutes": [*wishes["mutes"], *words]})
        change_id = change(session, person, muted, now)
        if change_id:
            record.spoke(session, Kind.MUTED, subscriber_id, issue_id, paper.id or 0, now)
        return Spoken(change_id=change_id)


def take_back(
    app: App, subscriber_id: int, rating_id: int, *, restore: bool = False, was: Said | None = None
) -> Rating | None:
    """Take a word on a paper back, or put it back; ``None`` if it is not this reader's.

    :param was: what they had said of it before, and say again.
    """
    back = None if restore or was else app.now()
    with app.db.session() as session:
        return ratings.take_back(session, subscriber_id, rating_id, back, was)


def like(app: App, subscriber_id: int, pasted: Sequence[PastedPaper]) -> int:
    """Add papers that a reader names; return how many are new."""
    with app.db.session() as session:
        return like_all(session, _reader(session, subscriber_id), pasted, app.now())


def like_all(session: Session, person: Subscriber, pasted: Sequence[PastedPaper], now: datetime) -> int:
    """Add papers that a reader names, up to 1,000 altogether; what we know of a paper beats what they pasted."""
    id_ = person.id or 0
    before = ratings.count(session, id_)
    known = papers.find_pasted(session, pasted)
    for each in pasted[: max(ratings.MAX_RATINGS - before, 0)]:
        paper = known.get(each.key)
        key, title = (paper.key, paper.title) if paper else (each.key, each.title)
        text = "" if paper else each.text
        known_id = paper.id if paper else None
        ratings.rate(session, id_, key, Said.LIKED, How.PASTED, now, paper_id=known_id, title=title, text=text)
    return ratings.count(session, id_) - before


def ask_address(app: App, subscriber_id: int, email: str) -> None:
    """Ask the owner of another address whether this reader's mail may go there; nothing changes before.

    Whether that address is somebody's already makes no difference that a reader could see.

    :raises InputError: it is their own, or they asked for too many today.
    """
    now = app.now()
    with app.db.session() as session:
        person = _reader(session, subscriber_id)
        if address_key(email) == person.email_key:
            raise InputError("This is your address already.")
        if changes.asked_since(session, subscriber_id, now - timedelta(days=1)) >= _MOVES_A_DAY:
            raise InputError("That was often enough for today; please try again tomorrow.")
        asked = changes.ask_address(session, subscriber_id, person.email, email, now)
        other = subscribers.find(session, email)
        taken = other is not None and other.state == State.ACTIVE
        barred = bool(subscribers.suppressed(session, [email], but=ERASED))
        if not taken and not barred and _may_be_mailed(session, email, now):
            _notice(session, Mail.NEW_ADDRESS, subscriber_id, asked.id or 0, now)
    app.wake(None)


def _may_be_mailed(session: Session, email: str, now: datetime) -> bool:
    """Return whether an address whose owner has not said anything may be mailed, and count the mail."""
    asking = intake.of_ours(email, EntryPoint.ADDRESS, Mail.NEW_ADDRESS, now)
    asking.email = ""  # it is nobody's wish yet to be known here
    mailed = intake.mailed(session, asking, now)
    if mailed.address_day >= ADDRESS_DAY or mailed.address_month >= ADDRESS_MONTH:
        return False
    intake.write(session, asking)
    return True


def move(app: App, change_id: int, *, said: str = "", token: str = "") -> Subscriber | None:
    """Mail a reader at the address that was just confirmed, tell the old one, and let earlier links end."""
    now = app.now()
    with app.db.session() as session:
        take_turn(session, _ONE_MOVE_AT_A_TIME)
        asked = changes.address_change(session, change_id)
        person = subscribers.get(session, asked.subscriber_id) if asked else None
        if asked is None or person is None or person.state == State.UNSUBSCRIBED:
            return None
        if asked.done_at is not None:
            return person if person.email == asked.new_email else None
        other = subscribers.find(session, asked.new_email)
        if person.email != asked.old_email or (other and other.state == State.ACTIVE):
            return None
        if other:  # somebody's unconfirmed sign-up, or who left: the owner of the address has spoken now
            deliveries.forget(session, [other.id or 0])
            subscribers.delete(session, other)
        person.email, person.email_key = asked.new_email, address_key(asked.new_email)
        person.links_since = _next_second(now)
        asked.done_at = now
        session.flush()
        subscribers.lift_suppression(session, asked.new_email, ERASED)
        for email in (asked.old_email, asked.new_email):
            changes.agree(session, address_hash(email), Act.MOVED, now, entry=EntryPoint.FORM, said=said, token=token)
        _notice(session, Mail.MOVED, person.id or 0, change_id, now)
    app.wake(None)
    return person


def end_links(app: App, subscriber_id: int) -> Subscriber:
    """Let all earlier links to a reader's preferences end, as after forwarding a mail, and send them a new one.

    :raises InputError: they did so too often today.
    """
    now = app.now()
    with app.db.session() as session:
        person = _reader(session, subscriber_id)
        if deliveries.notices_since(session, subscriber_id, Mail.LINK, now - timedelta(days=1)) >= _LINKS_A_DAY:
            raise InputError("That was often enough for today; please try again tomorrow.")
        person.links_since = _next_second(now)
        session.add(person)
        once = {subscriber_id: f"links:{now.isoformat()}"}
        deliveries.queue_notices(session, Mail.LINK, once, now=now, within=MOVE_WITHIN)
    app.wake(None)
    return person


def forget_old(session: Session, now: datetime) -> None:
    """Delete what can no longer be undone."""
    ratings.forget_taken_back(session, now - _KEEP)
    changes.forget_old(session, now - _KEEP)


def _reader(session: Session, subscriber_id: int) -> Subscriber:
    # Locked: of two changes at once the second must see what the first one made, or columns of both are mixed.
    person = subscribers.locked(session, subscriber_id)
    if person is None or person.state != State.ACTIVE:
        raise InputError("There is no such subscriber any more.")
    return person


def _keep_before(session: Session, person: Subscriber, now: datetime) -> int:
    days = {name: getattr(person, name) for name in ("paused_from", "paused_until")}
    before = person.preferences.model_dump(mode="json") | {name: day and day.isoformat() for name, day in days.items()}
    return changes.keep_before(session, person.id or 0, before, now)


def _notice(session: Session, mail: Mail, subscriber_id: int, about: int, now: datetime) -> None:
    once = {subscriber_id: str(about)}
    deliveries.queue_notices(session, mail, once, now=now, within=MOVE_WITHIN, about={subscriber_id: about})


def _next_second(now: datetime) -> datetime:
    """Return from when on links are good: a token knows its second only, and one of this second may be an old one."""
    return now.replace(microsecond=0) + timedelta(seconds=1)
