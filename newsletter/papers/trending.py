"""How much a paper is talked about, as one number between 0 and 1. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log1p

HALF_LIFE = timedelta(hours=48)
NEUTRAL = 0.5


@dataclass(frozen=True, slots=True)
class Signals:
    """What the world said about a paper; ``None`` where nobody counted."""

    listed_at: datetime
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None


def heat(signals: Signals, now: datetime) -> float | None:
    """Return ``(log1p(upvotes) + log1p(comments) / 2 + 0.3 log1p(stars)) * 2^(-age / 48 h)``, ``None`` without votes.

    The half-life of 48 hours keeps about a third of the top ten from today while papers of the last
    days can still rise; the constants of minutes-to-hours sites would merely show today's list.
    """
    if signals.upvotes is None:
        return None
    said = log1p(signals.upvotes) + 0.5 * log1p(signals.comments or 0) + 0.3 * log1p(signals.stars or 0)
    age = max(now - signals.listed_at, timedelta(0))
    return float(said * 2.0 ** -(age / HALF_LIFE))


def trending(pool: Sequence[Signals], now: datetime) -> list[float]:
    """Return each paper's place in the pool: 0 the coldest, 1 the hottest, 0.5 for papers without votes."""
    heats = [heat(signals, now) for signals in pool]
    known = sorted({value for value in heats if value is not None})
    if len(known) < 2:
        return [NEUTRAL] * len(heats)
    place = {value: index / (len(known) - 1) for index, value in enumerate(known)}
    return [NEUTRAL if value is None else place[value] for value in heats]
