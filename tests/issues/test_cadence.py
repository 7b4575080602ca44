"""When a reader is due, at every hour of every zone, on the nights when clocks change, too."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import freezegun
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import add_papers, add_readers, record
from sqlmodel import select

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.issues.cadence import SEND_WITHIN, Group, due_at, due_now, due_on, has_begun, mails_on, window
from newsletter.subscribers.preferences import Cadence, Weekday

DAY = timedelta(days=1)
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),  # 02:00 becomes 03:00
    ("Europe/Berlin", date(2026, 10, 25)),  # 03:00 becomes 02:00
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),  # 02:00 becomes 02:30
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Africa/Cairo", date(2026, 4, 24)),  # midnight becomes 01:00
    ("Pacific/Kiritimati", date(2026, 8, 5)),  # UTC+14
    ("Etc/GMT+12", date(2026, 8, 5)),  # Baker Island, UTC-12
]


def minutes(start: datetime, hours: int) -> Iterator[datetime]:
    return (start + timedelta(minutes=n) for n in range(hours * 60))


def instants(zone: str, day: date) -> list[datetime]:
    """Return every minute of a local day."""
    start = datetime.combine(day, time(), UTC) - DAY
    local = ZoneInfo(zone)
    return [now for now in minutes(start, 72) if now.astimezone(local).date() == day]


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_each_hour_is_due_once_on_each_local_day_around_a_clock_change(zone: str, change: date) -> None:
    local = ZoneInfo(zone)
    groups = [Group(zone, hour, "daily") for hour in range(24)]
    start = datetime.combine(change - DAY, time(), local).astimezone(UTC) - timedelta(minutes=1)
    queued: dict[tuple[date, int], datetime] = {}
    assert due_now(groups, start)  # those of yesterday are queued already, as on any other day
    for each in due_now(groups, start):
        queued[each.day, each.group.hour] = start
    for now in minutes(start + timedelta(minutes=1), 74):  # one of the days may have 25 hours
        for each in due_now(groups, now):
            queued.setdefault((each.day, each.group.hour), now)
    for day in (change - DAY, change, change + DAY):
        of_the_day = instants(zone, day)
        for hour in range(24):
            assert queued[day, hour] == next(now for now in of_the_day if now.astimezone(local).hour >= hour)
    days = {day for day, _hour in queued}
    assert days <= {change + n * DAY for n in (-2, -1, 0, 1, 2)}


def test_hour_that_is_skipped_begins_at_the_change_and_one_that_comes_twice_the_first_time() -> None:
    berlin = Group("Europe/Berlin", 2, "daily")
    assert due_at(date(2026, 3, 29), berlin) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert due_at(date(2026, 10, 25), berlin) == datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    assert due_at(date(2026, 10, 4), Group("Australia/Lord_Howe", 2, "daily")) == datetime(
        2026, 10, 3, 15, 30, tzinfo=UTC
    )


def test_day_begins_first_on_kiritimati_and_last_on_baker() -> None:
    day = date(2026, 8, 5)
    assert due_at(day, Group("Pacific/Kiritimati", 0, "daily")) == datetime(2026, 8, 4, 10, 0, tzinfo=UTC)
    assert due_at(day, Group("Etc/GMT+12", 23, "daily")) == datetime(2026, 8, 6, 11, 0, tzinfo=UTC)
    assert not has_begun(day, datetime(2026, 8, 4, 9, 59, 59, tzinfo=UTC))
    assert has_begun(day, datetime(2026, 8, 4, 10, 0, tzinfo=UTC))
    assert has_begun(day, datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("cadence", "weekdays", "days"),
    [
        ("daily", "", [0, 1, 2, 3, 4, 5, 6]),
        ("above_bar", "", [0, 1, 2, 3, 4, 5, 6]),
        ("weekdays", "", [0, 1, 2, 3, 4]),
        ("weekly", "", [0]),
        ("days", "sun", [6]),
        ("days", "mon,wed,sat", [0, 2, 5]),
        ("days", ",".join(Weekday), [0, 1, 2, 3, 4, 5, 6]),
        ("daily", "sun", [0, 1, 2, 3, 4, 5, 6]),
        ("weekly", "sun", [0]),
    ],
)
def test_each_cadence_has_its_days_of_the_week(cadence: str, weekdays: str, days: list[int]) -> None:
    week = [date(2026, 8, 3) + n * DAY for n in range(7)]  # Monday to Sunday
    group = Group("UTC", 8, cadence, weekdays)
    assert [day for day in week if mails_on(group, day)] == [week[number] for number in days]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
def test_cadence_goes_by_the_readers_own_weekday(zone: str) -> None:
    groups = [Group(zone, 9, cadence, "tue,sun" if cadence is Cadence.DAYS else "") for cadence in Cadence]
    start = datetime(2026, 8, 3, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    due = {(each.group.cadence, each.day) for n in range(7 * 24) for each in due_now(groups, start + n * DAY / 24)}
    monday = date(2026, 8, 3)
    days = {cadence: sorted(day for name, day in due if name == cadence and day >= monday) for cadence in Cadence}
    week = [monday + n * DAY for n in range(7)]
    some = [week[1], week[6]]
    assert days == {"daily": week, "weekdays": week[:5], "days": some, "weekly": week[:1], "above_bar": week}


def test_who_was_missed_is_due_for_twenty_hours_and_not_a_moment_longer() -> None:
    group = Group("UTC", 8, "weekly")
    at = datetime(2026, 8, 3, 8, tzinfo=UTC)
    moment = timedelta(microseconds=1)
    due = [len(due_now([group], now)) for now in (at - moment, at, at + SEND_WITHIN - moment, at + SEND_WITHIN)]
    assert due == [0, 1, 1, 0]
    assert due_now([group], at)[0].expires_at == at + SEND_WITHIN


def test_late_hour_of_yesterday_is_due_beside_the_early_one_of_today() -> None:
    groups = [Group("UTC", hour, "daily") for hour in (23, 0)]
    due = due_now(groups, datetime(2026, 8, 5, 0, 30, tzinfo=UTC))
    assert [(each.day.day, each.group.hour) for each in due] == [(4, 23), (5, 0)]


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  the zone follows
    st.sampled_from(sorted({zone for zone, _ in CHANGES} | {"Asia/Kathmandu", "Asia/Tokyo", "Pacific/Chatham"})),
    st.integers(0, 23),
)
def test_nobody_is_due_for_a_day_that_has_not_begun_or_has_expired(now: datetime, zone: str, hour: int) -> None:
    for each in due_now([Group(zone, hour, "daily")], now):
        assert each.due_at <= now < each.expires_at
        assert has_begun(each.day, now)
        start, end = window(each.day, now, timedelta(days=7))
        assert start < end <= now


def test_operators_send_reaches_whose_hour_has_come_or_all_when_told() -> None:
    groups = [Group("UTC", 8, "daily"), Group("UTC", 20, "daily"), Group("UTC", 8, "weekly")]
    day, now = date(2026, 8, 5), datetime(2026, 8, 5, 9, tzinfo=UTC)
    assert [each.group for each in due_on(groups, day, now)] == groups[:1]
    assert {each.group for each in due_on(groups, day, now, any_hour=True)} == set(groups[:2])
    assert {each.group for each in due_on(groups, day, now, any_hour=True, any_day=True)} == set(groups)
    assert all(each.due_at <= now < each.expires_at for each in due_on(groups, day, now, any_hour=True))
    late = now + timedelta(days=30)
    assert due_on(groups, day, late)[0].expires_at == late + SEND_WITHIN


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Tokyo"])
@pytest.mark.parametrize("weekly", [{"cadence": "daily"}, {"cadence": "days", "weekdays": "sat,sun,mon"}])
def test_an_issue_expires_before_its_readers_next_one_is_due(zone: str, weekly: dict[str, str]) -> None:
    for hour in range(24):
        group = Group(zone, hour, **{"weekdays": ""} | weekly)
        for day in (date(2026, 1, 1) + timedelta(days=each) for each in range(365)):
            if not mails_on(group, day):
                continue
            at, tomorrow = due_at(day, group), due_at(day + timedelta(days=1), group)
            assert at + SEND_WITHIN < tomorrow
    at = due_at(date(2026, 3, 28), Group(zone, 23, "daily"))  # the night that is an hour short in Berlin
    [due] = [each for each in due_now([Group(zone, 23, "daily")], at) if each.due_at == at]
    assert due.expires_at < due_at(date(2026, 3, 29), due.group)


def test_window_ends_where_the_day_does_or_now() -> None:
    day, week = date(2026, 8, 5), timedelta(days=7)
    start = datetime(2026, 7, 29, tzinfo=UTC)
    for now, end in (
        (datetime(2026, 8, 4, 10, tzinfo=UTC), datetime(2026, 8, 4, 10, tzinfo=UTC)),
        (datetime(2026, 8, 5, 9, tzinfo=UTC), datetime(2026, 8, 5, 9, tzinfo=UTC)),
        (datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 8, 6, tzinfo=UTC)),
    ):
        assert window(day, now, week) == (start, end)


@pytest.mark.parametrize("night", [date(2026, 3, 29), date(2026, 10, 25)])
def test_reader_in_berlin_gets_one_mail_for_each_local_day_of_a_night_with_a_clock_change(
    make_app: Callable[..., App], sqlite_url: str, night: date
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime.combine(night - DAY, time(), berlin).astimezone(UTC)
    with freezegun.freeze_time(start) as frozen:
        app = make_app(sqlite_url, now=clock.now)
        add_readers(app, timezone="Europe/Berlin", hour=2, max_papers=1)
        add_papers(app, [record(n, listed_at=start - DAY) for n in range(1, 10)])
        while clock.now() < start + 3 * DAY - timedelta(hours=3):
            pipeline.tick(app)
            for issue_id in pipeline.sweep(app):
                pipeline.deliver(app, issue_id)
            frozen.tick(timedelta(minutes=15))
    with app.db.snapshot() as session:
        rows = session.exec(select(Delivery).order_by(Delivery.id)).all()
    done = [row.done_at.astimezone(berlin) for row in rows if row.done_at and row.state == "sent"]
    assert [at.date() for at in done] == [night + n * DAY for n in (-1, 0, 1)]
    assert [at.hour for at in done] == [2, 3 if night.month == 3 else 2, 2]
    assert done[1].fold == 0
    assert len(list(app.settings.outbox_dir.rglob("*.eml"))) == len(rows) == 3
