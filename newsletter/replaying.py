"""Past days once more: what each way of ranking would have chosen, and what readers then said of it. Never writes.

A day counts for a reader who said something good of one of its papers after its issue was opened. They are ranked by
what they had said by then, and by what they ask for now: what they asked for then is not kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from sqlmodel import Session

from newsletter import logs
from newsletter.app import App
from newsletter.issues import store as issues
from newsletter.issues.compose import Edition, Reader
from newsletter.issues.learned import store as learned
from newsletter.issues.models import Issue
from newsletter.issues.store import Draft
from newsletter.ranking.quality import FIGURES, Figure, Outcome, by_likes, difference, figure, hit
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Addressee

_log = logs.get(__name__)
_NO_WORDS = {"topics": (), "keywords": (), "authors": (), "categories": (), "about": ""}


@dataclass(frozen=True, slots=True)
class Way:
    """What a ranking goes by."""

    words: bool = True
    likes: bool = True
    coread: bool = True
    meanings: bool = True


WAYS: Mapping[str, Way] = {
    "current": Way(),
    "without co-reading": Way(coread=False),
    "without meanings": Way(meanings=False),
    "words only": Way(likes=False),
    "likes only": Way(words=False),
    "trending": Way(words=False, likes=False),
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """How good a way of ranking was.

    :ivar figures: by name.
    :ivar coverage: which part of all candidates was picked for anybody.
    :ivar better: by how much it beats the way that it is compared with, by name.
    :ivar by_likes: its hit rate for readers who had liked as many papers by then.
    """

    figures: dict[str, Figure]
    coverage: float
    better: dict[str, Figure]
    by_likes: dict[str, Figure]


def replay(app: App, first: date, last: date, ways: Sequence[str]) -> tuple[int, dict[str, Replayed]]:
    """Return how many readers' days there were, and how good each way of ranking was on them.

    :param ways: names of `WAYS`; each is compared with the first.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    picked: dict[str, int] = dict.fromkeys(ways, 0)
    candidates, given = 0, {name: dict[int, set[int]]() for name in ways}
    with app.db.snapshot() as session:
        for issue in issues.between(session, first, last):
            liked = learned.liked_of(session, issue)
            people = _readable(subscribers.addressees(session, sorted(liked)).values())
            if not people:
                continue
            candidates += len(issues.candidates(session, issue.id or 0))
            for name in ways:
                found = _day(session, app, issue, WAYS[name], people, liked, given[name])
                outcomes[name] += found
                picked[name] += len({paper_id for each in found for paper_id in each.picks})
    base = outcomes[ways[0]]
    return len(base), {
        name: Replayed(
            figures={each: figure(outcomes[name], of) for each, of in FIGURES.items()},
            coverage=picked[name] / candidates if candidates else 0.0,
            better={each: difference(outcomes[name], base, of) for each, of in FIGURES.items()},
            by_likes=by_likes(outcomes[name], hit),
        )
        for name in ways
    }


def _day(
    session: Session,
    app: App,
    issue: Issue,
    way: Way,
    people: Sequence[Addressee],
    liked: Mapping[int, frozenset[int]],
    given: dict[int, set[int]],
) -> list[Outcome]:
    kept = issues.draft(session, issue.day, app.now(), app.settings.window)
    changed = {} if way.coread else {"model_id": None}
    changed |= {} if way.meanings else {"space_id": None}
    learnt = issue.learnt._replace(**changed)
    edition = issues.edition(session, Draft(issue.model_copy(update=changed), kept.candidates))
    ids = [each.id for each in people]
    rated = learned.rated(session, ids, learnt, edition.pool, by=issue.opened_at, before=issue.opened_at)
    readers = []
    for each in people:
        wishes = each.preferences if way.words else each.preferences.model_copy(update=_NO_WORDS)
        said = rated.get(each.id, learned.NO_RATINGS)
        # what this way had given them by then is what they would have seen
        readers.append(Reader(wishes, said.papers | given.setdefault(each.id, set()), said.rated if way.likes else ()))
    found = []
    for each, selection in zip(people, edition.choose(readers), strict=True):
        picks = tuple(pick.paper_id for pick in selection.picks)
        repeated = len(given[each.id].intersection(picks))
        given[each.id].update(picks)
        asked = each.preferences.max_papers
        good = sum(one.weight > 0 for one in rated.get(each.id, learned.NO_RATINGS).rated)
        found.append(Outcome(each.id, picks, liked[each.id], asked, repeated, _alike(edition, picks), good))
    return found


def _readable(people: Iterable[Addressee]) -> list[Addressee]:
    """Return those whose wishes can be read: what somebody wrote into those columns ends nobody else's replay."""
    found = []
    for each in people:
        try:
            each.preferences  # noqa: B018  whether it can be read
        except ValueError:
            _log.warning("wishes cannot be read", subscriber=each.id)
        else:
            found.append(each)
    return found


def _alike(edition: Edition, picks: Sequence[int]) -> float:
    """Return the mean cosine of two different picks."""
    if len(picks) < 2:
        return 0.0
    vectors = edition.pool.matrix[[edition.pool.columns[each] for each in picks]]
    cosines = (vectors @ vectors.T).toarray()
    return float((cosines.sum() - np.trace(cosines)) / (len(picks) * (len(picks) - 1)))
