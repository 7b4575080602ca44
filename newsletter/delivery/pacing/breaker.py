"""A circuit breaker for a relay or a recipient domain: after a refusal for now, rest; then one probe. Pure.

Closed → (slowed) → open, for a rest → half open: one mail as a probe → closed if it is accepted, or a rest twice as
long. A breaker that has closed remembers its rest for as long as that lasted: what is slowed again by then goes on
from there.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FIRST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(hours=1)
PROBE = timedelta(minutes=2)  # a probe that nothing was heard of by then is made again
_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a relay or a domain stands.

    :ivar failures: refusals in a row, counted once for each rest.
    :ivar until: the end of the rest; of one that is closed, when it is forgotten.
    :ivar probing_until: while it is half open, until when somebody's probe may be on its way.
    """

    failures: int
    closed: bool
    since: datetime
    until: datetime
    probing_until: datetime

    @property
    def rest(self) -> timedelta:
        """How long the latest rest was to last."""
        return min(FIRST_REST * (1 << min(self.failures - 1, _DOUBLINGS)), LONGEST_REST)


def slowed(breaker: Breaker | None, now: datetime) -> Breaker:
    """Return the breaker after a refusal for now; those of mails that were on their way into a rest change nothing."""
    if breaker is not None and not breaker.closed and now < breaker.until:
        return breaker
    remembered = breaker is not None and not (breaker.closed and now >= breaker.until)
    failures = breaker.failures + 1 if breaker is not None and remembered else 1
    opened = Breaker(failures, closed=False, since=now, until=now, probing_until=now)
    return replace(opened, until=now + opened.rest)


def worked(breaker: Breaker | None, now: datetime) -> Breaker | None:
    """Return the breaker after a mail was accepted; what was on its way before the rest says nothing."""
    if breaker is None or breaker.closed or now < breaker.until:
        return breaker
    return replace(breaker, closed=True, until=now + breaker.rest, probing_until=now)


def claimed(breaker: Breaker | None, now: datetime) -> Breaker | None:
    """Return the breaker with the probe given to whoever asks, or ``None`` when it is not to be had."""
    if breaker is None or breaker.closed or now < breaker.until or now < breaker.probing_until:
        return None
    return replace(breaker, probing_until=now + PROBE)


def unheard(breaker: Breaker | None, now: datetime) -> Breaker | None:
    """Return the breaker after a mail came to an end that says nothing of our pace: another probe may be made."""
    if breaker is None or breaker.closed or now < breaker.until or now >= breaker.probing_until:
        return breaker
    return replace(breaker, probing_until=now)


def held_open(breaker: Breaker | None, now: datetime, rest: timedelta) -> Breaker:
    """Return the breaker opened for a rest from now on; kept open, it is open since it was opened first."""
    since = breaker.since if breaker is not None and now < breaker.until else now
    return Breaker(1, closed=False, since=since, until=now + rest, probing_until=now)


def wait(breaker: Breaker, now: datetime) -> timedelta:
    """Return how long nobody may try; zero when it is closed, or when the probe is to be had."""
    if breaker.closed:
        return timedelta(0)
    return max(breaker.until - now, breaker.probing_until - now, timedelta(0))
