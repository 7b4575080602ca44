"""``/u/<token>``: a page with one button on GET; POST leaves, also as one-click (RFC 8058). ``/back``: the way back."""

from typing import cast, get_args

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from newsletter import membership
from newsletter.app import App
from newsletter.errors import TokenError
from newsletter.membership import How
from newsletter.signing import Purpose
from newsletter.subscribers.models import State
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
    if not await leaving.leave(id_):
        raise TokenError("this link is not valid")
    if one_click:
        return PlainTextResponse("unsubscribed\n")  # a mail program shows it to nobody
    return await run_in_threadpool(_left, app, show, token)


def _left(app: App, show: Show, token: str) -> HTMLResponse:
    person, now = by_unsubscribe(app, token), app.now()
    lately = person.unsubscribed_at is not None and now - person.unsubscribed_at < membership.RETURN_WITHIN
    back = f"/back/{app.signer.sign(Purpose.RETURN, person.id or 0, now=now)}" if lately else ""
    return show.speaking(person.language)("unsubscribed.html", back=back)


@router.post("/back/{token}", response_class=HTMLResponse, dependencies=[Depends(refuse_other_sites)])
async def come_back(token: str, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Undo leaving, or have fewer mails or a pause instead."""
    how = forms.text(await forms.read(request), "how") or "undo"
    if how not in get_args(How):
        raise HTTPException(400)
    id_ = app.signer.unsign(Purpose.RETURN, token, now=app.now(), max_age=membership.RETURN_WITHIN)
    person = await run_in_threadpool(membership.come_back, app, id_, cast("How", how))
    if person is None:
        raise TokenError("this link is not valid")
    return show.speaking(person.language)(
        "back.html",
        how=how,
        preferences=person.preferences,
        paused_until=person.paused_until if how == "pause" else None,
    )
