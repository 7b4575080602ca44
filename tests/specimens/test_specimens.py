"""Specimens: every kind of reader and of paper, and none of them real."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from conftest import NOW

from newsletter.app import App
from newsletter.delivery.lint import Opened
from newsletter.delivery.models import Mail
from newsletter.errors import TokenError
from newsletter.issues.compose import Reader, Span
from newsletter.papers.textclean import clean
from newsletter.rendering.typeset import MAX_HTML_BYTES
from newsletter.signing import Purpose
from newsletter.specimens import specimens
from newsletter.specimens.papers import hostile, sample
from newsletter.specimens.proofs import edition
from newsletter.subscribers.preferences import Preferences

RIGHT_TO_LEFT, CHINESE = re.compile("[\u0600-\u06ff]"), re.compile("[\u4e00-\u9fff]")


@pytest.fixture
def digests(app: App) -> dict[str, Opened]:
    """The forms of a digest by name."""
    return {each.title.partition(", ")[2]: Opened(each.message) for each in specimens(app, Mail.DIGEST)}


def papers_in(mail: Opened) -> int:
    return len(set(re.findall(r"/f/[^/]+/(\d+)/like", mail.text)))


def test_there_is_a_digest_for_every_kind_of_reader(digests: dict[str, Opened]) -> None:
    assert {
        form: papers_in(mail)
        for form, mail in digests.items()
        if form not in {"hostile", "fifty papers, all as long as can be"}
    } == {
        "ten papers": 10,
        "ten papers, not tracked": 10,
        "one paper": 1,
        "no paper, but why": 0,
        "Chinese": 10,
        "Arabic": 10,
    }
    assert len(RIGHT_TO_LEFT.findall(digests["Arabic"].html)) > 1_000
    assert len(CHINESE.findall(digests["Chinese"].html)) > 500


def test_fifty_long_papers_are_asked_for_and_as_many_come_as_a_mail_can_hold(digests: dict[str, Opened]) -> None:
    mail = digests["fifty papers, all as long as can be"]
    assert len(sample("long", NOW)) >= 50
    assert 0.8 * MAX_HTML_BYTES < len(mail.html.encode()) <= MAX_HTML_BYTES
    assert papers_in(mail) > 10


class Active(HTMLParser):
    """Finds what a browser would run, load or be led to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "form", "input", "base", "svg", "math", "link", "marquee"}:
            self.found.append(tag)
        for name, value in attrs:
            scheme = re.sub(r"[\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or scheme.startswith(("javascript:", "vbscript:", "data:")):
                self.found.append(f"{tag} {name}={value}")
            if name in {"href", "src"} and not scheme.startswith("https://"):
                self.found.append(f"{tag} {name}={value}")


def test_nothing_hostile_becomes_more_than_text(digests: dict[str, Opened]) -> None:
    mail = digests["hostile"]
    assert Active(mail.html).found == []
    assert Active('<p onclick="x"><a href="java\tscript:x"><svg>').found == [
        "p onclick=x",
        "a href=java\tscript:x",
        "a href=java\tscript:x",
        "svg",
    ]
    names = [name.lower() for name, _ in mail.fields]
    assert "bcc" not in names
    assert len(names) == len(set(names))
    assert len(mail.parts) == 2


def test_hostile_texts_are_many_and_stand_in_every_slot(digests: dict[str, Opened]) -> None:
    texts, mail = hostile(), digests["hostile"]
    assert len(set(texts)) == len(texts) >= 40
    visible = " ".join(mail.page.visible.split())
    shown = [text for text in texts if " ".join(clean(text, 1_000).split())[:30] in visible]
    assert len(shown) >= 40
    assert "matches “<" in visible
    assert re.search(r"like “.*[<{'\"].*”, which you liked", visible)
    assert any("%22onclick=alert(1)" in each.url for each in mail.page.links)
    assert re.search(r"[<'\"(]", mail.shown("Subject"))
    assert "alert" in mail.page.hidden + mail.page.title


def test_links_of_specimens_lead_nowhere(app: App, digests: dict[str, Opened]) -> None:
    [token] = set(re.findall(r"/u/([\w-]+)", digests["ten papers"].text))
    with pytest.raises(TokenError):
        app.signer.unsign(Purpose.UNSUBSCRIBE, token, now=app.now())


def test_a_notice_that_says_something_else_to_others_is_shown_to_both(app: App) -> None:
    found = {each.title: Opened(each.message).text for each in specimens(app, Mail.WELCOME)}
    assert list(found) == ["welcome, for most readers", "welcome, on chosen days, far away"]
    assert "every day" in found["welcome, for most readers"]
    assert "Monday, Tuesday" in found["welcome, on chosen days, far away"]
    assert [each.title for each in specimens(app, Mail.LINK)] == ["link"]


@pytest.mark.parametrize("span", list(Span))
@pytest.mark.parametrize("name", ["demo", "long", "hostile", "chinese", "arabic"])
def test_every_sample_makes_an_edition_of_every_span(name: str, span: Span) -> None:
    papers = sample(name, NOW)
    made = edition(papers, NOW, span)
    wishes = Preferences(max_papers=10)
    [selection] = made.choose([Reader(wishes, frozenset())])
    assert made.span is span
    assert len(selection.picks) == 10
    assert made.compose(wishes, selection).subject


def test_specimens_touch_no_database(make_app: Any) -> None:
    app = make_app("postgresql+psycopg://nobody@127.0.0.1:1/nowhere", now=lambda: NOW)
    for mail in Mail:
        assert list(specimens(app, mail))
