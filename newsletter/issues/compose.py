"""One reader's selection within an issue: what is in it and what it says about itself. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper
from newsletter.papers.textclean import bare, clean, shorten, teaser
from newsletter.papers.trending import Signals, trending
from newsletter.ranking.explain import Explained, explain
from newsletter.ranking.meaning import Space
from newsletter.ranking.phrases import key_phrases
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.statistics import Statistics
from newsletter.ranking.types import NOWHERE, Document, Interest, Interests, Likened, Parts, Pick, Place, Rated, Wish
from newsletter.subscribers.preferences import Cadence, Preferences, Weekday, interest_names
from newsletter.subscribers.topics import phrases

_ROOM, _LITTLE_ROOM = 40 * 2**20, 2**20  # bytes: 10,000 rated papers against 500; weekly editions are for few
_SUBJECT = 60  # characters of the first title in a subject; phones show about that much
_NAMED = 3  # interests named in the opening line
_RISING = 5  # upvotes a day that are worth a word
_LIKED = 60  # characters of a liked title in a reason
_LIKE = "like "
_OUTSIDE = "outside your usual topics"
_WEEK = timedelta(days=7)
_DAY_NAMES = dict(
    zip(Weekday, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)


class Span(Enum):
    """What an edition covers: the news of a day, the best of a week, or what a reader missed."""

    DAY = auto()
    WEEK = auto()
    CATCH_UP = auto()


class DigestPick(NamedTuple):
    """A paper in a digest, and why it is there.

    :ivar parts: what its score is made of; nothing for one that was chosen before this was kept.
    """

    paper_id: int
    score: float
    reason: str
    parts: Parts | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen for a reader; kept with the delivery, so that every attempt sends the same.

    :ivar considered: how many candidates were new to the reader.
    :ivar said: the opening line and why they get it, once it was put into words: wishes may change behind it.
    """

    considered: int
    picks: tuple[DigestPick, ...]
    said: tuple[str, ...] = ()


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
    rated: tuple[Rated, ...] = ()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What ranking knows beside the papers themselves.

    :ivar statistics: how common terms are in the archive.
    :ivar space: how embeddings are compared.
    :ivar places: by paper, where co-reading and an embedder put it.
    """

    statistics: Statistics | None = None
    space: Space | None = None
    places: Mapping[int, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a reader gets what they get.

    :ivar reasons: of the picks, by paper.
    :ivar candidates: all of them, the picks first.
    """

    reasons: dict[int, str]
    candidates: list[Explained]


class Edition:
    """An issue's candidates, prepared once for all its readers.

    :param news: why something is missing, one line for each source.
    :param span: over more than a day, how old a paper is counts for nothing.
    :param since: the first day that was missed; `Span.CATCH_UP` needs it.
    :param knowledge: what ranking has learnt before.
    """

    def __init__(
        self,
        day: date,
        candidates: Sequence[IssueCandidate],
        papers: dict[int, Paper],
        news: Sequence[str] = (),
        *,
        span: Span = Span.DAY,
        since: date | None = None,
        knowledge: Knowledge | None = None,
    ) -> None:
        self.day = day
        self.news = tuple(news)
        self.span = span
        self._covers, self._nothing = _period(span, day, since)
        known = [each for each in candidates if each.paper_id in papers]
        self.papers = {each.paper_id: papers[each.paper_id] for each in known}
        self._titles: dict[int, str] = {}
        self._talk = {each.paper_id: _talk(each) for each in known}
        trends = [each.trend for each in known] if span is Span.DAY else _ageless(known, day)
        learned = knowledge or Knowledge()
        self.pool = Pool(
            [
                _document(self.papers[each.paper_id], trend, learned.places.get(each.paper_id, NOWHERE))
                for each, trend in zip(known, trends, strict=True)
            ],
            learned.statistics,
            learned.space,
            _ROOM if span is Span.DAY else _LITTLE_ROOM,
        )

    def choose(self, readers: Sequence[Reader]) -> list[Selection]:
        """Choose papers for a batch of readers; nothing new gives a selection without picks."""
        chosen = select(self.pool, [_wish(each) for each in readers])
        return [
            Selection(
                len(self.papers) - sum(paper_id in self.papers for paper_id in reader.seen),
                tuple(
                    [DigestPick(each.paper_id, round(each.score, 4), self._reason(each), each.parts) for each in picks]
                ),
            )
            for reader, picks in zip(readers, chosen, strict=True)
        ]

    def explain(self, reader: Reader) -> Explanation:
        """Return what a reader would be sent now, and how each candidate fares with them."""
        picks, candidates = explain(self.pool, _wish(reader))
        return Explanation({pick.paper_id: self._reason(pick) for pick in picks}, candidates)

    def worth_a_mail(self, preferences: Preferences, selection: Selection) -> bool:
        """Return whether there is anything to tell: papers, or for who asked for it why there are none.

        Nobody who wants a mail only for a paper above their bar gets one for the news.
        """
        news = preferences.source_news and preferences.cadence is not Cadence.ABOVE_BAR
        return bool(selection.picks or (news and self.news))

    def compose(self, preferences: Preferences, selection: Selection) -> Digest:
        """Put a selection into words.

        :raises KeyError: a pick is no candidate of this issue.
        """
        news = "; ".join(self.news) if preferences.source_news else ""
        if not selection.picks:
            return Digest(self.day, self._nothing, news, f"{self._nothing}. {news}", _why(preferences), ())
        titles = [self._title(pick.paper_id) for pick in selection.picks]
        first = self.papers[selection.picks[0].paper_id]
        rest = len(titles) - 1
        return Digest(
            day=self.day,
            subject=shorten(titles[0], _SUBJECT) + (f" + {rest} more" if rest else ""),
            preheader=shorten("; ".join(titles[1:4]), 140) or bare(teaser(first.summary, first.abstract, 140)),
            opening=self._opening(preferences, selection) + (f". {news}" if news else ""),
            why=_why(preferences),
            picks=selection.picks,
        )

    def _title(self, paper_id: int) -> str:
        if paper_id not in self._titles:
            self._titles[paper_id] = bare(self.papers[paper_id].title)
        return self._titles[paper_id]

    def _opening(self, preferences: Preferences, selection: Selection) -> str:
        of, considered = self._covers, selection.considered
        papers = f"{of.new}paper{'' if considered == 1 else 's'}{of.when}"
        return f"{of.first}{len(selection.picks)} of {considered} {papers}, ranked {_ranked_by(preferences, selection)}"

    def _reason(self, pick: Pick) -> str:
        talk = self._talk[pick.paper_id]
        if pick.outside:
            return f"{_OUTSIDE}, {talk}" if talk else _OUTSIDE
        return _because(talk, pick.matched, pick.like)


@lru_cache(maxsize=20_000)  # many readers want the same
def _because(said: str, matched: tuple[str, ...], like: Likened) -> str:
    why = []
    if matched:
        why.append("matches " + " and ".join(f"“{label}”" for label in matched[:2]))
    if like.title is not None:
        title, did = clean(bare(like.title), _LIKED), "looked at" if like.clicked else "liked"
        why.append(f"{_LIKE}“{title}”, which you {did}" if title else f"{_LIKE}a paper that you {did}")
    if not why:
        return f"trending, {said}" if said else "new"
    return ", ".join([*why, said] if said else why)


@dataclass(frozen=True, slots=True)
class _Covers:
    """What stands around the number of papers in an opening line."""

    first: str = ""
    new: str = ""
    when: str = ""


def _period(span: Span, day: date, since: date | None) -> tuple[_Covers, str]:
    """Return an edition's own words, and what it says when it has nothing.

    :raises ValueError: a catch-up without its first day.
    """
    if span is Span.DAY:
        return _Covers(new="new "), "Nothing new for you today"
    if span is Span.WEEK:
        return _Covers(when=" of this week"), "Nothing new for you this week"
    if since is None:
        raise ValueError("a catch-up needs the first day that was missed")
    start = f"{since.day} {since:%B}" + (f" {since.year}" if since.year != day.year else "")
    return _Covers("While you were away: ", when=f" since {start}"), f"Nothing new for you since {start}"


def _ageless(candidates: Sequence[IssueCandidate], day: date) -> list[float]:
    """Return how much each candidate is talked about, as if all had been listed on the same day."""
    end = datetime.combine(day, time(), UTC)
    signals = [Signals(end - _WEEK, each.upvotes, each.comments, each.stars, each.gained) for each in candidates]
    return trending(signals, end)


def _wish(reader: Reader) -> Wish:
    asked = reader.preferences
    return Wish(interests(asked, reader.rated), asked.max_papers, reader.seen, _bar(asked), asked.outside)


def _bar(preferences: Preferences) -> float:
    return preferences.bar / 100 if preferences.cadence is Cadence.ABOVE_BAR else 0.0


def _talk(candidate: IssueCandidate) -> str:
    """Return what the world says about a paper: its votes, and how fast they grow when they do."""
    votes, gained = candidate.upvotes, round(candidate.gained or 0)
    if not votes:
        return ""
    return f"{votes} upvote{'' if votes == 1 else 's'}" + (f", {gained} more a day" if gained >= _RISING else "")


def interests(preferences: Preferences, rated: Sequence[Rated] = ()) -> Interests:
    """Return preferences as the ranker sees them, with what the reader said of papers."""
    about: tuple[str, ...] = ()
    if preferences.about:
        named = {name.casefold() for name in interest_names(preferences)}
        about = tuple(phrase for phrase in key_phrases(preferences.about) if phrase.casefold() not in named)
    return Interests(
        wanted=(
            *(Interest(topic, phrases(topic)) for topic in preferences.topics),
            *(Interest(keyword, (keyword,)) for keyword in preferences.keywords),
            *(Interest(phrase, (phrase,)) for phrase in about),
        ),
        authors=preferences.authors,
        categories=preferences.categories,
        mutes=preferences.mutes,
        rated=tuple(rated),
    )


def _document(paper: Paper, trend: float, place: Place) -> Document:
    body = "\n".join((paper.abstract or paper.summary, "; ".join(paper.keywords)))
    return Document(paper.id or 0, paper.title, body, tuple(paper.authors), tuple(paper.categories), trend, *place)


def _ranked_by(preferences: Preferences, selection: Selection) -> str:
    names = interest_names(preferences) or (key_phrases(preferences.about) if preferences.about else ())
    if names:
        more = len(names) - _NAMED
        return f"for {', '.join(names[:_NAMED])}" + (f" and {more} more" if more > 0 else "")
    # who named nothing has no reason "matches", in which their own words could look like this
    liked = any(pick.reason.startswith(_LIKE) for pick in selection.picks)
    return "by what you liked" if liked else "by what is trending"


def _why(preferences: Preferences) -> str:
    clock = f"{preferences.hour}:00, {preferences.timezone} time"
    papers = f"{preferences.max_papers} paper{'' if preferences.max_papers == 1 else 's'}"
    return f"You asked for up to {papers} {cadence_words(preferences)} from {clock}."


def cadence_words(preferences: Preferences) -> str:
    """Return on which days a reader gets their mail, as it goes on after "your papers come"."""
    if preferences.cadence is Cadence.DAYS:
        *others, last = (_DAY_NAMES[day] for day in preferences.weekdays)
        return f"on {', '.join(others)} and {last}" if others else f"on {last}s"
    if preferences.cadence is Cadence.ABOVE_BAR:
        return f"whenever one scores above your bar of {preferences.bar}"
    return {"daily": "every day", "weekdays": "on weekdays", "weekly": "on Mondays"}[preferences.cadence]
