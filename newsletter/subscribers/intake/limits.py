"""How much strangers may set off: decided from what was mailed lately. Pure."""

from dataclasses import dataclass
from datetime import timedelta

ADDRESS_DAY, ADDRESS_MONTH = 1, 3
DAY, MONTH, HOUR = timedelta(hours=24), timedelta(days=30), timedelta(hours=1)
_FLOOD = 20  # requests that are written down for each that may be mailed


@dataclass(frozen=True, slots=True)
class Limits:
    """Mails in an hour: altogether, to one mail domain, and set off by one client."""

    all_hour: int
    domain_hour: int
    client_hour: int


@dataclass(frozen=True, slots=True)
class Mailed:
    """What was mailed lately because strangers asked: to this address, to its domain, for this client, altogether."""

    address_day: int = 0
    address_month: int = 0
    domain_hour: int = 0
    client_hour: int = 0
    all_hour: int = 0


def refusal(mailed: Mailed, limits: Limits) -> str:
    """Return the name of the limit that forbids one mail more, or an empty string."""
    if mailed.address_day >= ADDRESS_DAY or mailed.address_month >= ADDRESS_MONTH:
        return "address"
    if mailed.client_hour >= limits.client_hour:
        return "client"
    if mailed.domain_hour >= limits.domain_hour:
        return "domain"
    return "all" if mailed.all_hour >= limits.all_hour else ""


def is_flood(asked_by_client: int, asked: int, limits: Limits) -> bool:
    """Return whether so much was asked within an hour that more is not even written down."""
    return asked_by_client >= limits.client_hour * _FLOOD or asked >= limits.all_hour * _FLOOD
