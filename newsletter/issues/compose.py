"""One reader's selection within an issue: what is in it and what it says about itself. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper
from newsletter.papers.textclean import bare, shorten, teaser
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interest, Interests, Pick, Wish
from newsletter.subscribers.preferences import Preferences, interest_names
from newsletter.subscribers.topics import phrases

_SUBJECT = 60  # characters of the first title in a subject; phones show about that much
_NAMED = 3  # interests named in the opening line
_RISING = 5  # upvotes a day that are worth a word
_NOTHING = "Nothing new for you today"


@dataclass(frozen=True, slots=True)
class DigestPick:
    """A paper in a digest, and why it is there."""

    paper_id: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen for a reader; kept with the delivery, so that every attempt sends the same.

    :ivar considered: how many candidates were new to the reader.
    """

    considered: int
    picks: tuple[DigestPick, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """One reader's mail, before it is rendered."""

    day: date
    subject: str
    preheader: str
    opening: str
    why: str
    picks: tuple[DigestPick, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """What composing needs to know of a subscriber; `seen` are ids of papers they were sent before."""

    preferences: Preferences
    seen: frozenset[int]


class Edition:
    """An issue's candidates, prepared once for all its readers.

    :param news: why something is missing, one line for each source.
    """

    def __init__(
        self, day: date, candidates: Sequence[IssueCandidate], papers: dict[int, Paper], news: Sequence[str] = ()
    ) -> None:
        self.day = day
        self.news = tuple(news)
        self.papers = {each.paper_id: papers[each.paper_id] for each in candidates if each.paper_id in papers}
        self._talk = {each.paper_id: _talk(each) for each in candidates}
        self.pool = Pool(
            [_document(self.papers[each.paper_id], each.trend) for each in candidates if each.paper_id in papers]
        )

    def choose(self, readers: Sequence[Reader]) -> list[Selection]:
        """Choose papers for a batch of readers; nothing new gives a selection without picks."""
        wishes = [Wish(interests(each.preferences), each.preferences.max_papers, each.seen) for each in readers]
        chosen = select(self.pool, wishes)
        return [
            Selection(
                len(self.papers) - sum(paper_id in self.papers for paper_id in reader.seen),
                tuple(DigestPick(pick.paper_id, round(pick.score, 4), self._reason(pick)) for pick in picks),
            )
            for reader, picks in zip(readers, chosen, strict=True)
        ]

    def worth_a_mail(self, preferences: Preferences, selection: Selection) -> bool:
        """Return whether there is anything to tell: papers, or for who asked for it why there are none."""
        return bool(selection.picks or (preferences.source_news and self.news))

    def compose(self, preferences: Preferences, selection: Selection) -> Digest:
        """Put a selection into words.

        :raises KeyError: a pick is no candidate of this issue.
        """
        news = "; ".join(self.news) if preferences.source_news else ""
        if not selection.picks:
            return Digest(self.day, _NOTHING, news, f"{_NOTHING}. {news}", _why(preferences), ())
        titles = [bare(self.papers[pick.paper_id].title) for pick in selection.picks]
        first = self.papers[selection.picks[0].paper_id]
        rest = len(titles) - 1
        return Digest(
            day=self.day,
            subject=shorten(titles[0], _SUBJECT) + (f" + {rest} more" if rest else ""),
            preheader=shorten("; ".join(titles[1:4]), 140) or bare(teaser(first.summary, first.abstract, 140)),
            opening=_opening(preferences, len(titles), selection.considered) + (f". {news}" if news else ""),
            why=_why(preferences),
            picks=selection.picks,
        )

    def _reason(self, pick: Pick) -> str:
        said = self._talk[pick.paper_id]
        if pick.matched:
            named = " and ".join(f"“{label}”" for label in pick.matched[:2])
            return f"matches {named}" + (f", {said}" if said else "")
        return f"trending, {said}" if said else "new"


def _talk(candidate: IssueCandidate) -> str:
    """Return what the world says about a paper: its votes, and how fast they grow when they do."""
    votes, gained = candidate.upvotes, round(candidate.gained or 0)
    if not votes:
        return ""
    return f"{votes} upvote{'' if votes == 1 else 's'}" + (f", {gained} more a day" if gained >= _RISING else "")


def interests(preferences: Preferences) -> Interests:
    """Return preferences as the ranker sees them."""
    return Interests(
        wanted=(
            *(Interest(topic, phrases(topic)) for topic in preferences.topics),
            *(Interest(keyword, (keyword,)) for keyword in preferences.keywords),
        ),
        authors=preferences.authors,
        categories=preferences.categories,
        mutes=preferences.mutes,
    )


def _document(paper: Paper, trend: float) -> Document:
    body = "\n".join((paper.abstract or paper.summary, "; ".join(paper.keywords)))
    return Document(paper.id or 0, paper.title, body, tuple(paper.authors), tuple(paper.categories), trend)


def _opening(preferences: Preferences, shown: int, considered: int) -> str:
    papers = f"{considered} new paper{'' if considered == 1 else 's'}"
    names = interest_names(preferences)
    if not names:
        return f"{shown} of {papers}, ranked by what is trending"
    more = len(names) - _NAMED
    return f"{shown} of {papers}, ranked for {', '.join(names[:_NAMED])}" + (f" and {more} more" if more > 0 else "")


def _why(preferences: Preferences) -> str:
    every = {"daily": "every day", "weekdays": "on weekdays", "weekly": "on Mondays"}[preferences.cadence]
    clock = f"{preferences.hour}:00, {preferences.timezone} time"
    papers = f"{preferences.max_papers} paper{'' if preferences.max_papers == 1 else 's'}"
    return f"You asked for up to {papers} {every} from {clock}."
