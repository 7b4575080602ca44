"""An issue's edition: chooses from its candidates for each reader, and puts what it chose into words. Pure."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import chain, islice

import numpy as np

from newsletter.issues import words
from newsletter.issues.digest import OUTSIDE, Digest, DigestPick, Mention, Selection, Span
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper
from newsletter.papers.textclean import bare, shorten, teaser
from newsletter.papers.trending import Signals, trending
from newsletter.ranking.explain import Explained, explain
from newsletter.ranking.hottest import hottest
from newsletter.ranking.meaning import Space
from newsletter.ranking.phrases import key_phrases
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.statistics import Statistics
from newsletter.ranking.types import NOWHERE, Document, Interest, Interests, Pick, Place, Rated, Wish, made
from newsletter.subscribers.preferences import Cadence, Preferences, interest_names
from newsletter.subscribers.topics import phrases

_ROOM, _LITTLE_ROOM = 40 * 2**20, 2**20  # bytes: 10,000 rated papers against 500; weekly editions are for few
_WEEK = timedelta(days=7)
_HOT, _LOOKED_AT = 3, 40  # papers that everybody talks about: in a mail, and to choose these from
_TALKED_ABOUT = 5  # upvotes: with fewer nothing trends everywhere
_DECIMALS = 4  # of a score
_PREHEADER = 140  # characters; lists of mails show less


@dataclass(frozen=True, slots=True)
class Reader:
    """What composing needs to know of a subscriber.

    :ivar seen: ids of papers they were sent before.
    :ivar subject: of the mail before this one.
    """

    preferences: Preferences
    seen: frozenset[int]
    rated: tuple[Rated, ...] = ()
    subject: str = ""


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
        self._period = words.period(span, day, since)
        known = [each for each in candidates if each.paper_id in papers]
        self.papers = {each.paper_id: papers[each.paper_id] for each in known}
        self._titles = {id_: bare(paper.title) for id_, paper in self.papers.items()}
        self._short_titles = {id_: shorten(title, words.SUBJECT) for id_, title in self._titles.items()}
        self._talk = {each.paper_id: words.talk_of(each) for each in known}
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
        ids = self.pool.ids.tolist()
        votes = {each.paper_id: each.upvotes or 0 for each in known}
        hot = [(column, id_) for column, id_ in enumerate(ids) if votes[id_] >= _TALKED_ABOUT][:_LOOKED_AT]
        self._hot = {column: Mention(paper_id, self._talk[paper_id]) for column, paper_id in hot}

    def choose(self, readers: Sequence[Reader]) -> list[Selection]:
        """Choose papers for a batch of readers; nothing new gives a selection without picks."""
        wishes = [_wish(each) for each in readers]
        chosen = select(self.pool, wishes)
        column = self.pool.columns
        told = [
            {column[pick.paper_id] for pick in picks} if each.preferences.trending else ()
            for each, picks in zip(readers, chosen, strict=True)
        ]
        hot = hottest(self.pool, wishes, told, list(self._hot), _HOT)
        return [self._selection(*each) for each in zip(readers, self._told(chosen), hot, strict=True)]

    def explain(self, reader: Reader) -> Explanation:
        """Return what a reader would be sent now, and how each candidate fares with them."""
        picks, candidates = explain(self.pool, _wish(reader))
        reasons = {
            pick.paper_id: words.reason(self._talk[pick.paper_id], pick.matched, pick.like, pick.outside)
            for pick in picks
        }
        return Explanation(reasons, candidates)

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
        picks, why = selection.picks, words.why(preferences)
        subject = selection.subject or self._subject(picks, "")
        if not picks:
            return Digest(self.day, subject, news, f"{self._period.nothing}. {news}", why, ())
        first = self.papers[picks[0].paper_id]
        others = "; ".join(
            [self._titles[pick.paper_id] for pick in picks[:4]
             if not subject.startswith(self._short_titles[pick.paper_id])][:3]
        )  # fmt: skip
        return Digest(
            day=self.day,
            subject=subject,
            preheader=shorten(others, _PREHEADER) or bare(teaser(first.summary, first.abstract, _PREHEADER)),
            opening=words.opening(preferences, selection, self._period) + (f". {news}" if news else ""),
            why=why,
            picks=picks,
            trending=selection.trending,
        )

    def _told(self, chosen: Sequence[Sequence[Pick]]) -> list[tuple[DigestPick, ...]]:
        """Return each reader's picks with their reasons in words: of all readers at once, since they are many."""
        talk, reason, flat = self._talk, words.reason, list(chain.from_iterable(chosen))
        scores = np.round([pick.score for pick in flat], _DECIMALS).tolist()  # one by one takes as long as the reasons
        told = iter(
            [
                made(
                    DigestPick,
                    (
                        paper_id,
                        score,
                        reason(talk[paper_id], matched, like, outside),
                        parts,
                        OUTSIDE if outside else matched[0] if matched else "",
                    ),
                )
                for (paper_id, _, parts, matched, like, outside), score in zip(flat, scores, strict=True)
            ]
        )
        return [tuple(islice(told, len(picks))) for picks in chosen]

    def _selection(self, reader: Reader, picks: tuple[DigestPick, ...], hot: Sequence[int]) -> Selection:
        considered = len(self.papers) - len(self.papers.keys() & reader.seen)
        trends = tuple([self._hot[column] for column in hot])
        return Selection(considered, picks, self.span, trends, self._subject(picks, reader.subject))

    def _subject(self, picks: Sequence[DigestPick], before: str) -> str:
        return words.subject([self._short_titles[pick.paper_id] for pick in picks], self.day, before)


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


def interests(preferences: Preferences, rated: Sequence[Rated] = ()) -> Interests:
    """Return preferences as the ranker sees them, with what the reader said of papers."""
    about: tuple[str, ...] = ()
    if preferences.about:
        named = {name.casefold() for name in interest_names(preferences)}
        about = tuple(phrase for phrase in key_phrases(preferences.about) if phrase.casefold() not in named)
    return Interests(
        wanted=(
            *map(_topic, preferences.topics),
            *map(_keyword, preferences.keywords),
            *[Interest(phrase, (phrase,)) for phrase in about],
        ),
        authors=tuple(map(_spelt, preferences.authors)),
        categories=tuple(map(_spelt, preferences.categories)),
        mutes=tuple(map(_spelt, preferences.mutes)),
        rated=tuple(rated),
    )


@lru_cache(maxsize=20_000)  # readers share most of their words
def _topic(name: str) -> Interest:
    topic = _spelt(name)
    return Interest(topic, phrases(topic))


@lru_cache(maxsize=20_000)
def _keyword(name: str) -> Interest:
    keyword = _spelt(name)
    return Interest(keyword, (keyword,))


def _spelt(name: str) -> str:
    """Return a name as papers are written, whatever keyboard a reader has."""
    return unicodedata.normalize("NFC", name)


def _document(paper: Paper, trend: float, place: Place) -> Document:
    body = "\n".join((paper.abstract or paper.summary, "; ".join(paper.keywords)))
    return Document(paper.id or 0, paper.title, body, tuple(paper.authors), tuple(paper.categories), trend, *place)
