"""When a reader is due: at their own hour of their own local day. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FIRST_ZONE = timedelta(hours=14)  # the day begins first in Kiribati, UTC+14
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEND_WITHIN = timedelta(hours=20)  # later than that, the next issue is nearer


@dataclass(frozen=True, slots=True)
class Group:
    """Readers who are due together.

    :ivar weekdays: such as ``mon,wed``; their days, where the cadence is ``days``.
    """

    timezone: str
    hour: int
    cadence: str
    weekdays: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A group that is due for the issue of a day.

    :ivar day_ends_at: when the local day is over.
    :ivar expires_at: not to be mailed at or after this instant.
    """

    day: date
    group: Group
    due_at: datetime
    day_ends_at: datetime
    expires_at: datetime


def due_at(day: date, group: Group) -> datetime:
    """Return the instant at which the group's hour of that local day begins.

    An hour that a clock change skips begins at the change; one that comes twice begins the first time (PEP 495).
    """
    return datetime.combine(day, time(group.hour), _zone(group.timezone)).astimezone(UTC)


def mails_on(group: Group, day: date) -> bool:
    """Return whether the group gets an issue on a local day; ``weekly`` is Monday."""
    if group.cadence == "days":
        return _DAYS[day.weekday()] in group.weekdays.split(",")
    return {"weekdays": day.weekday() < 5, "weekly": day.weekday() == 0}.get(group.cadence, True)


def due_now(groups: Iterable[Group], now: datetime) -> list[Due]:
    """Return the groups whose hour has come within the last 20 hours, for yesterday's or today's local day.

    Asking every minute, late, or twice gives each reader the same days: the issue's slot is the day.
    """
    found = []
    for group in groups:
        today = now.astimezone(_zone(group.timezone)).date()
        for day in (today - timedelta(days=1), today):
            at = due_at(day, group)
            if mails_on(group, day) and at <= now < at + SEND_WITHIN:
                found.append(Due(day, group, at, _ends(day, group), at + SEND_WITHIN))
    return sorted(found, key=_order)


def due_on(
    groups: Iterable[Group], day: date, now: datetime, *, any_hour: bool = False, any_day: bool = False
) -> list[Due]:
    """Return the groups that an operator's ``send`` of a day reaches: those whose hour has come, however long ago.

    :param any_hour: those, too, whose hour is still to come.
    :param any_day: those, too, whose cadence leaves this day out.
    """
    found = []
    for group in groups:
        at = due_at(day, group)
        if (any_day or mails_on(group, day)) and (any_hour or at <= now):
            found.append(Due(day, group, min(at, now), max(_ends(day, group), now), max(at, now) + SEND_WITHIN))
    return sorted(found, key=_order)


def has_begun(day: date, now: datetime) -> bool:
    """Return whether the day has begun anywhere on earth."""
    return now >= datetime.combine(day, time(), UTC) - _FIRST_ZONE


def window(day: date, now: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """Return the half-open window of listings for an issue: the days before it, and its own as far as it got."""
    midnight = datetime.combine(day, time(), UTC)
    return midnight - length, min(now, midnight + timedelta(days=1))


def _order(due: Due) -> tuple[datetime, str, int, str, str]:
    return due.due_at, due.group.timezone, due.group.hour, due.group.cadence, due.group.weekdays


def _ends(day: date, group: Group) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), _zone(group.timezone)).astimezone(UTC)


def _zone(name: str) -> tzinfo:
    """Return a zone; one that this machine's data no longer knows must not stop the others, so it is UTC."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
