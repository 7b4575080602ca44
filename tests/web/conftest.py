"""A running server and a person with a browser before it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import BROWSER
from fakes import SmtpServer, free_port
from people import serving
from playwright.sync_api import Browser, Page, sync_playwright

from newsletter.app import App

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=ARGS)
        yield started
        started.close()


@pytest.fixture
def site(make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer) -> Iterator[App]:
    """An app that is served on a port of its own and hands its mails to a real relay."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    address = "Example Lab, 1 Long Street, Town"
    app = make_app(sqlite_url, base_url=base, postal_address=address, smtp_url=smtp.url)
    with serving(app, port):
        yield app


@pytest.fixture
def visit(browser: Browser, site: App) -> Iterator[Callable[..., Page]]:
    """Open the form as somebody with a screen, a zone and a taste; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_form(path: str = "/", **screen: Any) -> Page:
        contexts.append(browser.new_context(base_url=site.settings.base_url, **screen))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Failed to load" not in said.text else None)
        page.goto(path)
        return page

    yield open_form
    for context in contexts:
        context.close()
    assert complaints == []
