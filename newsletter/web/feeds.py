"""``/feed.atom`` and ``/feed.json`` for everybody; ``/feed/<token>.…``: what one reader was sent, for themselves."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from newsletter.app import App
from newsletter.delivery.desk import thaw
from newsletter.delivery.kept import store as kept
from newsletter.issues.digest import DigestPick
from newsletter.papers import store as papers
from newsletter.publishing import Archive
from newsletter.subscribers.models import Subscriber
from newsletter.web import fresh, languages, shown
from newsletter.web.archive import ArchiveDep
from newsletter.web.deps import AppDep, show_for
from newsletter.web.readers import by_feed
from newsletter.web.syndication import Entry, Feed, atom, json_feed, lasting_id
from newsletter.web.views import PublicPaper

router = APIRouter()
_WRITERS = {"atom": (atom, "application/atom+xml; charset=utf-8"), "json": (json_feed, "application/feed+json")}
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # a feed without entries has to have a time, too
_MAILS, _PAPERS = 60, 100  # that a reader's feed looks back at


@router.api_route("/feed.atom", methods=["GET", "HEAD"])
def feed_atom(request: Request, past: ArchiveDep, app: AppDep) -> Response:
    """Return the newest papers of past issues as Atom."""
    return _answer(request, _of_everybody(request, past, app), "atom", fresh.PUBLIC)


@router.api_route("/feed.json", methods=["GET", "HEAD"])
def feed_json(request: Request, past: ArchiveDep, app: AppDep) -> Response:
    """Return the newest papers of past issues as JSON Feed."""
    return _answer(request, _of_everybody(request, past, app), "json", fresh.PUBLIC)


@router.api_route("/feed/{token}.{kind}", methods=["GET", "HEAD"])
def feed_of(token: str, kind: str, request: Request, app: AppDep) -> Response:
    """Return what a reader was sent; looking at it changes nothing and counts nothing."""
    if kind not in _WRITERS:
        raise HTTPException(404)
    person = by_feed(app, token)
    return _answer(request, _of_reader(request, app, person, token), kind, fresh.PRIVATE, x_robots_tag="noindex")


def _answer(request: Request, feed: Feed, kind: str, kept_: str, **more: str) -> Response:
    write, media_type = _WRITERS[kind]
    return fresh.answer(request, write(feed), media_type, kept_, **more)


def _of_everybody(request: Request, past: Archive, app: App) -> Feed:
    base, language = app.settings.base_url, languages.DEFAULT
    entries = [
        _entry(request, app, language, shown.trending(each), issue.opened_at, f"/archive/{issue.slot}")
        for issue, each in past.news()
    ]
    return Feed(
        id=f"{base}/feed.atom",
        title=app.identity.letterhead.name,
        subtitle="The papers that people talk about most",
        home=f"{base}/archive",
        paths={kind: f"{base}/feed.{kind}" for kind in _WRITERS},
        author=app.identity.letterhead.name,
        language=language,
        updated=max((each.at for each in entries), default=_LONG_AGO),
        entries=entries,
    )


def _of_reader(request: Request, app: App, person: Subscriber, token: str) -> Feed:
    show, base = show_for(request).speaking(person.language), app.settings.base_url
    with app.db.snapshot() as session:
        sent = list(_sent(kept.newest(session, person.id or 0, _MAILS)))[:_PAPERS]
        found = papers.by_ids(session, (pick.paper_id for pick, _ in sent))
    entries = [
        _entry(request, app, show.language, shown.public(found[pick.paper_id]), at, "/", reason=pick.reason)
        for pick, at in sent
        if pick.paper_id in found and not found[pick.paper_id].withdrawn
    ]
    return Feed(
        id=lasting_id(base, f"feed/{person.id}"),  # not its address: whoever knows that can read it
        title=show.say("%(site)s for you", site=app.identity.letterhead.name),
        subtitle=show.say("The papers we sent you, each with its reason"),
        home=f"{base}/",
        paths={kind: f"{base}/feed/{token}.{kind}" for kind in _WRITERS},
        author=app.identity.letterhead.name,
        language=show.language,
        updated=max((each.at for each in entries), default=person.created_at),
        entries=entries,
    )


def _sent(mails: Iterable[tuple[datetime, Any]]) -> Iterable[tuple[DigestPick, datetime]]:
    """Yield the picks of mails, each paper once; a mail that an earlier version kept otherwise has none."""
    seen: set[int] = set()
    for at, selection in mails:
        try:
            picks = thaw(selection).picks
        except (TypeError, ValueError, KeyError, AttributeError):
            continue
        for pick in picks:
            if pick.paper_id not in seen:
                seen.add(pick.paper_id)
                yield pick, at


def _entry(
    request: Request, app: App, language: str, paper: PublicPaper, at: datetime, page: str, *, reason: str = ""
) -> Entry:
    base = app.settings.base_url
    return Entry(
        id=lasting_id(base, f"papers/{paper.id}"),
        title=paper.title,
        url=paper.url or f"{base}{page}",
        at=at,
        authors=paper.names,
        categories=paper.categories,
        summary=paper.teaser_text or reason,
        content=request.app.state.pages.render("_entry.html", language, paper=paper, reason=reason),
    )
