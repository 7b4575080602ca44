"""Why a reader gets these papers, and why not the others. Pure."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from newsletter.ranking.diversity import is_twin
from newsletter.ranking.pool import Pool
from newsletter.ranking.score import score
from newsletter.ranking.select import select
from newsletter.ranking.types import Pick, Wish


class Rule(StrEnum):
    """What decided about a paper."""

    PICKED = "picked"
    MUTED = "muted"
    SEEN = "seen"
    BELOW_BAR = "below the bar"
    TWIN = "says the same as a pick"
    OTHERS = "others were better, or told something else"


@dataclass(frozen=True, slots=True)
class Explained:
    """A candidate, as one reader's ranking sees it.

    :ivar score: 0 to 1, as a pick has it; 0 for what must not be sent.
    :ivar named: what the reader's own words make of it, before it is measured by their best match.
    :ivar liked: the same of what they like.
    :ivar disliked: what it loses for being like what they do not like.
    :ivar trend: 0 (cold) to 1 (hot).
    :ivar rule: what decided.
    :ivar by: the mutes that hide it.
    :ivar place: among the picks, from 1; 0 for what was left out.
    """

    paper_id: int
    score: float
    named: float
    liked: float
    disliked: float
    trend: float
    rule: Rule
    by: tuple[str, ...] = ()
    place: int = 0


def explain(pool: Pool, wish: Wish) -> tuple[tuple[Pick, ...], list[Explained]]:
    """Return a reader's picks, and all candidates: the picks in their order, then the others, best first."""
    if not len(pool):
        return (), []
    scores = score(pool, [wish])
    [picks] = select(pool, [wish])
    place = {pick.paper_id: number for number, pick in enumerate(picks, 1)}
    picked = [column for column, paper_id in enumerate(pool.ids.tolist()) if paper_id in place]
    found = []
    for column, paper_id in enumerate(pool.ids.tolist()):
        value = float(scores.values[0, column])
        by = _mutes(pool, wish, column)
        found.append(
            Explained(
                paper_id=paper_id,
                score=max(0.0, value) if np.isfinite(value) else 0.0,
                named=float(scores.named[0, column]),
                liked=float(scores.liked[0, column]),
                disliked=float(scores.disliked[0, column]),
                trend=float(pool.trend[column]),
                rule=_rule(pool, wish, column, picked, value, by),
                by=by,
                place=place.get(paper_id, 0),
            )
        )
    last = len(found) + 1
    return picks, sorted(found, key=lambda each: (each.place or last, -each.score, -each.trend, each.paper_id))


def _mutes(pool: Pool, wish: Wish, column: int) -> tuple[str, ...]:
    hiding = (
        mute
        for mute in wish.interests.mutes
        if (pool.mentions(mute) | pool.written_by(mute) | pool.filed_under(mute))[column]
    )
    return tuple(hiding)


def _rule(pool: Pool, wish: Wish, column: int, picked: list[int], value: float, by: tuple[str, ...]) -> Rule:
    if column in picked:
        return Rule.PICKED
    if by:
        return Rule.MUTED
    if int(pool.ids[column]) in wish.seen:
        return Rule.SEEN
    if max(0.0, value) < wish.bar:
        return Rule.BELOW_BAR
    return Rule.TWIN if is_twin(pool, column, picked) else Rule.OTHERS
