"""``/u/<token>``: a page with one button on GET; POST leaves, also as one-click (RFC 8058)."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from newsletter import membership
from newsletter.errors import TokenError
from newsletter.signing import Purpose
from newsletter.subscribers import store
from newsletter.web.deps import AppDep, PagesDep

router = APIRouter(prefix="/u")


@router.api_route("/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ask(token: str, app: AppDep, pages: PagesDep) -> HTMLResponse:
    """Show the button."""
    id_ = app.signer.unsign(Purpose.UNSUBSCRIBE, token, now=app.now())
    with app.db.snapshot() as session:
        person = store.get(session, id_)
    if person is None:
        raise TokenError("this link is not valid")
    return HTMLResponse(pages.render("unsubscribe.html"))


@router.post("/{token}", response_class=HTMLResponse)
def act(token: str, app: AppDep, pages: PagesDep) -> HTMLResponse:
    """Leave at once, whatever the body says: no redirect, no cookie, and a second time is the same as once."""
    if not membership.unsubscribe(app, app.signer.unsign(Purpose.UNSUBSCRIBE, token, now=app.now())):
        raise TokenError("this link is not valid")
    return HTMLResponse(pages.render("unsubscribed.html"))
