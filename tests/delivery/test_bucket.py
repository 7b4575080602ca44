"""The token bucket of instants: what it promises holds for any rate, any callers and any lateness."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.pacing.bucket import (
    SECOND,
    Held,
    Limit,
    Reading,
    SharedClock,
    micros,
    reserve,
)

START = 1_800_000_000 * SECOND
RATES = st.one_of(st.integers(1, 5_000).map(float), st.floats(0.02, 5_000))


def most_in_any(used: list[int], window: int) -> int:
    """Return the most instants in any closed window."""
    return max((bisect_right(used, at + window) - number for number, at in enumerate(used)), default=0)


@dataclass
class Caller:
    """A process that asks for permits.

    :ivar off: what its clock shows, less what the shared one does.
    :ivar trip: how long it takes to reserve: the shared clock is read somewhere in between.
    """

    held: Held
    off: int
    trip: int
    clock: SharedClock = field(default_factory=SharedClock)


@dataclass
class World:
    """Some processes that share a limit, under a virtual clock."""

    limit: Limit
    callers: list[Caller]
    now: int = START
    after: int = 0
    used: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    def take(self, number: int) -> int:
        """Let a process ask for a permit; return 0 if it got one, else how long it should wait."""
        caller = self.callers[number]
        at = self.now + caller.off
        if caller.held.is_short(caller.clock.bounds(at)[0]):
            begun, self.now = at, self.now + caller.trip // 2
            run = reserve(self.limit, self.after, self.now, caller.held.want)
            self.after = run.after if run.count else self.after
            shared, self.now = self.now, self.now + caller.trip - caller.trip // 2
            at = self.now + caller.off
            caller.clock.read(Reading(begun, shared, at))
            caller.held.add(run)
        wait = caller.held.wait(*caller.clock.bounds(at))
        if not wait:
            self.slots.append(caller.held._slots[0])
            caller.held.use(at)
            self.used.append(self.now)
        return wait if wait >= 0 else 2_000


def world(rate: float, offs: list[int], trip: int = 0) -> World:
    limit = Limit(rate)
    return World(limit, [Caller(Held(limit), off, trip) for off in offs])


OFFS = st.lists(st.integers(-5 * SECOND, 5 * SECOND), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**32)


@given(RATES, OFFS, st.integers(0, 3_000), SEEDS)
def test_never_more_than_the_limit_in_any_window(rate: float, offs: list[int], trip: int, seed: int) -> None:
    shared, random = world(rate, offs, trip), Random(seed)
    interval = int(shared.limit.interval)
    for _ in range(3_000):
        if random.random() < 0.005:  # nobody has anything to send, or all were held up
            shared.now += random.randrange(int(shared.limit.window * SECOND))
        wait = shared.take(random.randrange(len(offs)))
        if wait:
            late = random.choice((0, 0, random.randrange(500), random.randrange(3 * interval)))
            shared.now += random.choice((wait, wait, random.randrange(wait + 1))) + late
        else:
            shared.now += random.choice((0, 0, random.randrange(interval)))
    assert len(shared.used) > 100
    for windows in (1.0, 1.1, 1.5, 2.0, 3.7):
        window = shared.limit.window * windows
        assert most_in_any(shared.used, int(window * SECOND)) <= rate * window


@given(RATES, OFFS, SEEDS)
def test_within_two_percent_of_the_limit_when_there_is_always_work(rate: float, offs: list[int], seed: int) -> None:
    shared, random = world(rate, offs), Random(seed)
    wakes = dict.fromkeys(range(len(offs)), START)
    lateness = shared.limit.lateness * 9 // 10  # what is left of it by clocks that may run apart
    while len(shared.used) < 1_000:
        number = min(wakes, key=wakes.__getitem__)
        shared.now = max(shared.now, wakes[number])
        wait = shared.take(number)
        wakes[number] = shared.now + wait + (random.randrange(lateness) if wait else 0)
    # it took some to find out how many are needed, and some at the end are still waiting for who is late
    slots = [slot for slot in sorted(shared.slots)[400:] if slot < shared.now - 2 * shared.limit.lateness]
    assert (len(slots) - 1) * SECOND / (slots[-1] - slots[0]) >= 0.98 * rate
    assert most_in_any(shared.used, int(shared.limit.window * SECOND)) <= rate * shared.limit.window


@given(RATES)
def test_the_margin_leaves_time_to_be_late(rate: float) -> None:
    limit = Limit(rate)
    assert limit.lateness >= 0.7 * SECOND / max(rate, 100) * (1 if rate >= 100 else 100 / rate)
    # the promise of the docstring: 1 + (W + lateness) / interval is no more than R W
    assert 1 + (limit.window * SECOND + limit.lateness + 2) / limit.interval <= rate * limit.window * (1 + 1e-9)


@given(st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(1, 500)), max_size=40), RATES)
def test_slots_are_an_interval_apart_whoever_reserves_them(asked: list[tuple[int, int]], rate: float) -> None:
    limit, after, now, slots = Limit(rate), 0, START, list[int]()
    for passed, want in asked:
        now += passed
        run = reserve(limit, after, now, want)
        assert run.count <= want
        if run.count:
            after = run.after
            fresh = [run.first + ceil(number * limit.interval) for number in range(run.count)]
            assert now <= fresh[0]
            assert fresh[-1] <= now + limit.ahead + 1
            slots += fresh
    assert all(later - earlier >= limit.interval - 1 for earlier, later in pairwise(slots))


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    limit = Limit(10)
    run = reserve(limit, START + 3_600 * SECOND, START, 1)
    assert (run.first, run.count) == (START, 1)
    held_by_others = reserve(limit, START + limit.ahead + 1, START, 1)
    assert held_by_others.count == 0


def test_a_process_that_uses_little_reserves_little() -> None:
    shared = world(1_000.0, [0])
    held = shared.callers[0].held
    while len(shared.used) < 2_000:
        shared.now += shared.take(0)
    assert held.want == held.limit.most == 122
    for _ in range(40):
        shared.take(0)
        shared.now += SECOND // 2
    assert held.want == 1


@given(
    st.lists(st.tuples(st.integers(0, 60 * SECOND), st.integers(0, 50_000), st.floats(0, 1)), min_size=1),
    st.integers(-3_600 * SECOND, 3_600 * SECOND),
    st.floats(-0.0001, 0.0001),
)
def test_the_shared_clock_is_within_its_bounds_as_long_as_clocks_run_true(
    readings: list[tuple[int, int, float]], off: int, drift: float
) -> None:
    clock, now = SharedClock(), START

    def shared_at(at: int) -> int:
        return at + off + int((at - START) * drift)

    for passed, trip, where in readings:
        now += passed
        clock.read(Reading(now, shared_at(now + int(trip * where)), now + trip))
        now += trip
        low, high = clock.bounds(now)
        assert low - 1 <= shared_at(now) <= high + 1
        assert high - low <= trip * 1.001 + 2


def test_a_shared_clock_that_was_set_is_believed() -> None:
    clock = SharedClock()
    clock.read(Reading(START, START, START))
    clock.read(Reading(START + SECOND, START - 60 * SECOND, START + SECOND + 5_000))
    low, high = clock.bounds(START + SECOND + 5_000)
    assert low <= START - 60 * SECOND <= high


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 11, 23, 12, 30, 1, 234_567, UTC)])
def test_instants_are_whole_microseconds(at: datetime) -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros(at)) == at
