"""Mail templates: a mail is a folder of three files, ``subject.txt``, ``body.mjml`` and ``body.txt``.

MJML is compiled once for each text of a template, and Jinja runs on the compiled HTML, with
autoescape: data never passes through MJML, which un-escapes entities in attributes. Control
statements in ``body.mjml`` are comments, ``<!--% for … %-->``, since tags left as text would be
moved out of their tables. ``<mj-include path="./_partials/x.mjml" />``, in a text with ``x.txt``, is
replaced by that file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2

from newsletter.errors import SettingsError
from newsletter.rendering.limits import Sandbox
from newsletter.rendering.overrides import check, check_tags, parsed, read
from newsletter.rendering.places import Place, source_place, template_place, with_lines

_MARKER = "email/digest/body.mjml"
# Only whitespace between tags goes: inside text it may separate words.
_BETWEEN_TAGS = re.compile(r"(?<=>)\s*\n\s*(?=<)")
_INDENT = re.compile(r"\n[ \t]+")
_INCLUDE = re.compile(r'<mj-include path="\./(_partials/[a-z_]+\.(?:mjml|txt))" />\n?')
_DEEPEST = 5  # parts in parts


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a template, and where it stands."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """A mail's three parts as text."""

    subject: str
    text: str
    html: str


# Comments to an HTML parser, so that MJML leaves them alone. Sandboxed: an operator's template sees what it is given.
_HTML = Sandbox(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    block_start_string="<!--%",
    block_end_string="%-->",
    comment_start_string="<!--#",
    comment_end_string="#-->",
)


@dataclass(frozen=True)
class MailTemplate:
    """A compiled trio."""

    subject: jinja2.Template
    text: jinja2.Template
    html: jinja2.Template

    def render(self, values: Mapping[str, Any]) -> Content:
        """Render the parts.

        :raises jinja2.UndefinedError: the template names something that is not in `values`.
        """
        subject = self.render_subject(values)
        values = {**values, "subject": subject}
        return Content(subject, self.text.render(values), self.html.render(values))

    def render_subject(self, values: Mapping[str, Any]) -> str:
        """Render the subject alone, on one line."""
        return " ".join(self.subject.render(values).split())


class Templates:
    """The templates that come with the program, and an operator's, file by file, in their place.

    :param own: the operator's folder: what is in it stands for the file of the same path.
    :ivar folders: where templates are looked for, the operator's first.
    :raises SettingsError: the folder holds no templates, or something else than templates, or one that makes no sense:
        its file and line are named.
    """

    def __init__(self, own: Path | None = None) -> None:
        self.folders = template_folders(own)
        self._mails: dict[str, MailTemplate] = {}
        if own:
            check(own, self.folders[-1], _HTML, self._plain)

    def mail(self, name: str) -> MailTemplate:
        """Return a mail's compiled trio.

        :raises SettingsError: naming the file and line that makes no sense.
        """
        if name not in self._mails:
            self._mails[name] = MailTemplate(
                subject=self._text(f"email/{name}/subject.txt"),
                text=self._text(f"email/{name}/body.txt"),
                html=self._html(f"email/{name}/body.mjml"),
            )
        return self._mails[name]

    def place(self, exc: BaseException) -> Place | None:
        """Return the file and line of a template that an exception came out of, if it came out of one."""
        found = template_place(exc)
        if found is None:
            return None
        name = str(found.path.relative_to(next(each for each in self.folders if found.path.is_relative_to(each))))
        lines = self._lines(name)
        if found.path.suffix == ".mjml":
            return source_place(with_lines(self._compiled(name)), found, _files(lines))
        return lines[found.line - 1].place if 0 < found.line <= len(lines) else found

    def _text(self, name: str) -> jinja2.Template:
        lines = self._lines(name)
        for path in _files(lines):
            parsed(self._plain, path)
        return _template(self._plain, "".join(line.text for line in lines), self._path(name))

    def _html(self, name: str) -> jinja2.Template:
        for path in _files(self._lines(name)):
            parsed(_HTML, path)
            check_tags(path)
        return _html_template(with_lines(self._compiled(name)), self._path(name))

    def _compiled(self, name: str) -> str:
        source = "".join(line.text for line in self._lines(name))
        try:
            return compile_mjml(source)
        except Exception as exc:  # the compiler's errors have no common kind
            raise SettingsError(f"{self._path(name)}: no MJML: {type(exc).__name__}: {exc}") from exc

    def _lines(self, name: str, deep: int = 0) -> list[Line]:
        """Return a template's lines, with those of its parts where these stand.

        :raises SettingsError: a file that cannot be read, or parts that hold one another.
        """
        path = self._path(name)
        if deep > _DEEPEST:
            raise SettingsError(f"{path}: parts inside one another, too deep to be read")
        found: list[Line] = []
        for number, text in enumerate(read(path).splitlines(keepends=True), start=1):
            own, *others = _INCLUDE.split(text)
            if own.strip() or not others:
                found.append(Line(Place(path, number), own))
            for part, rest in zip(others[::2], others[1::2], strict=True):
                found += self._lines(f"email/{part}", deep + 1)
                found += [Line(Place(path, number), rest)] if rest.strip() else []
        return found

    def _path(self, name: str) -> Path:
        return next((each / name for each in self.folders if (each / name).is_file()), self.folders[-1] / name)

    @cached_property
    def _plain(self) -> jinja2.Environment:
        return Sandbox(
            autoescape=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            loader=jinja2.FileSystemLoader([each / "email" for each in self.folders]),
        )


def _files(lines: Sequence[Line]) -> dict[Path, str]:
    """Return the files that lines come from, with their texts."""
    return {path: read(path) for path in dict.fromkeys(line.place.path for line in lines)}


def template_folders(own: Path | None) -> tuple[Path, ...]:
    """Return where templates are looked for: an operator's folder, then those of a checkout or inside the package."""
    package = Path(__file__).resolve().parent.parent
    places = package.parent / "templates", package / "_templates"
    shipped = next(place for place in places if (place / _MARKER).is_file())
    return (own, shipped) if own else (shipped,)


@lru_cache(maxsize=64)
def _html_template(html: str, path: Path) -> jinja2.Template:
    return _template(_HTML, html, path)


def _template(environment: jinja2.Environment, text: str, path: Path) -> jinja2.Template:
    """Return a compiled template whose errors know its file."""
    try:
        code = environment.compile(text, path.name, str(path))
    except (jinja2.TemplateSyntaxError, RecursionError, SyntaxError) as exc:  # what `parsed` does not find
        raise SettingsError(f"{path}: {exc}") from exc
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


@lru_cache(maxsize=64)
def compile_mjml(source: str) -> str:
    """Return MJML as HTML that is still a Jinja template; once for each text."""
    import mjml  # noqa: PLC0415  half a second that a command which mails nothing need not wait for

    html = str(mjml.mjml_to_html(source).html)
    return _INDENT.sub("\n", _BETWEEN_TAGS.sub("", html)).replace("\n\n", "\n")
