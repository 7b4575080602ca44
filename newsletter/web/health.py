"""``/healthz`` and ``/readyz``: is the process up, and can it do its work."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from newsletter.db import plain_errors
from newsletter.errors import NewsletterError
from newsletter.migrate import check_schema
from newsletter.web.deps import AppDep

router = APIRouter()


@router.get("/healthz")
def healthz() -> PlainTextResponse:
    """Answer while the process lives."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def readyz(app: AppDep) -> PlainTextResponse:
    """Answer 200 when the database answers and has our tables, else 503."""
    try:
        with plain_errors():
            check_schema(app.db)
    except NewsletterError as exc:
        return PlainTextResponse(f"{exc}\n", status_code=503)
    return PlainTextResponse("ready\n")
