"""Where in a template something went wrong. Pure.

A body's template is the HTML that its MJML was compiled to, and Jinja counts that one's lines. So every tag is put on a
line of its own before Jinja sees it, in a comment that leaves nothing behind; the tag is then looked for in the source.
"""

import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from newsletter.rendering.limits import TooMuchError

_TAG = re.compile(r"\{\{.*?\}\}|<!--%.*?%-->", re.DOTALL)
_NEW_LINE = "<!--#\n#-->"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; 0 where only the file is known."""

    path: Path
    line: int = 0

    def __str__(self) -> str:
        """Return it as errors name it."""
        return f"{self.path}, line {self.line}" if self.line else str(self.path)


def with_lines(html: str) -> str:
    """Return a compiled body with each of its tags on a line of its own; it renders to the same."""
    return _TAG.sub(lambda tag: _NEW_LINE + tag[0], html)


def template_place(exc: BaseException) -> Place | None:
    """Return the innermost line of a template in an exception's traceback, as Jinja counts."""
    filename = exc.filename if isinstance(exc, TooMuchError) else None
    found = Place(Path(filename)) if filename else None
    for frame, line in traceback.walk_tb(exc.__traceback__):
        inside = frame.f_globals
        template = inside.get("__jinja_template__")
        if "__jinja_exception__" in inside:  # Jinja has put the template's own line into the traceback
            found = Place(Path(frame.f_code.co_filename), line)
        elif template is not None and template.filename:
            found = Place(Path(template.filename), template.get_corresponding_lineno(line))
    return found


def source_place(html: str, place: Place, files: Mapping[Path, str]) -> Place:
    """Return where in one of the source's files the tag stands that is on a line of the compiled body.

    :param html: the body, as `with_lines` gives it.
    :param files: the texts it was compiled from.
    """
    line = html.split("\n")[place.line - 1] if 0 < place.line <= html.count("\n") + 1 else ""
    tag = _TAG.search(line)
    if tag:
        for path, text in files.items():
            if tag[0] in text:
                return Place(path, text[: text.index(tag[0])].count("\n") + 1)
    return Place(place.path)
