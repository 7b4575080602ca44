"""Mail templates: a mail is a folder of three files, ``subject.txt``, ``body.mjml`` and ``body.txt``.

MJML is compiled once for each text of a template, and Jinja runs on the compiled HTML, with
autoescape: data never passes through MJML, which un-escapes entities in attributes. Control
statements in ``body.mjml`` are comments, ``<!--% for … %-->``, since tags left as text would be
moved out of their tables. ``<mj-include path="./_partials/x.mjml" />``, in a text with ``x.txt``, is
replaced by that file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from newsletter.errors import SettingsError
from newsletter.rendering.overrides import check, own_files

_MARKER = "email/digest/body.mjml"
# Only whitespace between tags goes: inside text it may separate words.
_BETWEEN_TAGS = re.compile(r"(?<=>)\s*\n\s*(?=<)")
_INDENT = re.compile(r"\n[ \t]+")
_INCLUDE = re.compile(r'<mj-include path="\./(_partials/[a-z_]+\.(?:mjml|txt))" />\n?')
_DEEPEST = 3  # a part may hold parts, but none itself


@dataclass(frozen=True, slots=True)
class Content:
    """A mail's three parts as text."""

    subject: str
    text: str
    html: str


# Comments to an HTML parser, so that MJML leaves them alone. Sandboxed: an operator's template sees what it is given.
_HTML = ImmutableSandboxedEnvironment(
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
        shipped = _shipped()
        self.folders = (own, shipped) if own else (shipped,)
        self._mails: dict[str, MailTemplate] = {}
        if own:
            check(own, shipped, _HTML, self._plain)
            for mail in {name.split("/")[1] for name in own_files(own) if re.match("email/[^_]", name)}:
                self.mail(mail)

    def mail(self, name: str) -> MailTemplate:
        """Return a mail's compiled trio.

        :raises SettingsError: naming the file and line that makes no sense.
        """
        if name not in self._mails:
            self._mails[name] = MailTemplate(
                subject=self._plain.from_string(self._read(f"email/{name}/subject.txt")),
                text=self._plain.from_string(self._whole(f"email/{name}/body.txt")),
                html=_html_template(self._compiled(f"email/{name}/body.mjml")),
            )
        return self._mails[name]

    def _compiled(self, name: str) -> str:
        try:
            return compile_mjml(self._whole(name))
        except Exception as exc:  # the compiler's errors have no common kind
            raise SettingsError(f"{self._path(name)}: no MJML: {type(exc).__name__}: {exc}") from exc

    def _whole(self, name: str) -> str:
        """Return a template with its parts in it."""
        source = self._read(name)
        for _ in range(_DEEPEST):
            source = _INCLUDE.sub(lambda match: self._read(f"email/{match[1]}"), source)
        return source

    def _path(self, name: str) -> Path:
        return next((each / name for each in self.folders if (each / name).is_file()), self.folders[-1] / name)

    def _read(self, name: str) -> str:
        path = self._path(name)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"{path} cannot be read: {exc}") from exc

    @cached_property
    def _plain(self) -> jinja2.Environment:
        return ImmutableSandboxedEnvironment(
            autoescape=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            loader=jinja2.FileSystemLoader([each / "email" for each in self.folders]),
        )


def _shipped() -> Path:
    """Return the templates of a checkout, or those inside the installed package."""
    package = Path(__file__).resolve().parent.parent
    places = package.parent / "templates", package / "_templates"
    return next(place for place in places if (place / _MARKER).is_file())


@lru_cache(maxsize=64)
def _html_template(html: str) -> jinja2.Template:
    return _HTML.from_string(html)


@lru_cache(maxsize=64)
def compile_mjml(source: str) -> str:
    """Return MJML as HTML that is still a Jinja template; once for each text."""
    import mjml  # noqa: PLC0415  half a second that a command which mails nothing need not wait for

    html = str(mjml.mjml_to_html(source).html)
    return _INDENT.sub("\n", _BETWEEN_TAGS.sub("", html)).replace("\n\n", "\n")
