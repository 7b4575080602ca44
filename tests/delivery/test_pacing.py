"""How fast mails may go out, over several processes that share a database or a broker."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from threading import Barrier, RLock, Thread
from typing import Any

import freezegun
import pytest
import redis
from fakes import Clock, free_port
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString
from structlog.testing import capture_logs
from test_bucket import most_in_any

from newsletter import clock as real
from newsletter.app import App
from newsletter.db import Database
from newsletter.delivery.pacing import Pacer, store
from newsletter.delivery.pacing import breaker as breakers
from newsletter.delivery.pacing.allotments import Allotments
from newsletter.delivery.pacing.aside import Here
from newsletter.delivery.pacing.breaker import FIRST_REST, LONGEST_REST, PROBE, Breaker
from newsletter.delivery.pacing.bucket import SECOND, Limit, Reading, Run, micros, reserve
from newsletter.delivery.pacing.models import PaceBucket
from newsletter.delivery.pacing.shared import Ask, BrokerAwayError, DatabaseBuckets, RedisBuckets
from newsletter.delivery.pacing.standing import Warming, standing
from newsletter.errors import SettingsError
from newsletter.rates import WarmUp, cap_of, parse_domain_rates, parse_warm_ups
from newsletter.settings import load
from newsletter.web import create_web

AT = datetime(2026, 8, 5, 9, 0, tzinfo=UTC)
RELAY = "relay.example.org:587"
NOTHING = timedelta(0)


@pytest.fixture
def db(sqlite_url: str) -> Iterator[Database]:
    db = Database(sqlite_url)
    yield db
    db.dispose()


@pytest.fixture
def db_on_both(database_url: str) -> Iterator[Database]:
    db = Database(database_url)
    yield db
    db.dispose()


@pytest.fixture
def pacer_on(clock: Clock) -> Iterator[Callable[..., Pacer]]:
    """Build pacers, each as one process has it, that ask the database at once."""
    made: list[Pacer] = []

    def build(db: Database, *, now: Callable[[], datetime] = clock, **limits: Any) -> Pacer:
        made.append(Pacer(db, now, aside=Here(), **limits))
        return made[-1]

    yield build
    for each in made:
        each.close()


# Rates.


def use_up(pacers: list[Pacer], seconds: float, domain: str = "example.org") -> list[int]:
    """Ask from a thread for each pacer, as if always a mail was ready; return when permits were given, in order."""
    given: list[int] = []
    together = Barrier(len(pacers))

    def ask(pacer: Pacer) -> None:
        together.wait()
        end = real.monotonic() + seconds
        while real.monotonic() < end:
            before = real.now()
            wait = pacer.take(RELAY, domain, before)
            if wait:
                real.wait(min(wait, 0.05))
            else:
                given.append(micros(before))

    threads = [Thread(target=ask, args=(each,)) for each in pacers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sorted(given)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "redis"])
def test_several_processes_together_keep_the_limit(request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue("sqlite_url" if kind == "redis" else f"{kind}_url")
    broker = request.getfixturevalue("broker_url") if kind == "redis" else None
    dbs = [Database(url) for _ in range(3)]
    pacers = [Pacer(db, real.now, rate=400, broker=RedisBuckets(broker, real.now) if broker else None) for db in dbs]
    used = use_up(pacers, 1.2)
    for pacer, db in zip(pacers, dbs, strict=True):
        pacer.close()
        db.dispose()
    assert most_in_any(used, SECOND) <= 400
    assert len(used) > 200, "and they do get something"
    with Database(url).snapshot() as session:
        rows = len(session.exec(store.select(PaceBucket)).all())
    assert rows == (0 if kind == "redis" else 1), "counted where it should be"


def test_the_script_in_redis_reserves_as_the_database_does(broker_url: str) -> None:
    buckets = RedisBuckets(broker_url, real.now)
    limits = [Limit(rate) for rate in (1_000, 333.3, 0.7)]
    buckets.reserve([Ask("first", limits[0], 1)])
    client = redis.Redis.from_url(broker_url.replace("redis+socket://", "unix://"))
    client.set("newsletter:pace:since", micros(real.now()) - 3_600 * SECOND)  # Redis has been there for long
    after = dict.fromkeys(range(3), 0)
    for number in range(60):
        asks = [Ask(f"relay {which}", limit, 1 + number % 7) for which, limit in enumerate(limits)]
        delay = timedelta(milliseconds=number % 5)
        reading, runs = buckets.reserve(asks, delay)
        assert reading.before <= reading.after
        for which, (ask, run) in enumerate(zip(asks, runs, strict=True)):
            assert run == reserve(ask.limit, after[which], reading.shared, ask.want, delay // timedelta(microseconds=1))
            after[which] = run.after if run.count else after[which]
    assert 0 < client.ttl("newsletter:pace:relay 1") <= 3_610


def test_after_redis_forgot_everything_nobody_overlaps_with_slots_it_gave_out_before(broker_url: str) -> None:
    buckets = RedisBuckets(broker_url, real.now)
    ask, client = Ask("relay", Limit(500), 500), redis.Redis.from_url(broker_url.replace("redis+socket://", "unix://"))
    _, [none_yet] = buckets.reserve([ask])
    client.set("newsletter:pace:since", micros(real.now()) - 3_600 * SECOND)
    _, [before] = buckets.reserve([ask])
    client.flushall()
    _, [after] = buckets.reserve([ask])
    assert none_yet.count == after.count == 0
    assert before.count > 100
    assert after.first >= before.after


def test_without_redis_all_count_in_the_database_and_nobody_before_all_do(
    db: Database, clock: Clock, pacer_on: Callable[..., Pacer]
) -> None:
    here = pacer_on(db, rate=100, broker=RedisBuckets(f"redis://127.0.0.1:{free_port()}/0", clock))
    there = pacer_on(db, rate=100, broker=DatabaseBuckets(db, clock))  # it is not asked
    with capture_logs() as logs:
        assert here.take(RELAY, "example.org", clock())
        assert here.take(RELAY, "example.org", clock()) > 1, "others may not have heard of it"
    assert [each["event"] for each in logs] == ["pacing_without_redis"]
    assert there.take(RELAY, "example.org", clock()) > 1
    for each in (here, there):
        assert each._slots._on is each._slots._database
    clock.forward(seconds=31)
    with capture_logs() as logs:
        here.take(RELAY, "example.org", clock())
    assert [each["event"] for each in logs] == ["pacing_without_redis"], "it is tried again, and still away"


class Flaky:
    """A broker in memory that a process cannot always reach."""

    def __init__(self, clock: Clock, away: Callable[[datetime], bool], after: dict[str, int]) -> None:
        self._clock = clock
        self._away = away
        self._after = after
        self.asked = 0

    def reserve(self, asks: Sequence[Ask], delay: timedelta = NOTHING) -> tuple[Reading, list[Run]]:
        if self._away(self._clock()):
            raise BrokerAwayError("gone")
        self.asked += 1
        now, runs = micros(self._clock()), []
        for ask in asks:
            run = reserve(ask.limit, self._after.get(ask.key, 0), now, ask.want, delay // timedelta(microseconds=1))
            runs.append(run)
            if run.count:
                self._after[ask.key] = run.after
        return Reading(now, now, now), runs


def test_the_limit_holds_while_the_broker_comes_and_goes(
    db: Database, clock: Clock, pacer_on: Callable[..., Pacer]
) -> None:
    begun, after = clock(), dict[str, int]()

    def between(*phases: tuple[int, int]) -> Callable[[datetime], bool]:
        return lambda now: any(first <= (now - begun).total_seconds() < end for first, end in phases)

    brokers = [Flaky(clock, between((10, 15), (100, 110)), after), Flaky(clock, between((100, 103)), after)]
    pacers = [pacer_on(db, rate=20, broker=each) for each in brokers]
    used, waits = list[int](), [begun, begun]
    with freezegun.freeze_time(begun) as frozen, capture_logs() as logs:
        while clock() - begun < timedelta(seconds=170):
            which = waits.index(min(waits))
            clock.at = max(clock(), waits[which])
            frozen.move_to(clock())
            if wait := pacers[which].take(RELAY, "example.org", clock()):
                waits[which] += timedelta(seconds=wait)
            else:
                used.append(micros(clock()))
    said = [each for each in logs if each["event"] == "pacing_without_redis"]
    assert 2 <= len(said) <= 3, "who hears it from others does not find out alone"
    assert most_in_any(used, 5 * SECOND) <= 100
    assert len(used) > 20 * 170 * 0.8, "four times it took some seconds until all knew"
    assert all(each.asked > 50 for each in brokers)


def test_a_broker_that_is_away_says_so(db: Database) -> None:
    with pytest.raises(BrokerAwayError, match="ConnectionError"):
        RedisBuckets(f"redis://127.0.0.1:{free_port()}/0", real.now).reserve([Ask("relay", Limit(1), 1)])


def test_without_the_database_there_is_no_permit(tmp_path: Any, clock: Clock, pacer_on: Callable[..., Pacer]) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    limited, free = pacer_on(empty, rate=10), pacer_on(empty)
    with capture_logs() as logs:
        assert limited.take(RELAY, "example.org", clock()) > 0
        assert limited.take(RELAY, "example.org", clock()) > 0
        assert free.take(RELAY, "example.org", clock()) == 0
    assert {each["event"] for each in logs} == {"pacing_without_database"}
    empty.dispose()


def test_a_domain_that_has_to_wait_uses_nothing_of_the_relay(db: Database, pacer_on: Callable[..., Pacer]) -> None:
    clock = Clock(real.now())  # the database's: slots are instants
    limits = parse_domain_rates("gmail.com+googlemail.com:1")
    pacer = pacer_on(db, now=clock, rate=1_000, domains=limits)

    def take(domain: str) -> float:
        clock.at = real.now()
        return pacer.take(RELAY, domain, clock())

    while take("gmail.com"):
        pass
    assert take("googlemail.com") > 0.2, "they share it"
    assert take("GMAIL.com") > 0.2
    held = pacer._slots._held
    assert set(held) == {"domain gmail.com", f"relay {RELAY}"}
    while take("example.org"):
        pass


def test_only_domains_with_a_limit_have_a_row(db: Database, pacer_on: Callable[..., Pacer], clock: Clock) -> None:
    for rates, expected in (("gmail.com:5", 0), ("*:5", 3)):
        pacer = pacer_on(db, domains=parse_domain_rates(rates))
        for domain in ("a.example", "b.example", "B.Example", "c.example"):
            pacer.take(RELAY, domain, clock())
        with db.snapshot() as session:
            assert len(session.exec(store.select(PaceBucket)).all()) == expected
    with db.session() as session:
        store.prune(session, real.now() + timedelta(days=3))
    with db.snapshot() as session:
        assert session.exec(store.select(PaceBucket)).all() == []


# Warm-up.


@pytest.mark.parametrize(
    ("day", "cap"),
    [("2026-11-01", 200), ("2026-11-23", 200), ("2026-11-24", 300), ("2026-11-25", 450), ("2026-12-14", None)],
)
def test_a_plan_grows_from_day_to_day_and_ends(day: str, cap: int | None) -> None:
    plans = parse_warm_ups("2026-11-23:200x1.5:21, Relay.example.org=2026-11-23:5x2")
    assert cap_of(plans, "other.example.org:25", date.fromisoformat(day)) == cap
    assert cap_of(plans, RELAY, date(2026, 11, 25)) == 20
    assert cap_of({}, RELAY, date(2026, 11, 25)) is None


def test_no_day_sees_more_than_its_cap_and_the_next_one_begins_at_midnight(
    db_on_both: Database, clock: Clock, pacer_on: Callable[..., Pacer]
) -> None:
    clock.at = datetime(2026, 8, 5, 23, 0, tzinfo=UTC)
    plans = parse_warm_ups("2026-08-05:30x1.5")
    pacers = [pacer_on(db_on_both, warm_ups=plans) for _ in range(2)]
    waits = [pacers[number % 2].take(RELAY, "example.org", clock()) for number in range(60)]
    assert waits.count(0) == 30
    assert set(waits) == {0, 3_600.0}
    assert pacers[0].take("another:25", "example.org", clock()) == 0, "each relay has its own"
    clock.forward(hours=1)
    waits = [pacers[number % 2].take(RELAY, "example.org", clock()) for number in range(60)]
    assert waits.count(0) == 45
    with db_on_both.snapshot() as session:
        assert store.taken(session, date(2026, 8, 6)) == {RELAY: 45}


@given(
    st.integers(1, 400),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6 * 3_600), st.integers(1, 150)), max_size=12),
)
def test_the_cap_holds_whoever_asks_when_and_whoever_dies(cap: int, steps: list[tuple[int, int, int]]) -> None:
    days: dict[date, int] = {}

    class Shared(Allotments):
        """Days that are counted in memory."""

        def _ask(self, relay: str, mine: Any, cap: int, now: datetime) -> None:
            given = max(0, min(mine.want, cap - days.get(mine.day, 0)))
            days[mine.day] = days.get(mine.day, 0) + given
            self._got(relay, mine, given, cap, now)

    plans, now, used = {"*": WarmUp(date(2026, 8, 1), cap, 1.0)}, AT, dict[date, int]()
    processes = [Shared(None, plans, Here(), RLock()) for _ in range(3)]  # type: ignore[arg-type]
    for which, passed, mails in steps:
        now += timedelta(seconds=passed)
        if passed % 7 == 0:  # killed, and started again
            processes[which] = Shared(None, plans, Here(), RLock())  # type: ignore[arg-type]
        for _ in range(mails):
            if not processes[which].wait(RELAY, now):
                processes[which].use(RELAY)
                used[now.date()] = used.get(now.date(), 0) + 1
    assert all(number <= cap for number in used.values())


def test_what_was_not_used_is_given_back(db: Database, clock: Clock, pacer_on: Callable[..., Pacer]) -> None:
    pacer = pacer_on(db, warm_ups=parse_warm_ups("2026-08-05:1000x1"))
    assert [pacer.take(RELAY, "example.org", clock()) for _ in range(25)] == [0.0] * 25
    with db.snapshot() as session:
        assert 25 < store.taken(session, clock().date())[RELAY] <= 45
    pacer.close()
    with db.snapshot() as session:
        assert store.taken(session, clock().date()) == {RELAY: 25}


# Breakers.


def test_rests_double_up_to_an_hour_and_success_closes() -> None:
    breaker, now, rests = None, AT, []
    for _ in range(9):
        breaker = breakers.slowed(breaker, now)
        assert breakers.slowed(breaker, now + FIRST_REST / 2) is breaker, "others that were on their way"
        assert breakers.worked(breaker, now + FIRST_REST / 2) is breaker
        rests.append(breakers.wait(breaker, now))
        now = breaker.until
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST
    closed = breakers.worked(breaker, now)
    assert closed is not None
    assert breakers.wait(closed, now) == NOTHING
    assert breakers.slowed(closed, now + LONGEST_REST / 2).rest == LONGEST_REST, "it remembers"
    assert breakers.slowed(closed, now + LONGEST_REST).rest == FIRST_REST, "not for ever"


@given(st.lists(st.tuples(st.sampled_from(["slowed", "worked", "claimed"]), st.integers(0, 4_000)), max_size=40))
def test_a_breaker_rests_an_hour_at_most_and_lets_one_probe_through_at_a_time(steps: list[tuple[str, int]]) -> None:
    breaker: Breaker | None = None
    now, probes = AT, list[datetime]()
    for what, passed in steps:
        now += timedelta(seconds=passed)
        if what == "claimed":
            probing = breakers.claimed(breaker, now)
            if probing is not None:
                assert breaker is not None
                assert breakers.wait(breaker, now) == NOTHING
                assert not probes or now - probes[-1] >= PROBE or breaker.since >= probes[-1]
                probes.append(now)
                assert breakers.wait(probing, now) == PROBE
            breaker = probing or breaker
        else:
            breaker = getattr(breakers, what)(breaker, now)
        if breaker is not None:
            assert breakers.wait(breaker, now) <= LONGEST_REST


def test_a_relay_that_is_slowed_rests_in_every_process_and_one_probe_finds_out(
    db_on_both: Database, clock: Clock, pacer_on: Callable[..., Pacer]
) -> None:
    here, there = pacer_on(db_on_both), pacer_on(db_on_both)
    assert [each.take(RELAY, "example.org", clock()) for each in (here, there)] == [0, 0]
    with capture_logs() as logs:
        for _ in range(3):
            here.slow(RELAY, None, clock())
    assert [(each["event"], each["seconds"]) for each in logs] == [("slowed", 30)]
    assert here.take(RELAY, "example.org", clock()) == 30
    assert here.take("another:25", "example.org", clock()) == 0
    clock.forward(seconds=1)
    assert there.take(RELAY, "example.org", clock()) == 29
    clock.forward(seconds=29)
    assert [each.take(RELAY, "example.org", clock()) for each in (there, here, there)] == [0, 1, 1], "one probe"
    there.slow(RELAY, None, clock())
    assert there.take(RELAY, "example.org", clock()) == 60
    clock.forward(seconds=60)
    assert [each.take(RELAY, "example.org", clock()) for each in (here, there)] == [0, 1]
    here.worked(RELAY, "example.org", clock())
    clock.forward(seconds=1)
    assert [each.take(RELAY, "example.org", clock()) for each in (here, there, there)] == [0, 0, 0]


def test_a_domain_that_is_slowed_holds_up_no_other(db: Database, clock: Clock, pacer_on: Callable[..., Pacer]) -> None:
    pacer = pacer_on(db, domains=parse_domain_rates("gmail.com+googlemail.com:1000"))
    pacer.slow(RELAY, "googlemail.com", clock())
    assert pacer.take(RELAY, "Gmail.com", clock()) == 30
    assert pacer.take("another:25", "gmail.com", clock()) == 30
    assert pacer.take(RELAY, "example.org", clock()) == 0
    pacer.worked(RELAY, "gmail.com", clock())
    assert pacer.take(RELAY, "gmail.com", clock()) == 30, "it was on its way before"
    with db.snapshot() as session:
        assert set(store.current(session, clock())) == {"domain gmail.com"}


def test_a_probe_that_nothing_was_heard_of_is_made_again(
    db: Database, clock: Clock, pacer_on: Callable[..., Pacer]
) -> None:
    pacer = pacer_on(db)
    pacer.slow(RELAY, None, clock())
    clock.forward(seconds=30)
    assert [pacer.take(RELAY, "example.org", clock()) for _ in range(2)] == [0, 1]
    clock.at += PROBE
    assert [pacer.take(RELAY, "example.org", clock()) for _ in range(2)] == [0, 1]


def test_a_probe_that_ends_without_a_word_of_our_pace_is_made_again_at_once(
    db_on_both: Database, clock: Clock, pacer_on: Callable[..., Pacer]
) -> None:
    here, there = pacer_on(db_on_both), pacer_on(db_on_both)
    here.take(RELAY, "example.org", clock())
    here.slow(RELAY, None, clock())
    here.unheard(RELAY, "example.org", clock())
    assert here.take(RELAY, "example.org", clock()) == 30, "what was on its way before says nothing"
    clock.forward(seconds=30)
    assert [each.take(RELAY, "example.org", clock()) for each in (here, there)] == [0, 1]
    here.unheard(RELAY, "example.org", clock())  # the connection broke
    clock.forward(seconds=1)
    assert [each.take(RELAY, "example.org", clock()) for each in (there, here, there)] == [0, 1, 1], "one probe"
    there.worked(RELAY, "example.org", clock())
    clock.forward(seconds=1)
    assert [each.take(RELAY, "example.org", clock()) for each in (here, there)] == [0, 0]


def test_breakers_that_nobody_needs_are_forgotten(db: Database, clock: Clock, pacer_on: Callable[..., Pacer]) -> None:
    pacer = pacer_on(db)
    pacer.slow(RELAY, "example.org", clock())
    clock.forward(seconds=31)
    pacer.worked(RELAY, "example.org", clock())
    assert pacer._circuits
    clock.forward(minutes=11)
    pacer.take(RELAY, "example.org", clock())
    with db.session() as session:
        assert store.current(session, AT) == {}
    assert not pacer._circuits


# What is shown.


def test_status_and_metrics_show_what_rests_and_how_warm_a_relay_is(
    make_app: Callable[..., App], database_url: str, clock: Clock, command_here: Callable[..., Any]
) -> None:
    app = make_app(database_url, warmup="2026-08-05:200x1.5")
    app.pacing.slow(RELAY, "gmail.com", clock())
    app.pacing.slow(RELAY, "old.example", clock() - timedelta(hours=3))
    while app.pacing.take(RELAY, "example.org", clock()):
        real.wait(0.01)
    app.pacing.close()
    with app.db.snapshot() as session:
        found = standing(session, app.settings.warm_ups, clock())
    assert [(each.what, each.until - clock(), each.failures) for each in found.resting] == [
        ("domain gmail.com", timedelta(seconds=30), 1),
        ("domain old.example", timedelta(seconds=30) - timedelta(hours=3), 1),
    ]
    assert found.warming == (Warming(RELAY, 1, 200),)
    shown = TestClient(create_web(app)).get("/metrics").text
    until = floatToGoString(clock().timestamp() + 30)
    assert f'newsletter_slowed_until_timestamp_seconds{{what="domain gmail.com"}} {until}' in shown
    assert f'newsletter_warmup_mails{{relay="{RELAY}"}} 1.0' in shown
    assert f'newsletter_warmup_cap{{relay="{RELAY}"}} 200.0' in shown
    said = command_here("status", database_url=database_url, secret_key="a key for tests").stdout
    assert "domain gmail.com: slowed, 1 times in a row; tried again after 2026-08-05T09:00:30Z" in said


# Settings.


def test_the_settings_reach_the_pacing(make_app: Callable[..., App], sqlite_url: str, clock: Clock) -> None:
    app = make_app(sqlite_url, rate=5, rate_domains="example.org:2", warmup="2026-08-05:1x1")
    waits = {app.pacing.take(RELAY, "example.org", clock()) for _ in range(3)}
    assert 0 not in waits, "another thread is still asking"
    while 15 * 3_600 not in waits:
        waits.add(wait := app.pacing.take(RELAY, "example.org", clock()))
        real.wait(min(wait, 0.01))
    assert 0 in waits
    assert set(app.pacing._slots._held) == {f"relay {RELAY}", "domain example.org"}


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("rate", -1, "NEWSLETTER_RATE: must be 0, or a number that is between 0.001 and 100000 mails a second"),
        ("rate_domains", "gmail.com", "NEWSLETTER_RATE_DOMAINS: gmail.com must look like gmail.com:20"),
        ("rate_domains", "gmail.com:0", "NEWSLETTER_RATE_DOMAINS: gmail.com:0: the rate is between 0.001"),
        ("rate_domains", "a.example+:5", r"NEWSLETTER_RATE_DOMAINS: a.example\+:5 must name domains"),
        ("warmup", "tomorrow:5", "NEWSLETTER_WARMUP: tomorrow:5 must look like 2026-11-23:200x1.5"),
        ("warmup", "2026-03-01:5x2,2026-03-02:6x2", "there is another plan for the same relay"),
        ("warmup", "2026-02-30:5x2", "NEWSLETTER_WARMUP: 2026-02-30:5x2 must look like"),
        ("warmup", "2026-02-20:5x20", "NEWSLETTER_WARMUP: 2026-02-20:5x20: at least 1 mail, a growth from 1 to 10"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_named(setting: str, value: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(_env_file=None, **{setting: value})


def test_a_plan_that_grows_beyond_all_numbers_has_a_cap_on_each_of_its_days() -> None:
    plan = parse_warm_ups("2026-01-01:1x10:366")["*"]
    caps = [plan.cap(date(2026, 1, 1) + timedelta(days=day)) for day in range(366)]
    assert caps[:3] == [1, 10, 100]
    assert None not in caps
    assert caps == sorted(caps, key=lambda cap: cap or 0)
