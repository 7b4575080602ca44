"""Typeset once, print per reader.

An issue's cards are rendered and encoded to quoted-printable (RFC 2045, section 6.7) once; a reader's
parts are those bytes joined, with a token and a few short strings of their own put in. Every such
string stands on a line of its own between soft line breaks, so it can be put in without looking at
what stands around it. The result decodes to exactly what rendering the template for that reader gives.
"""

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any

import jinja2
from markupsafe import Markup, escape

from newsletter.issues.compose import Digest, DigestPick, Edition, Selection
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import FEEDBACK, Links
from newsletter.rendering.templates import MailTemplate
from newsletter.rendering.views import Card, Tokens, card, digest_values

MAX_HTML_BYTES = 80 * 1024  # clients clip near 102 KB
_SOFT_BREAK = b"=\r\n"
_MAX_LINE = 76  # with the "=" of a soft break (RFC 2045, section 6.7)
# Control characters cannot occur in cleaned text, so nothing a stranger wrote looks like a slot.
_SLOT = re.compile("\x02([a-z_]+)\x03")
_OWN_BYTES = 4 * 1024  # room for a reader's own strings outside the cards
_PERSONAL = ("subject", "preheader", "opening", "why")


@dataclass(frozen=True, slots=True)
class Printed:
    """A reader's mail: the subject as text, its parts in pieces of quoted-printable with CRLF.

    :ivar text_pieces: not joined yet: whoever makes a message of them joins them with its headers, once.
    """

    subject: str
    text_pieces: list[bytes]
    html_pieces: list[bytes]

    @property
    def text(self) -> bytes:
        """The encoded text."""
        return b"".join(self.text_pieces)

    @property
    def html(self) -> bytes:
        """The encoded HTML."""
        return b"".join(self.html_pieces)

    @property
    def html_bytes(self) -> int:
        """How large the HTML is for who reads it."""
        return len(binascii.a2b_qp(self.html))


class Press:
    """One issue, typeset.

    :param edition: the issue's candidates; a card is set when the first reader gets it.
    """

    def __init__(
        self,
        template: MailTemplate,
        edition: Edition,
        letterhead: Letterhead,
        links: Links,
    ) -> None:
        self._template = template
        self._edition = edition
        self._links = links
        self._letterhead = letterhead
        slots = {name: _slot(name) for name in _PERSONAL}
        dummy = Digest(day=edition.day, picks=(), **slots)
        # Set twice: once to find where the cards go, then only what stands around them is kept.
        self._subject = _SLOT.split(template.render_subject(self._values(dummy, slots["subject"], [])))
        feedback = dict.fromkeys(FEEDBACK, _slot("page"))
        placeholder = Card(_slot("title"), "", "", "", {"page": _slot("page")}, feedback, _slot("reason"))
        values = self._values(dummy, slots["subject"], [placeholder])
        self._text = _Galley(template.text, values, placeholder, _plain)
        self._html = _Galley(template.html, values, placeholder, _escaped)

    def fit(self, selection: Selection) -> Selection:
        """Return the selection with as many picks as fit into 80 KiB of HTML; the others stay candidates."""
        room, sizes = MAX_HTML_BYTES - self._html.size - _OWN_BYTES, self._html.card_sizes
        for number, pick in enumerate(selection.picks):
            if pick.paper_id not in sizes:
                self._set(pick.paper_id)
            room -= sizes[pick.paper_id] + len(_escaped(pick.reason))
            if room < 0:
                return replace(selection, picks=selection.picks[:number])
        return selection

    def print(self, digest: Digest, tokens: Tokens) -> Printed:
        """Return a reader's mail."""
        for pick in digest.picks:
            if pick.paper_id not in self._html.cards:
                self._set(pick.paper_id)
        own = {name: getattr(digest, name) for name in _PERSONAL}
        subject = "".join(own[part] if n % 2 else part for n, part in enumerate(self._subject))
        own["subject"] = subject
        encoded = {  # in letters that stand for themselves
            "read": tokens.read.encode(),
            "unsubscribe": tokens.unsubscribe.encode(),
            "feedback": tokens.feedback.encode(),
            "preferences": tokens.preferences.encode(),
        }
        return Printed(
            subject, self._text.print(own, encoded, digest.picks), self._html.print(own, encoded, digest.picks)
        )

    def _set(self, paper_id: int) -> None:
        view = card(self._edition.papers[paper_id], self._links, _SLOTS, _slot("reason"))
        self._text.set(paper_id, view)
        self._html.set(paper_id, view)

    def _values(self, digest: Digest, subject: str, cards: Sequence[Card]) -> dict[str, Any]:
        return digest_values(digest, subject, cards, self._letterhead, self._links, _SLOTS)


class _Form:
    """Encoded text with slots in it.

    :param end: what joins it to the form behind it.
    """

    def __init__(self, text: str, end: bytes = b"") -> None:
        parts = _SLOT.split(text)
        pieces = [b"" if n % 2 else _piece(part) for n, part in enumerate(parts)]
        self._pieces = [piece if n % 2 else _joined(n, piece, len(pieces)) for n, piece in enumerate(pieces)]
        self._pieces[-1] += end
        self._slots = parts[1::2]
        # a getter for several names at once is one call, and one of a single name gives no tuple
        self._several = itemgetter(*self._slots) if len(self._slots) > 1 else None

    def fill(self, values: Mapping[str, bytes]) -> list[bytes]:
        """Return the pieces with values in the slots."""
        filled = self._pieces.copy()
        filled[1::2] = self._several(values) if self._several else [values[name] for name in self._slots]
        return filled


class _Galley:
    """One part of a mail (text or HTML), cut into what is common and what is a reader's own."""

    def __init__(
        self,
        template: jinja2.Template,
        values: Mapping[str, Any],
        placeholder: Card,
        encode: Callable[[str], bytes],
    ) -> None:
        self._template = template
        self._values = values
        self._encode = encode
        self.cards: dict[int, _Form] = {}
        self.card_sizes: dict[int, int] = {}  # upper bounds of their bytes, without their reasons
        around = template.render(values).split(self._render_card(placeholder))
        if len(around) != 2:
            raise ValueError("the digest's templates must hold the block 'card' once, in a loop over cards")
        self._before, self._after = _Form(around[0], _SOFT_BREAK), _Form(around[1])
        self.size = len("".join(around).encode())

    def set(self, paper_id: int, view: Card) -> None:
        """Render and encode a card."""
        rendered = self._render_card(view)
        self.cards[paper_id] = _Form(rendered, _SOFT_BREAK)
        # the reader's token stands where its slot's name stood
        self.card_sizes[paper_id] = len(rendered.encode()) + 38 * len(_SLOT.findall(rendered))

    def print(self, own: Mapping[str, str], tokens: Mapping[str, bytes], picks: Sequence[DigestPick]) -> list[bytes]:
        """Return the pieces of one reader's part."""
        values = {**tokens, **{name: self._encode(text) for name, text in own.items()}}
        pieces = self._before.fill(values)
        for pick in picks:
            values["reason"] = self._encode(pick.reason)
            pieces += self.cards[pick.paper_id].fill(values)
        pieces += self._after.fill(values)
        return pieces

    def _render_card(self, view: Card) -> str:
        context = self._template.new_context({**self._values, "card": view})
        return "".join(self._template.blocks["card"](context))


def quoted_printable(text: str) -> bytes:
    """Return `text` in UTF-8 as quoted-printable with CRLF line ends and lines of at most 76 characters.

    No line begins with a dot, so that a message of such parts goes through DATA as it is (RFC 5321, section 4.5.2).
    """
    raw = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    lines: list[bytes] = []
    for line in binascii.b2a_qp(raw, istext=True).replace(b"\r\n", b"\n").split(b"\n"):
        # A blank at the end of a line is encoded, whatever room there is for that.
        lines += [line] if len(line) <= _MAX_LINE else [line[:-3] + b"=", line[-3:]]
    return b"\r\n".join([_undotted(line) if line.startswith(b".") else line for line in lines])


def _undotted(line: bytes) -> bytes:
    line = b"=2E" + line[1:]
    if len(line) <= _MAX_LINE:
        return line
    cut = next(each for each in (70, 69, 68) if b"=" not in line[each - 2 : each])  # not inside an encoded byte
    return line[:cut] + _SOFT_BREAK + (_undotted(line[cut:]) if line[cut : cut + 1] == b"." else line[cut:])


def _piece(text: str) -> bytes:
    """Return `text` encoded, with room on its last line for the soft break that joins it to the next piece."""
    encoded = quoted_printable(text)
    last = encoded.rpartition(b"\r\n")[2]
    if len(last) <= _MAX_LINE - len(_SOFT_BREAK[:1]):
        return encoded
    cut = -3 if last[-3:-2] == b"=" else -1  # never inside an encoded byte
    rest = encoded[cut:]
    return encoded[:cut] + _SOFT_BREAK + (_undotted(rest) if rest.startswith(b".") else rest)


def _slot(name: str) -> str:
    return Markup(f"\x02{name}\x03")  # noqa: S704  a constant; escaping would not touch it, but would copy it


_SLOTS = Tokens(*(_slot(name) for name in ("read", "unsubscribe", "feedback", "preferences")))


def _joined(place: int, piece: bytes, number: int) -> bytes:
    """Return a piece with the soft breaks between it and the slots around it."""
    return (_SOFT_BREAK if place else b"") + piece + (_SOFT_BREAK if place < number - 1 else b"")


@lru_cache(maxsize=20_000)
def _plain(text: str) -> bytes:
    return _piece(text)


@lru_cache(maxsize=20_000)
def _escaped(text: str) -> bytes:
    return _piece(str(escape(text)))
