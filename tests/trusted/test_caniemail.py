"""caniemail: nothing in a mail needs what some mail client cannot do, but for a short list with reasons."""

from collections.abc import Mapping, Sequence

import pytest
from arrivals import Arrived
from judges import ask_node

from newsletter.delivery.models import Mail

pytestmark = pytest.mark.trusted
_ALLOWED = {
    "a client without style sheets shows what stands inline, which is the whole mail": (
        "<style> element", "@media", "!important keyword", "Type selector", "Class selector", "ID selector",
        "Chaining selectors", "Descendant combinator",
    ),
    "who has no dark mode, or makes one of their own, shows the light one": (
        "color-scheme CSS property", "color-scheme meta tag",
    ),
    "for who listens to a mail; where it is unknown, headings and texts still say the same": (
        "aria-label attribute", "role attribute", "lang attribute", "dir attribute",
    ),
    "it is prettier with it, and whole without": ("border-radius", "text-decoration", "overflow-wrap", "word-break"),
    "MJML's own, which leaves a mail as it is where it does nothing": (
        "<body> element", "cursor", "height attribute", "height property", "outline", "target attribute",
        "width attribute", "word-spacing",
    ),
    "the line for lists of mails is hidden in several ways; each client needs one of them": (
        "display:none", "max-height property", "overflow",
    ),
}  # fmt: skip
_FEATURES = {feature for features in _ALLOWED.values() for feature in features}
Found = Mapping[str, Mapping[str, Sequence[str]]]


def judge(mails: Mapping[str, str]) -> Found:
    """Return, by title, the features that clients do not support, and those clients."""
    return ask_node("caniemail.mjs", "caniemail/dist/index.js", mails)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def found(every_form: list[Arrived]) -> Found:
    """What is found in all forms."""
    return judge({each.title: each.html for each in every_form})


@pytest.mark.parametrize("mail", list(Mail))
def test_no_mail_needs_what_a_client_cannot_do(
    forms: Mapping[Mail, Sequence[Arrived]], found: Found, mail: Mail
) -> None:
    assert forms[mail]
    needs = {
        f"{feature} in {each.title}": ", ".join(clients)
        for each in forms[mail]
        for feature, clients in found[each.title].items()
        if feature not in _FEATURES
    }
    assert needs == {}


def test_nothing_is_allowed_that_no_mail_has(found: Found) -> None:
    assert _FEATURES - {feature for features in found.values() for feature in features} == set()


def test_what_clients_cannot_do_is_found(every_form: list[Arrived]) -> None:
    html = every_form[0].html
    broken = html.replace("<h1", '<svg width="9"></svg><p style="display:grid;position:sticky">new</p><h1', 1)
    assert broken != html
    assert {"display:grid", "<svg> element", "position"} & set(judge({"broken": broken})["broken"]) - _FEATURES
