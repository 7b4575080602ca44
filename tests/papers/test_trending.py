"""How much a paper is talked about."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from newsletter.papers.models import MAX_COUNT
from newsletter.papers.trending import HALF_LIFE, NEUTRAL, Signals, heat, trending

NOW = datetime(2026, 8, 5, 9, tzinfo=UTC)
COUNTS = st.none() | st.integers(0, MAX_COUNT)
TIMES = st.datetimes(datetime(1600, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  the zone is added
POOLS = st.lists(st.builds(Signals, TIMES, COUNTS, COUNTS, COUNTS), max_size=20)


@given(POOLS)
def test_every_paper_has_a_place_between_0_and_1(pool: list[Signals]) -> None:
    places = trending(pool, NOW)
    assert len(places) == len(pool)
    assert all(0 <= place <= 1 for place in places)
    assert all(place == NEUTRAL for signals, place in zip(pool, places, strict=True) if signals.upvotes is None)


@given(st.data())
def test_a_papers_place_does_not_depend_on_the_order_of_the_pool(data: st.DataObject) -> None:
    pool = data.draw(POOLS)
    order = data.draw(st.permutations(range(len(pool))))
    places = trending(pool, NOW)
    assert trending([pool[index] for index in order], NOW) == [places[index] for index in order]


@given(TIMES, st.integers(0, 1_000), st.integers(1, 1_000))
def test_more_votes_are_never_colder(listed_at: datetime, votes: int, more: int) -> None:
    colder, hotter = (heat(Signals(listed_at, number), NOW) for number in (votes, votes + more))
    assert colder is not None
    assert hotter is not None
    assert colder <= hotter


def test_after_a_half_life_half_the_heat_is_left() -> None:
    fresh = heat(Signals(NOW, 30, 4, 100), NOW)
    older = heat(Signals(NOW - HALF_LIFE, 30, 4, 100), NOW)
    assert fresh is not None
    assert older == fresh / 2


def test_a_paper_listed_in_the_future_is_not_hotter_than_fresh() -> None:
    assert heat(Signals(NOW + timedelta(days=9), 5), NOW) == heat(Signals(NOW, 5), NOW)


def test_missing_comments_and_stars_count_as_none() -> None:
    assert heat(Signals(NOW, 5), NOW) == heat(Signals(NOW, 5, 0, 0), NOW)
    assert heat(Signals(NOW, None, 50, 5_000), NOW) is None


def test_the_hottest_is_1_and_the_coldest_0() -> None:
    pool = [Signals(NOW, 3), Signals(NOW, 90), Signals(NOW, None), Signals(NOW, 10), Signals(NOW, 90)]
    assert trending(pool, NOW) == [0.0, 1.0, NEUTRAL, 0.5, 1.0]


def test_a_pool_without_a_difference_is_neutral() -> None:
    assert trending([], NOW) == []
    assert trending([Signals(NOW, 7)] * 3, NOW) == [NEUTRAL] * 3
    assert trending([Signals(NOW, None)] * 2, NOW) == [NEUTRAL] * 2
