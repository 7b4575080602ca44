"""`create_web`: the ASGI application."""

from ipaddress import ip_network
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from newsletter import __version__, logs
from newsletter.app import App
from newsletter.errors import BusyError, InputError, TokenError
from newsletter.publishing import Archive
from newsletter.subscribers.preferences import troubles
from newsletter.web import (
    api,
    archive,
    confirm,
    entrance,
    feedback,
    feeds,
    health,
    mailpage,
    metrics,
    preferences,
    signup,
    tracking,
    unsubscribe,
)
from newsletter.web.api import FieldError
from newsletter.web.deps import show_for
from newsletter.web.leaving import Leaving
from newsletter.web.pages import Pages

_log = logs.get(__name__)
_ROOMS = (
    *(signup, confirm, preferences, feedback, unsubscribe, api, tracking),
    *(mailpage, archive, feeds, health, metrics),
)
_MAX_BODY_BYTES = 512 * 1024  # a few hundred pasted references
_API = "/api/v1/"
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",  # a link's token must not travel on
    b"x-content-type-options": b"nosniff",
}
_NO_STORE = b"no-store"
_TITLES = {404: "Nothing here", 413: "That is too much"}
_SAID = {
    403: "This press came from another site. Please open the page from your mail and press again.",
    404: "The page you asked for does not exist.",
}


def create_web(app: App) -> FastAPI:
    """Return the web application of `app`."""
    # No redirect for a slash at the end: it would go wherever the Host header says, and one-click allows none.
    web = FastAPI(
        title="newsletter",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    web.state.app = app
    web.state.leaving = Leaving(app)
    web.state.archive = Archive(app)
    web.state.pages = Pages([each / "web" for each in app.templates.folders], app.identity.letterhead)
    for room in _ROOMS:
        web.include_router(room.router)
    web.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    web.add_exception_handler(TokenError, _bad_token)
    web.add_exception_handler(HTTPException, _refusal)
    web.add_exception_handler(FieldError, _field_error)
    web.add_exception_handler(BusyError, _busy)
    web.add_exception_handler(InputError, _conflict)
    web.add_exception_handler(RequestValidationError, _invalid)
    web.add_exception_handler(Exception, _failure)
    web.add_middleware(RequestBodyLimitMiddleware, max_body_size=_MAX_BODY_BYTES)
    web.add_middleware(_DeclaredLimit)
    web.add_middleware(_OtherSites)
    web.add_middleware(_SafeHeaders)
    named = filter(None, map(str.strip, app.settings.trusted_proxies.split(",")))
    proxies = [str(ip_network(each, strict=False)) for each in named]
    web.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return web


class _DeclaredLimit:
    """Turns away a body that says it is too long, before anything is done that the answer would then deny."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if declared.isdecimal() and int(declared[:20]) > _MAX_BODY_BYTES:
            answer = await _refusal(Request(scope), HTTPException(413))
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _OtherSites:
    """Lets pages of other sites call the API: it knows no cookies, so there is nothing to steal (Fetch, 3.3)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.open = CORSMiddleware(app, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["*"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        to_api = scope["type"] == "http" and scope["path"].startswith(_API)
        await (self.open if to_api else self.app)(scope, receive, send)


class _SafeHeaders:
    """Puts the same safety headers on every answer, unless it says itself how long it may be kept, and what it may do.

    Only static files and what anybody may read are kept by others; a mail as a page has a policy of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                fresh = {} if scope["path"].startswith("/static/") else {b"cache-control": _NO_STORE}
                said = {name for name, _ in message["headers"]}
                extra = [(name, value) for name, value in (_HEADERS | fresh).items() if name not in said]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app(scope, receive, send_safely if scope["type"] == "http" else send)


async def _bad_token(request: Request, _exc: Exception) -> Response:
    app: App = request.app.state.app
    bits = app.settings.signup_work_bits
    return show_for(request)("bad_link.html", 404, stamp=entrance.stamp(app), work_bits=bits)


async def _invalid(request: Request, exc: Exception) -> Response:
    """Say what is wrong with a call of the API; elsewhere only a link's path is validated by FastAPI."""
    if not request.url.path.startswith(_API) or not isinstance(exc, RequestValidationError):
        return await _bad_token(request, exc)
    errors = [error for error in exc.errors() if error["loc"][0] == "body"]
    whole = [error["type"] for error in errors if error["loc"] == ("body",)]  # a value error is about its fields
    if any(error["type"] == "json_invalid" for error in errors) or {*whole} - {"value_error"}:
        return JSONResponse({"errors": {"": "this is no JSON object"}}, 400)
    inner = [{**error, "loc": error["loc"][1:]} for error in errors]
    return JSONResponse({"errors": {name: str(trouble) for name, trouble in troubles(inner).items()}}, 422)


async def _field_error(_request: Request, exc: Exception) -> Response:
    field, status = (exc.field, exc.status) if isinstance(exc, FieldError) else ("", 422)
    return JSONResponse({"errors": {field: str(exc)}}, status)


async def _busy(request: Request, exc: Exception) -> Response:
    headers = {"retry-after": "5"}
    if request.url.path.startswith(_API):
        return JSONResponse({"errors": {"": str(exc)}}, 503, headers=headers)
    show = show_for(request)
    answer = show("error.html", 503, title=show.say("Sorry"), said=show.say(str(exc)))
    answer.headers.update(headers)
    return answer


async def _conflict(request: Request, exc: Exception) -> Response:
    """Say what cannot be done any more: somebody left, or was faster."""
    show = show_for(request)
    return show("error.html", 409, title=show.say("That did not work"), said=show.say(str(exc)))


async def _refusal(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 400
    headers = exc.headers if isinstance(exc, HTTPException) else None
    show = show_for(request)
    title, said = _TITLES.get(status, "That did not work"), _SAID.get(status, "Please go back and try again.")
    if request.url.path.startswith(_API):
        return JSONResponse({"errors": {"": _SAID.get(status, title)}}, status, headers=headers)
    answer = show("error.html", status, title=show.say(title), said=show.say(said))
    answer.headers.update(headers or {})
    return answer


async def _failure(request: Request, exc: Exception) -> Response:
    _log.error("request failed", route=_route(request), error=type(exc).__name__)
    show = show_for(request)
    said = "Something went wrong on our side. Nothing was changed; please try again in a minute."
    answer: Response = show("error.html", 500, title=show.say("Sorry"), said=show.say(said))
    if request.url.path.startswith(_API):
        answer = JSONResponse({"errors": {"": said}}, 500)
    # This handler stands outside the middleware that puts them on every other answer.
    answer.raw_headers += [*_HEADERS.items(), (b"cache-control", _NO_STORE)]
    return answer


def _route(request: Request) -> str:
    """Return the route's pattern: the path itself holds a token."""
    return str(getattr(request.scope.get("route"), "path", "unknown"))
