"""An operator's templates are tried by another process: whatever they do, it ends soon, and says where it was."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from conftest import ROOT

from newsletter.app import App
from newsletter.delivery.models import Mail
from newsletter.errors import InputError, SettingsError
from newsletter.rendering.templates import Templates
from newsletter.rendering.trial import Trial, try_all
from newsletter.specimens import check_templates, specimens, tried
from newsletter.specimens.proofs import Proof
from newsletter.specimens.wire import read_proofs, write_proofs

Command = Callable[..., CompletedProcess[str]]
MAKE_APP = Callable[..., App]
# One for each mail, so that one process tries them all. The line is the third of its file.
ATTACKS: list[dict[Mail, tuple[str, str]]] = [
    {
        Mail.CONFIRMATION: ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps"),
        Mail.REMINDER: ("{{ 'a' * 10**10 }}", "larger than any mail needs"),
        Mail.WELCOME: ("{{ '%1000000000d' % 1 }}", "more than 512 MiB"),
        Mail.LINK: ("{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}", "calls itself too often"),
        Mail.NEW_ADDRESS: ("{{ site.__class__ }}", "__class__"),
        Mail.MOVED: ("{{ 'a' | center(1000000000) }}", "a number above 1,048,576"),
    },
    {
        Mail.CONFIRMATION: (
            "{% set x = range(90000) | list %}{% for i in x %}{{ x | sort | reverse | list | length }}{% endfor %}",
            "more than 10 s of processor time",
        ),
        Mail.REMINDER: (
            "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "more than 512 MiB",
        ),
        Mail.WELCOME: ("{{ '{:>1000000000}'.format(1) }}", "more than 512 MiB"),
        Mail.LINK: ("{{ '{0.__class__.__init__.__globals__}'.format(site) }}", "is unsafe"),
        Mail.NEW_ADDRESS: ("{{ site.nope }}", "nope"),
        Mail.MOVED: ("{{ 1 / 0 }}", "division by zero"),
    },
]


def put(folder: Path, mail: Mail, part: str, statement: str) -> Path:
    path = folder / "email" / mail / part
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"Hello,\n\n{statement}\n"
    if part == "body.mjml":
        text = statement.replace("{%", "<!--%").replace("%}", "%-->")
        text = f"<mjml><mj-body><mj-section><mj-column>\n<mj-text>{{{{ site.name }}}} and\n{text}</mj-text>"
        text += "</mj-column></mj-section></mj-body></mjml>"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("part", "attacks"), list(zip(("body.mjml", "body.txt"), ATTACKS, strict=True)))
def test_every_attack_ends_and_its_file_and_line_are_named(
    app: App, tmp_path: Path, attacks: dict[Mail, tuple[str, str]], part: str
) -> None:
    own = tmp_path / "own"
    paths = {mail: put(own, mail, part, statement) for mail, (statement, _) in attacks.items()}
    found = dict(tried(app, own, list(attacks)))
    assert list(found) == list(attacks)
    for mail, (_, says) in attacks.items():
        said = found[mail]
        assert isinstance(said, str), mail
        assert said.startswith(f"{paths[mail]}, line 3: "), said
        assert says in said


def test_a_mail_that_is_too_long_is_named_and_the_others_are_made(app: App, tmp_path: Path) -> None:
    path = put(tmp_path / "own", Mail.LINK, "body.txt", "{{ range(99999) | list }}{{ range(99999) | list }}")
    found = dict(tried(app, tmp_path / "own", [Mail.LINK, Mail.WELCOME]))
    assert found[Mail.LINK] == f"{path}: it makes more than 1,048,576 characters"
    assert isinstance(found[Mail.WELCOME], list)


def test_what_another_process_prints_is_what_is_printed_here(app: App) -> None:
    for mail, found in tried(app, None, [Mail.WELCOME, Mail.DIGEST]):
        assert found == list(specimens(app, mail))


def test_the_program_takes_no_template_that_was_not_tried(make_app: MAKE_APP, sqlite_url: str, tmp_path: Path) -> None:
    path = put(tmp_path / "own", Mail.WELCOME, "body.txt", "{{ 'a' * 10**10 }}")
    app = make_app(sqlite_url, templates_dir=tmp_path / "own")
    with pytest.raises(SettingsError, match=re.escape(f"NEWSLETTER_TEMPLATES_DIR: {path}, line 3: ")):
        check_templates(app)
    path.write_text("Hello {{ hour }}", encoding="utf-8")
    check_templates(app)
    assert app.templates.mail(Mail.WELCOME).text.render(hour=8) == "Hello 8"


def test_no_process_is_started_where_there_is_nothing_to_try(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    check_templates(app)


@pytest.mark.parametrize("command_line", [("send", "--dry-run"), ("scheduler",), ("lint", "welcome")])
def test_commands_that_print_mails_say_what_is_wrong_and_stop(
    command_here: Command, sqlite_url: str, tmp_path: Path, command_line: tuple[str, ...]
) -> None:
    path = put(tmp_path / "own", Mail.WELCOME, "subject.txt", "{{ 'a' | center(10**9) }}")
    settings = {"database_url": sqlite_url, "secret_key": "k", "templates_dir": str(tmp_path / "own")}
    said = command_here(*command_line, **settings)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1), said.stderr
    assert f"{path}, line 3: a number above" in said.stderr


def test_a_process_that_dies_is_told_of_by_how_it_ended_and_the_next_ones_are_tried() -> None:
    found = list(try_all("newsletter.nosuch", None, ["one", "two"]))
    assert [(each.name, each.error) for each in found] == [
        (name, "the process that tried the templates ended with 1") for name in ("one", "two")
    ]


def test_a_process_that_answers_nonsense_is_not_believed() -> None:
    with Trial("this") as trial:
        [said, *_] = trial.ask(None, ["one"])
    assert said.error == "the process that tried the templates answered nonsense"


def test_a_process_that_does_not_answer_is_ended() -> None:
    with Trial("newsletter.specimens.child", wall_seconds=0.001) as trial:
        [said] = trial.ask(None, ["one", "two"])
    assert "the process that tried them was ended" in said.error


def test_a_process_that_nobody_asks_ends_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    trial = Trial("newsletter.specimens.child")
    process = trial._process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(120) == 0
    trial.close()
    assert capfd.readouterr().err == ""


def test_proofs_come_back_as_they_were_and_nonsense_does_not() -> None:
    there = [Proof("a form", (b"Head: \xff\r\n", b"\r\nbody"), tracked=False), Proof("", (b"", b""))]
    assert read_proofs(write_proofs(there)) == there
    for nonsense in (None, 7, [7], [{}], [{"form": "", "pieces": [], "tracked": None}]):
        with pytest.raises(Exception, match="nonsense"):
            read_proofs(nonsense)


@pytest.mark.parametrize(
    ("name", "text", "other", "says"),
    [
        ("_partials/papers.mjml", "{{ section.title }}", "{{ section.title | upper }}", r"mjml: a reader's own words"),
        ("_partials/papers.txt", "{{ section.title }}", "{{ section.cards | length }}", r"body\.txt: what is set once"),
        ("_partials/papers.txt", "{{ card.reason }}", "{{ card.reason | capitalize }}", r"body\.txt: what is set once"),
        ("_partials/papers.mjml", "{{ line.said }}", "{{ digest.picks | length }}", r"body\.mjml: what is set once"),
        ("_partials/papers.txt", "{% block card scoped %}", "{% block card scoped %}{{ loop.index }}", "loop"),
        ("_partials/papers.txt", "block card", "block paper", r"body\.txt: holds the block card"),
        (
            "_partials/papers.mjml",
            "<!--% endfor %--><!--% endfor %-->",
            "<!--% endfor %-->x<!--% endfor %-->",
            r"body\.mjml: holds (nothing in its loops|the blocks)",
        ),
        ("digest/subject.txt", "{{ digest.subject }}", "{{ digest.subject | upper }}", "own words"),
        ("digest/subject.txt", "{{ digest.subject }}", "{{ sections | length }} papers", "what is set once"),
    ],
)  # fmt: skip
def test_a_digest_that_does_what_typesetting_cannot_is_refused_and_its_file_named(
    make_app: MAKE_APP, sqlite_url: str, tmp_path: Path, name: str, text: str, other: str, says: str
) -> None:
    ours = (ROOT / "templates/email" / name).read_text(encoding="utf-8")
    assert text in ours
    (tmp_path / "own/email" / name).parent.mkdir(parents=True)
    (tmp_path / "own/email" / name).write_text(ours.replace(text, other, 1), encoding="utf-8")
    with pytest.raises((InputError, SettingsError), match=says):
        list(specimens(make_app(sqlite_url, templates_dir=tmp_path / "own"), Mail.DIGEST))


def test_a_block_that_is_there_twice_is_named_with_its_line(tmp_path: Path) -> None:
    body = "email/_partials/papers.txt"
    twice = (ROOT / "templates" / body).read_text(encoding="utf-8") + "{% block card %}{% endblock %}"
    (tmp_path / body).parent.mkdir(parents=True)
    (tmp_path / body).write_text(twice, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"papers\.txt, line \d+: .*card.*twice|papers\.txt, line \d+: .*card"):
        Templates(tmp_path)
