"""How much a paper is talked about, as one number between 0 and 1. Pure.

``tests/benchmarks/test_trending.py`` measures these constants, and others, on 312 recorded mornings.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log, log1p
from statistics import median

HALF_LIFE = timedelta(hours=48)  # four of the top ten are today's, five are new each day; with 24 h six and six
VELOCITY = 0.5  # the top ten's share of the votes to come: 72 % of the best possible, without velocity 65 %
COMMENTS, STARS = 0.25, 0.1  # they foretell no votes that the votes do not; 0.5 and 0.3 foretell fewer
NEUTRAL = 0.5
_FIRST_HOURS = timedelta(hours=6)  # a velocity over less is an accident of the hour
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Signals:
    """What the world said about a paper; ``None`` where nobody counted.

    :ivar gained: upvotes gained per day lately; ``None`` when there was only one look at them: then it is the
        average since the paper was listed, when it had none.
    """

    listed_at: datetime
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None
    gained: float | None = None


@dataclass(frozen=True, slots=True)
class Heat:
    """What makes a paper hot, in parts that add up: each is a logarithm, weighed; 0.69 more doubles the heat.

    :ivar age: what the paper lost to its age: 0 when it is listed, 0.69 less with every half-life.
    """

    votes: float
    comments: float
    stars: float
    velocity: float
    age: float

    @property
    def total(self) -> float:
        """What papers of one pool are ordered by."""
        return self.votes + self.comments + self.stars + self.velocity + self.age


def heats(pool: Sequence[Signals], now: datetime) -> list[Heat | None]:
    """Return the parts of each paper's heat, in the order of the pool; ``None`` for papers without votes.

    ``log1p(votes) + log1p(comments) / 4 + log1p(stars) / 10 + log1p(gained) / 2 - log(2) * age / 48 h``: a vote
    counts half as much after each half-life. Comments or stars that nobody counted say nothing for or against a
    paper: they are taken to be the median of the papers that have them.
    """
    comments = _said(pool, lambda each: each.comments, COMMENTS)
    stars = _said(pool, lambda each: each.stars, STARS)
    return [
        None
        if each.upvotes is None
        else Heat(_log(each.upvotes), remarks, liked, VELOCITY * _log(_gained(each, now)), _lost(each.listed_at, now))
        for each, remarks, liked in zip(pool, comments, stars, strict=True)
    ]


def trending(pool: Sequence[Signals], now: datetime) -> list[float]:
    """Return each paper's place in the pool: 0 the coldest, 1 the hottest, 0.5 for papers without votes.

    The place is the share of colder ones among the papers that are colder or hotter; equal heat, equal place.
    """
    totals = [None if each is None else each.total for each in heats(pool, now)]
    order = sorted(value for value in totals if value is not None)
    place: dict[float | None, float] = {None: NEUTRAL}
    for value in dict.fromkeys(order):
        colder, hotter = bisect_left(order, value), len(order) - bisect_right(order, value)
        place[value] = colder / (colder + hotter) if colder + hotter else NEUTRAL
    return [place[value] for value in totals]


def _said(pool: Iterable[Signals], count: Callable[[Signals], int | None], weight: float) -> list[float]:
    """Return what one count adds to each paper."""
    values = [None if (value := count(each)) is None else weight * _log(value) for each in pool]
    known = [value for value in values if value is not None]
    neutral = median(known) if known else 0.0
    return [neutral if value is None else value for value in values]


def _gained(signals: Signals, now: datetime) -> float:
    if signals.gained is not None:
        return signals.gained
    return (signals.upvotes or 0) / (max(now - signals.listed_at, _FIRST_HOURS) / _DAY)


def _lost(listed_at: datetime, now: datetime) -> float:
    """Return what age took, which is nothing from a paper listed in the future."""
    return -log(2) * (max(now - listed_at, timedelta(0)) / HALF_LIFE)


def _log(count: float) -> float:
    return log1p(max(count, 0))
