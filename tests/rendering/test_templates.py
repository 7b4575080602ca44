"""Mail templates: complete trios, compiled once, strict about names."""

import re
import shutil
from pathlib import Path

import jinja2
import pytest
from conftest import ROOT
from jinja2.sandbox import SecurityError

from newsletter.delivery.alarms.models import Bundle, Told
from newsletter.delivery.desk import MAILS
from newsletter.delivery.models import Mail
from newsletter.errors import SettingsError
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.templates import Templates, compile_mjml

NOTICE = {
    "site": Letterhead("Daily Papers", "https://news.example.org", "1 Example Street"),
    "hour": 8,
    "timezone": "Europe/Berlin",
    "when": "every day",
    "confirm_url": "https://news.example.org/confirm/t",
    "alarms": Bundle((Told("something happened", "What it was.", "newsletter status", "2026-08-05 09:00 UTC"),)),
    "come_back_url": "https://news.example.org/rejoin/t",
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
    Mail.GOODBYE: {"come_back_url"},
    Mail.ALERT: set(),
    Mail.MOVED: {"unsubscribe_url"},  # the old address may be somebody else's by now
}


def test_every_mail_outside_an_issue_is_tested_here() -> None:
    assert set(LINKS) == set(Mail) - set(MAILS.values())


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
    compiled = Templates()._compiled(f"email/{mail}/body.mjml")
    assert not re.search(r"@import|url\(|<link|<script|<iframe", compiled)
    assert set(re.findall(r'src="(.*?)"', compiled)) <= {"{{ pixel_url }}", "{{ card.picture }}"}


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


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_an_operators_file_takes_the_place_of_ours_and_all_others_stay(tmp_path: Path) -> None:
    ours = Templates().mail(Mail.WELCOME).render(NOTICE)
    foot = (
        (ROOT / "templates/email/_partials/foot.mjml").read_text(encoding="utf-8").replace("Sent by", "With love from")
    )
    put(tmp_path, "email/welcome/subject.txt", "Hello at {{ hour }}!")
    put(tmp_path, "email/_partials/foot.mjml", foot)
    theirs = Templates(tmp_path).mail(Mail.WELCOME).render(NOTICE)
    assert theirs.subject == "Hello at 8!"
    assert theirs.text == ours.text
    assert theirs.html != ours.html
    assert ("With love from" in theirs.html, "With love from" in ours.html) == (True, False)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("email/welcome/body.txt", "Hello\n{% if x %}\n", r"welcome/body\.txt, line 2"),
        ("email/welcome/body.mjml", "<mjml>\n\n<!--% for %-->\n</mjml>", r"welcome/body\.mjml, line 3"),
        ("email/_partials/foot.mjml", "<mj-section>\n{{ }}</mj-section>", r"_partials/foot\.mjml, line 2"),
        ("email/welcome/body.mjml", "<mjml>\n<mj-body>\n<mj-text></mjml>", r"welcome/body\.mjml, line 3"),
        ("email/_partials/foot.mjml", "<mj-section>\n&nbsp;<mj-column></mj-section>", r"foot\.mjml, line 2"),
        ("email/welcom/body.txt", "Hello", r"welcom/body\.txt .* did you mean email/welcome/body\.txt\?"),
        ("notes.md", "Hello", r"notes\.md takes the place of no template"),
        ("email/welcome/body.txt", "Hello\n{{ nope }}", r"body\.txt, line 2: there is no nope here; there is: .*hour"),
        (
            "email/digest/body.txt",
            "{% for each in trending %}{{ each.title }}{{ hour }}{% endfor %}",
            "there is no hour here",
        ),
        ("email/_partials/foot.mjml", "<mj-raw>{{ nope }}</mj-raw>", r"foot\.mjml, line 1: there is no nope"),
        ("email/welcome/body.txt", "{% include 'nothere.txt' %}", "takes no other one"),
        ("web/archive.html", "Hello\n{% block x %}{{ ", r"web/archive\.html, line 2"),
        ("email/welcome/body.txt", "Hello\n{{ hour | nope }}", r"body\.txt, line 2: there is no filter nope"),
        ("web/base.html", "{% if %}", r"web/base\.html, line 1"),
    ],
)
def test_a_file_that_makes_no_sense_is_named_at_once_with_its_line(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    put(tmp_path, name, text)
    with pytest.raises(SettingsError, match=says):
        Templates(tmp_path)


@pytest.mark.parametrize("name", ["email/welcome/body.txt", "web/archive.html"])
def test_bytes_that_are_no_text_are_named(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "")
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"cannot be read"):
        Templates(tmp_path)


def test_what_editors_and_mounts_leave_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "email/welcome/subject.txt", "Hello!")
    for name in (".DS_Store", "..2026_01/web/base.html", ".git/config", "web/base.html~", "web/.base.html.swp"):
        put(tmp_path, name, "{% if %}")
    assert Templates(tmp_path).mail(Mail.WELCOME).render(NOTICE).subject == "Hello!"


@pytest.mark.parametrize(
    "reach",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ site.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(site) }}",
        "{{ site.address.append('x') }}",
        "{{ (site | attr('__class__')).__name__ }}",
        "{{ range.__init__.__globals__ }}",
    ],
)
@pytest.mark.parametrize("part", ["subject.txt", "body.txt", "body.mjml"])
def test_a_template_reaches_nothing_but_what_it_is_given(tmp_path: Path, part: str, reach: str) -> None:
    text = f"<mjml><mj-body><mj-raw>{reach}</mj-raw></mj-body></mjml>" if part == "body.mjml" else reach
    put(tmp_path, f"email/welcome/{part}", text)
    with pytest.raises((SecurityError, jinja2.UndefinedError)):
        Templates(tmp_path).mail(Mail.WELCOME).render(NOTICE)


def test_all_of_ours_are_good_as_an_operators_own(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "templates", tmp_path / "own")
    theirs = Templates(tmp_path / "own").mail(Mail.WELCOME).render(NOTICE)
    assert theirs == Templates().mail(Mail.WELCOME).render(NOTICE)


def test_a_folder_without_templates_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=tmp_path.name):
        Templates(tmp_path)
    assert Templates().folders == (ROOT / "templates",)
