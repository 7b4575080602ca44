"""``/f/<token>/<paper>/<what>``: a reader says something of a paper in their mail. GET prepares, POST acts."""

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from newsletter import sampling, steering
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.errors import BusyError, InputError, TokenError
from newsletter.issues.compose import Reader
from newsletter.papers import store as papers
from newsletter.papers.models import Paper
from newsletter.papers.textclean import bare, shorten
from newsletter.ranking.phrases import key_phrases
from newsletter.subscribers.models import Subscriber
from newsletter.subscribers.preferences import MAX_INTEREST, MAX_INTERESTS
from newsletter.subscribers.ratings.models import Said
from newsletter.web import forms, shown
from newsletter.web.deps import AppDep, Show, ShowDep
from newsletter.web.readers import by_feedback, preferences_path, refuse_other_sites
from newsletter.web.views import Sample

router = APIRouter(prefix="/f", dependencies=[Depends(refuse_other_sites)])
_KINDS = {"like": Said.LIKED, "dislike": Said.DISLIKED, "more": Said.MORE, "less": Said.LESS}
_MUTE = "mute"
_MOST_AUTHORS = 3
_MOST_PHRASES = 4


@dataclass(frozen=True, slots=True)
class _Matter:
    """What a link is about.

    :ivar said: what pages call it: liked, disliked, more, less or mute.
    """

    person: Subscriber
    delivery: Delivery
    paper: Paper
    said: str
    reason: str


@router.api_route("/{token}/{paper_id}/{kind}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ask(token: str, paper_id: int, kind: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Show what is about to be said, with one button."""
    return _ask(show, _matter(app, token, paper_id, kind), f"/f/{token}/{paper_id}")


@router.post("/{token}/{paper_id}/undo", response_class=HTMLResponse)
async def undo(token: str, paper_id: int, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Take back what was said a moment ago."""
    fields = await forms.read(request)
    numbers = {name: forms.number(fields, name) for name in ("rating", "change")}
    was = next((each for each in Said if each == forms.text(fields, "was")), None)
    matter = await run_in_threadpool(_matter, app, token, paper_id, "like")
    return await run_in_threadpool(_undo, app, show, matter, numbers, was)


@router.post("/{token}/{paper_id}/{kind}", response_class=HTMLResponse)
async def act(token: str, paper_id: int, kind: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Write it down, and show what it changes."""
    fields = await forms.read(request)
    words = [value[:MAX_INTEREST] for value in fields.getlist("mutes") if isinstance(value, str)]
    matter = await run_in_threadpool(_matter, app, token, paper_id, kind)
    return await run_in_threadpool(_act, app, show, matter, words, token)


def _matter(app: App, token: str, paper_id: int, kind: str) -> _Matter:
    person, delivery = by_feedback(app, token)
    picks = {pick[0]: pick[2] for pick in (delivery.selection or {}).get("picks", ())}
    with app.db.snapshot() as session:
        paper = papers.by_ids(session, [paper_id]).get(paper_id) if paper_id in picks else None
    if paper is None or kind not in {*_KINDS, _MUTE}:
        raise TokenError("this link is not valid")
    return _Matter(person, delivery, paper, str(_KINDS.get(kind, _MUTE)), picks[paper_id])


def _ask(show: Show, matter: _Matter, base: str, status: int = 200) -> HTMLResponse:
    paths = {str(said): f"{base}/{kind}" for kind, said in _KINDS.items()} | {_MUTE: f"{base}/{_MUTE}"}
    show = show.speaking(matter.person.language)
    return show(
        "feedback.html",
        status,
        said=matter.said,
        title=bare(matter.paper.title),
        url=shown.address(matter.paper),
        reason=matter.reason,
        action=paths[matter.said],
        mutes=_mutable(matter.paper) if matter.said == _MUTE else [],
        ticked=_told(matter.paper)[:1],
        wrong=show.say("Please tick what you do not want to see.") if status != 200 else "",
        others=[(said, path) for said, path in paths.items() if said != matter.said],
    )


def _mutable(paper: Paper) -> list[tuple[str, str]]:
    """Return what of a paper may be muted: its keywords, what its title is about, its categories and first authors."""
    words = [*_told(paper), *paper.categories[:4], *paper.authors[:_MOST_AUTHORS]]
    return [(word, word) for word in dict.fromkeys(words) if 0 < len(word) <= MAX_INTEREST]


def _told(paper: Paper) -> list[str]:
    """Return phrases that say what a paper is about: the only ones narrow enough to be ticked beforehand."""
    words = [*paper.keywords[:4], *key_phrases(bare(paper.title), _MOST_PHRASES)]
    short = [word for word in words if 0 < len(word) <= MAX_INTEREST]
    return list(dict.fromkeys(short or [shorten(bare(paper.title), MAX_INTEREST)]))


def _act(app: App, show: Show, matter: _Matter, words: list[str], token: str) -> HTMLResponse:
    person, paper, show = matter.person, matter.paper, show.speaking(matter.person.language)
    base = f"/f/{token}/{paper.id}"
    before = sampling.situation(app, person)
    issue_id = matter.delivery.issue_id or 0
    offered = {word for word, _ in _mutable(paper)}
    words = [word for word in words if word in offered]
    if matter.said != _MUTE:
        spoken = steering.speak(app, person.id or 0, issue_id, paper, Said(matter.said))
    elif words:
        try:
            spoken = steering.mute(app, person.id or 0, issue_id, paper, words)
        except InputError:  # their list is full
            title, full = show.say("That did not work"), show.say("more than %(most)s entries", most=MAX_INTERESTS)
            return show("error.html", 400, title=title, said=full)
    else:
        return _ask(show, matter, base, status=400)
    person, _ = by_feedback(app, token)
    return show(
        "feedback_done.html",
        said=matter.said,
        title=bare(paper.title),
        undo=f"{base}/undo" if spoken.rating_id or spoken.change_id else "",
        undo_fields=[("rating", str(spoken.rating_id)), ("change", str(spoken.change_id)), ("was", spoken.was)],
        sample=_changes(app, before, sampling.situation(app, person)),
        preferences_url=preferences_path(app, person),
        muted=words if matter.said == _MUTE else [],
    )


def _undo(app: App, show: Show, matter: _Matter, numbers: dict[str, int], was: Said | None) -> HTMLResponse:
    who, show, done = matter.person.id or 0, show.speaking(matter.person.language), False
    if rating_id := numbers.get("rating"):
        done = steering.take_back(app, who, rating_id, was=was) is not None
    if change_id := numbers.get("change"):
        done = steering.undo(app, who, change_id)
    if not done:
        said = show.say("That was changed again meanwhile.")
        return show("error.html", title=show.say("That did not work"), said=said)
    path = preferences_path(app, matter.person)
    return show("feedback_undone.html", title=bare(matter.paper.title), preferences_url=path)


def _changes(app: App, before: Reader, after: Reader) -> Sample | None:
    try:
        return shown.sample(sampling.compare(app, before, after), changes=True)
    except BusyError:
        return None  # too many look at once
