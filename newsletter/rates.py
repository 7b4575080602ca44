"""How fast mails may go out, as the operator writes it down. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

EVERY_OTHER = "*"
_RATE = re.compile(r"([^:\s]+):(\d+(?:\.\d+)?)")
_PLAN = re.compile(r"(?:([^=\s]+)=)?(\d{4}-\d\d-\d\d):(\d+)x(\d+(?:\.\d+)?)(?::(\d+))?")
_DAYS = 30
_SLOWEST, _FASTEST = 0.001, 100_000.0
_BETWEEN = "is between 0.001 and 100000 mails a second"
_MOST_A_DAY = 10**12


@dataclass(frozen=True, slots=True)
class DomainRate:
    """A limit for mails to recipients at one domain, or at several that belong to one provider.

    :ivar name: whose limit it is: the first of a provider's domains; for the limit of every other domain, that domain.
    :ivar rate: mails a second.
    """

    name: str
    rate: float


@dataclass(frozen=True, slots=True)
class DomainRates:
    """The limits of recipient domains."""

    named: Mapping[str, DomainRate] = field(default_factory=dict)
    other: float = 0.0

    def of(self, domain: str) -> DomainRate | None:
        """Return the limit of a domain in small letters, or ``None``."""
        found = self.named.get(domain)
        return DomainRate(domain, self.other) if found is None and self.other else found


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A warm-up plan: how many mails a day a relay may be given while receivers do not know its address yet.

    :ivar start: its first day, in UTC; before it no more than on that day.
    :ivar growth: each day's number in relation to the day before.
    :ivar days: how long the plan lasts; after it there is no cap.
    """

    start: date
    first: int
    growth: float
    days: int = _DAYS

    def cap(self, day: date) -> int | None:
        """Return how many mails may go out on a day, or ``None`` when the plan is over."""
        since = max(0, (day - self.start).days)
        if day >= self.start + timedelta(days=self.days):
            return None
        try:
            return int(min(self.first * self.growth**since, _MOST_A_DAY))
        except OverflowError:
            return _MOST_A_DAY


def cap_of(plans: Mapping[str, WarmUp], relay: str, day: date) -> int | None:
    """Return how many mails a relay may be given on a day (UTC), or ``None``; see `parse_warm_ups`.

    :param relay: ``host:port``.
    """
    for name in (relay, relay.rpartition(":")[0], EVERY_OTHER):
        if plan := plans.get(name.lower()):
            return plan.cap(day)
    return None


def check_rate(rate: float) -> float:
    """Return a rate that can be kept: 0 is none.

    :raises ValueError: it is too small or too large to keep it.
    """
    if rate != 0 and not _SLOWEST <= rate <= _FASTEST:
        raise ValueError(f"must be 0, or a number that {_BETWEEN}")
    return rate


def parse_domain_rates(text: str) -> DomainRates:
    """Read ``gmail.com+googlemail.com:20,*:50``: domains that share a limit, and the limit of each other one.

    :raises ValueError: with the part that is wrong.
    """
    named, other = dict[str, DomainRate](), 0.0
    for part in filter(None, (each.strip() for each in text.lower().split(","))):
        found = _RATE.fullmatch(part)
        if not found:
            raise ValueError(f"rate_domains: {part} must look like gmail.com:20, gmail.com+googlemail.com:20 or *:50")
        rate, domains = float(found[2]), found[1].split("+")
        if not _SLOWEST <= rate <= _FASTEST:
            raise ValueError(f"rate_domains: {part}: the rate {_BETWEEN}")
        if found[1] == EVERY_OTHER:
            other = rate
        elif not all(domains) or EVERY_OTHER in domains:
            raise ValueError(f"rate_domains: {part} must name domains, with + between them")
        else:
            named |= dict.fromkeys(domains, DomainRate(domains[0], rate))
    return DomainRates(named, other)


def parse_warm_ups(text: str) -> Mapping[str, WarmUp]:
    """Read ``2026-11-23:200x1.5:30``: from that day on 200 a day, each day half as many more, for 30 days.

    ``host=2026-11-23:…`` is for that relay alone; several stand with commas between them.

    :returns: the plans by relay (``host`` or ``host:port``); that of every other relay is ``*``.
    :raises ValueError: with the part that is wrong.
    """
    plans = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        found = _PLAN.fullmatch(part)
        try:
            start = date.fromisoformat(found[2]) if found else None
        except ValueError:
            start = None
        if found is None or start is None:
            raise ValueError(f"warmup: {part} must look like 2026-11-23:200x1.5 or 2026-11-23:200x1.5:30")
        plan = WarmUp(start, int(found[3]), float(found[4]), int(found[5] or _DAYS))
        if not (1 <= plan.first <= 10**9 and 1 <= plan.growth <= 10 and 1 <= plan.days <= 366):
            raise ValueError(f"warmup: {part}: at least 1 mail, a growth from 1 to 10, and 1 to 366 days")
        name = (found[1] or EVERY_OTHER).lower()
        if name in plans:
            raise ValueError(f"warmup: {part}: there is another plan for the same relay")
        plans[name] = plan
    return plans
