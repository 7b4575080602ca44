"""How the limits stand, for whoever looks after them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session

from newsletter.delivery.pacing import store
from newsletter.delivery.pacing.slots import BROKER
from newsletter.rates import WarmUp, cap_of


@dataclass(frozen=True, slots=True)
class Resting:
    """A relay or a recipient domain that was slowed, and has not taken a mail since.

    :ivar what: such as ``relay smtp.example.org:587`` or ``domain example.org``; ``broker`` while rates are counted
        in the database instead.
    :ivar until: the end of its rest; if that is past, the next mail finds out.
    :ivar failures: how many times in a row.
    """

    what: str
    until: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class Warming:
    """A relay's day under its warm-up plan: how many permits were given out, of how many."""

    relay: str
    taken: int
    cap: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What rests, and how far today's (UTC) warm-up caps are used."""

    resting: tuple[Resting, ...]
    warming: tuple[Warming, ...]


def standing(session: Session, plans: Mapping[str, WarmUp], now: datetime) -> Standing:
    """Return what rests, by name, and the relays that have sent today and have a cap."""
    found = sorted(store.current(session, now).items())
    day = now.astimezone(UTC).date()
    taken = sorted(store.taken(session, day).items())
    return Standing(
        tuple(
            Resting(key, each.until, each.failures)
            for key, each in found
            if not each.closed and (key != BROKER or each.until > now)  # which nobody probes: it is asked again
        ),
        tuple(Warming(relay, number, cap) for relay, number in taken if (cap := cap_of(plans, relay, day)) is not None),
    )
