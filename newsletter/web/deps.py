"""What handlers are given, and how they answer."""

from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from newsletter.app import App
from newsletter.errors import Trouble
from newsletter.web import languages
from newsletter.web.pages import Pages


class Show:
    """Answers with a page, in the language of whoever asks.

    :ivar language: what they wanted by ``?lang=``, else what their browser says; a reader's own choice beats both.
    """

    def __init__(self, pages: Pages, language: str) -> None:
        self._pages = pages
        self.language = language

    def __call__(self, name: str, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401  templates take any value
        """Return a page."""
        return HTMLResponse(self.text(name, **values), status_code=status)

    def text(self, name: str, **values: Any) -> str:  # noqa: ANN401  templates take any value
        """Return a page as text."""
        return self._pages.render(name, self.language, **values)

    def speaking(self, language: str) -> "Show":
        """Return the same in another language."""
        return Show(self._pages, languages.choose("", language))

    def say(self, text: str, **values: object) -> str:
        """Return an English text in this language, with its values put in."""
        said = self._pages.gettext(self.language)(text)
        return said % values if values else said

    def trouble(self, trouble: Trouble) -> str:
        """Return what is wrong in this language."""
        return self._pages.gettext(self.language)(trouble.said) % trouble.values


def app_of(request: Request) -> App:
    """Return the application."""
    return cast("App", request.app.state.app)


def show_for(request: Request, wanted: str = "") -> Show:
    """Return how to answer this request."""
    wanted = wanted or request.query_params.get("lang", "")[:20]
    return Show(request.app.state.pages, languages.choose(request.headers.get("accept-language", ""), wanted))


def _show(request: Request) -> Show:
    return show_for(request)


AppDep = Annotated[App, Depends(app_of)]
ShowDep = Annotated[Show, Depends(_show)]
