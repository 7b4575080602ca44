"""How the preview looks: wide and narrow, light and dark, and that a saved template shows by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import free_port
from people import listening
from playwright.sync_api import Browser, expect
from test_looks import CONTRAST, NAMELESS

from newsletter.app import App
from newsletter.delivery.models import Mail
from newsletter.preview import Gallery, create_preview

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
INSIDE = """() => [...document.querySelectorAll("iframe")].map((node) => {
  const page = node.contentDocument.documentElement;
  return [page.scrollWidth <= node.clientWidth, page.scrollHeight <= node.clientHeight]; })"""


@pytest.fixture
def address(app: App, tmp_path: Path) -> Iterator[str]:
    """A preview that is served, of an operator who has a template of their own."""
    subject = tmp_path / "own/email/link/subject.txt"
    subject.parent.mkdir(parents=True)
    subject.write_text("The first subject", encoding="utf-8")
    gallery, port = Gallery(app, tmp_path / "own", [Mail.DIGEST, Mail.LINK]), free_port()
    with listening(create_preview(gallery), port):
        yield f"http://127.0.0.1:{port}"
    gallery.close()


def test_the_preview_is_wide_and_narrow_and_reloads_when_a_template_is_saved(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # the picture that counts is at an address that there is not
    page.on("console", lambda said: complaints.append(said.text) if "Failed to load" not in said.text else None)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("/", "/digest/hostile", "/digest/arabic?scheme=dark"):
            page.goto(address + path, wait_until="load")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
                assert wide[0] <= wide[1], (path, width)
                assert page.evaluate(CONTRAST) == [], (path, scheme)
                assert page.evaluate(NAMELESS) == []
            if path != "/":
                assert page.evaluate(INSIDE) == [[True, True], [True, True]], path
    page.goto(f"{address}/digest/ten-papers")
    page.frame_locator("iframe").first.get_by_role("link", name="Unsubscribe").click()
    expect(page.locator("#target")).to_contain_text("That link leads to https://news.example.org/u/")
    assert page.frames[1].url.endswith("/digest/ten-papers/html?scheme=light")
    page.goto(f"{address}/link/mail")
    expect(page.get_by_role("heading", level=1)).to_have_text("The first subject")
    (tmp_path / "own/email/link/subject.txt").write_text("The second\n{% if %}", encoding="utf-8")
    expect(page.get_by_role("alert")).to_contain_text("subject.txt, line 2", timeout=60_000)
    (tmp_path / "own/email/link/subject.txt").write_text("The third subject", encoding="utf-8")
    expect(page.get_by_role("heading", level=1)).to_have_text("The third subject", timeout=60_000)
    page.close()
    assert complaints == []
