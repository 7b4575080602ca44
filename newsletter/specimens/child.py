"""The process that tries templates: ``python -m newsletter.specimens.child`` prints what it is asked for, once."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from newsletter.delivery.models import Mail
from newsletter.errors import NewsletterError
from newsletter.rendering.templates import Templates
from newsletter.rendering.trial import answer
from newsletter.specimens.proofs import Order, proofs
from newsletter.specimens.wire import write_proofs

_Asked = tuple[Order, Path | None]


@lru_cache(maxsize=1)
def _templates(own: Path | None) -> Templates:
    return Templates(own)


def _make(asked: _Asked, name: str) -> list[dict[str, Any]]:
    order, own = asked
    return write_proofs(proofs(order, _templates(own), Mail(name)))


def _place(asked: _Asked, exc: BaseException) -> str:
    """Return where in a template an exception came from; nothing where the templates cannot even be read."""
    try:
        return str(_templates(asked[1]).place(exc) or "")
    except NewsletterError:
        return ""


if __name__ == "__main__":
    import mjml  # noqa: F401  before the limits: what is tried are templates, not what they need

    answer(_make, _place)
