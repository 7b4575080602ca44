"""How good selections were."""

import pytest

from newsletter.ranking.quality import FIGURES, Outcome, difference, figure, hit, ndcg


def outcome(*picks: int, liked: set[int], reader: int = 1) -> Outcome:
    return Outcome(reader, picks, frozenset(liked))


def test_a_hit_is_a_liked_paper_among_the_picks() -> None:
    assert hit(outcome(1, 2, 3, liked={3, 9})) == 1.0
    assert hit(outcome(1, 2, liked={9})) == hit(outcome(liked={9})) == 0.0


def test_gain_is_1_when_what_is_liked_comes_first_and_falls_with_its_rank() -> None:
    assert ndcg(outcome(1, 2, 3, liked={1, 2})) == ndcg(Outcome(1, (1,), frozenset({1, 2, 3}), asked=1)) == 1.0
    assert ndcg(outcome(1, liked={1, 2, 3})) < 1.0, "they wanted more"
    ranks = [ndcg(outcome(*(range(10, 10 + rank)), 1, liked={1})) for rank in range(5)]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[1] == pytest.approx(0.6309, abs=1e-4)
    assert ndcg(outcome(liked={1})) == ndcg(outcome(2, liked={1})) == 0.0


def test_repeats_and_diversity_are_parts_of_the_whole() -> None:
    one = Outcome(1, (1, 2, 3, 4), frozenset({1}), repeated=1, alike=0.25)
    assert (FIGURES["repeats"](one), FIGURES["diversity"](one)) == (0.25, 0.75)
    assert FIGURES["repeats"](outcome(liked={1})) == 0.0


def test_the_interval_holds_the_mean_and_narrows_with_more_readers() -> None:
    few, many = ([outcome(1 if n % 3 else 2, liked={1}, reader=n) for n in range(readers)] for readers in (12, 1_200))
    wide, narrow = figure(few, hit), figure(many, hit)
    assert wide.low <= wide.value <= wide.high
    assert narrow.value == pytest.approx(2 / 3, abs=1e-3)
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3
    alike = figure([outcome(1 if n % 3 else 2, liked={1}, reader=n % 3) for n in range(1_200)], hit)
    assert alike.high - alike.low > 5 * (narrow.high - narrow.low), "one reader's days are one piece of evidence"


def test_a_difference_is_taken_day_by_day() -> None:
    good = [outcome(1, liked={1}, reader=n) for n in range(50)]
    bad = [outcome(2, liked={1}, reader=n) for n in range(50)]
    assert difference(good, bad, hit).low == difference(good, bad, hit).value == 1.0
    assert difference(good, good, hit).high == 0.0
    assert figure([], hit).value == 0.0
