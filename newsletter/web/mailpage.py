"""``/v/<token>``: a reader's mail as a page, for who cannot see it well where it is."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from newsletter.delivery.reprint import reprint
from newsletter.web.deps import AppDep, ShowDep
from newsletter.web.readers import by_mail

router = APIRouter()
# A mail has styles of its own and, where it shows them, pictures of papers; it runs nothing, sends nothing, and stands
# in no frame.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'{pictures}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
_HEADERS = {
    "cache-control": "private, no-store",
    "x-robots-tag": "noindex",
}


@router.api_route("/v/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def view(token: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Show the mail as it was sent, or say that it is no longer kept."""
    found = by_mail(app, token)
    html = None
    if found is not None:
        person, delivery, at = found
        show = show.speaking(person.language)
        with app.db.snapshot() as session:
            html = reprint(session, app.identity, app.templates, delivery, person, at)
    if html is None:
        return show("no_mail.html", 410)
    pictures = " https:" if app.settings.pictures else ""
    policy = _POLICY.format(pictures=pictures)
    return HTMLResponse(html, headers={"content-security-policy": policy, **_HEADERS})
