"""All SQL about alarms, and the mails that tell of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import UTCDateTime, in_index_order, take_turn
from newsletter.delivery.alarms.models import Alarm, Bundle, Found, Kind, Told
from newsletter.delivery.models import Delivery, DeliveryState, Mail, SkipReason
from newsletter.delivery.store import ISSUE_ID, next_at, queue_notices
from newsletter.issues.models import Issue, IssueState
from newsletter.settings import MOST_ADMINS

WITHIN = timedelta(days=1)  # what is not sent by then is old; what still holds is told anew
_MOST_SHOWN = 20
_MOST_BEFORE = 10
_ONE_AT_A_TIME = 7237207  # two who look at the same moment would tell it twice
# written out, so that both databases see which partial index is meant
_IS_UNKNOWN = sa.text("deliveries.state = 'unknown'")
_IS_UNPRINTABLE = sa.text("deliveries.skip_reason = 'unprintable'")
_IS_LEASED = sa.text("deliveries.lease_owner IS NOT NULL")
_CAME_TO_NOTHING = (DeliveryState.FAILED, DeliveryState.SKIPPED)
_MAY_HAVE_COME: set[str] = {DeliveryState.SENT, DeliveryState.HANDOFF, DeliveryState.UNKNOWN}


def still_open(session: Session) -> list[Alarm]:
    """Return the alarms that hold, oldest first."""
    return list(session.exec(select(Alarm).where(col(Alarm.over_at).is_(None)).order_by(col(Alarm.id))))


def keep(session: Session, found: Sequence[Found], now: datetime) -> list[Alarm]:
    """Write down what is found now, and what is over; return what is new."""
    take_turn(session, _ONE_AT_A_TIME)
    wanted = {each.key: each for each in found}
    known = {each.key: each for each in still_open(session)}
    for key, row in known.items():
        if key not in wanted:
            row.over_at = now
    new = []
    for key, each in wanted.items():
        row = known.get(key) or _of_today(session, each, now)
        if key not in known:
            new.append(row)
        row.title, row.said, row.command, row.over_at = each.title, each.said, each.command, None
        session.add(row)
    session.flush()
    return new


def tell(session: Session, operators: int, now: datetime) -> bool:
    """Queue one mail to each operator with all that was not told yet; return whether there is any.

    Told anew, on another day, is what still holds after its mails came to nothing; and the same day, what was over
    when they were to be printed, and came again.

    :param operators: how many there are: an operator is no subscriber, and known by their place in the setting.
    """
    today = _day(now)
    untold = [each for each in _to_tell(session, now) if _is_untold(session, each, operators, today)]
    if not untold or not operators:
        return False
    # greater than all before, so that what is told anew on the same day is another mail
    last = session.scalar(sa.select(sa.func.max(Alarm.bundle))) or 0
    bundle = max(last + 1, *(each.id or 0 for each in untold))
    for each in untold:
        each.bundle, each.told_on = bundle, today
        session.add(each)
    places = [-place for place in range(operators)]
    queue_notices(
        session,
        Mail.ALERT,
        dict.fromkeys(places, _effect(bundle, today)),
        now=now,
        within=WITHIN,
        about=dict.fromkeys(places, bundle),
    )
    return True


def bundles(session: Session, numbers: Collection[int]) -> dict[int, Bundle]:
    """Return what mails tell, by the number of their bundle; nothing of one where all is over, which needs no mail."""
    if not numbers:
        return {}
    rows = session.exec(select(Alarm).where(col(Alarm.bundle).in_(numbers)).order_by(col(Alarm.id))).all()
    holding = _told_of(session, still_open(session))
    found = {}
    for number in set(numbers):
        new = [each for each in rows if each.bundle == number]
        before = [_told(each) for each in holding if each.bundle and each.bundle < number]
        if any(each.over_at is None or each.kind == Kind.HELD for each in new):
            shown = tuple(_told(each) for each in new[:_MOST_SHOWN])
            found[number] = Bundle(shown, len(new) - len(shown), tuple(before[:_MOST_BEFORE]))
    return found


@dataclass(frozen=True, slots=True)
class Counted:
    """Mails of an issue that something is wrong with; alerts themselves never count.

    :ivar slot: empty for mails outside any issue.
    :ivar since: when the first of them came to that.
    """

    slot: str
    number: int
    since: datetime
    is_through: bool = False


def in_doubt(session: Session) -> list[Counted]:
    """Return the mails that nobody knows the end of, by issue, and whether the rest of that is through."""
    since = sa.func.coalesce(Delivery.done_at, Delivery.handed_at, Delivery.queued_at)
    return _counted(session, since, _IS_UNKNOWN)


def unprintable(session: Session, after: datetime) -> list[Counted]:
    """Return the mails that could not be made since an instant, by issue."""
    return _counted(session, col(Delivery.done_at), _IS_UNPRINTABLE, col(Delivery.done_at) > after)


def stopped(session: Session) -> list[tuple[str, str]]:
    """Return the issues that we stopped and that have mails left, with the reason."""
    found = session.exec(select(Issue).where(Issue.state == IssueState.STOPPED).order_by(col(Issue.day))).all()
    going = _going_on(session, [each.id or 0 for each in found])
    return [(each.slot, each.stopped_why) for each in found if each.id in going]


def _counted(session: Session, at: sa.SQLColumnExpression[Any], *which: Any) -> list[Counted]:  # noqa: ANN401
    of = sa.func.coalesce(Delivery.issue_id, 0)  # by the column itself, SQLite would walk through all there are
    statement = (
        sa.select(of, sa.func.count(), sa.func.min(at, type_=UTCDateTime()))
        .where(*which, col(Delivery.mail) != Mail.ALERT)
        .group_by(of)
        .order_by(of)
    )
    found = session.execute(statement).all()
    ids = [row[0] for row in found]
    slots = dict(session.exec(select(Issue.id, Issue.slot).where(col(Issue.id).in_(ids))).all())
    going = _going_on(session, ids)
    return [Counted(slots.get(id_, ""), number, since, id_ not in {0, *going}) for id_, number, since in found]


def _going_on(session: Session, issue_ids: Sequence[int]) -> set[int]:
    """Return those of the issues that have a mail that waits, or is on its way: a look into two small indexes."""
    if not any(issue_ids):
        return set()
    in_index_order(session)
    waiting = sa.select(ISSUE_ID).where(ISSUE_ID.in_(issue_ids), next_at(ISSUE_ID).is_not(None))
    flying = sa.select(col(Delivery.issue_id)).where(_IS_LEASED)
    return {id_ or 0 for id_ in (*session.scalars(waiting), *session.scalars(flying))}


def forget(session: Session, before: datetime) -> None:
    """Delete what has been over since before an instant."""
    session.execute(sa.delete(Alarm).where(col(Alarm.over_at) < before))


def _of_today(session: Session, found: Found, now: datetime) -> Alarm:
    """Return the row of an alarm that did not hold at the last look: today's, if it held or was told earlier today."""
    today = _day(now)
    of_today = sa.or_(col(Alarm.found_on) == today, col(Alarm.told_on) == today)
    this = select(Alarm).where(Alarm.kind == found.kind, Alarm.about == found.about, of_today)
    fresh = Alarm(
        kind=found.kind,
        about=found.about,
        found_on=today,
        title=found.title,
        said=found.said,
        command=found.command,
        since_at=found.since or now,
    )
    return session.exec(this.order_by(col(Alarm.id).desc())).first() or fresh


def _to_tell(session: Session, now: datetime) -> list[Alarm]:
    """Return what holds; that sending was held can be told only when it is over."""
    was_held = sa.and_(col(Alarm.kind) == Kind.HELD, col(Alarm.over_at) > now - WITHIN, col(Alarm.bundle).is_(None))
    statement = select(Alarm).where(sa.or_(col(Alarm.over_at).is_(None), was_held))
    return list(session.exec(statement.order_by(col(Alarm.id))))


def _is_untold(session: Session, alarm: Alarm, operators: int, today: date) -> bool:
    """Return whether nobody was told, and may be today: what could not be sent is not tried all day."""
    if alarm.bundle is None or alarm.told_on is None:
        return True
    keys = _keys(alarm.bundle, alarm.told_on, operators)
    statement = select(Delivery.state, Delivery.skip_reason).where(col(Delivery.notice_key).in_(keys))
    ends = session.exec(statement).all()
    if alarm.told_on >= today:
        return bool(ends) and all(end == (DeliveryState.SKIPPED, SkipReason.NOTHING_NEW) for end in ends)
    return bool(ends) and all(state in _CAME_TO_NOTHING for state, _ in ends)


def _told_of(session: Session, alarms: Sequence[Alarm]) -> list[Alarm]:
    """Return those of the alarms that an operator has, or may have, a mail about."""
    days = {each.bundle: each.told_on for each in alarms if each.bundle is not None and each.told_on is not None}
    keys = [key for bundle, day in days.items() for key in _keys(bundle, day, MOST_ADMINS)]
    mails = select(Delivery.about_id, Delivery.state).where(col(Delivery.notice_key).in_(keys))
    ends: dict[int | None, set[str]] = {}
    for bundle, state in session.exec(mails):
        ends.setdefault(bundle, set()).add(state)
    # of what was told long ago, the mails are dropped
    return [each for each in alarms if each.bundle in days and ends.get(each.bundle, _MAY_HAVE_COME) & _MAY_HAVE_COME]


def _keys(bundle: int, day: date, operators: int) -> list[str]:
    return [f"{Mail.ALERT}:{-place}:{_effect(bundle, day)}" for place in range(operators)]


def _effect(bundle: int, day: date) -> str:
    return f"{bundle}.{day}"


def _told(alarm: Alarm) -> Told:
    over = f"{alarm.over_at:%Y-%m-%d %H:%M} UTC" if alarm.over_at else ""
    return Told(alarm.title, alarm.said, alarm.command, f"{alarm.since_at:%Y-%m-%d %H:%M} UTC", over)


def _day(now: datetime) -> date:
    return now.date()
