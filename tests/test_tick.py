"""The tick, each minute: what it opens, and what it waits for."""

from datetime import timedelta

from fakes import Clock
from samples import add_papers, add_readers, record

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.issues import store as issues


def test_a_tick_waits_for_the_first_papers_but_not_for_ever(app: App, clock: Clock) -> None:
    add_readers(app, 1, hour=9)
    pipeline.tick(app)
    with app.db.snapshot() as session:
        assert not issues.latest(session, 1), "an issue frozen now would stay empty all day"
    clock.forward(minutes=20)
    add_papers(app, [record(1)])
    pipeline.tick(app)
    with app.db.snapshot() as session:
        (issue,) = issues.latest(session, 1)
        assert len(issues.candidates(session, issue.id or 0)) == 1


def test_a_day_without_any_paper_is_accounted_for(app: App, clock: Clock) -> None:
    add_readers(app, 1, hour=9)
    clock.forward(hours=12)
    pipeline.tick(app)
    pipeline.deliver(app, 1)
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, 1, "2026-08-05").skipped == {"nothing_new": 1}


def test_a_second_tick_and_a_late_reader_change_nothing_for_the_others(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(1)])
    add_readers(app_on_both, 3, hour=9)
    for _ in range(3):
        pipeline.tick(app_on_both)
    add_readers(app_on_both, 1, prefix="late", hour=8)
    clock.forward(minutes=1)
    pipeline.tick(app_on_both)
    with app_on_both.db.snapshot() as session:
        assert deliveries.accounting(session, 1, "2026-08-05").queued == 4
        assert len(issues.latest(session, 9)) == 1


def test_somebody_whose_hour_is_to_come_is_not_queued(app: App) -> None:
    add_papers(app, [record(1)])
    add_readers(app, 1, hour=10)
    pipeline.tick(app)
    with app.db.snapshot() as session:
        assert not issues.latest(session, 1)


def test_who_joins_in_the_evening_does_not_get_yesterdays_issue(app: App, clock: Clock) -> None:
    clock.forward(hours=9)  # 18:00; hour 23 of yesterday is less than 20 hours ago
    add_papers(app, [record(1)])
    add_readers(app, 1, prefix="new", hour=23, joined=timedelta(minutes=5))
    add_readers(app, 1, prefix="old", hour=23)
    pipeline.tick(app)
    with app.db.snapshot() as session:
        assert [
            (each.slot, deliveries.accounting(session, each.id or 0, each.slot).eligible)
            for each in issues.latest(session, 9)
        ] == [("2026-08-04", 1)]
