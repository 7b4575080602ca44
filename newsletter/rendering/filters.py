"""Lines a card shows about a paper. Pure."""

from collections.abc import Sequence

from newsletter.papers.textclean import shorten

MAX_NAME = 60
_FEW = 5


def author_line(authors: Sequence[str]) -> str:
    """Return up to five names, or the first three and the last, with how many there are."""
    names = [shorten(name, MAX_NAME) for name in authors]
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:3])} … {names[-1]} ({len(names)} authors)"
