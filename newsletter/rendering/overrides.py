"""An operator's own templates, judged before anything is rendered with them."""

import difflib
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import jinja2
from jinja2 import meta, nodes

from newsletter.errors import SettingsError
from newsletter.rendering.limits import Sandbox

_ENTITY = re.compile(r"&#?[a-zA-Z0-9]+;|<!DOCTYPE[^>]*>")
_LEFT_BESIDE = re.compile(r"^\.|~$|\.(swp|bak)$")
_PAGES = Sandbox(autoescape=True, extensions=["jinja2.ext.i18n"])


def own_files(own: Path) -> list[str]:
    """Return the names of an operator's templates; what editors and mounts leave beside them is none."""
    files = (each.relative_to(own) for each in own.rglob("*") if each.is_file())
    return sorted(str(each) for each in files if not any(_LEFT_BESIDE.search(part) for part in each.parts))


def check(own: Path, shipped: Path, html: jinja2.Environment, plain: jinja2.Environment) -> None:
    """Say at once what would otherwise fail when the first mail is due, or somebody looks.

    :param html: reads the bodies of mails, `plain` their texts and subjects.
    :raises SettingsError: naming the file, and the line where there is one.
    """
    known = {str(each.relative_to(shipped)) for each in shipped.rglob("*") if each.is_file()}
    theirs = own_files(own)
    if not theirs:
        raise SettingsError(f"NEWSLETTER_TEMPLATES_DIR: no templates in {own}")
    for name in theirs:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"NEWSLETTER_TEMPLATES_DIR: {own / name} takes the place of no template{hint}")
        environment = _PAGES if name.startswith("web/") else html if name.endswith(".mjml") else plain
        tree = parsed(environment, own / name)
        if name.startswith("email/"):
            _check_names(own / name, tree, _names(shipped, name, html, plain))
        if name.endswith(".mjml"):
            check_tags(own / name)


def read(path: Path) -> str:
    """Return a template's text.

    :raises SettingsError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} cannot be read: {exc}") from exc


def parsed(environment: jinja2.Environment, path: Path) -> nodes.Template:
    """Return a template's statements.

    :raises SettingsError: naming the file, and the line that makes no sense, or uses a filter that there is not.
    """
    text = read(path)
    try:
        tree = environment.parse(text, path.name, str(path))
    except jinja2.TemplateSyntaxError as exc:
        raise SettingsError(f"{path}, line {exc.lineno}: {exc.message}") from exc
    except RecursionError:
        raise SettingsError(f"{path}: statements inside one another, too deep to be read") from None
    # Pages have filters of their own, which are made for a language.
    for node in tree.find_all((nodes.Filter, nodes.Test)) if environment is not _PAGES else ():
        kind, known = ("filter", environment.filters) if isinstance(node, nodes.Filter) else ("test", environment.tests)
        if node.name not in known:
            raise SettingsError(f"{path}, line {node.lineno}: there is no {kind} {node.name}")
    return tree


def _names(shipped: Path, name: str, html: jinja2.Environment, plain: jinja2.Environment) -> set[str]:
    """Return what our own templates of the same mail, or any mail for a part of all, are given."""
    folder = (shipped / name).parent
    of_one = not folder.name.startswith("_")
    places = (folder, shipped / "email/_partials") if of_one else (shipped / "email",)
    found = {"subject"}
    for each in (file for place in places for file in place.rglob("*") if file.is_file()):
        found |= meta.find_undeclared_variables(parsed(html if each.suffix == ".mjml" else plain, each))
    return found


def _check_names(path: Path, tree: nodes.Template, known: set[str]) -> None:
    try:
        unknown = meta.find_undeclared_variables(tree) - known
    except jinja2.TemplateSyntaxError as exc:  # such as a block that is there twice
        raise SettingsError(f"{path}, line {exc.lineno}: {exc.message}") from exc
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name in unknown:
            there = ", ".join(sorted(known))
            why = ": blocks are set once for all readers" if node.name == "loop" else f"; there is: {there}"
            raise SettingsError(f"{path}, line {node.lineno}: there is no {node.name} here{why}")
    for other in meta.find_referenced_templates(tree):
        raise SettingsError(f"{path}: a mail's template takes no other one: {other}")


def check_tags(path: Path) -> None:
    """Say where tags do not match: the compiler would leave something out, and say nothing.

    :raises SettingsError: naming the file and line.
    """
    try:
        ET.fromstring(f"<file>{_ENTITY.sub('', read(path))}</file>")  # noqa: S314  no entities left
    except ET.ParseError as exc:
        raise SettingsError(f"{path}, line {exc.position[0]}: {exc}") from exc
