"""How pages look, and how they are heard: axe-core, contrast, width and names, on every page in four views."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from fakes import Clock, SmtpServer
from people import ADA, fill_in, link, links, mails, press, publish
from playwright.sync_api import Page, Response, expect
from sqlmodel import select

from newsletter import steering
from newsletter.app import App
from newsletter.papers.pasted import read_pasted
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.tables import TABLES
from newsletter.tracking.models import Event

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
VIEWS = [(width, scheme) for width in (360, 1100) for scheme in ("light", "dark")]
CONTRAST = """() => {
  const light = (text) => text.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (node) => { const own = getComputedStyle(node).backgroundColor;
    return /, 0\\)$/.test(own) && node.parentElement ? behind(node.parentElement) : own; };
  const texts = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
    && node.localName !== "option" && !node.closest(".trap"));
  return texts.map((node) => {
    const pair = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
    return [(pair[0] + 0.05) / (pair[1] + 0.05), node.outerHTML.slice(0, 90)]; }).filter(([ratio]) => ratio < 4.5);
}"""
NAMELESS = """() => [...document.querySelectorAll("input, select, textarea, button, a")]
  .filter((node) => node.checkVisibility() && node.type !== "hidden" && !node.closest(".trap"))
  .filter((node) => !(node.labels?.length || node.textContent.trim()))
  .filter((node) => !(node.ariaLabel || node.getAttribute("aria-labelledby")))
  .map((node) => node.outerHTML.slice(0, 90))"""
HEADINGS = "() => [...document.querySelectorAll('h1, h2, h3, h4')].map((node) => Number(node.localName[1]))"


@dataclass
class Seen:
    """What was looked at: titles must tell pages apart."""

    titles: dict[str, str] = field(default_factory=dict)
    bytes_: dict[str, int] = field(default_factory=dict)


def look(page: Page, name: str, seen: Seen) -> None:
    """Check a page in the view it is in."""
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= screen, name
    assert page.evaluate(CONTRAST) == [], name
    assert page.evaluate(NAMELESS) == [], name
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1, name
    assert levels.count(1) == 1, name
    assert all(after - before <= 1 for before, after in pairwise(levels)), (name, levels)
    assert page.locator("html").get_attribute("lang") in {"en", "de"}
    seen.titles[name] = page.title()
    seen.bytes_[name] = len(page.content().encode())
    axe = Axe("0") if page.evaluate("'axe' in window") else Axe()  # half a megabyte, needed once on each page
    found = axe.run(page).response["violations"]
    serious = [
        (each["id"], each["nodes"][0]["html"][:120]) for each in found if each["impact"] in {"serious", "critical"}
    ]
    assert serious == [], name


def tour(site: App, smtp: SmtpServer, clock: Clock, page: Page) -> Iterator[str]:
    """Walk through every page there is, and yield the name of each while it is shown."""
    yield from joining(site, smtp, clock, page)
    yield from reading(site, page)
    yield from steering_(site, smtp, page)
    yield from leaving(site, smtp, clock, page)


def joining(site: App, smtp: SmtpServer, clock: Clock, page: Page) -> Iterator[str]:
    yield "the form"
    page.get_by_label("Email address").fill("x" * 60 + "@example")
    page.get_by_label("What you work on").fill("k" * 400)
    press(page, "Subscribe")
    expect(page.get_by_role("alert")).to_be_visible()
    yield "the form with errors"
    page.goto("/")
    fill_in(page, clock)
    expect(page.locator("#sample li")).to_have_count(5)
    yield "the form with a sample"
    press(page, "Subscribe")
    yield "check your inbox"
    confirmation = mails(site, smtp)[-1]
    page.goto(link(confirmation, "confirm"))
    yield "confirm"
    press(page, "Confirm my subscription")
    yield "confirmed"


def reading(site: App, page: Page) -> Iterator[str]:
    page.goto("/archive")
    yield "past issues"
    page.get_by_role("link", name="5 August 2026").click()
    yield "an issue"
    long_ago = site.now() - timedelta(days=101)
    page.goto(f"/v/{site.signer.sign(Purpose.FEEDBACK, 1, now=long_ago)}")
    yield "a mail that is gone"


def steering_(site: App, smtp: SmtpServer, page: Page) -> Iterator[str]:
    digest = mails(site, smtp)[-1]
    for kind in ("like", "mute"):
        page.goto(link(digest, "f", f"/{kind}"))
        yield kind
    press(page, "Never show me these")
    yield "muted"
    press(page, "Undo")
    yield "undone"
    with site.db.snapshot() as session:
        person = subscribers.find(session, ADA)
    assert person
    steering.like(site, person.id or 0, read_pasted("2608.00001\n10.1000/" + "x" * 300).papers)
    page.goto(link(digest, "preferences"))
    yield "preferences"
    press(page, "Add these papers")
    page.get_by_label("Pause until").fill("2026-08-20")
    press(page, "Pause my mails")
    yield "preferences while paused"
    page.get_by_text("More wishes").click()
    page.get_by_label("Papers in each mail").fill("99")
    press(page, "Save")
    yield "preferences with errors"


def leaving(site: App, smtp: SmtpServer, clock: Clock, page: Page) -> Iterator[str]:
    page.get_by_label("New mail address").fill("ada@example.net")
    press(page, "Change the address")
    page.goto(link(mails(site, smtp)[-1], "address"))
    yield "new address"
    press(page, "")
    yield "moved"
    moved = mails(site, smtp)[-1]
    page.goto(link(moved, "u"))
    yield "unsubscribe"
    press(page, "Unsubscribe")
    yield "unsubscribed"
    press(page, "One mail a week, with the best")
    yield "back"
    for name, path in (("link", "/link"), ("bad link", "/u/nonsense"), ("nowhere", "/nowhere"), ("api", "/api/docs")):
        page.goto(path)
        yield name
    page.goto("/link")
    page.get_by_label("Email address").fill("somebody@example.org")
    clock.forward(seconds=5)
    press(page, "Send me my link")
    yield "link sent"


def test_every_page_can_be_seen_and_heard_in_four_views(
    site: App, smtp: SmtpServer, clock: Clock, visit: Callable[..., Page]
) -> None:
    publish(site)
    seen = Seen()
    page = visit()
    for name in tour(site, smtp, clock, page):
        for width, scheme in VIEWS:
            page.set_viewport_size({"width": width, "height": 740})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            look(page, name, seen)
    assert len(seen.titles) == 26
    same = {
        "the form with a sample",
        "preferences while paused",
        "link sent",
        "the form with errors",
        "preferences with errors",
    }
    titles = [title for name, title in seen.titles.items() if name not in same]
    assert len(set(titles)) == len(titles), titles


def test_a_reader_in_german_sees_german_pages(site: App, visit: Callable[..., Page]) -> None:
    publish(site)
    page = visit(locale="de-DE", viewport={"width": 360, "height": 740})
    expect(page.get_by_role("heading", level=1)).to_have_text("Neue Paper, die dir wichtig sind")
    look(page, "the form", Seen())
    press(page, "Abonnieren")
    expect(page.get_by_role("alert")).to_contain_text("Bitte")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New papers that matter to you")


def test_no_page_is_heavy(site: App, visit: Callable[..., Page]) -> None:
    publish(site)
    sizes: list[int] = []
    page = visit("/healthz")
    page.on("response", lambda answer: sizes.append(weight(answer)))
    page.goto("/", wait_until="networkidle")
    assert len(sizes) >= 4
    assert sum(sizes) < 100_000, sizes


def weight(answer: Response) -> int:
    return len(answer.body())


def test_the_focus_can_always_be_seen(visit: Callable[..., Page]) -> None:
    page = visit()
    for _ in range(30):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => { const node = document.activeElement;
            const outline = (each) => getComputedStyle(each).outlineStyle;
            return node === document.body || outline(node) !== "none" || outline(node.parentElement) !== "none"; }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML.slice(0, 90)")


def test_a_browser_that_follows_every_link_of_every_mail_changes_nothing(
    site: App, smtp: SmtpServer, clock: Clock, visit: Callable[..., Page]
) -> None:
    publish(site)
    page = visit()
    fill_in(page, clock)
    press(page, "Subscribe")
    page.goto(link(mails(site, smtp)[-1], "confirm"))
    press(page, "Confirm my subscription")
    everything = {each for mail in mails(site, smtp) for each in links(mail) if each.startswith(site.settings.base_url)}
    assert {re.split("[/?]", each)[3] for each in everything} >= {"confirm", "preferences", "u", "f", "c", "o", "v"}
    before = dump(site)
    for address in sorted(everything):
        if "/o/" in address:  # shown alone, a browser wraps a picture into a page with styles that our policy forbids
            page.request.get(address)
        elif "/c/" not in address:  # it leads out to the paper, and tests stay on this machine
            page.goto(address, wait_until="load")
    assert dump(site) == before


def dump(app: App) -> str:
    with app.db.snapshot() as session:
        tables = [table for table in TABLES if table is not Event]
        return repr([[row.model_dump() for row in session.exec(select(table))] for table in tables])
