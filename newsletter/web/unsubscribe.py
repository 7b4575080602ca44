"""``/u/<token>``: one button on GET; POST leaves, also as one-click (RFC 8058). ``/back``, ``/erase``: what is next.

``/rejoin/<token>``: the ways back, for who comes from the mail that says goodbye.
"""

from typing import cast, get_args

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from newsletter import membership, privacy
from newsletter.app import App
from newsletter.errors import TokenError
from newsletter.membership import How
from newsletter.signing import Purpose, Signed
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State, Subscriber
from newsletter.web import forms
from newsletter.web.deps import AppDep, Show, ShowDep
from newsletter.web.leaving import Leaving
from newsletter.web.readers import by_unsubscribe, opens_preferences, refuse_other_sites

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
    signed = app.signer.read(Purpose.UNSUBSCRIBE, token, now=app.now())
    one_click = _ONE_CLICK in await request.body()  # one that is too long is refused before anything is done
    leaving: Leaving = request.app.state.leaving
    known, left = await leaving.leave(signed)
    if not known:
        raise TokenError("this link is not valid")
    if one_click:
        return PlainTextResponse("unsubscribed\n")  # a mail program shows it to nobody
    return await run_in_threadpool(_left, app, show, token, left)


def _left(app: App, show: Show, token: str, left: bool) -> HTMLResponse:
    """Offer ways on to who left with this very press: with an old mail nobody undoes another's leaving, or erases."""
    person = by_unsubscribe(app, token)
    back = erase_ = ""
    if left and person.unsubscribed_at:
        sign, id_, at = app.signer.sign, person.id or 0, person.unsubscribed_at
        back = f"/back/{sign(Purpose.RETURN, id_, now=at)}"
        if opens_preferences(person, app.signer.read(Purpose.UNSUBSCRIBE, token, now=app.now()), app.now()):
            erase_ = f"/erase/{sign(Purpose.ERASE, id_, now=at)}"
    return _offer(show, person, back, erase_)


def _offer(show: Show, person: Subscriber, back: str, erase_: str = "") -> HTMLResponse:
    offers = ("weekly", "pause", "undo") if person.confirmed_at else ("undo",)
    return show.speaking(person.language)("unsubscribed.html", back=back, offers=offers, erase=erase_, wrong="")


@router.api_route("/erase/{token}", methods=["GET", "HEAD"], include_in_schema=False)
def erased(token: str, app: AppDep) -> RedirectResponse:
    """Lead somewhere useful when the page is loaded anew."""
    app.signer.unsign(Purpose.ERASE, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    return RedirectResponse("/link", status_code=303)


@router.post("/erase/{token}", response_class=HTMLResponse, dependencies=[Depends(refuse_other_sites)])
async def erase(token: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Delete who has just left and all we know of them, if they are sure; twice is the same as once."""
    sure = forms.text(await forms.read(request), "sure") == "yes"
    return await run_in_threadpool(_erase, app, show, token, sure)


def _erase(app: App, show: Show, token: str, sure: bool) -> HTMLResponse:
    signed = app.signer.read(Purpose.ERASE, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    with app.db.snapshot() as session:
        person = subscribers.get(session, signed.id)
    if person is None:
        return show("erased.html")
    show = show.speaking(person.language)
    if not sure and subscribers.left_then(person, signed.at):
        wrong = show.say("Please tick the box if you are sure.")
        return show("unsubscribed.html", 400, back="", offers=(), erase=f"/erase/{token}", wrong=wrong)
    if not sure or not privacy.erase(app, signed.id, left_at=signed.at):
        raise TokenError("this link is not valid")  # they have come back, or left again since
    return show("erased.html")


@router.api_route("/back/{token}", methods=["GET", "HEAD"])
def again(token: str, app: AppDep) -> RedirectResponse:
    """Lead somewhere useful when the page is loaded anew."""
    app.signer.unsign(Purpose.RETURN, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    return RedirectResponse("/link", status_code=303)


@router.post("/back/{token}", response_class=HTMLResponse, dependencies=[Depends(refuse_other_sites)])
async def come_back(token: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Undo leaving, or have fewer mails or a pause instead."""
    signed = app.signer.read(Purpose.RETURN, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    return await _come_back(signed, request, app, show)


@router.api_route("/rejoin/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ways_back(token: str, app: AppDep, show: ShowDep) -> Response:
    """Show a button for each way back; lead somewhere useful who has come back."""
    signed = app.signer.read(Purpose.REJOIN, token, now=app.now(), max_age=membership.REJOIN_WITHIN)
    with app.db.snapshot() as session:
        person = subscribers.get(session, signed.id)
    if person is None:
        raise TokenError("this link is not valid")
    if not subscribers.left_then(person, signed.at):
        return RedirectResponse("/link", status_code=303)
    return _offer(show, person, f"/rejoin/{token}")


@router.post("/rejoin/{token}", response_class=HTMLResponse, dependencies=[Depends(refuse_other_sites)])
async def rejoin(token: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Undo leaving by the link that was mailed."""
    signed = app.signer.read(Purpose.REJOIN, token, now=app.now(), max_age=membership.REJOIN_WITHIN)
    return await _come_back(signed, request, app, show)


async def _come_back(signed: Signed, request: Request, app: App, show: Show) -> HTMLResponse:
    how = forms.text(await forms.read(request), "how") or "undo"
    if how not in get_args(How):
        raise HTTPException(400)
    person = await run_in_threadpool(membership.come_back, app, signed.id, signed.at, cast("How", how))
    if person is None:
        raise TokenError("this link is not valid")
    return show.speaking(person.language)(
        "back.html",
        how=how if person.state == State.ACTIVE else "pending",
        preferences=person.preferences,
        paused_until=person.paused_until if how == "pause" else None,
    )
