"""What somebody would get: the picks of the latest issue for wishes that are only being considered."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from sqlmodel import Session

from newsletter.app import App
from newsletter.delivery.kept import store as kept_mails
from newsletter.errors import BusyError
from newsletter.issues import store as issues
from newsletter.issues.compose import Edition, Reader
from newsletter.issues.digest import Span
from newsletter.issues.learned import store as learned
from newsletter.issues.learned.models import Learnt
from newsletter.papers import store as papers
from newsletter.papers.models import Paper
from newsletter.papers.pasted import Paste, PastedPaper, read_pasted
from newsletter.ranking.types import NOWHERE
from newsletter.subscribers.models import Subscriber
from newsletter.subscribers.preferences import LISTS, Cadence, Preferences

SHOWN = 5
_WAIT_SECONDS = 0.3  # a thread that waits is one fewer for everybody else
_MOST_WISHES = 25  # of each kind: enough for five papers, and no way to keep our processors busy
_SHORT = 5_000  # characters
_LOOK_BACK = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Sampled:
    """Picks of the latest issue, best first.

    :ivar considered: how many papers there were to choose from.
    :ivar picks: each with its reason and whether it was among the picks before the change that is looked at.
    :ivar gone: papers that were, and are no longer.
    """

    day: date
    considered: int
    picks: tuple[tuple[Paper, str, bool], ...]
    gone: tuple[Paper, ...] = ()


def sample(app: App, wishes: Preferences, liked: Sequence[PastedPaper] = ()) -> Sampled | None:
    """Return what the latest issue would have held for these wishes; ``None`` while there are no papers at all.

    :raises BusyError: too many people look at once.
    """
    with _turn(app), app.db.snapshot() as session:
        known = papers.find_pasted(session, liked)
        places = learned.places(session, _learnt(session), {paper.id or 0 for paper in known.values()})
        rated = []
        for each in liked[:_MOST_WISHES]:
            paper = known.get(each.key)
            placed = places.get(paper.id or 0 if paper else 0, NOWHERE)
            rated.append(learned.as_rated(each.key, each.title, each.text, paper, placed=placed))
        seen = frozenset(paper.id or 0 for paper in known.values())  # nobody is sent what they named themselves
        return _choose(app, session, Reader(_brief(wishes), seen, tuple(rated)))


def read(app: App, text: str) -> Paste:
    """Return the papers named in a text; long ones are read in turns, as they keep a processor busy for a second.

    :raises BusyError: too many people paste at once.
    """
    if len(text) <= _SHORT:
        return read_pasted(text)
    with _turn(app):
        return read_pasted(text)


def situation(app: App, person: Subscriber) -> Reader:
    """Return what is known of a reader now, to look at what a change of it does."""
    with app.db.snapshot() as session:
        id_ = person.id or 0
        sent = kept_mails.sent(session, [id_], app.now() - _LOOK_BACK).get(id_, kept_mails.Sent()).papers
        said = learned.rated(session, [id_], _learnt(session)).get(id_, learned.NO_RATINGS)
        wishes = person.preferences  # all they muted counts: the last one most of all
        return Reader(_brief(wishes, mutes=wishes.mutes), sent | said.papers, said.rated)


def compare(app: App, before: Reader, after: Reader) -> Sampled | None:
    """Return what the latest issue, had it not been sent yet, would hold now, and what of it is new."""
    with _turn(app), app.db.snapshot() as session:
        return _choose(app, session, after, before)


def _choose(app: App, session: Session, reader: Reader, before: Reader | None = None) -> Sampled | None:
    span = Span.WEEK if reader.preferences.cadence is Cadence.WEEKLY else Span.DAY
    edition = _edition(app, session, span)
    if not edition.papers:
        return None
    selection, *earlier = edition.choose([reader, before] if before else [reader])
    was = [pick.paper_id for pick in earlier[0].picks] if earlier else [pick.paper_id for pick in selection.picks]
    now = [pick.paper_id for pick in selection.picks]
    return Sampled(
        edition.day,
        selection.considered,
        tuple((edition.papers[pick.paper_id], pick.reason, pick.paper_id in was) for pick in selection.picks),
        tuple(edition.papers[paper_id] for paper_id in was if paper_id not in now),
    )


def _edition(app: App, session: Session, span: Span) -> Edition:
    now = app.now()
    newest = next(iter(issues.latest(session, 1)), None)
    day = newest.day if newest else now.date()
    return app.shelf.edition(
        f"{day}:{newest.id if newest else ''}:{span}",
        now,
        lambda: issues.edition(session, issues.draft(session, day, now, app.settings.window), span),
    )


def _learnt(session: Session) -> Learnt:
    """Return what samples are ranked by."""
    newest = next(iter(issues.latest(session, 1)), None)
    return newest.learnt if newest else learned.newest(session)


@contextmanager
def _turn(app: App) -> Iterator[None]:
    if not app.shelf.turns.acquire(timeout=_WAIT_SECONDS):
        raise BusyError("Too many people are here just now; please try again in a moment.")
    try:
        yield
    finally:
        app.shelf.turns.release()


def _brief(wishes: Preferences, **kept: tuple[str, ...]) -> Preferences:
    lists = {name: getattr(wishes, name)[:_MOST_WISHES] for name in LISTS} | kept
    return wishes.model_copy(update={"max_papers": SHOWN, **lists})
