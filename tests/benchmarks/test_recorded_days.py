"""Recorded days of a real source, one after the other, to readers with different wishes and time zones.

The recordings stand beside a checkout of ours only; without them this says so and is left out.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT
from fakes import Clock, HuggingFaceServer
from samples import pull_days
from sqlmodel import select

from newsletter import clock as real_clock
from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Delivery
from newsletter.issues import store as issues
from newsletter.rehearsal import rehearse
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.topics import TOPICS

RECORDED = ROOT.parent / "shared/data/hf_daily/wire_days"
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Los_Angeles",
    "America/New_York",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
)
READERS = 200

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded days are not beside this checkout"),
]


def wishes(number: int) -> Preferences:
    chance = random.Random(number)
    if number % 10 == 0:
        return Preferences(timezone=chance.choice(ZONES), hour=chance.randrange(24))
    return Preferences(
        topics=tuple(chance.sample(sorted(TOPICS), chance.randint(1, 3))),
        keywords=tuple(
            chance.sample(
                ["protein design", "tool use", "quantization", "tokenizer", "gaussian splatting", "speech"], 2
            )
        ),
        mutes=tuple(chance.sample(["benchmark", "video", "robot"], chance.randint(0, 1))),
        timezone=chance.choice(ZONES),
        hour=chance.randrange(24),
        cadence=chance.choice(("daily", "daily", "weekdays", "weekly")),
        max_papers=chance.randint(3, 15),
    )


def test_recorded_days_reach_two_hundred_readers(
    make_app: Callable[..., App], database_url: str, clock: Clock, huggingface: HuggingFaceServer
) -> None:
    for path in sorted(RECORDED.glob("*.json")):
        huggingface.days[path.stem] = json.loads(path.read_bytes())
    days = [date.fromisoformat(day) for day in huggingface.days]
    app = make_app(database_url, now=clock, huggingface_url=huggingface.url)
    clock.at = datetime(2026, 7, 12, tzinfo=UTC)
    with app.db.session() as session:
        subscribers.write_entries(
            session, [Entry(f"reader{n}@example.org", wishes(n), State.ACTIVE) for n in range(READERS)], clock.at
        )
    started, pulls = real_clock.monotonic(), 0.0
    day = days[0]
    while day <= days[-1] + timedelta(days=1):
        for hour in range(24):
            clock.at = datetime(day.year, day.month, day.day, hour, 5, tzinfo=UTC)
            huggingface.today = day
            if hour in (1, 8, 20) and day <= days[-1]:
                before = real_clock.monotonic()
                pipeline.pull(app)
                pulls += real_clock.monotonic() - before
            pipeline.tick(app)
            for issue_id in pipeline.sweep(app):
                pipeline.deliver(app, issue_id)
        day += timedelta(days=1)
    took = real_clock.monotonic() - started
    _report(app, took, pulls)
    _check_no_paper_twice(app)


def test_a_dry_run_of_a_recorded_day_equals_the_real_run(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock, huggingface: HuggingFaceServer
) -> None:
    for path in sorted(RECORDED.glob("*.json"))[:8]:
        huggingface.days[path.stem] = json.loads(path.read_bytes())
    last = date.fromisoformat(max(huggingface.days))
    app = make_app(sqlite_url, now=clock, huggingface_url=huggingface.url)
    clock.at = datetime(last.year, last.month, last.day, 9, tzinfo=UTC)
    with app.db.session() as session:
        subscribers.write_entries(
            session, [Entry(f"reader{n}@example.org", wishes(n), State.ACTIVE) for n in range(READERS)], clock.at
        )
    pull_days(app, [date.fromisoformat(day) for day in huggingface.days])
    find = pipeline.resolve_due(last, clock.at, any_hour=True)
    planned = rehearse(app, last, find)
    issue = pipeline.open_issue(app, last)
    with app.db.snapshot() as session:
        due = find(issues.groups(session))
    pipeline.queue(app, issue, due)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
        kept = {row.subscriber_id: row.selection["picks"] for row in session.exec(select(Delivery)) if row.selection}
    print(f"\ndry run: {planned.accounting}\nreal run: {accounting}")
    assert planned.accounting == accounting
    assert {
        mail.subscriber.id: [[p.paper_id, p.score, p.reason] for p in mail.selection.picks] for mail in planned.mails
    } == kept


def _report(app: App, took: float, pulls: float) -> None:
    with app.db.snapshot() as session:
        listed = sorted(issues.latest(session, 100), key=lambda issue: issue.slot)
        rows = [
            (
                issue.slot,
                len(issues.candidates(session, issue.id or 0)),
                deliveries.accounting(session, issue.id or 0, issue.slot),
            )
            for issue in listed
        ]
    mails = sum(row.sent for _, _, row in rows)
    print(f"\n{app.db.engine.dialect.name}: {mails} mails in {took:.1f} s of which pulls {pulls:.1f} s")
    for slot, candidates, row in rows:
        print(
            f"  {slot} {candidates:4d} candidates {row.eligible:4d} eligible {row.sent:4d} sent, skipped {row.skipped}"
        )
        assert row.eligible == row.sent + sum(row.skipped.values())


def _check_no_paper_twice(app: App) -> None:
    sent: dict[int, list[int]] = defaultdict(list)
    with app.db.snapshot() as session:
        for row in session.exec(select(Delivery)):
            sent[row.subscriber_id] += [pick[0] for pick in (row.selection or {}).get("picks", [])]
    assert all(len(set(papers)) == len(papers) for papers in sent.values())
    files = list(Path(app.settings.outbox_dir).rglob("*.eml"))
    recipients = [re.search(rb"^To: (.*)\r$", path.read_bytes(), re.MULTILINE) for path in files]
    assert len(files) == sum(1 for each in recipients if each)
    print(f"  {sum(map(len, sent.values()))} papers to {len(sent)} readers, none twice")
