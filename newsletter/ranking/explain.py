"""Why a reader gets these papers, and why not the others. Pure."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from newsletter.ranking.pool import Pool
from newsletter.ranking.score import score
from newsletter.ranking.select import select
from newsletter.ranking.types import Parts, Pick, Wish


class Rule(StrEnum):
    """What decided about a paper."""

    PICKED = "picked"
    OUTSIDE = "picked from outside their topics"
    MUTED = "muted"
    SEEN = "seen"
    BELOW_BAR = "below the bar"
    TWIN = "says the same as a pick"
    OTHERS = "others were better, or told something else"


@dataclass(frozen=True, slots=True)
class Explained:
    """A candidate, as one reader's ranking sees it.

    :ivar score: 0 to 1, as a pick has it; 0 for what must not be sent.
    :ivar rule: what decided.
    :ivar by: the mutes that hide it.
    :ivar place: among the picks, from 1; 0 for what was left out.
    """

    paper_id: int
    score: float
    parts: Parts
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
    said = {pick.paper_id: Rule.OUTSIDE if pick.outside else Rule.PICKED for pick in picks}
    picked = [column for column, paper_id in enumerate(pool.ids.tolist()) if paper_id in place]
    muted = {
        mute: pool.mentions(mute) | pool.written_by(mute) | pool.filed_under(mute) for mute in wish.interests.mutes
    }
    twins = frozenset[int]().union(*map(pool.twins, picked))
    every = np.arange(len(pool))
    parts = scores.parts(np.zeros_like(every), every)
    found = []
    for column, paper_id in enumerate(pool.ids.tolist()):
        value = float(scores.values[0, column])
        by = tuple(mute for mute, hidden in muted.items() if hidden[column])
        found.append(
            Explained(
                paper_id=paper_id,
                score=max(0.0, value) if np.isfinite(value) else 0.0,
                parts=parts[column],
                rule=said.get(paper_id) or _rule(wish, paper_id, value, by, twin=column in twins),
                by=by,
                place=place.get(paper_id, 0),
            )
        )
    last = len(found) + 1
    return picks, sorted(found, key=lambda each: (each.place or last, -each.score, -each.parts.trend, each.paper_id))


def _rule(wish: Wish, paper_id: int, value: float, by: tuple[str, ...], *, twin: bool) -> Rule:
    if by:
        return Rule.MUTED
    if paper_id in wish.seen:
        return Rule.SEEN
    if max(0.0, value) < wish.bar:
        return Rule.BELOW_BAR
    return Rule.TWIN if twin else Rule.OTHERS
