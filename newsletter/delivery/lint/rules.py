"""What a rule is: what it wants, whom it concerns, and what it finds wrong. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from newsletter.delivery.lint.opened import Opened

Find = Callable[[Opened], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of what an operator is told.

    :ivar name: such as ``wire.crlf``.
    :ivar wants: what a good mail does.
    :ivar find: what is wrong, a short text for each place.
    :ivar applies: whether the rule concerns a mail at all.
    """

    name: str
    wants: str
    find: Find
    applies: Callable[[Opened], bool]


class Book(list[Rule]):
    """The rules of a room, in the order in which they are told.

    :param room: the first half of their names.
    """

    def __init__(self, room: str) -> None:
        super().__init__()
        self._room = room

    def rule(
        self, name: str, wants: str, applies: Callable[[Opened], bool] = lambda _mail: True
    ) -> Callable[[Find], Find]:
        """Write a function into the book."""

        def write(find: Find) -> Find:
            self.append(Rule(f"{self._room}.{name}", wants, find, applies))
            return find

        return write


def brief(text: str, most: int = 80) -> str:
    """Return a piece of a mail as a message may quote it: on one line, and not all of it."""
    text = "".join(char if char.isprintable() else "·" for char in " ".join(text.split()))
    return text if len(text) <= most else text[: most - 1] + "…"
