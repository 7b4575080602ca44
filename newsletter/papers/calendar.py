"""When each source's list of a day is expected, and why a day has none. Pure.

A wrong guess here costs a line of text: pulls are made whatever the calendar says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")
WEEKEND = "weekend"
LOOK_BACK_DAYS = 7  # arXiv's longest quiet stretch is four days, around New Year

# https://info.arxiv.org/help/availability.html, "2026 Holidays"; the names are ours.
LISTED = {
    2026: {
        date(2026, 1, 1): "New Year's Day",
        date(2026, 1, 19): "Martin Luther King Jr. Day",
        date(2026, 6, 19): "Juneteenth",
        date(2026, 7, 3): "Independence Day",
        date(2026, 9, 7): "Labor Day",
        date(2026, 11, 26): "Thanksgiving",
        date(2026, 12, 25): "Christmas",
        date(2026, 12, 29): "year-end break",
        date(2026, 12, 31): "New Year's Eve",
    }
}

_DAY = timedelta(days=1)
_CUT_OFF = time(14)
_FEED_IS_BUILT = timedelta(minutes=15)
_GROWS_UNTIL = time(6)


@dataclass(frozen=True, slots=True)
class Batch:
    """One day's list of a source.

    :ivar day: the source's own day: arXiv's announcement date, Hugging Face's list date.
    :ivar expected_at: when it appears.
    :ivar settles_at: when (nearly) all of what a morning will see is there.
    :ivar promised: whether there is something on every such day; what is not promised is not waited for.
    :ivar final: whether nothing is added to it, nor voted on, once it is there.
    """

    day: date
    expected_at: datetime
    settles_at: datetime
    promised: bool = True
    final: bool = False


Calendar = Callable[[date], Batch | str]
"""What a day brings: its batch, or in words for a mail why there is none ("weekend", "holiday (Thanksgiving)")."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a source's calendar says at an instant.

    :ivar settled: the newest batch that is there; ``None`` when the last week had none.
    :ivar quiet: the days after ``settled`` that have no list, each with the reason, oldest first.
    """

    settled: Batch | None
    quiet: tuple[tuple[date, str], ...]


def arxiv(day: date) -> Batch | str:
    """Return the list with that announcement date, which is the date of the RSS feed.

    Announcements are made at 20:00 in New York, Sunday to Thursday, and belong to the next date; the feed of
    that date is built at its midnight there (04:00 or 05:00 UTC), which is when we see the papers.

    A holiday is a day without a cut-off, hence without the announcement that would follow it: after Monday to
    Thursday that of the same evening, after Friday that of Sunday (arXiv's own ``is_freeze_day`` and
    ``is_publish_day``, arxiv-base, ``arxiv/schedule/calendar.py``). So Thanksgiving Thursday takes Friday's
    list, and Juneteenth on a Friday takes Monday's; on the holiday itself the list of the evening before appears.
    Of 7,518 papers that Hugging Face listed by April 2026, 3 stood there before the date that this gives them, and
    91 would have if a holiday took the list of its own date.
    """
    if day.weekday() >= 5:
        return WEEKEND
    if reason := holiday(_cut_off_day(day)):
        return reason
    midnight = datetime.combine(day, time(), EASTERN).astimezone(UTC)
    return Batch(day, midnight, midnight + _FEED_IS_BUILT, final=True)


def arxiv_submissions(day: date) -> tuple[datetime, datetime] | None:
    """Return the half-open window of first submissions announced on that date, ``None`` for a day without a list.

    From the cut-off (14:00 in New York) of the last list to that of this one: Monday's list has Thursday 14:00
    to Friday 14:00, Tuesday's has Friday 14:00 to Monday 14:00, and a holiday joins two windows. Each instant
    is in exactly one. Papers held by moderators come out later than their window says.
    The query API takes it in UTC: ``submittedDate:[YYYYMMDDHHMM TO YYYYMMDDHHMM]``.
    """
    if isinstance(arxiv(day), str):
        return None
    last = _cut_off_day(day)
    before = last - _DAY
    while before.weekday() >= 5 or holiday(before):
        before -= _DAY
    start, end = (datetime.combine(each, _CUT_OFF, EASTERN).astimezone(UTC) for each in (before, last))
    return start, end


def huggingface(day: date) -> Batch | str:
    """Return the list of that date (UTC): it begins at midnight and grows all day; none on weekends.

    Of 5,316 papers that a morning's look found (mostly 07 to 08 UTC), 31 % were submitted by 01:00, 57 % by 02:00,
    72 % by 03:00, 81 % by 04:00, 89 % by 05:00, 96 % by 06:00 and 99 % by 07:00. A third of the day's papers come
    later still, few of them much voted for. Holidays have lists, if short ones.
    """
    if day.weekday() >= 5:
        return WEEKEND
    midnight = datetime.combine(day, time(), UTC)
    return Batch(day, midnight, datetime.combine(day, _GROWS_UNTIL, UTC))


def every_day(day: date) -> Batch | str:
    """Return a batch that is complete as its day (UTC) ends, of a source that promises nothing."""
    midnight = datetime.combine(day, time(), UTC)
    return Batch(day, midnight, midnight + _DAY, promised=False)


def outlook(calendar: Calendar, at: datetime) -> Outlook:
    """Return what is there, and why the days since were quiet."""
    today = at.astimezone(UTC).date()
    quiet: list[tuple[date, str]] = []
    for back in range(LOOK_BACK_DAYS + 1):
        found = calendar(day := today - back * _DAY)
        if isinstance(found, str):
            quiet.append((day, found))
        elif found.settles_at <= at:
            return Outlook(found, tuple(reversed(quiet)))
    return Outlook(None, tuple(reversed(quiet)))


def holiday(day: date) -> str:
    """Return in words why arXiv rests on a day, or nothing: from its list of the year, else estimated."""
    if (listed := LISTED.get(day.year)) is not None:
        return f"holiday ({listed[day]})" if day in listed else ""
    name = _estimated(day.year).get(day)
    return f"probably a holiday ({name})" if name else ""


def _cut_off_day(day: date) -> date:
    """Return the day whose cut-off an announcement date follows: the day before, but Friday for Monday."""
    return day - (3 * _DAY if day.weekday() == 0 else _DAY)


@cache
def _estimated(year: int) -> dict[date, str]:
    """Return the holidays that arXiv has kept every year; those on a weekend as the United States observe them."""
    fixed = {
        date(year, 1, 1): "New Year's Day",
        date(year, 6, 19): "Juneteenth",
        date(year, 7, 4): "Independence Day",
        date(year, 12, 25): "Christmas",
        date(year + 1, 1, 1): "New Year's Day",
    }
    return {_observed(day): name for day, name in fixed.items()} | {
        _nth(year, 1, weekday=0, n=3): "Martin Luther King Jr. Day",
        _nth(year, 9, weekday=0, n=1): "Labor Day",
        _nth(year, 11, weekday=3, n=4): "Thanksgiving",
    }


def _observed(day: date) -> date:
    """Saturday's on Friday, Sunday's on Monday (5 U.S.C. 6103)."""
    return day + {5: -_DAY, 6: _DAY}.get(day.weekday(), timedelta())


def _nth(year: int, month: int, *, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))
