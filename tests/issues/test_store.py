"""Issues on both databases: frozen once, and what of them stays for the next days."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from fakes import Clock
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import membership, pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.issues import store
from newsletter.issues.cadence import Group
from newsletter.issues.models import Issue, IssueCandidate, IssueState

DAY = date(2026, 8, 5)
WEEK = timedelta(days=7)


def frozen(app: App, issue: Issue) -> list[dict[str, object]]:
    with app.db.snapshot() as session:
        return [each.model_dump() for each in store.candidates(session, issue.id or 0)]


def picked(app: App) -> list[set[int]]:
    with app.db.snapshot() as session:
        rows = session.exec(select(Delivery).order_by(Delivery.id)).all()
    return [{pick[0] for pick in (row.selection or {}).get("picks", ())} for row in rows]


def test_opening_an_issue_twice_gives_the_same_issue_with_the_same_candidates(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(n) for n in range(1, 6)])
    first = pipeline.open_issue(app_on_both, DAY)
    before = frozen(app_on_both, first)
    clock.forward(hours=3)
    add_papers(app_on_both, [record(n, upvotes=900) for n in (1, 6, 7)])
    second = pipeline.open_issue(app_on_both, DAY)
    assert second.model_dump() == first.model_dump()
    assert frozen(app_on_both, second) == before
    assert [each["paper_id"] for each in before] == [1, 2, 3, 4, 5]
    assert [each["trend"] for each in before] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_second_of_two_drafts_of_a_day_gives_way_to_the_first(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(1)])
    with app_on_both.db.snapshot() as session:
        one = store.draft(session, DAY, clock(), WEEK)
    add_papers(app_on_both, [record(2)])
    with app_on_both.db.snapshot() as session:
        other = store.draft(session, DAY, clock(), WEEK)
    kept: list[int | None] = []
    for draft in (one, other, one):
        with app_on_both.db.session() as session:
            kept.append(store.keep(session, draft).id)
    assert len(set(kept)) == 1
    with app_on_both.db.snapshot() as session:
        assert [each.paper_id for each in session.exec(select(IssueCandidate))] == [1]
        assert len(session.exec(select(Issue)).all()) == 1


def test_draft_writes_nothing_and_of_a_kept_issue_is_that_issue(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(1)])
    with app_on_both.db.snapshot() as session:
        assert store.draft(session, DAY, clock(), WEEK).issue.id is None
        assert store.latest(session, 5) == []
    issue = pipeline.open_issue(app_on_both, DAY)
    with app_on_both.db.snapshot() as session:
        again = store.draft(session, DAY, clock() + WEEK, WEEK)
    assert (again.issue.id, again.issue.window_end, len(again.candidates)) == (issue.id, clock(), 1)


def test_window_holds_its_start_and_not_its_end(app_on_both: App, clock: Clock) -> None:
    moment = timedelta(microseconds=1)
    start, end = datetime(2026, 7, 29, tzinfo=UTC), clock()
    listings = (start - moment, start, end - moment, end)
    add_papers(app_on_both, [record(n, listed_at=at) for n, at in enumerate(listings, 1)])
    issue = pipeline.open_issue(app_on_both, DAY)
    assert (issue.window_start, issue.window_end) == (start, end)
    assert [each["paper_id"] for each in frozen(app_on_both, issue)] == [2, 3]


def test_paper_that_was_not_sent_stays_a_candidate_of_the_next_days(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(n, listed_at=datetime(2026, 8, 5, tzinfo=UTC)) for n in range(1, 6)])
    add_readers(app_on_both, max_papers=2)
    for _day in range(4):
        pipeline.deliver(app_on_both, open_and_queue(app_on_both).id)
        clock.forward(days=1)
    assert picked(app_on_both) == [{4, 5}, {2, 3}, {1}, set()]


def test_paper_is_no_candidate_any_more_when_its_week_is_over(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(1, listed_at=datetime(2026, 8, 5, tzinfo=UTC))])
    for days, candidates in ((7, 1), (1, 0)):
        clock.forward(days=days)
        assert len(frozen(app_on_both, pipeline.open_issue(app_on_both, clock().date()))) == candidates


def test_issue_without_papers_opens_and_skips_everybody_with_the_reason(app_on_both: App) -> None:
    add_readers(app_on_both, 2)
    issue = open_and_queue(app_on_both)
    assert pipeline.deliver(app_on_both, issue.id) == 0
    with app_on_both.db.snapshot() as session:
        assert {row.skip_reason for row in session.exec(select(Delivery))} == {"nothing_new"}


def test_groups_are_the_distinct_ones_of_active_readers(app_on_both: App, clock: Clock) -> None:
    add_readers(app_on_both, 3, prefix="a", hour=7, timezone="Asia/Tokyo")
    add_readers(app_on_both, 2, prefix="b", cadence="weekly")
    for weekdays in (("wed", "mon"), ("mon", "wed"), ("mon",)):
        add_readers(app_on_both, 1, prefix="".join(weekdays), cadence="days", weekdays=weekdays)
    gone = add_readers(app_on_both, 1, prefix="c", hour=1)
    membership.unsubscribe(app_on_both, gone)
    with app_on_both.db.snapshot() as session:
        found = store.groups(session)
    days = {Group("UTC", 8, "days", "mon,wed"), Group("UTC", 8, "days", "mon")}
    assert len(found) == 4
    assert set(found) == {Group("Asia/Tokyo", 7, "daily"), Group("UTC", 8, "weekly")} | days


def test_stopped_issue_stays_stopped_until_it_is_resumed(app_on_both: App) -> None:
    issue = pipeline.open_issue(app_on_both, DAY)
    states = []
    for act in (
        lambda session: store.stop(session, issue.id or 0, "550 not allowed"),
        lambda session: store.resume(session, issue.id or 0),
    ):
        with app_on_both.db.session() as session:
            act(session)
        with app_on_both.db.snapshot() as session:
            kept = store.get(session, issue.id or 0)
        assert kept is not None
        states.append((kept.state, kept.stopped_why))
    assert states == [(IssueState.STOPPED, "550 not allowed"), (IssueState.OPEN, "")]


@pytest.mark.parametrize("missing", [0, 999])
def test_issue_that_is_not_there_is_none(app_on_both: App, missing: int) -> None:
    with app_on_both.db.snapshot() as session:
        assert store.get(session, missing) is None
        assert store.find(session, "2026-08-05") is None
        assert store.candidates(session, missing) == ()


def test_latest_issues_come_newest_first(make_app: Callable[..., App], sqlite_url: str, clock: Clock) -> None:
    app = make_app(sqlite_url)
    for day in (3, 5, 4):
        pipeline.open_issue(app, date(2026, 8, day))
    with app.db.snapshot() as session:
        assert [each.slot for each in store.latest(session, 2)] == ["2026-08-05", "2026-08-04"]
