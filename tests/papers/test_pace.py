"""One request at a time and not too often, over all processes: with real ones, real databases and a real broker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from typing import Any, Protocol

import pytest
import redis
import sqlalchemy as sa
from fakes import free_port
from pace_process import ask
from processes import PROCESSES
from sqlmodel import select
from structlog.testing import capture_logs

from newsletter import clock
from newsletter.db import Database
from newsletter.errors import SourceDownError, SourceError
from newsletter.papers.models import Turn
from newsletter.papers.sources import store
from newsletter.papers.sources.http import Web, longest_request_seconds
from newsletter.papers.sources.pace import HOLD_SECONDS, DatabasePace, RedisPace

INTERVAL = 0.2
# A turn begins an interval after the one before has ended, and a request arrives after its turn has begun and before
# it ends: how slow anything is cannot bring two arrivals closer together. What remains are the clocks: ours against the
# database's, by which nobody notices five milliseconds in a fifth of a second.
CLOCKS = 0.005


@dataclass
class Host:
    """A host that wants to be asked by one at a time; ``/hang`` does not answer before the test ends."""

    arrived: list[float] = field(default_factory=list)
    together: int = 0
    most_together: int = 0
    statuses: list[int] = field(default_factory=list)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    @property
    def place(self) -> str:
        return self.url.removeprefix("http://")

    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.arrived)]

    @contextmanager
    def serving(self) -> Iterator["Host"]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with outer.lock:
                    outer.arrived.append(clock.monotonic())
                    outer.together += 1
                    outer.most_together = max(outer.most_together, outer.together)
                    status = outer.statuses.pop(0) if outer.statuses else 200
                outer.came.release()
                outer.over.wait(60 if self.path == "/hang" else 0.02)
                with outer.lock:
                    outer.together -= 1
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            self.over.set()
            server.shutdown()
            server.server_close()


@pytest.fixture
def host() -> Iterator[Host]:
    with Host().serving() as serving:
        yield serving


def with_turns(url: str) -> str:
    """Return a database's URL, with the table of turns in it."""
    db = Database(url)
    Turn.__table__.create(db.engine, checkfirst=True)
    db.dispose()
    return url


class Keeper(Protocol):
    """Where turns are kept."""

    options: dict[str, str]

    def left(self) -> float:
        """Return for how many seconds the turn is held at most."""


class DatabaseKeeper:
    def __init__(self, url: str) -> None:
        self.options = {"database": with_turns(url)}

    def left(self) -> float:
        db = Database(self.options["database"])
        with db.snapshot() as session:
            turn = session.exec(select(Turn)).one()
        db.dispose()
        assert turn.holder
        return (turn.held_until - clock.now()).total_seconds()


class RedisKeeper:
    def __init__(self, url: str) -> None:
        self.options = {"broker": url}

    def left(self) -> float:
        (key,) = client_of(self.options["broker"]).keys("newsletter:turn:*")
        return float(client_of(self.options["broker"]).pttl(key)) / 1000


def client_of(broker_url: str) -> Any:
    return redis.Redis.from_url(broker_url.replace("redis+socket://", "unix://"))


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def keeper(request: pytest.FixtureRequest) -> Keeper:
    """Turns in SQLite, in PostgreSQL and in Valkey, one after the other."""
    if request.param == "redis":
        return RedisKeeper(request.getfixturevalue("broker_url"))
    return DatabaseKeeper(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def start(keeper: Keeper) -> Iterator[Callable[..., ForkServerProcess]]:
    """Start processes that ask in turn; none outlives its test."""
    running: list[ForkServerProcess] = []

    def begin(url: str, times: int, hold_seconds: float) -> ForkServerProcess:
        running.append(PROCESSES.Process(target=ask, args=(url, times, INTERVAL, hold_seconds), kwargs=keeper.options))
        running[-1].start()
        return running[-1]

    yield begin
    for each in running:
        each.kill()
        each.join()


def test_several_processes_ask_one_at_a_time_and_not_too_often(
    start: Callable[..., ForkServerProcess], host: Host
) -> None:
    asking = [start(host.url, times=3, hold_seconds=60) for _ in range(3)]
    for each in asking:
        each.join(timeout=120)
        assert each.exitcode == 0
    assert len(host.arrived) == 9
    assert host.most_together == 1
    assert min(host.gaps()) >= INTERVAL - CLOCKS


def test_a_process_that_is_killed_while_it_asks_loses_its_turn(
    start: Callable[..., ForkServerProcess], keeper: Keeper, host: Host
) -> None:
    killed = start(f"{host.url}/hang", times=1, hold_seconds=2)
    assert host.came.acquire(timeout=60)
    now = clock.monotonic()
    left = keeper.left()
    assert 0 < left <= 2 + CLOCKS
    killed.kill()
    killed.join()
    another = start(host.url, times=1, hold_seconds=60)
    another.join(timeout=120)
    assert another.exitcode == 0
    assert len(host.arrived) == 2
    assert host.arrived[1] >= now + left - CLOCKS


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database(with_turns(database_url))
    yield db
    db.dispose()


def held(db: Database) -> Turn:
    with db.snapshot() as session:
        return session.exec(select(Turn)).one()


def test_a_turn_is_given_back_whatever_happens(db: Database) -> None:
    pace = DatabasePace(db, "arxiv", 0.01, patience_seconds=20)
    before = clock.now() - timedelta(seconds=CLOCKS)

    def ask() -> None:
        with pace.turn():
            turn = held(db)
            assert (turn.name, len(turn.holder)) == ("arxiv", 16)
            assert before <= turn.begun_at <= clock.now() + timedelta(seconds=CLOCKS)
            assert abs((turn.held_until - turn.begun_at).total_seconds() - HOLD_SECONDS) < CLOCKS
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask()
    turn = held(db)
    assert turn.holder == ""
    assert turn.begun_at <= turn.held_until <= clock.now() + timedelta(seconds=CLOCKS)
    with pace.turn():
        assert held(db).begun_at >= turn.held_until + timedelta(seconds=0.01)


def test_a_turn_outlasts_every_request() -> None:
    assert longest_request_seconds(30) < HOLD_SECONDS


def test_hosts_do_not_wait_for_each_other(db: Database) -> None:
    with DatabasePace(db, "arxiv").turn(), DatabasePace(db, "rss", patience_seconds=0).turn(), db.snapshot() as session:
        holders = session.exec(select(Turn.holder).where(Turn.held_until > clock.now())).all()
    assert len(set(holders)) == 2


def test_nobody_waits_for_ever(db: Database) -> None:
    waits: list[float] = []
    waiting = DatabasePace(db, "arxiv", 2.0, patience_seconds=0, wait=waits.append)
    with (
        DatabasePace(db, "arxiv").turn(),
        pytest.raises(SourceDownError, match="is being asked by others: no turn within 0 s"),
        waiting.turn(),
    ):
        raise AssertionError("it is not our turn")
    assert all(0.5 <= each <= 0.75 for each in waits)


def test_whoever_was_too_slow_does_not_take_the_turn_of_the_next(db: Database) -> None:
    with db.session() as session:
        assert store.take_turn(session, "arxiv", "slow", 0.0, 0.0)
    with db.session() as session:
        assert store.take_turn(session, "arxiv", "next", 0.0, 60.0)
    with db.session() as session:
        store.release_turn(session, "arxiv", "slow")
    assert held(db).holder == "next"
    with db.session() as session:
        assert not store.take_turn(session, "arxiv", "third", 0.0, 60.0)


def test_a_clock_that_was_set_back_stops_nobody(db: Database) -> None:
    with DatabasePace(db, "arxiv").turn():
        pass
    with db.session() as session:
        session.execute(sa.update(Turn).values(held_until=clock.now() + timedelta(days=1)))
    with DatabasePace(db, "arxiv", patience_seconds=0).turn():
        assert held(db).held_until < clock.now() + timedelta(hours=1)


def test_a_database_that_went_away_does_not_cost_the_answer(db: Database) -> None:
    with capture_logs() as logs, DatabasePace(db, "arxiv").turn():
        Turn.__table__.drop(db.engine)
    assert [each["event"] for each in logs] == ["turn_not_given_back"]


def test_nothing_is_locked_while_one_asks(db: Database) -> None:
    with DatabasePace(db, "arxiv").turn(), db.session() as session:
        assert session.execute(sa.update(Turn).values(name="arxiv")).rowcount == 1  # type: ignore[attr-defined]


class Everybody:
    """A pace that lets everybody go, and counts.

    :ivar together: how many have their turn now.
    """

    def __init__(self, interval_seconds: float = 0.0) -> None:
        self.interval_seconds = interval_seconds
        self.turns = self.together = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.turns += 1
        self.together += 1
        try:
            yield
        finally:
            self.together -= 1


def test_a_turn_in_the_broker_ends_and_leaves_the_interval(broker_url: str) -> None:
    client, fallback = client_of(broker_url), Everybody()
    pace = RedisPace(broker_url, "arxiv", 30.0, 60.0, fallback=fallback, patience_seconds=0, wait=lambda _: None)
    with pace.turn():
        assert len(client.get("newsletter:turn:arxiv")) == 16
        assert 50_000 < client.pttl("newsletter:turn:arxiv") <= 60_002
    assert client.get("newsletter:turn:arxiv") == b""
    assert 20_000 < client.pttl("newsletter:turn:arxiv") <= 30_002
    with pytest.raises(SourceDownError, match="is being asked by others"), pace.turn():
        raise AssertionError("it is not our turn")
    assert fallback.turns == 0


def test_whoever_was_too_slow_does_not_end_the_turn_of_the_next_in_the_broker(broker_url: str) -> None:
    client = client_of(broker_url)
    with RedisPace(broker_url, "arxiv", 30.0, 60.0, fallback=Everybody()).turn():
        client.set("newsletter:turn:arxiv", "next")
    assert client.get("newsletter:turn:arxiv") == b"next"


def test_a_turn_whose_answer_was_lost_on_the_way_is_still_ones_own(broker_url: str) -> None:
    pace = RedisPace(broker_url, "arxiv", 30.0, 60.0, fallback=Everybody())
    assert [pace._take(holder) > 0 for holder in ("us", "us", "them")] == [False, False, True]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis+socket:///nowhere/valkey.sock"])
def test_without_the_broker_turns_come_from_elsewhere_and_it_is_said_once(url: str) -> None:
    fallback = Everybody()
    pace = RedisPace(url.format(port=free_port()), "arxiv", fallback=fallback)
    with capture_logs() as logs:
        for _ in range(2):
            with pace.turn():
                assert fallback.together == 1
    assert fallback.turns == 2
    assert [(each["event"], each["name"]) for each in logs] == [("pace_without_redis", "arxiv")]


def test_a_broker_that_goes_away_meanwhile_does_not_cost_the_answer(broker_url: str) -> None:
    fallback = Everybody()
    client = client_of(broker_url)
    pace = RedisPace(broker_url, "arxiv", fallback=fallback)
    with pace.turn():
        client.shutdown(nosave=True)
    with capture_logs(), pace.turn():
        assert fallback.together == 1


def asking(host: Host, pace: Everybody, waits: list[float], key: str = "") -> Web:
    return Web(backoff_seconds=1, named=[host.url], paces={key or host.place: pace}, wait=waits.append)


@pytest.mark.parametrize("key", ["127.0.0.1", ""])
def test_every_repetition_and_redirect_takes_a_turn(host: Host, key: str) -> None:
    pace, waits = Everybody(3.0), list[float]()
    host.statuses = [503, 302, 429]
    assert asking(host, pace, waits, key).get(host.url).status == 200
    assert pace.turns == len(host.arrived) == 4
    assert pace.together == 0
    assert waits == [3.0, 3.0], "never sooner than the host's own interval"


def test_a_host_without_a_pace_waits_for_nobody(host: Host) -> None:
    pace = Everybody()
    assert asking(host, pace, [], "export.arxiv.org").get(host.url).status == 200
    assert pace.turns == 0


def test_a_turn_lasts_until_the_last_byte(host: Host) -> None:
    pace = Everybody()
    together: list[int] = []
    web = asking(host, pace, [])

    def ask() -> None:
        web.get(f"{host.url}/hang")

    thread = threading.Thread(target=ask)
    thread.start()
    assert host.came.acquire(timeout=30)
    together.append(pace.together)
    host.over.set()
    thread.join(30)
    assert [*together, pace.together] == [1, 0]


def test_waiting_for_a_turn_in_vain_is_an_error_of_the_source(host: Host, db: Database) -> None:
    pace = DatabasePace(db, "arxiv", patience_seconds=0, wait=lambda _: None)
    web = Web(named=[host.url], paces={host.place: pace})
    with DatabasePace(db, "arxiv").turn(), pytest.raises(SourceError, match="is being asked by others"):
        web.get(host.url)
    assert not host.arrived
