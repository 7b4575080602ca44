"""What a mail says about itself, in words. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from newsletter.issues.digest import OUTSIDE, Selection, Span
from newsletter.issues.models import IssueCandidate
from newsletter.papers.textclean import bare, clean
from newsletter.ranking.phrases import key_phrases
from newsletter.ranking.types import Likened
from newsletter.subscribers.preferences import Cadence, Preferences, Weekday, interest_names

SUBJECT = 60  # characters of a title in a subject; phones show about that much
_NAMED = 3  # interests named in the opening line
_RISING = 5  # upvotes a day that are worth a word
_LIKED = 60  # characters of a liked title in a reason
_LIKE = "like "
_TURNS = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_DAY_NAMES = dict(
    zip(Weekday, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)


@dataclass(frozen=True, slots=True)
class Period:
    """What an edition says of the time that it covers: around the number of papers, and where it has nothing."""

    nothing: str
    first: str = ""
    new: str = ""
    when: str = ""


def period(span: Span, day: date, since: date | None) -> Period:
    """Return an edition's own words.

    :raises ValueError: a catch-up without its first day.
    """
    if span is Span.DAY:
        return Period("Nothing new for you today", new="new ")
    if span is Span.WEEK:
        return Period("Nothing new for you this week", when=" of this week")
    if since is None:
        raise ValueError("a catch-up needs the first day that was missed")
    start = f"{since.day} {since:%B}" + (f" {since.year}" if since.year != day.year else "")
    return Period(f"Nothing new for you since {start}", "While you were away: ", when=f" since {start}")


def subject(titles: Sequence[str], day: date, before: str) -> str:
    """Return what is inside: the first title and how many more; never what the mail before said.

    :param titles: of the picks, best first, each of `SUBJECT` characters at most.
    :param before: the subject of the reader's mail before this one.
    """
    if not titles:
        return f"Nothing new for you on {day:%A}, {day.day} {day:%B}"
    rest = f" + {len(titles) - 1} more" if len(titles) > 1 else ""
    if (told := titles[0] + rest) != before:
        return told
    # papers of the same name come one after the other: corrections, editorials
    others = (title + rest for title in titles)
    return next((each for each in others if each != before), f"{told} ({day.day} {day:%B})")


def opening(preferences: Preferences, selection: Selection, covers: Period) -> str:
    """Return how many of how many papers these are, and what they were ranked by."""
    considered = selection.considered
    papers = f"{covers.new}paper{'' if considered == 1 else 's'}{covers.when}"
    return f"{covers.first}{len(selection.picks)} of {considered} {papers}, ranked {_ranked_by(preferences, selection)}"


def reason(talk: str, matched: tuple[str, ...], like: Likened, outside: bool) -> str:
    """Return why a paper is there, in words the reader used.

    :param talk: what the world says about it.
    :param matched: see `Pick`, and so `like` and `outside`.
    """
    if outside:
        why = OUTSIDE
    elif matched:
        why = _matches(matched) if like.title is None else f"{_matches(matched)}, {_like(like)}"
    elif like.title is not None:
        why = _like(like)
    else:
        why = "trending" if talk else "new"
    return f"{why}, {talk}" if talk else why


@lru_cache(maxsize=20_000)  # many readers want the same
def _matches(labels: tuple[str, ...]) -> str:
    once = {label.casefold(): label for label in reversed(labels)}
    named = [once[each] for each in dict.fromkeys(map(str.casefold, labels))]
    return "matches " + " and ".join([f"“{_apart(label)}”" for label in named[:2]])


@lru_cache(maxsize=20_000)
def _like(like: Likened) -> str:
    title, did = clean(bare(like.title or ""), _LIKED), "looked at" if like.clicked else "liked"
    return f"{_LIKE}“{_apart(title)}”, which you {did}" if title else f"{_LIKE}a paper that you {did}"


def talk_of(candidate: IssueCandidate) -> str:
    """Return what the world says about a paper: its votes, and how fast they grow when they do."""
    votes, gained = candidate.upvotes, round(candidate.gained or 0)
    if not votes:
        return ""
    return f"{votes} upvote{'' if votes == 1 else 's'}" + (f", {gained} more a day" if gained >= _RISING else "")


def _ranked_by(preferences: Preferences, selection: Selection) -> str:
    names = interest_names(preferences) or (key_phrases(preferences.about) if preferences.about else ())
    if names:
        more = len(names) - _NAMED
        return f"for {', '.join(map(_shown, names[:_NAMED]))}" + (f" and {more} more" if more > 0 else "")
    # who named nothing has no reason "matches", in which their own words could look like this
    liked = any(pick.reason.startswith(_LIKE) for pick in selection.picks)
    return "by what you liked" if liked else "by what is trending"


@lru_cache(maxsize=20_000)
def _shown(name: str) -> str:
    return _apart(unicodedata.normalize("NFC", name))


def _apart(text: str) -> str:
    """Return a reader's words so that those written from right to left do not turn what stands around them.

    In an isolate (Unicode Standard Annex 9, section 2.4), which is put in only where there is something to isolate.
    """
    return f"\u2068{text}\u2069" if _TURNS.search(text) else text


def why(preferences: Preferences) -> str:
    """Return what the reader asked for, which is why they get this mail."""
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
