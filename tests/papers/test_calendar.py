"""When each source's list is expected, and why a day has none."""

import gzip
import json
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.papers.calendar import (
    EASTERN,
    LISTED,
    WEEKEND,
    Batch,
    Calendar,
    arxiv,
    arxiv_submissions,
    every_day,
    holiday,
    huggingface,
    outlook,
)

DAY = timedelta(days=1)
DAYS = st.dates(date(2000, 1, 15), date(2199, 12, 15))
INSTANTS = st.datetimes(datetime(2000, 1, 15), datetime(2199, 12, 15), timezones=st.just(UTC))  # noqa: DTZ001  the zone is added
CALENDARS: list[Calendar] = [arxiv, huggingface, every_day]

# Not part of the project: the texts in it are not ours to pass on.
RECORDED = Path(__file__).parents[3] / "shared/data/hf_daily/daily_papers_to_2026-08-07.jsonl.gz"

# What arXiv listed for earlier years, as far as its page told (December 2025 was still open); 2025 names Sunday,
# 6 July, which is the evening that Friday, 4 July takes.
EARLIER = {
    2023: ("01-16", "06-14", "06-19", "07-04", "09-04", "11-23", "12-25", "12-27"),
    2024: ("01-15", "05-22", "06-19", "07-04", "09-02", "10-08", "11-28", "12-25", "12-26", "12-31"),
    2025: ("01-01", "01-20", "06-19", "07-04", "09-01", "11-27"),
}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def eastern(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=EASTERN).astimezone(UTC)  # type: ignore[misc,arg-type]


def batch(found: Batch | str | None) -> Batch:
    assert isinstance(found, Batch), found
    return found


@pytest.mark.parametrize(
    ("day", "expected_at"),
    [
        (date(2026, 8, 5), utc(2026, 8, 5, 4)),
        (date(2026, 1, 7), utc(2026, 1, 7, 5)),
        (date(2026, 3, 6), utc(2026, 3, 6, 5)),  # the clocks change on Sunday, 8 March
        (date(2026, 3, 9), utc(2026, 3, 9, 4)),
        (date(2026, 10, 30), utc(2026, 10, 30, 4)),  # and on 1 November
        (date(2026, 11, 2), utc(2026, 11, 2, 5)),
        (date(2026, 1, 1), utc(2026, 1, 1, 5)),  # announced on 31 December 2025
    ],
)
def test_arxivs_feed_is_built_at_midnight_in_new_york(day: date, expected_at: datetime) -> None:
    assert arxiv(day) == Batch(day, expected_at, expected_at + timedelta(minutes=15), final=True)


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        (date(2026, 1, 2), "holiday (New Year's Day)"),
        (date(2026, 1, 20), "holiday (Martin Luther King Jr. Day)"),
        (date(2026, 6, 22), "holiday (Juneteenth)"),
        (date(2026, 7, 6), "holiday (Independence Day)"),
        (date(2026, 9, 8), "holiday (Labor Day)"),
        (date(2026, 11, 27), "holiday (Thanksgiving)"),
        (date(2026, 12, 28), "holiday (Christmas)"),
        (date(2026, 12, 30), "holiday (year-end break)"),
        (date(2027, 1, 1), "holiday (New Year's Eve)"),
        (date(2027, 1, 4), "probably a holiday (New Year's Day)"),
        (date(2026, 8, 8), WEEKEND),
        (date(2026, 8, 9), WEEKEND),
    ],
)
def test_a_holiday_takes_the_list_that_would_follow_it(day: date, reason: str) -> None:
    assert arxiv(day) == reason
    assert arxiv_submissions(day) is None


@pytest.mark.parametrize("day", LISTED[2026])
def test_every_listed_holiday_still_has_the_list_of_the_evening_before(day: date) -> None:
    assert isinstance(arxiv(day), Batch)
    following = day + (3 * DAY if day.weekday() == 4 else DAY)
    assert str(arxiv(following)) == holiday(day) != ""


def test_of_2026_nothing_but_weekends_and_the_days_after_holidays_is_quiet() -> None:
    quiet = [day for n in range(365) if isinstance(arxiv(day := date(2026, 1, 1) + n * DAY), str) and day.weekday() < 5]
    assert len(quiet) == len(LISTED[2026]) - 1  # New Year's Eve takes the first of January 2027


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        (date(2026, 8, 5), eastern(2026, 8, 3, 14), eastern(2026, 8, 4, 14)),  # Wednesday: Monday to Tuesday
        (date(2026, 8, 7), eastern(2026, 8, 5, 14), eastern(2026, 8, 6, 14)),  # Friday
        (date(2026, 8, 10), eastern(2026, 8, 6, 14), eastern(2026, 8, 7, 14)),  # Monday: Thursday to Friday
        (date(2026, 8, 11), eastern(2026, 8, 7, 14), eastern(2026, 8, 10, 14)),  # Tuesday: over the weekend
        (date(2026, 11, 30), eastern(2026, 11, 25, 14), eastern(2026, 11, 27, 14)),  # Thanksgiving joins two
        (date(2026, 6, 23), eastern(2026, 6, 18, 14), eastern(2026, 6, 22, 14)),  # Juneteenth, a Friday: until Monday
        (date(2026, 12, 31), eastern(2026, 12, 28, 14), eastern(2026, 12, 30, 14)),
        (date(2027, 1, 5), eastern(2026, 12, 30, 14), eastern(2027, 1, 4, 14)),  # over the year's end
        (date(2026, 3, 10), utc(2026, 3, 6, 19), utc(2026, 3, 9, 18)),  # an hour short
        (date(2026, 11, 3), utc(2026, 10, 30, 18), utc(2026, 11, 2, 19)),  # an hour long
    ],
)
def test_submissions_are_announced_from_cut_off_to_cut_off(day: date, start: datetime, end: datetime) -> None:
    assert arxiv_submissions(day) == (start, end)


@given(INSTANTS)
def test_every_submission_is_in_exactly_one_announcement(instant: datetime) -> None:
    days = [instant.date() + n * DAY for n in range(-2, 14)]
    windows = [(day, window) for day in days if (window := arxiv_submissions(day)) and window[0] <= instant < window[1]]
    assert len(windows) == 1
    [(day, (_, end))] = windows
    assert end + timedelta(hours=9) < batch(arxiv(day)).expected_at


@given(DAYS)
def test_windows_follow_one_another_without_a_gap(day: date) -> None:
    windows = [window for n in range(14) if (window := arxiv_submissions(day + n * DAY))]
    assert len(windows) >= 7
    assert all(start < end for start, end in windows)
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert all(end.astimezone(EASTERN).time() == time(14) for _, end in windows)


def test_exactly_at_the_cut_off_is_too_late() -> None:
    cut_off = eastern(2026, 8, 4, 14)
    before, after = (arxiv_submissions(date(2026, 8, day)) for day in (5, 6))
    assert before is not None
    assert after is not None
    assert before[1] == after[0] == cut_off


@pytest.mark.parametrize("year", EARLIER)
def test_the_estimate_names_the_holidays_that_arxiv_kept(year: int) -> None:
    listed = {date.fromisoformat(f"{year}-{day}") for day in EARLIER[year]}
    first = date(year, 1, 10)  # New Year's Day is not on every year's page
    last = date(year, 12, 20) if year == 2025 else date(year, 12, 31)
    estimated = {day for n in range((last - first).days) if holiday(day := first + n * DAY)}
    assert estimated <= listed
    assert len(estimated & listed) >= 5


def test_the_estimate_of_2026_would_have_missed_the_end_of_the_year_only(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = LISTED[2026]
    monkeypatch.delitem(LISTED, 2026)
    missed = {day: name for day, name in listed.items() if holiday(day) != f"probably a holiday ({name})"}
    assert set(missed.values()) == {"year-end break", "New Year's Eve"}
    assert not any(holiday(day) for day in missed)


def test_a_holiday_on_a_weekend_is_observed_beside_it() -> None:
    assert holiday(date(2027, 7, 5)) == "probably a holiday (Independence Day)"  # the 4th is a Sunday
    assert holiday(date(2027, 12, 31)) == "probably a holiday (New Year's Day)"  # of 2028, a Saturday
    assert holiday(date(2027, 12, 24)) == "probably a holiday (Christmas)"
    assert not holiday(date(2027, 7, 4))


def test_hugging_faces_list_grows_until_the_morning_and_rests_on_weekends() -> None:
    friday = date(2026, 8, 7)
    assert huggingface(friday) == Batch(friday, utc(2026, 8, 7), utc(2026, 8, 7, 6))
    assert huggingface(friday + DAY) == huggingface(friday + 2 * DAY) == WEEKEND
    assert isinstance(huggingface(date(2026, 12, 25)), Batch)


def test_a_source_that_promises_nothing_is_never_waited_for() -> None:
    sunday = utc(2026, 8, 9, 0, 0, 1)
    assert outlook(every_day, sunday).settled == every_day(date(2026, 8, 8))
    assert not batch(outlook(every_day, sunday).settled).promised


@pytest.mark.parametrize(
    ("calendar", "at", "settled"),
    [
        (huggingface, utc(2026, 8, 5, 5, 59), date(2026, 8, 4)),
        (huggingface, utc(2026, 8, 5, 6), date(2026, 8, 5)),
        (arxiv, utc(2026, 8, 5, 1), date(2026, 8, 4)),
        (arxiv, utc(2026, 8, 5, 4, 14), date(2026, 8, 4)),
        (arxiv, utc(2026, 8, 5, 4, 15), date(2026, 8, 5)),
        (arxiv, utc(2026, 8, 5, 23), date(2026, 8, 5)),
        (every_day, utc(2026, 8, 5, 23), date(2026, 8, 4)),
    ],
)
def test_what_is_there(calendar: Calendar, at: datetime, settled: date) -> None:
    found = outlook(calendar, at)
    assert batch(found.settled).day == settled
    assert found.quiet == ()


def test_the_quiet_days_since_the_last_list_have_their_reasons() -> None:
    found = outlook(arxiv, utc(2026, 11, 30, 4))
    assert batch(found.settled).day == date(2026, 11, 26)
    assert found.quiet == (
        (date(2026, 11, 27), "holiday (Thanksgiving)"),
        (date(2026, 11, 28), WEEKEND),
        (date(2026, 11, 29), WEEKEND),
    )


def test_an_instant_may_come_in_any_zone() -> None:
    at = utc(2026, 8, 5, 4, 15)
    assert outlook(arxiv, at.astimezone(EASTERN)) == outlook(arxiv, at)


def test_a_source_that_has_been_quiet_for_long_has_no_newest_list() -> None:
    found = outlook(lambda _: "closed", utc(2026, 8, 5))
    assert found.settled is None
    assert [day for day, _ in found.quiet] == [date(2026, 7, 29) + n * DAY for n in range(8)]


@given(INSTANTS, st.sampled_from(CALENDARS))
def test_something_settled_within_the_last_week(at: datetime, calendar: Calendar) -> None:
    found = outlook(calendar, at)
    settled = batch(found.settled)
    assert settled.expected_at <= settled.settles_at <= at
    assert len(found.quiet) <= 4
    known = {settled.day, *(day for day, _ in found.quiet)}
    every = {settled.day + n * DAY for n in range((at.date() - settled.day).days + 1)}
    assert known <= every
    assert all(batch(calendar(day)).settles_at > at for day in every - known)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded days of the feed are not part of the project")
def test_hardly_a_recorded_paper_was_listed_before_arxiv_announced_it() -> None:
    days = [day for n in range(1_000) if arxiv_submissions(day := date(2024, 1, 2) + n * DAY)]
    starts = [window[0] for day in days if (window := arxiv_submissions(day))]
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        rows = [(row["arxiv_published_at"], row["list_date"]) for row in map(json.loads, lines)]
    told = [(datetime.fromisoformat(at), date.fromisoformat(day)) for at, day in rows if "T00:00:00" not in at]
    early = [listed for at, listed in told if listed < days[bisect_right(starts, at) - 1]]
    assert len(told) > 7_000
    assert len(early) <= 3
