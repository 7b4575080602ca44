"""The tick, each minute: what it opens, and what it waits for."""

import email
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from fakes import Clock
from samples import add_papers, add_readers, record

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.issues import store as issues
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.models import Pull

MORNING = datetime(2026, 8, 5, 7, 10, tzinfo=UTC)


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


def tell_looks(app: App, *looks: tuple[datetime, int, str]) -> None:
    """Note that Hugging Face's list of the look's day was found with so many papers, or an error."""
    rows = [
        Pull(source="huggingface", day=at.date(), started_at=at, finished_at=at, listed=found, error=error)
        for at, found, error in looks
    ]
    with app.db.session() as session:
        pulls.record(session, rows)


def opened(app: App) -> list[str] | None:
    """Return the news of the day's issue, if there is one."""
    pipeline.tick(app)
    with app.db.snapshot() as session:
        issue = issues.find(session, "2026-08-05")
    return issue.news if issue else None


@pytest.mark.parametrize(
    ("looks", "waits", "news"),
    [
        ([(MORNING, 20, "")], False, []),
        ([(MORNING - timedelta(hours=2), 20, "")], True,
         ["Hugging Face was last asked at 05:10 UTC, before its list was complete"]),
        ([(MORNING - timedelta(hours=2), 9, ""), (MORNING, 0, "huggingface answered 503")], True,
         ["Hugging Face has not answered since 05:10 UTC"]),
        ([(MORNING, 0, "huggingface answered 503")], True, ["Hugging Face has not answered yet"]),
        ([(MORNING, 0, "")], True, ["Hugging Face had listed nothing for Wednesday at 07:10 UTC"]),
        ([], False, []),
    ],
)  # fmt: skip
def test_an_issue_waits_for_a_late_list_until_the_cut_off_and_says_what_is_missing(
    app: App, clock: Clock, looks: list[tuple[datetime, int, str]], waits: bool, news: list[str]
) -> None:
    add_papers(app, [record(1)])
    add_readers(app, 1, hour=7)
    tell_looks(app, *looks)
    clock.at = MORNING + timedelta(minutes=20)
    assert (opened(app) is None) == waits
    clock.at = MORNING + timedelta(minutes=51)  # an hour after the reader's
    assert opened(app) == news


def test_an_issue_opens_as_soon_as_the_list_is_there(app: App, clock: Clock) -> None:
    add_papers(app, [record(1)])
    add_readers(app, 1, hour=7)
    tell_looks(app, (MORNING - timedelta(hours=2), 5, ""))
    clock.at = MORNING
    assert opened(app) is None
    tell_looks(app, (clock.at, 30, ""))
    assert opened(app) == []


def test_a_list_that_settles_after_the_cut_off_is_not_waited_for(app: App, clock: Clock) -> None:
    add_papers(app, [record(1)])
    add_readers(app, 1, hour=3)
    tell_looks(app, (datetime(2026, 8, 4, 23, 5, tzinfo=UTC), 30, ""))
    clock.at = datetime(2026, 8, 5, 3, 1, tzinfo=UTC)
    assert opened(app) == []


def test_on_a_weekend_nothing_is_waited_for_and_the_news_says_so(app: App, clock: Clock) -> None:
    add_papers(app, [record(1)])
    add_readers(app, 1, hour=7)
    friday = datetime(2026, 8, 7, 23, 5, tzinfo=UTC)
    tell_looks(app, (friday, 30, ""))
    clock.at = datetime(2026, 8, 8, 7, 0, tzinfo=UTC)
    pipeline.tick(app)
    with app.db.snapshot() as session:
        issue = issues.find(session, "2026-08-08")
    assert issue is not None
    assert issue.news == ["Hugging Face announced nothing: weekend"]


def test_only_who_asked_reads_why_a_source_was_silent_and_an_empty_day_is_one_line(
    app_on_both: App, clock: Clock
) -> None:
    app = app_on_both
    add_papers(app, [record(1)])
    asked = add_readers(app, 1, prefix="asked", hour=9, source_news=True)
    add_readers(app, 1, prefix="other", hour=9)
    tell_looks(app, (MORNING - timedelta(hours=2), 9, ""), (MORNING, 0, "huggingface answered 503"))
    clock.at = datetime(2026, 8, 5, 10, 1, tzinfo=UTC)
    texts = {}
    for day in (0, 1):
        pipeline.tick(app)
        for issue_id in pipeline.sweep(app):
            pipeline.deliver(app, issue_id)
        texts[day] = {mail["To"]: mail.get_body(("plain",)).get_content() for mail in mails(app, f"2026-08-0{5 + day}")}
        clock.forward(days=1)
    line = "Hugging Face has not answered since 05:10 UTC."
    assert line in texts[0]["asked0@example.org"]
    assert "Hugging Face" not in texts[0]["other0@example.org"]
    assert set(texts[1]) == {"asked0@example.org"}
    assert (
        "Nothing new for you today. Hugging Face has not answered since Wednesday 05:10 UTC."
        in texts[1]["asked0@example.org"]
    )
    assert asked


def mails(app: App, slot: str) -> list[EmailMessage]:
    """Return what the outbox holds of an issue."""
    folder = Path(app.settings.outbox_dir)
    found = [
        email.message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in folder.rglob("*.eml")
        if slot in str(path)
    ]
    return [each for each in found if isinstance(each, EmailMessage)]
