"""`create_web`: the ASGI application."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from newsletter import __version__, logs
from newsletter.app import App
from newsletter.errors import TokenError
from newsletter.web import confirm, health, metrics, signup, tracking, unsubscribe
from newsletter.web.pages import Pages

_log = logs.get(__name__)
_MAX_BODY_BYTES = 64 * 1024
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",  # a link's token must not travel on
    b"x-content-type-options": b"nosniff",
}
_NO_STORE = b"no-store"
_TITLES = {400: "That did not work", 404: "Nothing here", 405: "That did not work", 413: "That is too much"}


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
    web.state.pages = Pages(app.templates.root / "web", app.identity.letterhead)
    for room in (signup, confirm, unsubscribe, tracking, health, metrics):
        web.include_router(room.router)
    web.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    web.add_exception_handler(TokenError, _bad_token)
    web.add_exception_handler(HTTPException, _refusal)
    web.add_exception_handler(RequestValidationError, _bad_token)  # only a link's path is validated by FastAPI
    web.add_exception_handler(Exception, _failure)
    web.add_middleware(RequestBodyLimitMiddleware, max_body_size=_MAX_BODY_BYTES)
    web.add_middleware(_DeclaredLimit)
    web.add_middleware(_SafeHeaders)
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


class _SafeHeaders:
    """Puts the same safety headers on every answer; only static files may be cached."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                fresh = {} if scope["path"].startswith("/static/") else {b"cache-control": _NO_STORE}
                extra = _HEADERS | fresh
                kept = [(name, value) for name, value in message["headers"] if name not in extra]
                message = {**message, "headers": [*kept, *extra.items()]}
            await send(message)

        await self.app(scope, receive, send_safely if scope["type"] == "http" else send)


async def _bad_token(request: Request, _exc: Exception) -> Response:
    pages: Pages = request.app.state.pages
    return HTMLResponse(pages.render("bad_link.html"), status_code=404)


async def _refusal(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 400
    headers = exc.headers if isinstance(exc, HTTPException) else None
    pages: Pages = request.app.state.pages
    said = "The page you asked for does not exist." if status == 404 else "Please go back and try again."
    return HTMLResponse(
        pages.render("error.html", title=_TITLES.get(status, "That did not work"), said=said),
        status_code=status,
        headers=headers,
    )


async def _failure(request: Request, exc: Exception) -> Response:
    _log.error("request failed", route=_route(request), error=type(exc).__name__)
    pages: Pages = request.app.state.pages
    said = "Something went wrong on our side. Nothing was changed; please try again in a minute."
    answer = HTMLResponse(pages.render("error.html", title="Sorry", said=said), status_code=500)
    # This handler stands outside the middleware that puts them on every other answer.
    answer.raw_headers += [*_HEADERS.items(), (b"cache-control", _NO_STORE)]
    return answer


def _route(request: Request) -> str:
    """Return the route's pattern: the path itself holds a token."""
    return str(getattr(request.scope.get("route"), "path", "unknown"))
