"""A person with a browser: from the form to the way back, with and without JavaScript, by mouse and by keyboard."""

import re
from collections.abc import Callable
from email.message import EmailMessage
from urllib.request import Request, urlopen

import pytest
from fakes import Clock, SmtpServer, free_port
from people import ADA, fill_in, heading, link, mails, press, publish, serving, text_of
from playwright.sync_api import Browser, Page, expect
from samples import joined

from newsletter.app import App
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State, Subscriber

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def reader(site: App) -> Subscriber:
    with site.db.snapshot() as session:
        person = subscribers.find(session, ADA)
    assert person is not None
    return person


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_the_whole_way(site: App, smtp: SmtpServer, clock: Clock, visit: Callable[..., Page], scripts: bool) -> None:
    publish(site)
    page = visit(java_script_enabled=scripts, timezone_id="Europe/Lisbon")
    sampled = asks(page, clock, scripts)
    confirms(site, smtp, page, sampled)
    digest = reads(site, smtp, sampled)
    steers(site, page, digest)
    leaves_and_comes_back(site, page, link(digest, "u"))


def asks(page: Page, clock: Clock, scripts: bool) -> list[str]:
    """Fill in the form, see what would come, and subscribe; return the sample's titles."""
    fill_in(page, clock)
    page.get_by_label("What you work on").fill("I work on flow matching for peptides")
    if not scripts:
        page.get_by_label("Time zone").select_option("Lisbon")
        press(page, "Show me a sample")
        clock.forward(seconds=5)
    cards = page.locator("#sample li")
    expect(cards).to_have_count(5)
    expect(cards.first).to_contain_text(re.compile("matches “(proteins|flow matching|peptides)”"))
    sampled = page.locator("#sample h3").all_inner_texts()
    press(page, "Subscribe")
    heading(page, "Check your inbox")
    return sampled


def confirms(site: App, smtp: SmtpServer, page: Page, sampled: list[str]) -> None:
    """Open the link of the mail, which shows the same sample, and press the one big button."""
    confirmation = mails(site, smtp)[-1]
    assert "confirm" in confirmation["subject"]
    page.goto(link(confirmation, "confirm"))
    heading(page, "Confirm your subscription")
    expect(page.locator("dl")).to_contain_text("proteins")
    assert page.locator("main h3").all_inner_texts() == sampled
    assert joined(site, ADA) == State.PENDING
    press(page, "Confirm my subscription")
    heading(page, "You are subscribed")
    assert joined(site, ADA) == State.ACTIVE


def reads(site: App, smtp: SmtpServer, sampled: list[str]) -> EmailMessage:
    """Return the first issue: it follows at once, and begins with what was promised."""
    digest = mails(site, smtp)[-1]
    assert digest["to"] == ADA
    places = [text_of(digest).find(title) for title in sampled]
    assert -1 < places[0] < places[1] < places[2] < places[3] < places[4]
    return digest


def steers(site: App, page: Page, digest: EmailMessage) -> None:
    """Like a paper from the mail, and change and undo preferences."""
    page.goto(link(digest, "f", "/like"))
    heading(page, "A good paper for you?")
    press(page, "Yes, I like it")
    heading(page, "Noted: you like it")
    page.get_by_role("link", name="See and change all your wishes").click()
    heading(page, "Your subscription")
    expect(page.get_by_text("said from a mail")).to_be_visible()
    page.get_by_label("How often").select_option("On days I choose")
    page.get_by_label("Wednesday").check()
    press(page, "Save")
    expect(page.get_by_role("status").first).to_contain_text("Saved")
    assert reader(site).weekdays == "wed"
    press(page, "Undo")
    expect(page.get_by_label("How often")).to_have_value("daily")
    assert (reader(site).cadence, reader(site).timezone) == ("daily", "Europe/Lisbon")


def leaves_and_comes_back(site: App, page: Page, address: str) -> None:
    """Leave by the page's button and undo it; then by one-click, as a mail program does it."""
    page.goto(address)
    press(page, "Unsubscribe")
    heading(page, "You are unsubscribed")
    assert joined(site, ADA) == State.UNSUBSCRIBED
    press(page, "That was a mistake: as before")
    heading(page, "Good to have you back")
    assert joined(site, ADA) == State.ACTIVE
    one_click = Request(address, data=b"List-Unsubscribe=One-Click", method="POST")
    with urlopen(one_click) as answer:
        assert answer.status == 200
    assert joined(site, ADA) == State.UNSUBSCRIBED
    page.goto(address)
    press(page, "Unsubscribe")
    expect(page.get_by_role("button", name="That was a mistake")).to_have_count(0)  # it was not this press


def test_papers_somebody_likes_are_enough_to_sign_up(
    site: App, smtp: SmtpServer, clock: Clock, visit: Callable[..., Page]
) -> None:
    publish(site)
    page = visit()
    page.get_by_label("Email address").fill(ADA)
    page.get_by_text("Or show us: paste papers you like").click()
    page.get_by_label("Papers you like").fill(
        "https://arxiv.org/abs/2608.00001v2\n@article{x, title={Proteins, {d}iffused}}"
    )
    expect(page.locator("#sample li").first).to_contain_text("which you liked")
    clock.forward(seconds=5)
    press(page, "Subscribe")
    heading(page, "Check your inbox")
    page.goto(link(mails(site, smtp)[-1], "confirm"))
    expect(page.locator("dl")).to_contain_text("Diffusion models for protein design")
    press(page, "Confirm my subscription")
    page.get_by_role("link", name="See and change all your wishes").click()
    expect(page.get_by_text("you gave it to us")).to_have_count(2)


def test_a_topic_is_found_by_typing_and_an_own_one_is_taken(
    site: App, smtp: SmtpServer, clock: Clock, visit: Callable[..., Page]
) -> None:
    page = visit()
    page.get_by_label("Email address").fill(ADA)
    search = page.get_by_role("searchbox")
    search.fill("prot")
    expect(page.get_by_label("robotics", exact=True)).to_be_hidden()
    page.get_by_label("proteins", exact=True).check()
    search.fill("peptide folding")
    search.press("Enter")
    expect(page.get_by_label("peptide folding", exact=True)).to_be_checked()
    clock.forward(seconds=5)
    press(page, "Subscribe")
    heading(page, "Check your inbox")
    mails(site, smtp)
    assert reader(site).topics == ["proteins", "peptide folding"]


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
    page.get_by_label("Keywords").fill("k" * 101)
    press(page, "Subscribe")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_role("alert").get_by_text("Keywords").click()
    wrong = page.get_by_label("Keywords")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_accessible_description(re.compile("is longer than 100 characters"))
    expect(page.get_by_label("Email address")).to_have_attribute("aria-invalid", "true")


def test_the_form_can_be_filled_by_keyboard_alone(
    site: App, smtp: SmtpServer, clock: Clock, visit: Callable[..., Page]
) -> None:
    page = visit()
    page.get_by_label("Email address").focus()
    page.keyboard.type(ADA)
    page.keyboard.press("Tab")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("agents")
    page.keyboard.press("Enter")
    expect(page.get_by_label("agents", exact=True)).to_be_checked()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement.parentElement).outlineStyle") == "solid"
    clock.forward(seconds=5)
    page.keyboard.press("Enter")
    heading(page, "Check your inbox")
    mails(site, smtp)
    assert reader(site).topics == ["agents"]


def test_a_browser_does_the_work_that_is_asked_of_it(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock, browser: Browser
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    app = make_app(sqlite_url, base_url=base, smtp_url=smtp.url, signup_work_bits=10)
    with serving(app, port):
        page = browser.new_page(base_url=base)
        page.goto("/")
        fill_in(page, clock, "Ada@EXAMPLE.org")
        press(page, "Subscribe")
        heading(page, "Check your inbox")
        assert "confirm" in mails(app, smtp)[-1]["subject"]
        without = browser.new_page(base_url=base, java_script_enabled=False)
        without.goto("/")
        assert "needs JavaScript" in without.content()
        fill_in(without, clock, "bela@example.org")
        press(without, "Subscribe")
        expect(without.get_by_role("status").first).to_contain_text("One more press")
        assert len(mails(app, smtp)) == 1
        page.close()
        without.close()
