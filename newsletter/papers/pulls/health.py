"""Whether a source is well, whether to ask it now, and whether it is worth waiting for. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

from newsletter.papers.calendar import Batch, Calendar, outlook

_ENOUGH = 3  # failures in a row, until a source is asked less often
_FIRST_REST = timedelta(hours=1)
_LONGEST_REST = timedelta(hours=12)
_LONG = timedelta(hours=24)
_OFTEN_ENOUGH = timedelta(minutes=58)
_STILL_SETTLING = timedelta(hours=6)  # a list that is later than that is asked for once an hour
_LATE = timedelta(hours=20)
_FULL = 2_000  # what arXiv's feed holds at most
_LOOK_BACK_DAYS = 7


@dataclass(frozen=True, slots=True)
class Look:
    """How the list of a day was found.

    :ivar listed: how many papers were listed on that very day.
    :ivar dated: whether the answer said that it was of that day, even with nothing new on it.
    :ivar unmodified: whether nothing had changed since the look before.
    """

    at: datetime
    listed: int
    dated: bool = False
    unmodified: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """How a source is.

    :ivar failures: runs in a row without any success.
    :ivar failing_since: when the first of them was over.
    :ivar new: papers it brought, ever; `updated` likewise.
    """

    source: str
    last_success_at: datetime | None = None
    last_error_at: datetime | None = None
    last_error: str = ""
    failures: int = 0
    new: int = 0
    updated: int = 0
    failing_since: datetime | None = None

    def is_down(self, now: datetime) -> bool:
        """Return whether it has failed for so long that somebody should look: a day's issue went without it."""
        return self.failures >= _ENOUGH and self.failing_since is not None and now - self.failing_since >= _LONG

    @property
    def resting_until(self) -> datetime | None:
        """When a source that failed three times in a row is asked again: after 1, 2, 4, 8, then each 12 hours."""
        if self.failures < _ENOUGH or self.last_error_at is None:
            return None
        rest: timedelta = _FIRST_REST * 2 ** min(self.failures - _ENOUGH, 10)
        return self.last_error_at + min(rest, _LONGEST_REST)


@dataclass(frozen=True, slots=True)
class News:
    """What there is to say about a source.

    :ivar waited_for: whether its list should have been complete by now, and is not.
    :ivar said: why there is nothing, in words for a reader; empty when all is well.
    """

    source: str
    waited_for: bool = False
    said: str = ""


Looks = Mapping[date, Sequence[Look]]
"""By day, how its list was found, oldest look first."""


def days_missed(calendar: Calendar, looks: Looks, now: datetime) -> list[date]:
    """Return the days of the last week whose list settled while nobody asked; none before the first success."""
    first = min((day for day, each in looks.items() if any(not look.error for look in each)), default=None)
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=n) for n in range(_LOOK_BACK_DAYS, 0, -1)]
    return [day for day in days if first is not None and day > first and _unseen(calendar(day), looks, now)]


def days_to_ask(calendar: Calendar, today: date) -> list[date]:
    """Return the days whose lists may still change: the last working day's and today's, or the last three."""
    if any(isinstance(calendar(today - timedelta(days=n)), str) for n in range(7)):
        return [today - timedelta(days={0: 3, 6: 2}.get(today.weekday(), 1)), today]
    return [today - timedelta(days=n) for n in (2, 1, 0)]


def worth_asking(batch: Batch | str, looks: Sequence[Look], now: datetime) -> bool:
    """Return whether to ask for a list now: always while it settles, once an hour for late papers and votes."""
    if isinstance(batch, Batch) and now < batch.expected_at:
        return False
    if not looks or now - looks[-1].at >= _OFTEN_ENOUGH:
        # a feed that was full may have been longer
        whole = any(0 < look.listed < _FULL for look in looks if not look.error)
        return not (isinstance(batch, Batch) and batch.final and whole)
    settling = isinstance(batch, Batch) and batch.promised and now < batch.settles_at + _STILL_SETTLING
    return settling and not (isinstance(batch, Batch) and _there(batch, looks))


def news(source: str, calendar: Calendar, looks: Looks, now: datetime, by: datetime, day: date) -> News:
    """Return whether a source's latest list is still to come, and why it is missing.

    :param by: until when somebody would wait: a list that settles later is not waited for.
    :param day: of whose issue it is told.
    """
    view = outlook(calendar, by)
    if not any(looks.values()) or view.settled is None:
        return News(source)  # never asked: there is nothing to wait for
    if not view.settled.promised:
        return News(source, said=_silent(source, looks, now))
    if _there(view.settled, looks.get(view.settled.day, ())):
        reason = next((why for quiet, why in view.quiet if quiet == day), "")
        return News(source, said=f"{label(source)} announced nothing: {reason}" if reason else "")
    return News(source, waited_for=True, said=_missing(source, view.settled, looks, now))


def _unseen(batch: Batch | str, looks: Looks, now: datetime) -> bool:
    if isinstance(batch, str) or batch.settles_at > now:
        return False
    # What is final but was empty may have come late: it is asked for once more on the next day.
    late = batch.settles_at + _LATE if batch.final else batch.settles_at
    good = [look for look in looks.get(batch.day, ()) if not look.error]
    return not any((0 < look.listed < _FULL and look.at >= batch.settles_at) or look.at >= late for look in good)


def _there(batch: Batch, looks: Sequence[Look]) -> bool:
    """Return whether the settled list was seen, with papers on it."""
    good = [look for look in looks if not look.error]
    return any(look.listed or look.dated for look in good) and any(
        look.at >= batch.settles_at and (look.listed or look.dated or look.unmodified) for look in good
    )


def _missing(source: str, batch: Batch, looks: Looks, now: datetime) -> str:
    own = looks.get(batch.day)
    if silent := _silent(source, {batch.day: own} if own else looks, now):
        return silent
    last = max(look.at for each in looks.values() for look in each if not look.error)
    if last < batch.settles_at:
        return f"{label(source)} was last asked at {_clock(last, now)}, before its list was complete"
    return f"{label(source)} had listed nothing for {batch.day:%A} at {_clock(last, now)}"


def _silent(source: str, looks: Looks, now: datetime) -> str:
    """Return since when a source has not answered, if its last answer is missing."""
    every = sorted((look for each in looks.values() for look in each), key=lambda look: look.at)
    if not every or not every[-1].error:
        return ""
    good = [look.at for look in every if not look.error]
    return f"{label(source)} has not answered" + (f" since {_clock(good[-1], now)}" if good else " yet")


def label(source: str) -> str:
    """Return what readers call a source; of a feed its host: the rest may hold what only the operator may know."""
    family, _, what = source.partition(":")
    if family == "feed":
        return urlsplit(what).hostname or family
    return {"arxiv": "arXiv", "huggingface": "Hugging Face", "biorxiv": "bioRxiv", "medrxiv": "medRxiv"}.get(
        family, source
    )


def shown(source: str) -> str:
    """Return a source's name for logs and numbers; what follows a feed's ``?`` may be a key."""
    return source.partition("?")[0] if source.startswith("feed:") else source


def _clock(at: datetime, now: datetime) -> str:
    day = "" if at.date() == now.date() else f"{at:%A} "
    return f"{day}{at:%H:%M} UTC"
