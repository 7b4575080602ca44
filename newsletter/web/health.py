"""``/healthz`` and ``/readyz``: is the process up, and can it do its work."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from newsletter import logs
from newsletter.db import plain_errors
from newsletter.delivery.custody import store as custody
from newsletter.errors import NewsletterError
from newsletter.migrate import check_schema
from newsletter.web.deps import AppDep

router = APIRouter()
_log = logs.get(__name__)


@router.api_route("/healthz", methods=["GET", "HEAD"])
def healthz() -> PlainTextResponse:
    """Answer while the process lives."""
    return PlainTextResponse("ok\n")


@router.api_route("/readyz", methods=["GET", "HEAD"])
def readyz(app: AppDep) -> PlainTextResponse:
    """Answer 200 when the database answers and has our tables, else 503; why is for the log, not for strangers."""
    try:
        with plain_errors():
            check_schema(app.db)
            with app.db.snapshot() as session:
                held = custody.held_why(session)
    except NewsletterError as exc:
        _log.warning("not ready", reason=str(exc))
        return PlainTextResponse("not ready, see the log\n", status_code=503)
    # Pages work all the same: a proxy must not take them away.
    return PlainTextResponse("ready, but sending is held: see newsletter status\n" if held else "ready\n")
