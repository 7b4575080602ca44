"""How much a paper is talked about."""

from datetime import UTC, datetime, timedelta
from math import inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.papers.models import MAX_COUNT
from newsletter.papers.trending import HALF_LIFE, NEUTRAL, Heat, Signals, heats, trending

NOW = datetime(2026, 8, 5, 9, tzinfo=UTC)
COUNTS = st.none() | st.integers(0, MAX_COUNT)
GAINS = st.none() | st.floats(-MAX_COUNT, MAX_COUNT)
TIMES = st.datetimes(datetime(1600, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  the zone is added
POOLS = st.lists(st.builds(Signals, TIMES, COUNTS, COUNTS, COUNTS, GAINS), max_size=20)


def heat(signals: Signals, *others: Signals) -> Heat:
    found = heats([signals, *others], NOW)[0]
    assert found is not None
    return found


@given(POOLS)
def test_every_paper_has_a_place_between_0_and_1(pool: list[Signals]) -> None:
    places = trending(pool, NOW)
    assert len(places) == len(pool)
    assert all(0 <= place <= 1 for place in places)
    assert all(place == NEUTRAL for signals, place in zip(pool, places, strict=True) if signals.upvotes is None)


@given(POOLS)
def test_places_are_in_the_order_of_the_heat(pool: list[Signals]) -> None:
    known = [(heat.total, place) for heat, place in zip(heats(pool, NOW), trending(pool, NOW), strict=True) if heat]
    for total, place in known:
        assert all((place > other_place) == (total > other_total) for other_total, other_place in known)
    if len({total for total, _ in known}) > 1:
        assert {min(known)[1], max(known)[1]} == {0.0, 1.0}


@given(st.data())
def test_a_papers_place_does_not_depend_on_the_order_of_the_pool(data: st.DataObject) -> None:
    pool = data.draw(POOLS)
    order = data.draw(st.permutations(range(len(pool))))
    places = trending(pool, NOW)
    assert trending([pool[index] for index in order], NOW) == [places[index] for index in order]


@given(TIMES, st.integers(0, MAX_COUNT), st.integers(1, MAX_COUNT), GAINS)
def test_more_votes_are_never_colder(listed_at: datetime, votes: int, more: int, gained: float | None) -> None:
    colder, hotter = (Signals(listed_at, number, gained=gained) for number in (votes, votes + more))
    assert heat(colder, hotter).total <= heat(hotter, colder).total


@given(st.integers(0, 1_000), st.floats(0, 1_000), st.floats(1, 1_000))
def test_a_paper_that_gains_faster_is_hotter(votes: int, gained: float, more: float) -> None:
    slow, fast = Signals(NOW, votes, gained=gained), Signals(NOW, votes, gained=gained + more)
    assert trending([fast, slow], NOW) == [1.0, 0.0]


def test_after_a_half_life_half_the_heat_is_left() -> None:
    fresh, older = (heat(Signals(at, 30, 4, 100, 12.0)) for at in (NOW, NOW - HALF_LIFE))
    assert older.age == -log(2)
    assert older.total == pytest.approx(fresh.total - log(2))


def test_a_paper_listed_in_the_future_is_not_hotter_than_fresh() -> None:
    assert heat(Signals(NOW + timedelta(days=9), 5)) == heat(Signals(NOW, 5))


def test_missing_comments_and_stars_are_neither_good_nor_bad() -> None:
    unknown = Signals(NOW, 5)
    others = [Signals(NOW, 5, number, 10 * number) for number in (1, 3, 90)]
    assert heat(unknown, *others) == heat(others[1], unknown, others[0], others[2])
    quiet, middling, loud = (trending([unknown, *others], NOW)[index] for index in (1, 2, 3))
    assert quiet < trending([unknown, *others], NOW)[0] == middling < loud
    assert heat(unknown).comments == heat(unknown).stars == 0


def test_papers_without_votes_lend_their_comments_to_the_median_only() -> None:
    pool = [Signals(NOW, None, 50, 5_000), Signals(NOW, 5)]
    assert heats(pool, NOW)[0] is None
    assert heat(pool[1], pool[0]).comments > 0
    assert trending(pool, NOW) == [NEUTRAL, NEUTRAL]


def test_after_one_look_the_velocity_is_the_average_since_the_listing() -> None:
    once, twice = Signals(NOW - timedelta(days=2), 30), Signals(NOW - timedelta(days=2), 30, gained=15.0)
    assert heat(once) == heat(twice)
    first_hours = (heat(Signals(NOW - timedelta(hours=hours), 3)).velocity for hours in (0, 1, 6))
    assert len(set(first_hours)) == 1


def test_votes_that_were_taken_back_are_no_velocity() -> None:
    assert heat(Signals(NOW, 5, gained=-40.0)).velocity == heat(Signals(NOW, 5, gained=0.0)).velocity == 0


def test_huge_counts_keep_their_order() -> None:
    pool = [Signals(NOW, MAX_COUNT - 1), Signals(NOW, 10**18, 10**18, 10**18, 1e300), Signals(NOW, MAX_COUNT)]
    assert trending(pool, NOW) == [0.0, 1.0, 0.5]
    assert heat(pool[1]).total < inf


def test_the_hottest_is_1_and_the_coldest_0() -> None:
    pool = [Signals(NOW, 3), Signals(NOW, 90), Signals(NOW, None), Signals(NOW, 10), Signals(NOW, 90)]
    assert trending(pool, NOW) == [0.0, 1.0, NEUTRAL, 1 / 3, 1.0]


def test_a_pool_without_a_difference_is_neutral() -> None:
    assert trending([], NOW) == []
    assert trending([Signals(NOW, 7)], NOW) == [NEUTRAL]
    assert trending([Signals(NOW, 7)] * 3, NOW) == [NEUTRAL] * 3
    assert trending([Signals(NOW, None)] * 2, NOW) == [NEUTRAL] * 2
