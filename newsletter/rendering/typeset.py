"""Typeset once, print per reader.

An issue's cards are rendered and encoded to quoted-printable (RFC 2045, section 6.7) once; a reader's
parts are those bytes joined, with a token and a few short strings of their own put in. Every such
string stands on a line of its own between soft line breaks, so it can be put in without looking at
what stands around it. The result decodes to exactly what rendering the template for that reader gives.
"""

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from newsletter.issues.compose import Edition
from newsletter.issues.digest import Digest, Mention
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import FEEDBACK, Links
from newsletter.rendering.templates import MailTemplate
from newsletter.rendering.views import TEASER, Card, Line, Part, Tokens, card, digest_values, line, more_words
from newsletter.signing import TOKEN_CHARS

MAX_HTML_BYTES = 80 * 1024  # clients clip near 102 KB
_MOST_OWN, _OFTEN = 512, 2  # bytes of what is said of papers left out; how often a reader's own string may stand
_SOFT_BREAK = b"=\r\n"
_MAX_LINE = 76  # with the "=" of a soft break (RFC 2045, section 6.7)
# Control characters cannot occur in cleaned text, so nothing a stranger wrote looks like a slot.
_SLOT = re.compile("\x02([a-z_]+)\x03")
_PERSONAL = ("subject", "preheader", "opening", "why")
_TEASERS = (TEASER, 140, 0)  # characters: the first that lets all papers in


@dataclass(frozen=True, slots=True)
class Printed:
    """A reader's mail: the subject as text, its parts in pieces of quoted-printable with CRLF.

    :ivar text_pieces: not joined yet: whoever makes a message of them joins them with its headers, once.
    :ivar left_out: how many papers there was no room for.
    """

    subject: str
    text_pieces: list[bytes]
    html_pieces: list[bytes]
    left_out: int = 0

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
    """One edition of an issue, typeset.

    :param edition: the candidates; a card is set when the first reader gets it.
    """

    def __init__(self, template: MailTemplate, edition: Edition, letterhead: Letterhead, links: Links) -> None:
        self._edition = edition
        self._links = links
        self._letterhead = letterhead
        slots = Digest(edition.day, _slot("subject"), _slot("preheader"), _slot("opening"), _slot("why"), ())
        self._subject = _SLOT.split(template.render_subject(self._values(slots, [], [])))
        views = {variant: self._dummy(slots, variant) for variant in _VARIANTS}
        self._text = _Galley(template.text, views, _plain)
        self._html = _Galley(template.html, views, _escaped)

    def print(self, digest: Digest, tokens: Tokens) -> Printed:
        """Return a reader's mail: with shorter teasers, and then with fewer papers, where it has no room for all."""
        room, digest = self._fit(digest)
        own = {name: getattr(digest, name) for name in _PERSONAL}
        own["subject"] = "".join(own[part] if n % 2 else part for n, part in enumerate(self._subject))
        own["more"] = more_words(digest.more)
        encoded = {  # in letters that stand for themselves
            "read": tokens.read.encode(),
            "unsubscribe": tokens.unsubscribe.encode(),
            "feedback": tokens.feedback.encode(),
            "preferences": tokens.preferences.encode(),
        }
        text, html = (galley.print(own, encoded, digest, room) for galley in (self._text, self._html))
        return Printed(own["subject"], text, html, digest.more)

    def _fit(self, digest: Digest) -> tuple[int, Digest]:
        """Return how long teasers may be, and the digest with as many picks as then fit into 80 KiB of HTML."""
        for mention in digest.trending:
            if mention not in self._html.lines:
                self._set_line(mention)
        left, room = MAX_HTML_BYTES - self._html.size_without_cards(digest), 0
        for room in _TEASERS:
            sizes = self._html.card_sizes[room]
            for pick in digest.picks:
                if pick.paper_id not in sizes:
                    self._set_card(pick.paper_id, room)
            if sum([sizes[pick.paper_id] + len(_escaped(pick.reason)) for pick in digest.picks]) <= left:
                return room, digest
        for number, pick in enumerate(digest.picks):
            left -= sizes[pick.paper_id] + len(_escaped(pick.reason))
            if left < 0:
                return room, digest.first(number)
        return room, digest

    def _set_card(self, paper_id: int, room: int) -> None:
        view = card(self._edition.papers[paper_id], self._links, _SLOTS, _slot("reason"), room)
        self._text.set_card(paper_id, room, view)
        self._html.set_card(paper_id, room, view)

    def _set_line(self, mention: Mention) -> None:
        view = line(self._edition.papers[mention.paper_id], self._links, _SLOTS, mention.said)
        self._text.set_line(mention, view)
        self._html.set_line(mention, view)

    def _dummy(self, slots: Digest, variant: "_Variant") -> dict[str, Any]:
        """Return values of which the places of cards and lines can be told."""
        feedback = dict.fromkeys(FEEDBACK, _slot("page"))
        cards = Card(_slot("title"), "", "", "", {"page": _slot("page")}, feedback, _slot("reason"))
        parts = [Part(_slot("section"), [cards])] if variant.picks else []
        lines = [Line(_slot("title"), _slot("page"), _slot("said"))] if variant.trending else []
        return self._values(slots, parts, lines) | {"more": _slot("more") if variant.more else ""}

    def _values(self, digest: Digest, parts: Sequence[Part], lines: Sequence[Line]) -> dict[str, Any]:
        return digest_values(digest, parts, lines, self._letterhead, self._links, _SLOTS)


class _Variant(NamedTuple):
    """What a mail holds: its templates may say different things around that."""

    picks: bool
    trending: bool = False
    more: bool = False

    @classmethod
    def of(cls, digest: Digest) -> "_Variant":
        """Return a digest's variant."""
        return cls(bool(digest.picks), bool(digest.trending), bool(digest.more))


_VARIANTS = [_Variant(picks=False), *(_Variant(True, *flags) for flags in product((False, True), repeat=2))]


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


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stands around the cards and the lines of one variant.

    :ivar size: its bytes, its slots' names counted for what stands there.
    """

    before: _Form
    between: _Form
    after: _Form
    size: int


class _Galley:
    """One part of a mail (text or HTML), cut into what is common and what is a reader's own.

    :param views: the values of each variant, with a placeholder for a section's title, a card and a line.
    :raises ValueError: the templates do not hold the blocks ``heading``, ``card`` and ``line`` as they should.
    """

    def __init__(
        self,
        template: jinja2.Template,
        views: Mapping[_Variant, Mapping[str, Any]],
        encode: Callable[[str], bytes],
    ) -> None:
        self._template = template
        self._values = views[_Variant(picks=True)]
        self._encode = encode
        self.cards: dict[tuple[int, int], _Form] = {}
        self.card_sizes: dict[int, dict[int, int]] = {room: {} for room in _TEASERS}
        self.lines: dict[Mention, _Form] = {}
        self._line_sizes: dict[Mention, int] = {}
        heading = self._block("heading", section=self._values["sections"][0])
        self._heading, self._heading_size = _Form(heading, _SOFT_BREAK), _size(heading)
        self._frames = {variant: self._frame(variant, values) for variant, values in views.items()}
        self._prove(views)

    def set_card(self, paper_id: int, room: int, view: Card) -> None:
        """Render and encode a card."""
        rendered = self._block("card", card=view)
        self.cards[paper_id, room] = _Form(rendered, _SOFT_BREAK)
        self.card_sizes[room][paper_id] = _size(rendered)

    def set_line(self, mention: Mention, view: Line) -> None:
        """Render and encode a line."""
        rendered = self._block("line", line=view)
        self.lines[mention] = _Form(rendered, _SOFT_BREAK)
        self._line_sizes[mention] = _size(rendered)

    def size_without_cards(self, digest: Digest) -> int:
        """Return how many bytes a reader's part has at most, without its cards: encoded, a text is never shorter."""
        frame, encode = self._frames[_Variant.of(digest)], self._encode
        own = _MOST_OWN + sum([_OFTEN * len(encode(getattr(digest, name))) for name in _PERSONAL])
        titles = sum([self._heading_size + len(encode(each.title)) for each in digest.sections])
        return frame.size + own + titles + sum([self._line_sizes[mention] for mention in digest.trending])

    def print(self, own: Mapping[str, str], tokens: Mapping[str, bytes], digest: Digest, room: int) -> list[bytes]:
        """Return the pieces of one reader's part."""
        frame, encode = self._frames[_Variant.of(digest)], self._encode
        values = {**tokens, **{name: encode(text) for name, text in own.items()}}
        pieces = frame.before.fill(values)
        for title, picks in digest.sections:
            values["section"] = encode(title)
            pieces += self._heading.fill(values)
            for pick in picks:
                values["reason"] = encode(pick.reason)
                pieces += self.cards[pick.paper_id, room].fill(values)
        pieces += frame.between.fill(values)
        for mention in digest.trending:
            pieces += self.lines[mention].fill(values)
        pieces += frame.after.fill(values)
        return pieces

    def _frame(self, variant: _Variant, values: Mapping[str, Any]) -> _Frame:
        before, between, after = self._around(variant, values)
        size = sum(map(_size, (before, between, after)))
        ends = [_SOFT_BREAK if text else b"" for text in (before, between)]
        return _Frame(_Form(before, ends[0]), _Form(between, ends[1]), _Form(after), size)

    def _around(self, variant: _Variant, values: Mapping[str, Any]) -> list[str]:
        """Return what stands before the cards, between these and the lines, and behind them."""
        parts, lines, rest = values["sections"], values["trending"], self._template.render(values)
        found = []
        for there, text in (
            (variant.picks, "".join(self._section(each) for each in parts)),
            (variant.trending, "".join(self._block("line", line=each) for each in lines)),
        ):
            before, *behind = rest.split(text) if there else ("", rest)
            if len(behind) != 1:
                raise ValueError(
                    "a digest's templates hold the blocks heading and card, and behind them line, in loops"
                )
            found.append(before)
            [rest] = behind
        return [*found, rest]

    def _prove(self, views: Mapping[_Variant, Mapping[str, Any]]) -> None:
        """Say so where several cards are not simply one after the other: what is printed must be what is rendered.

        :raises ValueError: a template does something else in its loops.
        """
        variant = _Variant(picks=True, trending=True, more=True)
        values = dict(views[variant])
        [part], [one] = values["sections"], values["trending"]
        values |= {"sections": [Part(part.title, part.cards * 2), part], "trending": [one] * 2}
        around = self._around(variant, values)
        if around != self._around(variant, views[variant]):
            raise ValueError("a digest's templates hold nothing in their loops but the blocks heading, card and line")

    def _section(self, part: Part) -> str:
        return self._block("heading", section=part) + "".join(self._block("card", card=each) for each in part.cards)

    def _block(self, name: str, **values: object) -> str:
        if name not in self._template.blocks:
            raise ValueError(f"a digest's templates hold the block {name}")
        return "".join(self._template.blocks[name](self._template.new_context({**self._values, **values})))


def quoted_printable(text: str) -> bytes:
    """Return `text` in UTF-8 as quoted-printable with CRLF line ends and lines of at most 76 characters.

    No line begins with a dot, so that a message of such parts goes through DATA as it is (RFC 5321, section 4.5.2).
    """
    raw = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    lines: list[bytes] = []
    for each in binascii.b2a_qp(raw, istext=True).replace(b"\r\n", b"\n").split(b"\n"):
        # A blank at the end of a line is encoded, whatever room there is for that.
        lines += [each] if len(each) <= _MAX_LINE else [each[:-3] + b"=", each[-3:]]
    return b"\r\n".join([_undotted(each) if each.startswith(b".") else each for each in lines])


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


def _size(rendered: str) -> int:
    """Return the bytes of a text with tokens in it; what else a slot will hold is counted elsewhere."""
    tokens = sum(name in Tokens.__slots__ for name in _SLOT.findall(rendered))
    return len(_SLOT.sub("", rendered).encode()) + TOKEN_CHARS * tokens


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
