"""`create_preview`: the ASGI application that serves the preview."""

from functools import lru_cache
from pathlib import Path

import jinja2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from newsletter.delivery.models import Mail
from newsletter.preview.gallery import Gallery, Hung
from newsletter.preview.shown import SCHEMES, Shown
from newsletter.rendering.typeset import MAX_HTML_BYTES

_HERE = Path(__file__).parent
WIDTHS = (640, 360)
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Nothing in a mail runs, goes anywhere or loads anything but its own pictures. It is of the page's own origin, so that
# the page can see how high it is.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src {}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-same-origin"
)
_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}


def create_preview(gallery: Gallery) -> FastAPI:
    """Return the preview of what hangs in `gallery`."""
    web = FastAPI(title="newsletter preview", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    web.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def page(template: str, hung: Hung, **values: object) -> Response:
        html = _pages().get_template(template).render(values | {"hung": hung})
        return HTMLResponse(html, headers=_SAFE | {"content-security-policy": _POLICY})

    @web.get("/")
    def index() -> Response:
        return page("index.html", gallery.hung(), mails=gallery.mails)

    @web.get("/version")
    def version() -> Response:
        """Say what changes when a template is saved; a page that sees it change loads itself anew."""
        return JSONResponse({"version": gallery.version()}, headers=_SAFE)

    @web.get("/{mail}/{name}")
    def specimen(mail: Mail, name: str, scheme: str = "") -> Response:
        hung = gallery.hung()
        if mail in hung.errors:
            return page("broken.html", hung, mail=mail, error=hung.errors[mail])
        shown, scheme = _one(hung, mail, name), scheme if scheme in SCHEMES else SCHEMES[0]
        return page("mail.html", hung, mail=mail, shown=shown, scheme=scheme, widths=WIDTHS, most=MAX_HTML_BYTES)

    @web.get("/{mail}/{name}/html")
    def html(mail: Mail, name: str, scheme: str = "") -> Response:
        shown = _one(gallery.hung(), mail, name)
        policy = _MAIL_POLICY.format(" ".join(shown.pictures) or "'none'")
        return HTMLResponse(shown.html(scheme), headers=_SAFE | {"content-security-policy": policy})

    @web.get("/{mail}/{name}/mail.eml")
    def source(mail: Mail, name: str) -> Response:
        headers = _SAFE | {"content-disposition": f'attachment; filename="{mail}-{name}.eml"'}
        return Response(_one(gallery.hung(), mail, name).mail.raw, media_type="message/rfc822", headers=headers)

    _add_troubles(web, gallery)
    return web


def _add_troubles(web: FastAPI, gallery: Gallery) -> None:
    @web.exception_handler(Exception)
    @web.exception_handler(HTTPException)
    @web.exception_handler(RequestValidationError)
    def trouble(_request: Request, exc: Exception) -> Response:
        """Say what went wrong, whatever it was: the server goes on."""
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        status = 404 if isinstance(exc, RequestValidationError) else status  # no mail of ours
        said = "There is no such mail." if status == 404 else f"{type(exc).__name__}: {exc}"
        html = _pages().get_template("trouble.html").render(said=said, version=gallery.version())
        return HTMLResponse(html, status, headers=_SAFE | {"content-security-policy": _POLICY})


def _one(hung: Hung, mail: Mail, name: str) -> Shown:
    found = hung.shown.get(mail, {}).get(name)
    if found is None:
        raise HTTPException(404)
    return found


@lru_cache(maxsize=1)
def _pages() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = lambda number: f"{number:,}".replace(",", "\u202f")
    return environment
