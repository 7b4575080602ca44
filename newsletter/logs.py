"""Structured logs on stderr: an event name with fields, never an address, a token or a secret."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEYS = re.compile(r"(?i)e?mail(_key)?$|address|token|secret|password|authorization|recipient")
_ADDRESS = re.compile(r"(?:\"[^\"\r\n]*\"|[^\s<>@\"…]+)(?:@|%40)[^\s<>@\"',;]+")
# Any run of that length with a letter in it: one token in some hundreds holds no digit. It may follow "%20" in a URL.
_TOKEN = re.compile(
    r"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{38}(?![A-Za-z0-9_-])"
)
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")


def configure(level: str = "INFO", *, json: bool = False, stream: TextIO | None = None) -> None:
    """Send our own and the libraries' records to `stream` (stderr), one line each, redacted.

    :param level: for our own logger; libraries stay at WARNING, since at DEBUG some print what they send.
    """
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("newsletter").setLevel(level)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning; ours says it once, in plain words
    logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)  # it would quote what strangers paste
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get(name: str) -> Any:  # noqa: ANN401  structlog's own type for a lazily bound logger
    """Return the logger for a module of ours."""
    return structlog.stdlib.get_logger(name)


def verbose(name: str) -> bool:
    """Return whether a module's debug messages are wanted: to put one together takes longer than to ask."""
    return logging.getLogger(name).isEnabledFor(logging.DEBUG)


def redact(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank fields that name people or secrets, and anything in a text that looks like one."""
    for key, value in fields.items():
        if _SECRET_KEYS.search(key):
            fields[key] = "…"
        elif not key.startswith("_") and not isinstance(value, (bool, int, float, type(None))):
            fields[key] = scrub(str(value))  # an exception, a path or a list can hold an address, too
    return fields


def scrub(text: str) -> str:
    """Return `text` with addresses, link tokens and passwords in URLs replaced by an ellipsis."""
    return _TOKEN.sub("…", _ADDRESS.sub("…", _URL_PASSWORD.sub("…@", text)))
