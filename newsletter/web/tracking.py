"""``/o`` and ``/c``: opens and clicks. A click goes to a target from our own tables and nowhere else."""

import base64

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from newsletter.errors import TokenError
from newsletter.signing import Purpose
from newsletter.tracking import record
from newsletter.tracking.models import Kind
from newsletter.web.deps import AppDep

router = APIRouter()
_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


@router.api_route("/o/{token}.gif", methods=["GET", "HEAD"])
def opened(token: str, request: Request, app: AppDep) -> Response:
    """Answer with the picture; a token that is not ours gets it too, and counts nothing."""
    try:
        delivery_id = app.signer.unsign(Purpose.READ, token, now=app.now())
    except TokenError:
        return Response(_PIXEL, media_type="image/gif")
    record.came_back(app.db, delivery_id, Kind.OPENED, app.now())
    if not _unseen(request):
        with app.db.session() as session:
            record.opened(session, delivery_id, app.now(), app.settings.tracking)
    return Response(_PIXEL, media_type="image/gif")


@router.api_route("/c/{token}/{paper_id}/{kind}", methods=["GET", "HEAD"])
def clicked(token: str, paper_id: int, kind: str, request: Request, app: AppDep) -> Response:
    """Go to the paper."""
    delivery_id = app.signer.unsign(Purpose.READ, token, now=app.now())
    record.came_back(app.db, delivery_id, Kind.CLICKED, app.now())
    with app.db.snapshot() as session:
        target = record.target(session, delivery_id, paper_id, kind)
    if target is None:
        raise TokenError("this link is not valid")
    if not _unseen(request) and app.settings.tracking != "off":
        with app.db.session() as session:
            record.clicked(session, delivery_id, paper_id, kind, app.now(), app.settings.tracking)
    return RedirectResponse(target, status_code=302)


def _unseen(request: Request) -> bool:
    """Whether to look away: asked not to track (DNT, Global Privacy Control), or a scanner's HEAD."""
    return request.method == "HEAD" or "1" in (request.headers.get("dnt"), request.headers.get("sec-gpc"))
