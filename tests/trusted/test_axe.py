"""axe-core: nothing serious in a mail, on a desktop and on a telephone, in the light and in the dark."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from arrivals import Arrived
from axe_playwright_python.sync_playwright import Axe
from judges import program
from playwright.sync_api import Browser, Page, sync_playwright
from servers import BROWSER

from newsletter.delivery.models import Mail

pytestmark = pytest.mark.trusted
_VIEWS = {f"{width}-{scheme}": (width, scheme) for width in (800, 360) for scheme in ("light", "dark")}
_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_BAD = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER or program("chromium"), args=_ARGS)
        yield started
        started.close()


@pytest.fixture(params=_VIEWS)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A reader's window, which fetches nothing."""
    width, scheme = _VIEWS[request.param]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    context.route("**/*", lambda route: route.abort())
    yield context.new_page()
    context.close()


def judge(page: Page, html: str) -> list[str]:
    """Return what is serious or critical about a mail, with one of the elements that it is about."""
    page.set_content(html)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] in _BAD]


@pytest.mark.parametrize("mail", list(Mail))
def test_axe_finds_nothing_serious_in_a_mail(page: Page, forms: Mapping[Mail, Sequence[Arrived]], mail: Mail) -> None:
    assert forms[mail]
    found = {each.title: judge(page, each.html) for each in forms[mail]}
    assert {title: faults for title, faults in found.items() if faults} == {}


def test_axe_sees_what_is_broken(page: Page, every_form: list[Arrived]) -> None:
    pale = '<p style="color:#777777;background-color:#888888">pale</p><img src="x.gif" width="9" height="9">'
    broken = every_form[0].html.replace("<h1", f"{pale}<h1", 1)
    found = [each.partition(":")[0] for each in judge(page, broken)]
    assert {"color-contrast", "image-alt"} <= set(found)
