"""A ledger of many mails: what each look into it does and takes, while an issue for a million readers goes out."""

import os
import resource
import time as real_clock
from datetime import timedelta

import ledgers
import pytest
from plans import asked

from newsletter.db import Database
from newsletter.delivery import ledger, store
from newsletter.delivery.archive import store as archive_store
from newsletter.delivery.kept import store as kept_mails
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.ledger import Handoff
from newsletter.delivery.retry import accepted
from newsletter.issues import store as issues

pytestmark = pytest.mark.benchmark
ROWS = int(os.environ.get("SCALE_ROWS", "400000"))
OLD = 38
READERS = ROWS // (OLD // 2 + 1)
CURRENT = OLD + 1
NOW = ledgers.noon(CURRENT)
PICKS = {"considered": 100, "picks": [[number, 0.81, "topic: proteins"] for number in range(10)]}
SOME = list(range(2, 402, 2))
LOOKS = {
    "lease": lambda s: ledger.lease(s, CURRENT, owner="me", now=NOW, limit=200),
    "lease notices": lambda s: ledger.lease(s, None, owner="me", now=NOW, limit=200),
    "reap": lambda s: lapses.reap(s, NOW),
    "expire": lambda s: lapses.expire(s, NOW),
    "due issues": lambda s: store.due_issues(s, NOW),
    "oldest due": lambda s: store.oldest_due(s, NOW),
    "unknown": store.unknown_count,
    "kept selections": lambda s: store.kept_selections(s, CURRENT, SOME),
    "sent papers": lambda s: kept_mails.sent(s, SOME, NOW - timedelta(days=9)),
    "of a reader": lambda s: store.of_reader(s, 2),
    "archive a chunk": lambda s: archive_store.drop(s, 1, 0, 1_000),
}
LARGE = 5_000_000  # rows; in a smaller table PostgreSQL rightly reads all of it for some hundreds of readers
# these read all of an issue or of the readers, and run once a minute or when somebody asks
LONG_LOOKS = {
    "accounting": lambda s: store.accounting(s, CURRENT, "now"),
    "groups": issues.groups,
    "groups to queue": lambda s: store.groups_to_queue(s, str(NOW.date()), NOW.date()),
}


def look(db: Database, when: str) -> None:
    """Print how long each look takes, and hold it to an index."""
    print(f"\n{when}")
    for name, call in (LOOKS | LONG_LOOKS).items():
        found = asked(db, call)
        print(f"  {name:16} {found.ms:8.1f} ms")
        if name in LOOKS and (ROWS >= LARGE or name != "seen papers"):
            assert "Seq Scan on deliveries" not in found.plan, found.plan
            assert "SCAN deliveries\n" not in found.plan + "\n", found.plan
    for name in ("lease", "lease notices", "due issues"):
        assert "ix_deliveries_due" in asked(db, LOOKS[name]).plan


def send(db: Database, number: int) -> None:
    """Take mails through the ledger, and print what one costs there."""
    started, done = real_clock.perf_counter(), 0
    while done < number:
        with db.session() as session:
            leased = ledger.lease(session, CURRENT, owner="me", now=NOW, limit=200)
        assert leased
        _pass_on(db, leased)
        done += len(leased)
    print(f"  {done} mails through the ledger: {(real_clock.perf_counter() - started) / done * 1e6:.0f} µs each")


def _pass_on(db: Database, leased: list[ledger.Leased]) -> None:
    marks = [Handoff(each, f"reader{each.subscriber_id}@example.org", f"<{each.id}@x>", PICKS) for each in leased]
    with db.session() as session:
        assert len(ledger.mark_handoffs(session, marks, owner="me", now=NOW)) == len(leased)
    with db.session() as session:
        ledger.settle(session, [(each, accepted(250, "2.0.0 Ok")) for each in leased], owner="me", now=NOW)


def test_looks_into_the_ledger_stay_quick_however_many_mails_were_sent(database_url: str) -> None:
    db = Database(database_url)
    ledgers.fill(db, READERS, OLD)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for expected in (READERS, 0):
        started = real_clock.perf_counter()
        assert ledgers.queue(db, CURRENT) == expected
        print(f"\n{expected} readers queued in {real_clock.perf_counter() - started:.1f} s", end="")
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    print(f", {more / 1024:.0f} MB more than before")
    assert more < 64 * 1024
    look(db, "all of the issue waits")
    send(db, READERS // 2)
    look(db, "half of it is sent")
    db.dispose()
