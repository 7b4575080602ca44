"""A person with a browser: from the form to the last mail, on small and large screens, with and without JavaScript."""

import email
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import policy
from typing import Any

import pytest
import uvicorn
from conftest import BROWSER
from fakes import free_port
from playwright.sync_api import Browser, Page, expect, sync_playwright
from samples import joined

from newsletter import pipeline
from newsletter.app import App
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State
from newsletter.web import create_web

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ADA = "ada@example.org"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Server(uvicorn.Server):
    """Tells when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(app: App, port: int) -> Iterator[None]:
    server = Server(uvicorn.Config(create_web(app), host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(20)
    yield
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=ARGS)
        yield started
        started.close()


@pytest.fixture
def site(make_app: Callable[..., App], sqlite_url: str) -> Iterator[App]:
    port = free_port()
    app = make_app(sqlite_url, base_url=f"http://127.0.0.1:{port}", postal_address="Example Lab, 1 Long Street, Town")
    with serving(app, port):
        yield app


@pytest.fixture
def visit(browser: Browser, site: App) -> Iterator[Callable[..., Page]]:
    """Open the form as somebody with a screen, a zone and a taste; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_form(**screen: Any) -> Page:
        contexts.append(browser.new_context(base_url=site.settings.base_url, **screen))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Failed to load" not in said.text else None)
        page.goto("/")
        return page

    yield open_form
    for context in contexts:
        context.close()
    assert complaints == []


def newest(app: App, subject: str, room: str) -> str:
    """Deliver what is due, and return the link that the mail with `subject` holds."""
    pipeline.deliver(app, None)
    for path in sorted(app.settings.outbox_dir.glob("notices/*.eml"), reverse=True):
        mail: Any = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        if subject in mail["subject"]:
            assert mail["to"] == ADA
            found = re.search(rf"http://127\.0\.0\.1:\d+/{room}/\S+", mail.get_body(("plain",)).get_content())
            assert found
            return found[0]
    raise AssertionError(f"no mail about {subject}")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_person_joins_and_leaves(site: App, visit: Callable[..., Page], scripts: bool) -> None:
    page = visit(java_script_enabled=scripts, timezone_id="Europe/Lisbon")
    page.get_by_label("Email address").fill(ADA)
    page.get_by_label("reasoning").check()
    page.get_by_label("Keywords").fill("protein design, flow matching")
    page.get_by_label("Not before").select_option("06:00")
    if not scripts:
        page.get_by_label("Time zone").select_option("Lisbon")
    page.get_by_text("More wishes").click()
    page.get_by_label("Never show me").fill("crypto")
    press(page, "Subscribe")
    heading(page, "Check your inbox")
    page.goto(newest(site, "confirm", "confirm"))
    heading(page, "Confirm your subscription")
    expect(page.locator("dl")).to_contain_text("reasoning, protein design, flow matching")
    expect(page.locator("dl")).to_contain_text("from 06:00, Europe/Lisbon time")
    assert joined(site, ADA) == State.PENDING
    press(page, "Confirm my subscription")
    heading(page, "You are subscribed")
    assert joined(site, ADA) == State.ACTIVE
    page.goto(newest(site, "Welcome", "u"))
    assert joined(site, ADA) == State.ACTIVE
    press(page, "Unsubscribe")
    heading(page, "You are unsubscribed")
    assert joined(site, ADA) == State.UNSUBSCRIBED
    with site.db.snapshot() as session:
        person = subscribers.find(session, ADA)
    assert person
    assert (person.hour, person.timezone, person.mutes) == (6, "Europe/Lisbon", ["crypto"])


@pytest.mark.parametrize("zone", ["America/Argentina/Buenos_Aires", "Asia/Calcutta"])
def test_the_time_zone_is_guessed_from_the_browser(visit: Callable[..., Page], zone: str) -> None:
    page = visit(timezone_id=zone)
    guessed = page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    expect(page.get_by_label("Time zone")).to_have_value(guessed)


def test_a_zone_that_was_chosen_is_not_guessed_over(visit: Callable[..., Page]) -> None:
    page = visit(timezone_id="Asia/Tokyo")
    page.get_by_label("Time zone").select_option("Honolulu")
    page.get_by_label("Email address").fill("ada@example")
    press(page, "Subscribe")
    expect(page.get_by_role("alert")).to_contain_text("Email address")
    expect(page.get_by_label("Time zone")).to_have_value("Pacific/Honolulu")


def test_what_is_wrong_is_read_out_and_one_press_away(visit: Callable[..., Page]) -> None:
    page = visit()
    page.get_by_label("Email address").fill("ada@example")
    page.get_by_text("More wishes").click()
    page.get_by_label("Papers in each mail").fill("50")
    page.get_by_label("Keywords").fill("k" * 101)
    press(page, "Subscribe")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("alert").get_by_text("Keywords").click()
    wrong = page.get_by_label("Keywords")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_accessible_description(re.compile("is longer than 100 characters"))
    expect(page.get_by_label("Email address")).to_have_attribute("aria-invalid", "true")


def test_the_form_can_be_filled_by_keyboard_alone(site: App, visit: Callable[..., Page]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type(ADA)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_label("agents")).to_be_checked()
    assert page.evaluate("getComputedStyle(document.activeElement.parentElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    heading(page, "Check your inbox")
    assert joined(site, ADA) == State.PENDING


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_screen_and_can_be_read(site: App, visit: Callable[..., Page], scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    fits(page)
    page.get_by_label("Email address").fill("x" * 60 + "@example")
    page.get_by_label("Keywords").fill("k" * 400)
    press(page, "Subscribe")
    expect(page.get_by_role("alert")).to_be_visible()
    fits(page)
    page.get_by_label("Email address").fill(ADA)
    page.get_by_label("Keywords").fill(", ".join("k" * 80 + str(number) for number in range(9)))
    press(page, "Subscribe")
    heading(page, "Check your inbox")
    fits(page)
    page.goto(newest(site, "confirm", "confirm"))
    fits(page)
    press(page, "Confirm my subscription")
    heading(page, "You are subscribed")
    fits(page)
    page.goto(newest(site, "Welcome", "u"))
    fits(page)
    press(page, "Unsubscribe")
    heading(page, "You are unsubscribed")
    fits(page)
    for path in ("/u/nonsense", "/nowhere"):
        page.goto(path)
        fits(page)


CONTRAST = """() => {
  const light = (text) => text.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (node) => { const own = getComputedStyle(node).backgroundColor;
    return /, 0\\)$/.test(own) && node.parentElement ? behind(node.parentElement) : own; };
  const texts = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) && node.localName !== "option");
  return texts.map((node) => {
    const pair = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
    return [(pair[0] + 0.05) / (pair[1] + 0.05), node.outerHTML.slice(0, 90)]; }).filter(([ratio]) => ratio < 4.5);
}"""


def fits(page: Page) -> None:
    """Check that nothing sticks out to the side and that every text stands out (WCAG 2.2, 1.4.3)."""
    size = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, screen = page.evaluate(size)
    assert wide <= screen == 360
    assert page.evaluate(CONTRAST) == []
