"""``/confirm/<token>``: a page with one button, and what the button does."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from newsletter import membership
from newsletter.app import App
from newsletter.errors import TokenError
from newsletter.signing import Purpose
from newsletter.subscribers import store
from newsletter.subscribers.models import State
from newsletter.subscribers.preferences import interest_names
from newsletter.subscribers.signup import CONFIRM_WITHIN
from newsletter.web.deps import AppDep, PagesDep

router = APIRouter(prefix="/confirm")


@router.api_route("/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ask(token: str, app: AppDep, pages: PagesDep) -> HTMLResponse:
    """Show what is about to be confirmed."""
    with app.db.snapshot() as session:
        person = store.get(session, _id(app, token))
    if person is None or person.state == State.UNSUBSCRIBED:
        raise TokenError("this link is not valid")
    if person.state == State.ACTIVE:
        return HTMLResponse(pages.render("confirmed.html", preferences=person.preferences))
    names = interest_names(person.preferences)
    return HTMLResponse(pages.render("confirm.html", preferences=person.preferences, interests=names))


@router.post("/{token}", response_class=HTMLResponse)
def act(token: str, app: AppDep, pages: PagesDep) -> HTMLResponse:
    """Confirm; pressing twice is the same as once."""
    person = membership.confirm(app, _id(app, token))
    if person is None:
        raise TokenError("this link is not valid")
    return HTMLResponse(pages.render("confirmed.html", preferences=person.preferences))


def _id(app: App, token: str) -> int:
    return app.signer.unsign(Purpose.CONFIRM, token, now=app.now(), max_age=CONFIRM_WITHIN)
