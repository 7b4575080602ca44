"""What handlers are given."""

from typing import Annotated, cast

from fastapi import Depends, Request

from newsletter.app import App
from newsletter.web.pages import Pages


def _app(request: Request) -> App:
    return cast("App", request.app.state.app)


def _pages(request: Request) -> Pages:
    return cast("Pages", request.app.state.pages)


AppDep = Annotated[App, Depends(_app)]
PagesDep = Annotated[Pages, Depends(_pages)]
