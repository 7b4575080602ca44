"""Lines a card shows about a paper. Pure."""

from collections.abc import Sequence

MAX_NAME = 60
_FEW = 5


def author_line(authors: Sequence[str]) -> str:
    """Return up to five names, or the first three and the last, with how many there are."""
    names = [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in authors]
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:3])} … {names[-1]} ({len(names)} authors)"
