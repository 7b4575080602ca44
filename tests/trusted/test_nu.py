"""The Nu HTML checker: nothing is wrong with a mail's HTML but what MJML writes for old clients."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mjml
import pytest
from arrivals import Arrived
from judges import package, program

from newsletter.delivery.models import Mail

pytestmark = pytest.mark.trusted
# For Outlook, and for clients that know HTML 4 alone: how messages begin that a bare mail of MJML gets as well.
_OF_MJML = (
    *(
        f"The “{attribute}” attribute on the “{element}” element is obsolete."
        for element, attributes in {
            "table": ("align", "border", "cellpadding", "cellspacing", "width"),
            "td": ("align", "bgcolor", "valign"),
        }.items()
        for attribute in attributes
    ),
    "The “type” attribute for the “style” element is not needed",
    *(f"Attribute “xmlns:{prefix}” not allowed here." for prefix in "vo"),
    *(f"CSS: “{name}”: Property" for name in ("mso-table-lspace", "mso-table-rspace", "mso-padding-alt")),
)
_BARE = """<mjml lang="en"><mj-head><mj-title>Bare</mj-title><mj-preview>Bare</mj-preview></mj-head><mj-body>
<mj-section><mj-column><mj-text>Bare</mj-text><mj-button href="https://news.example.org/">Bare</mj-button></mj-column>
</mj-section></mj-body></mjml>"""


def judge(mails: Mapping[str, str], folder: Path) -> dict[str, list[str]]:
    """Return what the checker says of each HTML, by title."""
    files = {}
    for number, (title, html) in enumerate(mails.items()):
        file = folder / f"{number:04}.html"
        file.write_text(html, encoding="utf-8")
        files[file.name] = title
    # It recurses deep, and more so when its code is compiled in haste, which takes half as long in all.
    haste = ["-Xss16m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    jar = str(package("vnu-jar/build/dist/vnu.jar"))
    command = [program("java"), *haste, "-jar", jar, "--format", "json", "--exit-zero-always", "--stdout"]
    command += [str(each) for each in sorted(folder.glob("*.html"))]
    said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    found: dict[str, list[str]] = {title: [] for title in mails}
    for each in said["messages"]:
        # Without a file it is about the checker itself: nothing was checked then.
        found[files[each["url"].rpartition("/")[2]]].append(each["message"])
    return found


def not_of_mjml(messages: Sequence[str]) -> Iterator[str]:
    """Yield each message once, but for those that are MJML's doing."""
    return (each for each in dict.fromkeys(messages) if not each.startswith(_OF_MJML))


@pytest.fixture(scope="module")
def found(every_form: list[Arrived], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of all forms, and of two more; the checker takes seconds to begin."""
    mails = {each.title: each.html for each in every_form}
    mails["bare"] = str(mjml.mjml_to_html(_BARE).html)
    mails["broken"] = every_form[0].html.replace("<h1", '<p><img src="x.gif"><h1', 1)
    return judge(mails, tmp_path_factory.mktemp("nu"))


@pytest.mark.parametrize("mail", list(Mail))
def test_nu_finds_nothing_in_a_mail_but_what_mjml_writes(
    forms: Mapping[Mail, Sequence[Arrived]], found: Mapping[str, Sequence[str]], mail: Mail
) -> None:
    assert forms[mail]
    wrong = {each.title: list(not_of_mjml(found[each.title])) for each in forms[mail]}
    assert {title: messages for title, messages in wrong.items() if messages} == {}


def test_what_is_let_pass_is_what_a_bare_mail_of_mjml_has(found: Mapping[str, Sequence[str]]) -> None:
    assert list(not_of_mjml(found["bare"])) == []
    assert [each for each in _OF_MJML if not any(message.startswith(each) for message in found["bare"])] == []


def test_nu_sees_what_is_broken(found: Mapping[str, Sequence[str]]) -> None:
    assert any("alt" in each for each in not_of_mjml(found["broken"]))
