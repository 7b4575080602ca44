"""Mail templates: complete trios, compiled once, strict about names."""

import re
from pathlib import Path

import jinja2
import pytest
from conftest import ROOT

from newsletter.delivery.models import Mail
from newsletter.errors import SettingsError
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.templates import Templates, compile_mjml, find_root

NOTICE = {
    "site": Letterhead("Daily Papers", "https://news.example.org", "1 Example Street"),
    "hour": 8,
    "timezone": "Europe/Berlin",
    "when": "every day",
    "confirm_url": "https://news.example.org/confirm/t",
    "new_address_url": "https://news.example.org/address/t",
    "preferences_url": "https://news.example.org/preferences/t",
    "unsubscribe_url": "https://news.example.org/u/t",
}
LINKS = {
    Mail.CONFIRMATION: {"confirm_url", "unsubscribe_url"},
    Mail.REMINDER: {"confirm_url", "unsubscribe_url"},
    Mail.WELCOME: {"preferences_url", "unsubscribe_url"},
    Mail.LINK: {"preferences_url", "unsubscribe_url"},
    Mail.NEW_ADDRESS: {"new_address_url"},  # whoever reads it need not be the subscriber
    Mail.MOVED: {"unsubscribe_url"},  # the old address may be somebody else's by now
}


def test_every_mail_outside_an_issue_is_tested_here() -> None:
    assert set(LINKS) == set(Mail) - {Mail.DIGEST}


@pytest.mark.parametrize("mail", list(LINKS))
def test_a_notice_says_the_same_in_text_and_html(mail: Mail) -> None:
    content = Templates().mail(mail).render(NOTICE)
    for part in (content.text, content.html):
        found = set(re.findall(r"https://news\.example\.org/[a-z]+/t\b", part))
        assert found == {NOTICE[name] for name in LINKS[mail]}
        assert "1 Example Street" in part
    assert 5 < len(content.subject) < 80
    assert "\n" not in content.subject
    assert content.html.startswith("<!DOCTYPE html>")
    assert 'lang="en"' in content.html
    assert "prefers-color-scheme: dark" in content.html
    assert "<!--%" not in content.html
    assert "{{" not in content.html + content.text + content.subject


@pytest.mark.parametrize("mail", list(Mail))
def test_opening_a_mail_asks_no_other_server_for_anything(mail: Mail) -> None:
    folder = ROOT / "templates/email" / mail
    compiled = compile_mjml((folder / "body.mjml").read_text(encoding="utf-8"), str(folder.parent))
    assert not re.search(r"@import|url\(|<link|<script|<iframe", compiled)
    assert set(re.findall(r'src="(.*?)"', compiled)) <= {"{{ pixel_url }}"}


@pytest.mark.parametrize("mail", list(LINKS))
def test_every_link_of_a_notice_can_be_pressed_in_html_and_stands_alone_in_text(mail: Mail) -> None:
    content = Templates().mail(mail).render(NOTICE)
    for name in LINKS[mail]:
        assert f'href="{NOTICE[name]}"' in content.html
        assert re.search(rf"(^| ){re.escape(str(NOTICE[name]))}$", content.text, re.MULTILINE)


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        Templates().mail(Mail.WELCOME).render({name: value for name, value in NOTICE.items() if name != "hour"})


def test_mjml_is_compiled_once_for_each_text() -> None:
    compile_mjml.cache_clear()
    for _ in range(3):
        Templates().mail(Mail.WELCOME)
    assert compile_mjml.cache_info().misses == 1


def test_a_folder_without_templates_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=tmp_path.name):
        find_root(tmp_path)
    assert find_root(None) == ROOT / "templates"
