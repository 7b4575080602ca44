"""What anybody may read: past issues and their hottest papers. Nothing of any reader is in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from threading import Lock

from sqlmodel import Session

from newsletter.app import App
from newsletter.issues.models import Issue
from newsletter.issues.published import store
from newsletter.issues.published.store import Place, Ranking
from newsletter.papers import store as papers
from newsletter.papers.models import Paper

SHOWN = 20  # papers of an issue
A_PAGE = 30  # issues
_NAMED = 3  # papers of each issue in the list of issues
_SPARE = 5  # in place of those that were taken back since
_LOOK_BACK = 30  # issues a feed is made of
_FED = 60  # papers in a feed
_KEPT = 400  # rankings in memory, some kilobytes each


@dataclass(frozen=True, slots=True)
class Trending:
    """A paper that was much talked about when its issue opened: its votes then, and how fast they grew a day."""

    paper: Paper
    upvotes: int | None
    gained: float | None


@dataclass(frozen=True, slots=True)
class PublicIssue:
    """An issue as anybody may see it.

    :ivar considered: how many papers it had to choose from.
    :ivar papers: the hottest first.
    """

    slot: str
    day: date
    opened_at: datetime
    considered: int
    papers: tuple[Trending, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """An issue with the slots of those beside it, empty where there are none."""

    issue: PublicIssue
    older: str
    newer: str


class Archive:
    """Past issues. How an issue's papers rank is frozen with it, so each process looks that up once."""

    def __init__(self, app: App) -> None:
        self._db = app.db
        self._days = app.settings.window.days
        self._lock = Lock()
        self._known: dict[tuple[int, datetime], Ranking] = {}

    def page(self, number: int) -> tuple[list[PublicIssue], bool]:
        """Return a page of issues, newest first, and whether there are older ones.

        :param number: 1 and up.
        """
        with self._db.snapshot() as session:
            found = store.newest(session, A_PAGE + 1, (number - 1) * A_PAGE)
            return self._filled(session, found[:A_PAGE], _NAMED), len(found) > A_PAGE

    def leaf(self, slot: str) -> Leaf | None:
        """Return the issue of a slot; ``None`` if there is none, or none that is public."""
        with self._db.snapshot() as session:
            issue = store.find(session, slot)
            if issue is None:
                return None
            older, newer = store.beside(session, issue)
            [shown] = self._filled(session, [issue], SHOWN)
        return Leaf(shown, older.slot if older else "", newer.slot if newer else "")

    def slots(self, limit: int) -> list[tuple[str, datetime]]:
        """Return the slots of issues and when they opened, newest first."""
        with self._db.snapshot() as session:
            return store.slots(session, limit)

    def news(self) -> list[tuple[Issue, Trending]]:
        """Return papers with the issue that first had them among its hottest, newest first.

        A paper stays a candidate for days: in a feed it is news once, and keeps the date that it came with. So nothing
        is told of the oldest issues looked at, whose papers may have come with an older one.
        """
        with self._db.snapshot() as session:
            issues = store.newest(session, _LOOK_BACK)
            rankings = self._rankings(session, issues)
            sure = issues if len(issues) < _LOOK_BACK else issues[: -min(self._days, _LOOK_BACK - 1)]
            firsts = {place.paper_id: issue for issue in issues for place in rankings[issue.id or 0].top[:SHOWN]}
            told = [
                (issue, place)
                for issue in sure
                for place in rankings[issue.id or 0].top[:SHOWN]
                if firsts[place.paper_id] is issue
            ][:_FED]
            found = papers.by_ids(session, (place.paper_id for _, place in told))
        shown = {each.paper.id: each for each in _shown([place for _, place in told], found)}
        return [(issue, shown[place.paper_id]) for issue, place in told if place.paper_id in shown]

    def _filled(self, session: Session, issues: Sequence[Issue], most: int) -> list[PublicIssue]:
        rankings = self._rankings(session, issues)
        places = {issue.slot: rankings[issue.id or 0].top[: most + _SPARE] for issue in issues}
        found = papers.by_ids(session, (each.paper_id for top in places.values() for each in top))
        return [
            PublicIssue(
                issue.slot,
                issue.day,
                issue.opened_at,
                rankings[issue.id or 0].considered,
                tuple(_shown(places[issue.slot], found))[:most],
            )
            for issue in issues
        ]

    def _rankings(self, session: Session, issues: Iterable[Issue]) -> dict[int, Ranking]:
        wanted = {(issue.id or 0, issue.opened_at): issue.id or 0 for issue in issues}
        with self._lock:
            found = {key: self._known[key] for key in wanted if key in self._known}
        missing = {id_: key for key, id_ in wanted.items() if key not in found}
        if missing:
            looked_up = store.rankings(session, list(missing), SHOWN + _SPARE)
            fresh = {key: looked_up[id_] for id_, key in missing.items()}
            found |= fresh
            with self._lock:
                self._known |= fresh
                for old in list(self._known)[:-_KEPT]:
                    del self._known[old]
        return {wanted[key]: ranking for key, ranking in found.items()}


def _shown(places: Iterable[Place], found: dict[int, Paper]) -> Iterable[Trending]:
    """Yield papers without those that their authors took back, and those that turned out to be another one here."""
    listed: set[int] = set()
    for place in places:
        paper = found.get(place.paper_id)
        if paper is None or paper.withdrawn or paper.same_as in listed:
            continue
        listed.add(place.paper_id)
        yield Trending(paper, place.upvotes, place.gained)
