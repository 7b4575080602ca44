"""How many mails a second go from the ledger to a relay: leased, ranked, printed, handed over, each mark committed.

Every figure is of the whole pipeline in processes of their own, with every commit on the disk. The runs that a ratio
compares alternate; ratios are medians of the rounds. ``BENCH_READERS`` and ``BENCH_ROUNDS`` make it longer or shorter.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import pytest
import relays
import sqlalchemy as sa
from celery_workers import send_by_celery
from dkim_keys import key_files
from office import Office, Sent, postgresql_copy, prepare, sqlite_copy
from servers import postgresql

from newsletter import clock
from newsletter.app import App
from newsletter.db import Database
from newsletter.migrate import migrate

pytestmark = pytest.mark.benchmark
READERS = int(os.environ.get("BENCH_READERS", "3000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
CONNECTIONS = 50
NAIVE_MAILS = 150
DELAY_MS = 50
needs_postfix = pytest.mark.skipif(
    not (relays.SMTP_SINK and relays.SMTP_SOURCE),
    reason="smtp-sink and smtp-source come with postfix (apt-get install postfix)",
)


@pytest.fixture(scope="module")
def durable() -> Iterator[str]:
    """A PostgreSQL that waits for the disk, as in production."""
    with postgresql(fsync=True) as url:
        yield url


@pytest.fixture
def office_on_sqlite(make_app: Callable[..., App], sqlite_url: str, tmp_path: Path) -> Office:
    """A queued issue in a file."""
    app = make_app(sqlite_url, now=clock.now)
    issue_id = prepare(app, READERS)
    app.close()
    _fold_log(sqlite_url)
    return Office("sqlite", issue_id, READERS, partial(sqlite_copy, tmp_path / "newsletter.db", tmp_path))


@pytest.fixture
def office_on_postgresql(make_app: Callable[..., App], durable: str) -> Office:
    """A queued issue on a server."""
    _create(durable)
    app = make_app(durable.format(name="prepared"), now=clock.now)
    issue_id = prepare(app, READERS)
    app.close()
    return Office("postgresql", issue_id, READERS, partial(postgresql_copy, durable, "prepared", "run"))


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request: pytest.FixtureRequest) -> Office:
    """A queued issue on both databases, each with every commit on the disk."""
    found = request.getfixturevalue(f"office_on_{request.param}")
    assert isinstance(found, Office)
    return found


def _create(server: str) -> None:
    """Make a fresh database for the prepared issue."""
    admin = sa.create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS prepared WITH (FORCE)")
        connection.exec_driver_sql("CREATE DATABASE prepared")
    admin.dispose()
    db = Database(server.format(name="prepared"))
    migrate(db)
    db.dispose()


def _fold_log(url: str) -> None:
    """Put everything into the one file that is copied."""
    db = Database(url)
    with db.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.dispose()


def to_fast(office: Office, folder: Path, **how: object) -> tuple[Sent, int]:
    """Send to the sink that does not brake; return what it took, and the mean size of a mail."""
    with relays.fast(folder) as relay:
        sent = office.send(relay, **how)  # type: ignore[arg-type]
    assert relay.messages == office.readers
    return sent, relay.size


def loaded(folder: Path, size: int, *, brakes: bool) -> float:
    """Return the mails a second of ``smtp-source`` to a sink, with our size and number of connections."""
    with relays.postfix() if brakes else relays.fast(folder) as relay:
        return relays.load(relay, messages=READERS, size=size, connections=CONNECTIONS)


def row(name: str, rates: list[float], compared: list[float] | None = None, goal: str = "", extra: str = "") -> None:
    """Print the median of mails a second, and of their ratios, round by round, to what they are compared with."""
    ratios = [ours / theirs for ours, theirs in zip(rates, compared or [], strict=False)]
    ratio = f"{median(ratios):6.2f} x ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
    print(f"{name:<46}{median(rates):8.0f} mails/s {ratio:<24}{goal:<10}{extra}")


def costs(sent: list[Sent]) -> str:
    """Say what our processes needed."""
    cpu, peak = median(each.cpu_us for each in sent), max(each.peak_mb for each in sent)
    return f"{cpu:4.0f} µs CPU a mail, peak {peak:.0f} MB, first mails {median(each.first_ms for each in sent):.0f} ms"


@needs_postfix
def test_mails_a_second_beside_smtp_source(office: Office, tmp_path: Path) -> None:
    _, size = to_fast(office, tmp_path)
    assert 45_000 <= size <= 70_000
    ours: dict[str, list[Sent]] = {name: [] for name in ("sink", "fast", "two", "two sink", "naive")}
    source: dict[str, list[float]] = {"sink": [], "fast": []}
    for _ in range(ROUNDS):
        for name, processes in (("sink", 1), ("two sink", 2)):
            with relays.postfix() as relay:
                ours[name].append(office.send(relay, processes=processes, connections=CONNECTIONS // processes))
            if name == "sink":
                source["sink"].append(loaded(tmp_path, size, brakes=True))
        ours["fast"].append(to_fast(office, tmp_path, connections=CONNECTIONS)[0])
        source["fast"].append(loaded(tmp_path, size, brakes=False))
        ours["two"].append(to_fast(office, tmp_path, processes=2, connections=CONNECTIONS // 2)[0])
        with relays.fast(tmp_path) as relay:
            ours["naive"].append(office.send_naively(relay, NAIVE_MAILS))
    rates = {name: [each.rate for each in sent] for name, sent in ours.items()}
    print(f"\n{office.dialect}: {READERS} mails of {size} bytes, {CONNECTIONS} connections, {ROUNDS} rounds")
    row("smtp-source to smtp-sink", source["sink"])
    goal = "(>= 1.0)" if office.dialect == "sqlite" else "(>= 0.9)"
    row("  one process to smtp-sink", rates["sink"], source["sink"], goal, costs(ours["sink"]))
    row("  two processes to smtp-sink", rates["two sink"], source["sink"], "", costs(ours["two sink"]))
    row("smtp-source to a sink that does not brake", source["fast"])
    row("  one process to it", rates["fast"], source["fast"], "(>= 0.25)", costs(ours["fast"]))
    row("  two processes to it", rates["two"], source["fast"], "(>= 0.45)", costs(ours["two"]))
    naive = f"{median(each.cpu_us for each in ours['naive']):.0f} µs CPU a mail"
    row("the naive way to it", rates["naive"], extra=naive)
    row("  one process, against the naive way", rates["fast"], rates["naive"], "(>= 25)")


def test_a_relay_far_away(office: Office, tmp_path: Path) -> None:
    most, sent = CONNECTIONS / (DELAY_MS / 1e3), []
    for _ in range(ROUNDS):
        with relays.fast(tmp_path, DELAY_MS) as relay:
            sent.append(office.send(relay, connections=CONNECTIONS))
    print(f"\n{office.dialect}: replies late by {DELAY_MS} ms, against {CONNECTIONS} connections/RTT")
    row("  one process", [each.rate for each in sent], [most] * ROUNDS, "(>= 0.75)", costs(sent))


def test_cpu_a_mail_by_stage(office: Office, tmp_path: Path) -> None:
    plain, sampled = [], []
    for _ in range(ROUNDS):
        plain.append(to_fast(office, tmp_path)[0].cpu_us)
        sampled.append(to_fast(office, tmp_path, stages=True)[0].stages)
    print(f"\n{office.dialect}: {median(plain):.0f} µs of CPU a mail (<= 250); where it is spent, by sampling:")
    ours = [{name: spent for name, spent in each.items() if "sampler" not in name} for each in sampled]
    for name in ("select", "print", "SMTP", "ledger", "other"):
        shares = [each.get(name, 0.0) / sum(each.values()) for each in ours]
        print(f"  {name:<8}{median(shares) * median(plain):6.0f} µs {median(shares):6.0%}")


def test_what_signatures_cost(office_on_sqlite: Office, tmp_path: Path) -> None:
    """Signing by RSA is arithmetic of the processor; it goes on beside all else, on all of them."""
    found: dict[str, list[Sent]] = {name: [] for name in ("", "ed25519", "rsa", "rsa ed25519")}
    for _ in range(ROUNDS):
        for kinds, sent in found.items():
            sent.append(to_fast(office_on_sqlite, tmp_path, dkim_keys=key_files(tmp_path, *kinds.split()))[0])
    plain = [each.rate for each in found[""]]
    print(f"\none process on {os.cpu_count()} processors, {READERS} mails")
    for kinds, sent in found.items():
        row(f"  {kinds or 'not signed'}", [each.rate for each in sent], plain, "", costs(sent))


@needs_postfix
def test_two_celery_workers_beside_smtp_source(office_on_postgresql: Office, broker_url: str, tmp_path: Path) -> None:
    office = office_on_postgresql
    _, size = to_fast(office, tmp_path)
    by_celery, inline, source = [], [], []
    for _ in range(ROUNDS):
        with relays.postfix() as relay:
            by_celery.append(send_by_celery(office, relay, broker_url, CONNECTIONS // 2))
            source.append(loaded(tmp_path, size, brakes=True))
            inline.append(office.send(relay, processes=2, connections=CONNECTIONS // 2))
    print(f"\npostgresql, Celery and Valkey: {READERS} mails of {size} bytes, {ROUNDS} rounds")
    row("smtp-source to smtp-sink", source)
    row("  two Celery workers to smtp-sink", [each.rate for each in by_celery], source, "(>= 0.85)")
    row("  the same two processes without Celery", [each.rate for each in inline], source)
    own = median(each.stages["Celery"] / each.cpu_us for each in by_celery)
    beside = median(each.cpu_us / alone.cpu_us for each, alone in zip(by_celery, inline, strict=True))
    print(f"  Celery itself: {own:.1%} of the CPU (<= 5 %); all CPU a mail: {beside:.2f} x that without Celery")
