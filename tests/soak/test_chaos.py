"""A real issue on real workers while everything breaks: nobody is mailed twice, nobody is lost, every doubt is named.

What the relay wrote down is the truth. ``SOAK_SEED``, ``SOAK_MAILS``, ``SOAK_KILLS``, ``SOAK_FAULTS`` change the plan.
"""

import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
import servers
from chaos_relay import DOUBTFUL
from fleet import Fleet, Shift, Sweeper, every
from samples import add_papers, add_readers, open_and_queue, record

from newsletter import clock
from newsletter.app import App
from newsletter.db import Database
from newsletter.migrate import migrate

pytestmark = pytest.mark.soak
SEED = int(os.environ.get("SOAK_SEED", "20260805"))
MAILS = int(os.environ.get("SOAK_MAILS", "5000"))
KILLS = int(os.environ.get("SOAK_KILLS", "100"))
FAULTS = int(os.environ.get("SOAK_FAULTS", "300"))
FLUSHES, RESTARTS = 5, 5
LIMIT_SECONDS = 1500.0
_HERE = Path(__file__).parent


@dataclass
class Log:
    """What the relay wrote down."""

    folder: Path

    def accepted(self) -> list[tuple[str, str]]:
        """Return recipient and Message-ID of each message, in order."""
        return [(words[0], words[1]) for words in self._lines("accepted") if len(words) == 2]

    def faults(self) -> Counter[str]:
        """Return how often each fault was injected: phase and kind."""
        return Counter(" ".join(words) for words in self._lines("faults"))

    def doubts(self) -> int:
        """Return after how many faults a sender cannot know: at the dot, without a reply."""
        doubtful = {f"{phase} {kind}" for phase in ("dot", "accepted") for kind in DOUBTFUL}
        return sum(count for fault, count in self.faults().items() if fault in doubtful)

    def count(self) -> int:
        """Return how many messages were accepted, quickly."""
        return (self.folder / "accepted").read_bytes().count(b"\n")

    def _lines(self, name: str) -> list[list[str]]:
        return [line.split() for line in (self.folder / name).read_text().splitlines()]


@contextmanager
def relay(folder: Path) -> Iterator[tuple[int, Log]]:
    """Run the relay that goes wrong; yield its port and what it writes down."""
    folder.mkdir()
    words = [str(_HERE / "chaos_relay.py"), str(folder), str(SEED), str(FAULTS), str(MAILS)]
    environment = os.environ | {"PYTHONPATH": str(_HERE.parent)}
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline()), Log(folder)
        finally:
            process.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that may be killed, whose commits are on the disk: PostgreSQL has a server for this test alone."""
    if request.param == "sqlite":
        yield str(request.getfixturevalue("sqlite_url"))
        return
    with servers.postgresql(fsync=True) as server:
        db = Database(server.format(name="postgres"))
        migrate(db)
        db.dispose()
        yield server.format(name="postgres")


@dataclass
class Plan:
    """When what breaks, by the number of mails that were accepted."""

    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def due(self, what: str, times: int, accepted: int) -> bool:
        """Return whether the next of `times` breaks, spread over four fifths of the mails, is due."""
        return self.done[what] < times and accepted >= (self.done[what] + 1) * 0.8 * MAILS / (times + 1)


def break_things(plan: Plan, fleet: Fleet, log: Log, broker_url: str, database: str) -> None:
    """Break what is due."""
    accepted = log.count()
    if plan.due("kill", KILLS, accepted) and fleet.kill_one(with_its_main=plan.chance.random() < 0.1):
        plan.done["kill"] += 1
    if plan.due("flush", FLUSHES, accepted):
        redis.Redis(unix_socket_path=broker_url.removeprefix("redis+socket://")).flushall()
        plan.done["flush"] += 1
    if database.startswith("postgresql") and plan.due("restart", RESTARTS, accepted):
        servers.restart(database)
        plan.done["restart"] += 1


def test_chaos(make_app: Callable[..., App], database: str, broker_url: str, tmp_path: Path) -> None:
    shift, plan = Shift(tmp_path / "shift"), Plan(random.Random(SEED))
    with relay(tmp_path / "relay") as (port, log):
        smtp_url = f"smtp://127.0.0.1:{port}?starttls=never&timeout=4&connections="
        app = make_app(database, now=clock.now, smtp_url=f"{smtp_url}1", broker_url=broker_url)
        add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
        add_readers(app, MAILS, hour=0, max_papers=2)
        open_and_queue(app)
        sweeper = Sweeper(app, broker_url, shift)
        settings = {"database_url": database, "broker_url": broker_url, "secret_key": "a key for tests"}
        fleet = Fleet(settings, [f"{smtp_url}1", f"{smtp_url}4"], shift, plan.chance)
        seen, since = -1, clock.monotonic()

        def go_on() -> None:
            nonlocal seen, since
            fleet.tend()
            break_things(plan, fleet, log, broker_url, database)
            if (now := log.count()) != seen:
                seen, since = now, clock.monotonic()
            elif clock.monotonic() - since > 1.0:
                sweeper.put_clock_forward()
            sweeper.sweep()

        begun = clock.monotonic()
        with fleet.working():
            every(0.25, LIMIT_SECONDS, sweeper.at_rest, go_on)
        report_and_check(sweeper.states(), log, plan, clock.monotonic() - begun, database.partition(":")[0])


def report_and_check(states: dict[str, tuple[str, str]], log: Log, plan: Plan, seconds: float, database: str) -> None:
    """Compare the ledger with what the relay wrote down."""
    arrived = Counter(recipient for recipient, _ in log.accepted())
    ids = Counter(message_id for _, message_id in log.accepted())
    of = {state: {who for who, (each, _) in states.items() if each == state} for state in ("sent", "unknown", "failed")}
    twice = {who for who, times in arrived.items() if times > 1}
    doubts, faults = log.doubts(), log.faults().total()
    most = plan.done["kill"] + doubts + plan.done["restart"] * 5  # at most one a connection at each restart
    print(f"\n{database}, seed {SEED}: {len(states)} mails in {seconds:.0f} s, {dict(plan.done)}, {faults} faults")
    print(f"  sent {len(of['sent'])}, failed {len(of['failed'])}, unknown {len(of['unknown'])} (<= {most}), of which")
    print(f"  {len(of['unknown'] & arrived.keys())} arrived; duplicates {len(twice)}, lost {MAILS - len(states)}")
    print(f"  unknown, by name: {', '.join(sorted(of['unknown'])[:5])} …")
    assert len(states) == MAILS == sum(map(len, of.values())), "a mail stands in no final state"
    assert not twice, f"mailed twice: {sorted(twice)[:5]}"
    assert max(ids.values()) == 1
    assert of["sent"] <= arrived.keys(), "sent, but it never arrived"
    assert arrived.keys() <= of["sent"] | of["unknown"], "arrived, but nobody knows"
    assert len(of["unknown"]) <= most
    assert plan.done["kill"] == KILLS
    assert faults >= 0.9 * FAULTS


def test_what_send_then_mark_does_under_the_same_plan(tmp_path: Path) -> None:
    plan, book = Plan(random.Random(SEED)), tmp_path / "book.db"
    ledger = sqlite3.connect(book, isolation_level=None)
    ledger.execute("PRAGMA journal_mode=WAL")
    ledger.execute("CREATE TABLE readers (address TEXT PRIMARY KEY, sent INTEGER NOT NULL DEFAULT 0)")
    ledger.execute("BEGIN")
    ledger.executemany("INSERT INTO readers (address) VALUES (?)", [(f"reader{n}@example.org",) for n in range(MAILS)])
    ledger.execute("COMMIT")
    with relay(tmp_path / "relay") as (port, log):
        senders: list[subprocess.Popen[bytes]] = []

        def start(part: int) -> subprocess.Popen[bytes]:
            words = [str(_HERE / "comparator.py"), str(book), str(port), str(part), "4"]
            return subprocess.Popen([sys.executable, *words])

        def go_on() -> None:
            for part, sender in enumerate(senders):
                if plan.due("kill", KILLS, log.count()) and sender.poll() is None:
                    sender.kill()
                    sender.wait()
                    plan.done["kill"] += 1
                if sender.poll():
                    senders[part] = start(part)

        try:
            senders.extend(start(part) for part in range(4))
            every(0.1, LIMIT_SECONDS, lambda: all(sender.poll() == 0 for sender in senders), go_on)
        finally:
            for sender in senders:
                sender.kill()
                sender.wait()
        arrived = Counter(recipient for recipient, _ in log.accepted())
        twice = sum(times - 1 for times in arrived.values())
        print(f"\nsend, then mark, seed {SEED}: {MAILS} mails, {dict(plan.done)}, {log.faults().total()} faults")
        print(f"  {len(arrived)} readers mailed, {twice} duplicates")
        assert twice > 0, "the plan shows nothing"
