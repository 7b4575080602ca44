"""A mail taken apart for the rules, whatever its bytes: nothing here raises on a broken one. Pure."""

import email
import re
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from functools import cached_property
from urllib.parse import urlsplit

from newsletter.delivery.dkim import head_fields
from newsletter.delivery.dkim.keys import Key
from newsletter.delivery.lint.markup import Page, read_page

_LINE_END = re.compile(rb"\r\n|\r|\n")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# mails to an address that is nobody's yet, or of who has left, or to the operator: nothing to unsubscribe from
_OUTSIDE = {"new_address", "goodbye", "alert"}
URL = re.compile(r"(?:https?://|mailto:)[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a mail beside its bytes; what is empty is not looked at.

    :ivar site: the public address of the web app.
    :ivar tracked: whether the reader's opens and clicks may be counted.
    :ivar keys: what the mail should be signed with.
    :ivar trial: whether mails go no further than this machine.
    """

    site: str = ""
    postal_address: str = ""
    tracked: bool | None = None
    keys: tuple[Key, ...] = ()
    trial: bool = False

    @property
    def local_site(self) -> str:
        """The site's address where it, and all that gets its mails, is on this machine: nobody has a certificate."""
        is_local = self.trial and self.site.startswith("http:") and host_of(self.site) in LOOPBACK
        return self.site if is_local else ""


@dataclass(frozen=True)
class Opened:
    """A mail and its parts.

    :ivar raw: the bytes as they stand in the file or go over the wire.
    """

    raw: bytes
    about: About = field(default_factory=About)

    @cached_property
    def _halves(self) -> tuple[bytes, bytes, bytes]:
        return _LINE_END.sub(b"\r\n", self.raw).partition(b"\r\n\r\n")

    @property
    def head(self) -> bytes:
        """The head with CRLF, without the blank line."""
        return self._halves[0]

    @property
    def body(self) -> bytes:
        """What follows the blank line, with CRLF."""
        return self._halves[2]

    @cached_property
    def fields(self) -> list[tuple[str, str]]:
        """The head's fields as they stand there, folded and encoded."""
        return head_fields(self.head.decode("utf-8", "surrogateescape"))

    def values(self, name: str) -> list[str]:
        """Return a field's values, unfolded."""
        found = [value for each, value in self.fields if each.strip().lower() == name.lower()]
        return [re.sub(r"\r\n([ \t])", r"\1", value).strip() for value in found]

    def value(self, name: str) -> str:
        """Return the first of a field's values, or an empty text."""
        return next(iter(self.values(name)), "")

    def shown(self, name: str) -> str:
        """Return the first of a field's values as a reader sees it."""
        try:
            return str(make_header(decode_header(self.value(name))))
        except (HeaderParseError, ValueError, LookupError):
            return self.value(name)

    @cached_property
    def parsed(self) -> Message:
        """The mail as Python's parser sees it."""
        return email.message_from_bytes(self.head + b"\r\n\r\n" + self.body)

    @cached_property
    def parts(self) -> list[Message]:
        """All parts that hold something themselves."""
        return [each for each in self.parsed.walk() if not each.is_multipart()]

    def part(self, kind: str) -> Message | None:
        """Return the first part of a type."""
        return next((each for each in self.parts if each.get_content_type() == kind), None)

    @cached_property
    def text(self) -> str:
        """The text part, decoded."""
        return _decoded(self.part("text/plain"))

    @cached_property
    def html(self) -> str:
        """The HTML part, decoded."""
        return _decoded(self.part("text/html"))

    @cached_property
    def page(self) -> Page:
        """The HTML part, read."""
        return read_page(self.html)

    @cached_property
    def text_urls(self) -> set[str]:
        """The addresses in the text part."""
        return {found.rstrip(".,;:!?)]}") for found in URL.findall(self.text)} | set(URL.findall(self.text))

    @property
    def for_list(self) -> bool:
        """Whether it is a mail that one may unsubscribe from."""
        return self.value("Feedback-ID").split(":")[1:2] not in [[each] for each in _OUTSIDE]

    @cached_property
    def leaving(self) -> list[str]:
        """The addresses in List-Unsubscribe."""
        return re.findall(r"<([^<>]*)>", self.value("List-Unsubscribe"))


def host_of(url: str) -> str:
    """Return the host of an address, or an empty text."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _decoded(part: Message | None) -> str:
    if part is None:
        return ""
    raw = part.get_payload(decode=True)
    data = raw if isinstance(raw, bytes) else b""
    try:
        return data.decode(part.get_content_charset("utf-8"), "replace").replace("\r\n", "\n")
    except (LookupError, ValueError):  # a charset that there is not, or that means something else
        return data.decode("utf-8", "replace")
