"""Web pages from ``templates/web``."""

from pathlib import Path
from typing import Any

import jinja2

from newsletter.rendering.letterhead import Letterhead


class Pages:
    """Renders pages; each sees the letterhead as ``site``."""

    def __init__(self, folder: Path, letterhead: Letterhead) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["site"] = letterhead

    def render(self, name: str, **values: Any) -> str:  # noqa: ANN401  templates take any value
        """Return a page."""
        return self._environment.get_template(name).render(values)
