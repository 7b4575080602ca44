"""Formulas for what is trending, on recorded mornings of a real source, against the votes that came afterwards.

The recordings stand beside a checkout of ours only; without them this says so and is left out.

A **morning** is the instant at which the list of a weekday was captured, between 06:30 and 11:30 UTC, from May 2025
on. Its **candidates** are the papers listed on that day and the seven days before, as an issue's window has them,
whose votes somebody had looked at by then. Nothing later than the morning goes into a formula. Votes are those of the
last look (**as looked at**: up to six days old), or those grown since then with the median curve `GROWTH` (**grown**,
kept apart). Comments and stars are those of the capture of the paper's own list. `gained` is taken between the last
look, if it is not older than 36 hours, and the newest one at least 12 hours before it.

The votes that **came afterwards** lie on the looks; between two looks they are spread along `GROWTH`. After a paper's
last look they are grown with it: that is so for more than half of the candidates, mostly older papers with few votes.
Measures, each the mean over the mornings (equal scores: the id decides):

- **today**: of the ten highest scores, the share that is from the morning's own list.
- **new**: how many of the ten were not among the ten of the recorded morning before.
- **rho**: Spearman's correlation, over all candidates, of the score with the votes gained in the next 24 hours.
- **hits**: how many of the ten are among the ten candidates that gain the most in the next 24 hours.
- **share**: the votes that the ten gain in the next 24 hours, out of what the best possible ten gain.
- **again**: how many of the ten are among the ten that the same formula puts first on the next recorded morning,
  out of the papers that are candidates on both: what newcomers displace does not count.
- **list**: rho over the papers of today's list alone, with the votes gained until their next look, within 20 hours:
  looks only, no curve.
- **week**: rho of a Friday's pool with the votes gained until Monday's first look, which has nearly all of the week.

A last test asks, on looks alone, whether velocity tells more than votes: over the papers of a Friday's list, from
midnight to midnight over the weekend.
"""

import csv
import gzip
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from math import log1p
from statistics import fmean, median

import pytest
from conftest import ROOT
from scipy.stats import spearmanr

from newsletter import clock
from newsletter.papers.trending import COMMENTS, HALF_LIFE, STARS, Heat, Signals, heats, trending

RECORDED = ROOT.parent / "shared/data/hf_daily"
PAPERS = RECORDED / "daily_papers_to_2026-08-07.jsonl.gz"
LOOKS = RECORDED / "upvote_observations.csv.gz"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = date(2025, 5, 5)  # older lists were looked at once only

# Hours since the midnight of the list, and votes relative to those at 07 to 08 UTC: medians over all looks.
GROWTH = ((7.5, 1.0), (25.0, 1.50), (48.0, 1.76), (60.0, 1.83), (120.0, 2.04), (400.0, 2.5))

pytestmark = pytest.mark.benchmark
recordings = pytest.mark.skipif(
    not (PAPERS.exists() and LOOKS.exists()), reason="the recorded days are not beside this checkout"
)


def growth(age: timedelta) -> float:
    hours = min(max(age / HOUR, GROWTH[0][0]), GROWTH[-1][0])
    left, right = next((a, b) for a, b in pairwise(GROWTH) if hours <= b[0])
    return left[1] + (right[1] - left[1]) * (hours - left[0]) / (right[0] - left[0])


@dataclass(slots=True)
class Told:
    """A paper's looks, oldest first, and what the capture of its list said."""

    key: str
    day: date
    times: list[datetime] = field(default_factory=list)
    votes: list[int] = field(default_factory=list)
    captured_at: datetime | None = None
    comments: int | None = None
    stars: int | None = None

    @property
    def listed_at(self) -> datetime:
        return datetime.combine(self.day, time(), UTC)

    def last(self, at: datetime) -> int:
        """Return the number of the last look at or before an instant, -1 if there was none."""
        return bisect_right(self.times, at) - 1

    def curve(self, number: int) -> float:
        return growth(self.times[number] - self.listed_at)

    def grown(self, at: datetime) -> float:
        number = self.last(at)
        return self.votes[number] * growth(at - self.listed_at) / self.curve(number)

    def had(self, at: datetime) -> float:
        """Return the votes at an instant, in the light of the looks before and after it."""
        number = self.last(at)
        if number == len(self.times) - 1:
            return self.grown(at)
        start, end = self.curve(number), self.curve(number + 1)
        part = (growth(at - self.listed_at) - start) / (end - start) if end > start else 0.0
        return self.votes[number] + (self.votes[number + 1] - self.votes[number]) * part

    def gained(self, at: datetime) -> float | None:
        number = self.last(at)
        before = self.last(self.times[number] - 12 * HOUR)
        if before < 0 or at - self.times[number] > 36 * HOUR:
            return None
        return (self.votes[number] - self.votes[before]) / ((self.times[number] - self.times[before]) / DAY)

    def signals(self, at: datetime, *, grown: bool) -> Signals:
        votes = round(self.grown(at)) if grown else self.votes[self.last(at)]
        known = self.captured_at is not None and self.captured_at <= at
        comments, stars = (self.comments, self.stars) if known else (None, None)
        return Signals(self.listed_at, votes, comments, stars, self.gained(at))


@dataclass(frozen=True, slots=True)
class Morning:
    at: datetime
    pool: list[Told]

    @property
    def gains(self) -> list[float]:
        return [paper.had(self.at + DAY) - paper.had(self.at) for paper in self.pool]

    def ten(self, scores: Sequence[float], among: frozenset[str] | None = None) -> frozenset[str]:
        """Return the ids of the ten highest scores."""
        ranked = sorted((-score, paper.key) for score, paper in zip(scores, self.pool, strict=True))
        return frozenset([key for _, key in ranked if among is None or key in among][:10])

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(paper.key for paper in self.pool)


def weekday_before(day: date) -> date:
    return day - timedelta(days={0: 3, 6: 2}.get(day.weekday(), 1))


def read_looks() -> tuple[list[Told], dict[date, datetime]]:
    """Return the papers, and when each day's list was captured."""
    papers: dict[str, Told] = {}
    looks: dict[str, dict[datetime, int]] = defaultdict(dict)
    captures: dict[date, datetime] = {}
    with gzip.open(LOOKS, "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            key, at = row["arxiv_id"], datetime.fromisoformat(row["observed_at"])
            looks[key][at] = int(row["upvotes"])
            if row["list_date"]:
                papers[key] = Told(key, date.fromisoformat(row["list_date"]))
            elif row["source"] == "feed.xml":  # of the last weekday's list, which got it after the capture
                papers.setdefault(key, Told(key, weekday_before(at.date())))
            if row["source"] == "day_file":
                captures[date.fromisoformat(row["list_date"])] = at
    for key, paper in papers.items():
        seen = sorted((at, votes) for at, votes in looks[key].items() if at >= paper.listed_at)
        paper.times, paper.votes = [at for at, _ in seen], [votes for _, votes in seen]
    tell_counts(papers, captures)
    return [paper for paper in papers.values() if paper.times], captures


def tell_counts(papers: dict[str, Told], captures: dict[date, datetime]) -> None:
    with gzip.open(PAPERS, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if paper := papers.get(row["id"]):
                paper.comments, paper.stars = row["num_comments"], row.get("github_stars")
                paper.captured_at = captures[paper.day]


@pytest.fixture(scope="module")
def mornings() -> list[Morning]:
    papers, captures = read_looks()
    lists: dict[date, list[Told]] = defaultdict(list)
    for paper in papers:
        lists[paper.day].append(paper)
    found = []
    for day, at in sorted(captures.items()):
        hours = (at - datetime.combine(day, time(), UTC)) / HOUR
        if day >= FIRST and 6.5 <= hours <= 11.5:
            pool = [paper for back in range(8) for paper in lists[day - back * DAY] if paper.last(at) >= 0]
            found.append(Morning(at, pool))
    return found


Formula = Callable[[Sequence[Signals], datetime], list[float]]


def ours(score: Callable[[Heat], float]) -> Formula:
    return lambda pool, now: [score(heat) for heat in heats(pool, now) if heat is not None]


def halved(hours: int) -> Formula:
    return ours(lambda heat: heat.total + heat.age * (HALF_LIFE / (hours * HOUR) - 1))


def plain(score: Callable[[int, float], float]) -> Formula:
    """Return a formula of votes and hours since the listing."""
    return lambda pool, now: [score(each.upvotes or 0, max((now - each.listed_at) / HOUR, 0.0)) for each in pool]


def of_two_looks(pool: Sequence[Signals], now: datetime) -> list[float]:
    """Ours, but the velocity of a paper with one look is the median of the others, not that since its listing."""
    known = [each.gained for each in pool if each.gained is not None]
    middle = median(known) if known else 0.0
    told = [replace(each, gained=middle if each.gained is None else each.gained) for each in pool]
    return FORMULAS["ours"](told, now)


def cooled(pool: Sequence[Signals], now: datetime) -> list[float]:
    """Logarithms times what age has left, 2^(-age / 48 h), nothing for what is missing."""
    return [
        (
            log1p(each.upvotes or 0)
            + 0.5 * log1p(each.comments or 0)
            + 0.3 * log1p(each.stars or 0)
            + 0.5 * log1p(max(each.gained or 0, 0))
        )
        * 2.0 ** -((now - each.listed_at) / (48 * HOUR))
        for each in pool
    ]


FORMULAS: dict[str, Formula] = {
    "ours": ours(lambda heat: heat.total),
    "ours without velocity": ours(lambda heat: heat.total - heat.velocity),
    "ours, votes and age only": ours(lambda heat: heat.votes + heat.age),
    "ours, velocity of two looks only": of_two_looks,
    "ours, comments 0.5, stars 0.3": ours(
        lambda heat: heat.total + heat.comments * (0.5 / COMMENTS - 1) + heat.stars * (0.3 / STARS - 1)
    ),
    "ours, half-life 24 h": halved(24),
    "ours, half-life 36 h": halved(36),
    "ours, half-life 72 h": halved(72),
    "raw votes": plain(lambda votes, _: votes),
    "Hacker News, G = 1.8": plain(lambda votes, hours: (votes - 1) / (hours + 2) ** 1.8),
    "Hacker News, G = 0.8": plain(lambda votes, hours: (votes - 1) / (hours + 2) ** 0.8),
    "logarithms x 2^(-age / 48 h)": cooled,
}


def rho(scores: Sequence[float], gains: Sequence[float]) -> float:
    return float(spearmanr(scores, gains).statistic)


def within(morning: Morning, scores: Sequence[float]) -> dict[str, float]:
    """Return the measures that need one morning."""
    gains = dict(zip((paper.key for paper in morning.pool), morning.gains, strict=True))
    ten, best = morning.ten(scores), morning.ten(list(gains.values()))
    today = {paper.key for paper in morning.pool if paper.day == morning.at.date()}
    return {
        "today": len(ten & today) / 10,
        "rho": rho(scores, list(gains.values())),
        "hits": len(ten & best),
        "share": sum(gains[key] for key in ten) / sum(gains[key] for key in best),
    }


def until_the_next_look(morning: Morning, scores: Sequence[float]) -> float | None:
    """Return rho over today's list, with the votes gained until the next look."""
    pairs = []
    for paper, score in zip(morning.pool, scores, strict=True):
        number = paper.last(morning.at)
        if (
            paper.day == morning.at.date()
            and number + 1 < len(paper.times)
            and paper.times[number + 1] < morning.at + 20 * HOUR
        ):
            pairs.append((score, paper.votes[number + 1] - paper.votes[number]))
    return rho(*zip(*pairs, strict=True)) if len(pairs) >= 8 else None


def look_after(paper: Told, midnight: datetime) -> int | None:
    """Return the votes of the first look after a midnight, if it was soon."""
    number = paper.last(midnight) + 1
    soon = number < len(paper.times) and paper.times[number] < midnight + 2.5 * HOUR
    return paper.votes[number] if soon else None


def until_monday(morning: Morning, scores: Sequence[float]) -> float | None:
    if morning.at.weekday() != 4:
        return None
    monday = datetime.combine(morning.at.date() + 3 * DAY, time(), UTC)
    pairs = [
        (score, votes - paper.had(morning.at))
        for paper, score in zip(morning.pool, scores, strict=True)
        if (votes := look_after(paper, monday)) is not None
    ]
    return rho(*zip(*pairs, strict=True)) if len(pairs) >= 60 else None


def measure(formula: Formula, mornings: list[Morning], *, grown: bool) -> dict[str, float]:
    scored = [
        (each, formula([paper.signals(each.at, grown=grown) for paper in each.pool], each.at)) for each in mornings
    ]
    rows: dict[str, list[float]] = defaultdict(list)
    for morning, scores in scored:
        found = within(morning, scores) | {
            "list": until_the_next_look(morning, scores),
            "week": until_monday(morning, scores),
        }
        for name, value in found.items():
            if value is not None and value == value:  # noqa: PLR0124  not a number where all are equal
                rows[name].append(value)
    for (before, old), (after, new) in pairwise(scored):
        rows["new"].append(len(after.ten(new) - before.ten(old)))
        both = before.keys & after.keys
        rows["again"].append(len(before.ten(old, both) & after.ten(new, both)))
    return {name: fmean(values) for name, values in rows.items()}


@recordings
@pytest.mark.parametrize("grown", [False, True], ids=["as looked at", "grown"])
def test_formulas_on_recorded_mornings(mornings: list[Morning], *, grown: bool) -> None:
    names = ("today", "new", "rho", "hits", "share", "again", "list", "week")
    sizes = fmean(len(each.pool) for each in mornings)
    print(f"\n{len(mornings)} mornings, {mornings[0].at:%Y-%m-%d} to {mornings[-1].at:%Y-%m-%d},", end=" ")
    print(f"{sizes:.0f} candidates each, votes {'grown since the last look' if grown else 'as looked at'}")
    print(f"{'':34}" + "".join(f"{name:>8}" for name in names))
    found = {}
    for title, formula in FORMULAS.items():
        found[title] = measure(formula, mornings, grown=grown)
        print(f"{title:34}" + "".join(f"{found[title][name]:8.3f}" for name in names))
    assert found["ours"]["rho"] > max(found[each]["rho"] for each in FORMULAS if not each.startswith("ours"))
    assert found["ours"]["hits"] > found["ours without velocity"]["hits"] > found["raw votes"]["hits"]


@recordings
def test_velocity_on_recorded_weekends() -> None:
    weights = (0.0, 0.25, 0.5, 1.0, 2.0)
    found: dict[float, list[float]] = defaultdict(list)
    lists: dict[date, list[Told]] = defaultdict(list)
    for paper in read_looks()[0]:
        lists[paper.day].append(paper)
    for day in (each for each in lists if each.weekday() == 4):
        midnights = [datetime.combine(day + back * DAY, time(), UTC) for back in (1, 2, 3)]
        looks = [[look_after(paper, at) for at in midnights] for paper in lists[day]]
        whole = [(a, b, c) for a, b, c in looks if a is not None and b is not None and c is not None]
        for weight in weights if len(whole) >= 10 else ():
            scores = [log1p(b) + weight * log1p(max(b - a, 0)) for a, b, _ in whole]
            value = rho(scores, [c - b for _, b, c in whole])
            if value == value:  # noqa: PLR0124
                found[weight].append(value)
    print("\nweight of velocity beside votes, Fridays' lists, Sunday 0 h to Monday 0 h: mean rho")
    for weight, values in found.items():
        print(f"  {weight:4.2f}  {fmean(values):.3f}  ({len(values)} weekends)")


def test_a_hundred_thousand_papers_are_placed_within_a_second() -> None:
    now = datetime(2026, 8, 5, 9, tzinfo=UTC)
    pool = [
        Signals(now - n % 168 * HOUR, n % 997, n % 7 or None, n % 4001 or None, n % 13 or None) for n in range(100_000)
    ]
    tries = []
    for _ in range(3):
        started = clock.monotonic()
        trending(pool, now)
        tries.append(clock.monotonic() - started)
    print(f"\n100,000 papers placed in {min(tries):.2f} s")
    assert min(tries) < 1
