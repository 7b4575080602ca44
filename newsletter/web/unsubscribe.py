"""``/u/<token>``: a page with one button on GET; POST leaves, also as one-click (RFC 8058). ``/back``: the way back."""

from typing import cast, get_args

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from newsletter import membership, privacy
from newsletter.app import App
from newsletter.errors import TokenError
from newsletter.membership import How
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State, Subscriber
from newsletter.web import forms
from newsletter.web.deps import AppDep, Show, ShowDep
from newsletter.web.leaving import Leaving
from newsletter.web.readers import by_unsubscribe, refuse_other_sites

router = APIRouter()
_ONE_CLICK = b"One-Click"  # as urlencoded or as multipart (RFC 8058, section 3.2)


@router.api_route("/u/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ask(token: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Show the button and nothing of theirs: this link opens no preferences, as it never expires."""
    person = by_unsubscribe(app, token)
    active = person.state == State.ACTIVE
    return show.speaking(person.language)("unsubscribe.html", active=active)


@router.post("/u/{token}", response_class=HTMLResponse)
async def act(token: str, request: Request, app: AppDep, show: ShowDep) -> Response:
    """Leave at once, whatever the body says: no redirect, no cookie, and a second time is the same as once."""
    id_ = app.signer.unsign(Purpose.UNSUBSCRIBE, token, now=app.now())
    one_click = _ONE_CLICK in await request.body()  # one that is too long is refused before anything is done
    leaving: Leaving = request.app.state.leaving
    known, left = await leaving.leave(id_)
    if not known:
        raise TokenError("this link is not valid")
    if one_click:
        return PlainTextResponse("unsubscribed\n")  # a mail program shows it to nobody
    return await run_in_threadpool(_left, app, show, token, left)


def _left(app: App, show: Show, token: str, left: bool) -> HTMLResponse:
    """Offer the way back to who left with this very press: with an old mail nobody undoes another's leaving."""
    person = by_unsubscribe(app, token)
    back = ""
    if left and person.unsubscribed_at:
        back = f"/back/{app.signer.sign(Purpose.RETURN, person.id or 0, now=person.unsubscribed_at)}"
    return _farewell(show.speaking(person.language), person, back)


def _farewell(show: Show, person: Subscriber, back: str, wrong: str = "") -> HTMLResponse:
    offers = ("weekly", "pause", "undo") if person.confirmed_at else ("undo",)
    return show("unsubscribed.html", 400 if wrong else 200, back=back, offers=offers, wrong=wrong)


@router.api_route("/back/{token}", methods=["GET", "HEAD"])
def again(token: str, app: AppDep) -> RedirectResponse:
    """Lead somewhere useful when the page is loaded anew."""
    app.signer.unsign(Purpose.RETURN, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    return RedirectResponse("/link", status_code=303)


@router.post("/back/{token}/erase", response_class=HTMLResponse, dependencies=[Depends(refuse_other_sites)])
async def erase(token: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Delete who has just left and all we know of them, if they are sure."""
    sure = forms.text(await forms.read(request), "sure") == "yes"
    return await run_in_threadpool(_erase, app, show, token, sure)


router.add_api_route("/back/{token}/erase", again, methods=["GET", "HEAD"], include_in_schema=False)


def _erase(app: App, show: Show, token: str, sure: bool) -> HTMLResponse:
    id_ = app.signer.unsign(Purpose.RETURN, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    with app.db.snapshot() as session:
        person = subscribers.get(session, id_)
    if person is None or person.state != State.UNSUBSCRIBED:  # who is back again has a page of their own for it
        raise TokenError("this link is not valid")
    show = show.speaking(person.language)
    if not sure:
        return _farewell(show, person, f"/back/{token}", show.say("Please tick the box if you are sure."))
    privacy.erase(app, id_)
    return show("erased.html")


@router.post("/back/{token}", response_class=HTMLResponse, dependencies=[Depends(refuse_other_sites)])
async def come_back(token: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Undo leaving, or have fewer mails or a pause instead."""
    how = forms.text(await forms.read(request), "how") or "undo"
    if how not in get_args(How):
        raise HTTPException(400)
    signed = app.signer.read(Purpose.RETURN, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    person = await run_in_threadpool(membership.come_back, app, signed.id, signed.at, cast("How", how))
    if person is None:
        raise TokenError("this link is not valid")
    return show.speaking(person.language)(
        "back.html",
        how=how if person.state == State.ACTIVE else "pending",
        preferences=person.preferences,
        paused_until=person.paused_until if how == "pause" else None,
    )
