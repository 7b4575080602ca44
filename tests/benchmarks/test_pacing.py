"""What pacing costs per mail, and how near to the limit an event loop with many mails comes."""

import asyncio
from collections.abc import Callable

import pytest
from test_bucket import most_in_any

from newsletter import clock
from newsletter.db import Database
from newsletter.delivery.pacing import Pacer
from newsletter.delivery.pacing.bucket import SECOND, micros
from newsletter.delivery.pacing.shared import RedisBuckets
from newsletter.rates import parse_domain_rates

RELAY, DOMAIN = "relay.example.org:587", "example.org"

pytestmark = pytest.mark.benchmark


@pytest.fixture
def build(sqlite_url: str, postgresql_url: str, broker_url: str) -> Callable[..., tuple[Database, Pacer]]:
    """Build a pacer that counts where it is told."""

    def make(kind: str, **limits: object) -> tuple[Database, Pacer]:
        db = Database(postgresql_url if kind == "postgresql" else sqlite_url)
        broker = RedisBuckets(broker_url, clock.now) if kind == "redis" else None
        return db, Pacer(db, clock.now, broker=broker, **limits)  # type: ignore[arg-type]

    return make


def test_what_a_permit_costs(build: Callable[..., tuple[Database, Pacer]]) -> None:
    for said, limits in {
        "nothing limited": {},
        "relay": {"rate": 100_000},
        "relay and domain": {"rate": 100_000, "domains": parse_domain_rates("*:100000")},
    }.items():
        db, pacer = build("sqlite", **limits)
        given, spent, end = 0, 0.0, clock.monotonic() + 2
        while clock.monotonic() < end:
            before = clock.monotonic()
            wait = pacer.take(RELAY, DOMAIN, clock.now())
            if wait:
                clock.wait(wait)
            else:
                spent += clock.monotonic() - before
                given += 1
        print(f"\n{said}: {spent / given * 1e6:.1f} µs a permit ({given / 2:,.0f} a second)")
        pacer.close()
        db.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "redis"])
@pytest.mark.parametrize("rate", [10, 100, 1_000, 5_000])
def test_how_near_to_the_limit_it_comes(build: Callable[..., tuple[Database, Pacer]], kind: str, rate: int) -> None:
    db, pacer = build(kind, rate=rate)
    used: list[int] = []

    async def send(seconds: float) -> None:
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            now = clock.now()
            if wait := pacer.take(RELAY, DOMAIN, now):
                await asyncio.sleep(wait)
            else:
                used.append(micros(now))

    asyncio.run(send(12 if rate < 100 else 6))
    begun = used[0] + SECOND
    steady = [each for each in used if each >= begun]
    reached = (len(steady) - 1) * SECOND / (steady[-1] - steady[0]) / rate
    window = int(max(1.0, 100 / rate) * SECOND)
    most, allowed = most_in_any(used, window), rate * window / SECOND
    print(f"\n{kind}, {rate} a second: {reached:.1%} of the limit; most in any window {most} of {allowed:.0f}")
    assert most <= allowed
    pacer.close()
    db.dispose()
