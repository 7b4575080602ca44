"""Mail templates: a mail is a folder of three files, ``subject.txt``, ``body.mjml`` and ``body.txt``.

MJML is compiled once for each text of a template, and Jinja runs on the compiled HTML, with
autoescape: data never passes through MJML, which un-escapes entities in attributes. Control
statements in ``body.mjml`` are comments, ``<!--% for … %-->``, since tags left as text would be
moved out of their tables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2

from newsletter.errors import SettingsError

_MARKER = "email/digest/body.mjml"
# Only whitespace between tags goes: inside text it may separate words.
_BETWEEN_TAGS = re.compile(r"(?<=>)\s*\n\s*(?=<)")
_INDENT = re.compile(r"\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Content:
    """A mail's three parts as text."""

    subject: str
    text: str
    html: str


# Comments to an HTML parser, so that MJML leaves them alone.
_HTML = jinja2.Environment(
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
    """The templates below one folder.

    :raises SettingsError: the folder holds no templates.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = find_root(root)
        self._mails: dict[str, MailTemplate] = {}

    def mail(self, name: str) -> MailTemplate:
        """Return a mail's compiled trio."""
        if name not in self._mails:
            folder = self.root / "email" / name
            html = compile_mjml((folder / "body.mjml").read_text(encoding="utf-8"), str(self.root / "email"))
            self._mails[name] = MailTemplate(
                subject=self._plain.from_string((folder / "subject.txt").read_text(encoding="utf-8")),
                text=self._plain.from_string((folder / "body.txt").read_text(encoding="utf-8")),
                html=_html_template(html),
            )
        return self._mails[name]

    @cached_property
    def _plain(self) -> jinja2.Environment:
        return jinja2.Environment(
            autoescape=False,  # noqa: S701  text parts are no HTML
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            loader=jinja2.FileSystemLoader(self.root / "email"),
        )


def find_root(configured: Path | None) -> Path:
    """Return the templates' folder: the configured one, a checkout's, or the one inside the installed package."""
    package = Path(__file__).resolve().parent.parent
    places = [configured] if configured else [package.parent / "templates", package / "_templates"]
    for place in places:
        if (place / _MARKER).is_file():
            return place
    raise SettingsError(f"NEWSLETTER_TEMPLATES_DIR: no templates in {places[0]}")


@lru_cache(maxsize=64)
def _html_template(html: str) -> jinja2.Template:
    return _HTML.from_string(html)


@lru_cache(maxsize=64)
def compile_mjml(source: str, include_root: str) -> str:
    """Return MJML as HTML that is still a Jinja template; once for each text.

    ``<mj-include path="./_partials/x.mjml" />`` is replaced by that file, below `include_root`.
    """
    import mjml  # noqa: PLC0415  half a second that a command which mails nothing need not wait for

    source = re.sub(
        r'<mj-include path="\./(_partials/[a-z_]+\.mjml)" />',
        lambda match: (Path(include_root) / match[1]).read_text(encoding="utf-8"),
        source,
    )
    html = str(mjml.mjml_to_html(source).html)
    return _INDENT.sub("\n", _BETWEEN_TAGS.sub("", html)).replace("\n\n", "\n")
