"""What a relay says, taken apart into replies (RFC 5321, section 4.2); whatever it says, memory stays bounded. Pure."""

import re
from collections.abc import Iterator

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_MOST_BYTES = 65_536  # of one reply: an honest line holds 512, and few replies have more than a dozen
_KEPT_CHARS = 1_000


class NotAReplyError(Exception):
    """What came is no SMTP reply."""


class Replies:
    """Collects what arrives in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._text = ""
        self._bytes = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, str]]:
        """Yield each reply that is complete: its code, 200 to 599, and its text, lines joined by a space.

        :raises NotAReplyError: and so forever after.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._add(line.removesuffix(b"\r")):
                said = self._code, self._text
                self._code, self._text, self._bytes = 0, "", 0
                yield said
        if self._bytes + len(self._rest) > _MOST_BYTES:
            raise NotAReplyError("a reply without an end")

    def _add(self, line: bytes) -> bool:
        """Take a line; return whether it was its reply's last."""
        self._bytes += len(line)
        found = _LINE.fullmatch(line)
        if found is None or (self._code and int(found[1]) != self._code) or self._bytes > _MOST_BYTES:
            raise NotAReplyError(f"not a reply: {readable(line[:60])!r}")
        self._code = int(found[1])
        if len(self._text) < _KEPT_CHARS:
            said = readable((found[3] or b"")[:_KEPT_CHARS])
            self._text = f"{self._text} {said}" if self._text else said
        return found[2] != b"-"


def readable(said: bytes) -> str:
    """Return what a relay said as text that every database keeps, and that does nothing to a terminal."""
    text = said.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text).strip()
