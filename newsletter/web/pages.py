"""Web pages from ``templates/web``."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.limits import Sandbox
from newsletter.subscribers.preferences import LANGUAGES
from newsletter.web import languages, zones


class Pages:
    """Renders pages; each sees the letterhead as ``site`` and its own language as ``language``."""

    def __init__(self, folders: Sequence[Path], letterhead: Letterhead) -> None:
        self._folders = folders
        self._letterhead = letterhead
        self._environment = lru_cache(maxsize=len(LANGUAGES))(self._speaking)

    def render(self, name: str, language: str = languages.DEFAULT, **values: Any) -> str:  # noqa: ANN401  templates take any value
        """Return a page in `language`, in English if we do not speak that."""
        spoken = language if language in LANGUAGES else languages.DEFAULT
        return self._environment(spoken).get_template(name).render(values)

    def gettext(self, language: str) -> Callable[[str], str]:
        """Return what puts an English text into `language`; placeholders stay."""
        return partial(languages.translate, language)

    def _speaking(self, language: str) -> jinja2.Environment:
        environment = environment_in(self._folders, language)
        environment.globals |= {"site": self._letterhead, "language": language}
        options = str(environment.get_template("_zones.html").render(zones=zones.by_continent()))

        def zone_options(chosen: str) -> Markup:
            value = f'value="{escape(chosen)}"'
            if value not in options:  # US/Eastern and the like are good, but not among those to choose from
                return Markup(f"<option {value} selected>{escape(chosen)}</option>{options}")  # noqa: S704  escaped
            return Markup(options.replace(value, f"{value} selected", 1))  # noqa: S704  rendered and escaped above

        environment.globals["zone_options"] = zone_options
        return environment


class _Compiled(jinja2.BytecodeCache):
    """What templates are compiled to: all environments of a process share it.

    So no filter that depends on the language may be applied to a constant: Jinja does that while compiling.
    """

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        if (code := self._kept.get(bucket.key)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


def environment_in(folders: Sequence[Path], language: str) -> jinja2.Environment:
    """Return what reads templates in `language`: of two folders that hold the same one the first one's."""
    environment = Sandbox(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_COMPILED,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.filters["day"] = partial(languages.written_day, language)
    # The extension adds this method, which types cannot know.
    environment.install_gettext_translations(languages.translations(language), newstyle=True)  # type: ignore[attr-defined]
    return environment
