"""What is written is true."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from conftest import ROOT
from typer.main import get_command

from newsletter.cli import cli
from newsletter.delivery.models import Mail
from newsletter.settings import PREFIX, Settings

Command = Callable[..., CompletedProcess[str]]


def test_every_setting_is_in_the_example_and_nothing_else_is() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = re.findall(rf"^#? ?({PREFIX}[A-Z_]+)=", text, re.MULTILINE)
    assert sorted(named) == sorted(PREFIX + field.upper() for field in Settings.model_fields)


def test_the_example_is_a_good_env_file(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    path = tmp_path / "all.env"
    path.write_text(re.sub(r"^# ?(?=NEWSLETTER_)", "", text, flags=re.MULTILINE), encoding="utf-8")
    assert Settings(_env_file=path).relays


def test_the_readme_names_only_commands_there_are() -> None:
    text = "\n".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "deploy/README.md", "CONTRIBUTING.md")
    )
    there = set(get_command(cli).commands) | {"test", "--help", "--version"}  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:^|[`$ ])(?:\./run|newsletter) ([a-z-]+)", text, re.MULTILINE))
    assert named <= there, named - there


def test_the_readme_begins_with_a_picture_and_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = re.search(r"!\[.*?\]\((.*?)\)", text)
    assert picture is not None
    assert (ROOT / picture[1]).is_file()
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL)
    assert blocks[0].split() == ["./run", "demo", "./run", "test"]
    assert picture.start() < text.index(blocks[0])


def test_every_mail_is_a_folder_of_three_files() -> None:
    folders = {path.name: {each.name for each in path.iterdir()} for path in (ROOT / "templates/email").iterdir()}
    del folders["_partials"]
    assert folders == {mail.value: {"subject.txt", "body.mjml", "body.txt"} for mail in Mail}


def test_help_lists_the_commands_and_each_has_help_of_its_own(command: Command) -> None:
    wanted = {"demo", "init", "run", "serve", "worker", "scheduler", "pull", "subscribers", "send", "status", "issues"}
    wanted |= {"deliveries", "dkim", "evaluate", "explain", "lint", "preview"}
    assert set(get_command(cli).commands) == wanted  # type: ignore[attr-defined]
    shown = command("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in wanted)
    for each in get_command(cli).commands.values():  # type: ignore[attr-defined]
        assert each.get_short_help_str()


def test_locks_hold_hashes_and_no_addresses() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index" not in text


def test_the_lock_holds_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for requirement in project["project"]["dependencies"]:
        found = re.match(r"[A-Za-z0-9-]+", requirement)
        assert found is not None
        assert f"\n{found[0].lower()}==" in f"\n{locked}"


def test_the_version_is_told_once() -> None:
    import newsletter

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert newsletter.__version__ == project["project"]["version"]
    assert f"## {newsletter.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
