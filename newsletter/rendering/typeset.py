"""Typeset once, print per reader.

An issue's cards are rendered and encoded to quoted-printable (RFC 2045, section 6.7) once; a reader's
parts are those bytes joined, with a few short strings and two tokens of their own put in. Every such
string stands on a line of its own between soft line breaks, so it can be put in without looking at
what stands around it. The result decodes to exactly what rendering the template for that reader gives.
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from newsletter.issues.compose import Edition
from newsletter.issues.digest import Digest, Mention
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import FEEDBACK, Links
from newsletter.rendering.placeholders import PLACEHOLDERS, joined
from newsletter.rendering.templates import MailTemplate
from newsletter.rendering.views import TEASER, Card, Line, Part, Tokens, card, digest_values, line, more_words

MAX_HTML_BYTES = 80 * 1024  # clients clip near 102 KB
_SOFT_BREAK = b"=\r\n"
_MAX_LINE = 76  # with the "=" of a soft break (RFC 2045, section 6.7)
# Control characters cannot occur in cleaned text, so nothing a stranger wrote looks like a slot.
_SLOT = re.compile("\x02([a-z_]+)\x03")
_TEASERS = (TEASER, 140, 0)  # characters: the first that lets all papers in


@dataclass(frozen=True, slots=True)
class Printed:
    """A reader's mail: the subject as text, its parts in pieces of quoted-printable with CRLF.

    :ivar text_pieces: most of them those of all readers: whoever makes a message of them joins them with its headers,
        once and late, so that a mail that waits takes hardly any room.
    :ivar tokens: what belongs into the pieces, by its placeholder.
    :ivar left_out: how many papers there was no room for.
    :ivar room: characters of a teaser.
    """

    subject: str
    text_pieces: list[bytes]
    html_pieces: list[bytes]
    tokens: Mapping[bytes, bytes]
    left_out: int = 0
    room: int = TEASER

    @property
    def text(self) -> bytes:
        """The encoded text."""
        return joined(self.text_pieces, self.tokens)

    @property
    def html(self) -> bytes:
        """The encoded HTML."""
        return joined(self.html_pieces, self.tokens)

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
        views = {variant: self._dummy(slots, variant) for variant in _VARIANTS}
        self._subjects = {
            each.picks: _slotted(template.render_subject(views[each]), template.subject)
            for each in (_Variant(picks=False), _Variant(picks=True))
        }
        self._text = _Galley(template.text, views)
        self._html = _Galley(template.html, views)

    def print(self, digest: Digest, tokens: Tokens) -> Printed:
        """Return a reader's mail: with shorter teasers, and then with fewer papers, where it has no room for all.

        :raises ValueError: there is room for none.
        """
        for mention in digest.trending:
            if mention not in self._html.lines:
                self._set_line(mention)
        encoded = {place: getattr(tokens, name).encode() for name, place in PLACEHOLDERS.items()}
        links = {"unsubscribe": tokens.unsubscribe.encode(), "preferences": tokens.preferences.encode()}
        for room in _TEASERS:
            self._set(digest, room)
            text, html = self._lay(digest, links, room)
            if (size := html.size(encoded)) <= MAX_HTML_BYTES:
                break
        number = min(len(digest.picks) * MAX_HTML_BYTES // size + 1, len(digest.picks))  # more would not fit
        whole = digest
        while size > MAX_HTML_BYTES:
            number -= 1
            if number < 1:
                raise ValueError(f"{self._html.name}: no paper fits into {MAX_HTML_BYTES} bytes")
            digest = whole.first(number)
            text, html = self._lay(digest, links, room)
            size = html.size(encoded)
        return Printed(self._own(digest)["subject"], text.pieces, html.pieces, encoded, digest.more, room)

    def _lay(self, digest: Digest, links: Mapping[str, bytes], room: int) -> tuple["_Sheet", "_Sheet"]:
        """Put the forms of a mail's text and HTML together, side by side: what is encoded for one serves the other."""
        variant = _Variant.of(digest)
        text, html = self._text.sheet(variant, links), self._html.sheet(variant, links)
        plain, escaped = text.values, html.values
        for name, words in self._own(digest).items():
            plain[name], escaped[name] = _encoded(words)
        texts, htmls = self._text.cards[room], self._html.cards[room]
        add_text, add_html = text.add, html.add
        add_text(text.frame.before)
        add_html(html.frame.before)
        for title, picks in digest.sections:
            plain["section"], escaped["section"] = _encoded(title)
            add_text(self._text.heading)
            add_html(self._html.heading)
            for pick in picks:
                plain["reason"], escaped["reason"] = _encoded(pick.reason)
                add_text(texts[pick.paper_id])
                add_html(htmls[pick.paper_id])
        for galley, sheet in ((self._text, text), (self._html, html)):
            sheet.add(sheet.frame.between)
            for mention in digest.trending:
                sheet.add(galley.lines[mention])
            sheet.add(sheet.frame.after)
        return text, html

    def _own(self, digest: Digest) -> dict[str, str]:
        own = {
            "subject": digest.subject,
            "preheader": digest.preheader,
            "opening": digest.opening,
            "why": digest.why,
            "more": more_words(digest.more),
        }
        parts = self._subjects[bool(digest.picks)]
        own["subject"] = "".join([own[part] if n % 2 else part for n, part in enumerate(parts)])
        return own

    def _set(self, digest: Digest, room: int) -> None:
        """Set the cards that are not there yet."""
        there = self._html.cards[room]
        for pick in digest.picks:
            if pick.paper_id not in there:
                self._set_card(pick.paper_id, room)

    def _set_card(self, paper_id: int, room: int) -> None:
        view = card(self._edition.papers[paper_id], self._links, _SLOTS, _slot("reason"), room)
        for galley in (self._text, self._html):
            galley.cards[room][paper_id] = galley.form("card", card=view)

    def _set_line(self, mention: Mention) -> None:
        view = line(self._edition.papers[mention.paper_id], self._links, _SLOTS, mention.said)
        for galley in (self._text, self._html):
            galley.lines[mention] = galley.form("line", line=view)

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

    :param parts: what `_slotted` gave.
    :param end: what joins it to the form behind it.
    :ivar slots: the pieces that are a reader's own, and their names.
    :ivar placeholders: how many tokens belong into the others.
    """

    def __init__(self, parts: Sequence[str], end: bytes = b"") -> None:
        self.pieces = [b""]
        self.slots: list[tuple[int, str]] = []
        for n, part in enumerate(parts):
            if n % 2 == 0:
                self.pieces[-1] += _broken(n, _piece(part), len(parts))
            elif part in PLACEHOLDERS:
                self.pieces[-1] += PLACEHOLDERS[part]
            else:
                self.slots.append((len(self.pieces), part))
                self.pieces += [b"", b""]
        self.pieces[-1] += end
        self.placeholders = sum(part in PLACEHOLDERS for part in parts[1::2])


class _Sheet:
    """A part of one reader's mail, all but the tokens.

    :ivar values: what the next form's slots are filled with.
    """

    __slots__ = ("_placeholders", "frame", "pieces", "values")

    def __init__(self, frame: "_Frame", values: Mapping[str, bytes]) -> None:
        self.frame = frame
        self.values = dict(values)
        self.pieces: list[bytes] = []
        self._placeholders = 0

    def add(self, form: _Form) -> None:
        """Add a form's pieces with values in its slots."""
        start = len(self.pieces)
        self.pieces += form.pieces
        for place, name in form.slots:
            self.pieces[start + place] = self.values[name]
        self._placeholders += form.placeholders

    def size(self, tokens: Mapping[bytes, bytes]) -> int:
        """Return how many bytes it has for who reads it; where even encoded they fit, at most so many."""
        encoded = sum(map(len, self.pieces)) + self._placeholders * max(map(len, tokens.values()))
        return encoded if encoded <= MAX_HTML_BYTES else len(binascii.a2b_qp(joined(self.pieces, tokens)))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stands around the cards and the lines of one variant."""

    before: _Form
    between: _Form
    after: _Form


class _Galley:
    """One part of a mail (text or HTML), cut into what is common and what is a reader's own.

    :param views: the values of each variant, with a placeholder for a section's title, a card and a line.
    :raises ValueError: the templates do not hold the blocks ``heading``, ``card`` and ``line`` as they should.
    """

    def __init__(
        self,
        template: jinja2.Template,
        views: Mapping[_Variant, Mapping[str, Any]],
    ) -> None:
        self._template = template
        self._values = views[_Variant(picks=True)]
        self.name = template.filename or "a digest's template"
        self.cards: dict[int, dict[int, _Form]] = {room: {} for room in _TEASERS}
        self.lines: dict[Mention, _Form] = {}
        self.heading = self.form("heading", section=self._values["sections"][0])
        self._frames = {variant: self._frame(variant, values) for variant, values in views.items()}
        self._prove(views)

    def form(self, block: str, **values: object) -> _Form:
        """Render and encode a block."""
        return _Form(_slotted(self._block(block, **values), self._template), _SOFT_BREAK)

    def sheet(self, variant: _Variant, values: Mapping[str, bytes]) -> _Sheet:
        """Return an empty sheet for a mail of this variant."""
        return _Sheet(self._frames[variant], values)

    def _frame(self, variant: _Variant, values: Mapping[str, Any]) -> _Frame:
        before, between, after = (_slotted(each, self._template) for each in self._around(variant, values))
        ends = [_SOFT_BREAK if parts != [""] else b"" for parts in (before, between)]
        return _Frame(_Form(before, ends[0]), _Form(between, ends[1]), _Form(after))

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
                raise ValueError(f"{self.name}: holds the blocks heading and card, and behind them line, in loops")
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
            raise ValueError(f"{self.name}: holds nothing in its loops but the blocks heading, card and line")

    def _section(self, part: Part) -> str:
        return self._block("heading", section=part) + "".join(self._block("card", card=each) for each in part.cards)

    def _block(self, name: str, **values: object) -> str:
        if name not in self._template.blocks:
            raise ValueError(f"{self.name}: holds the block {name}")
        return "".join(self._template.blocks[name](self._template.new_context({**self._values, **values})))


def quoted_printable(text: str) -> bytes:
    """Return `text` in UTF-8 as quoted-printable with CRLF line ends and lines of at most 76 characters.

    No line begins with a dot, so that a message of such parts goes through DATA as it is (RFC 5321, section 4.5.2).
    """
    raw = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    encoded = binascii.b2a_qp(raw, istext=True)
    between = b"\n" + encoded + b"\n"
    if b"\n." not in between and b"=20\n" not in between and b"=09\n" not in between:  # as good as always
        return encoded.replace(b"\n", b"\r\n")
    lines: list[bytes] = []
    for each in encoded.split(b"\n"):
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


def _slotted(text: str, template: jinja2.Template) -> list[str]:
    """Return a text's pieces and, between them, the names of its slots.

    :raises ValueError: a template did something to what will be put in there, which is no text yet.
    """
    parts = _SLOT.split(text)
    if any("\x02" in part or "\x03" in part for part in parts):
        name = template.filename or "a digest's template"
        raise ValueError(f"{name}: a reader's own words are put in as they are, behind all filters")
    return parts


def _slot(name: str) -> str:
    return Markup(f"\x02{name}\x03")  # noqa: S704  a constant; escaping would not touch it, but would copy it


_SLOTS = Tokens(*(_slot(name) for name in ("read", "unsubscribe", "feedback", "preferences")))


def _broken(place: int, piece: bytes, number: int) -> bytes:
    """Return a piece with the soft breaks between it and the slots around it."""
    return (_SOFT_BREAK if place else b"") + piece + (_SOFT_BREAK if place < number - 1 else b"")


@lru_cache(maxsize=20_000)
def _encoded(text: str) -> tuple[bytes, bytes]:
    """Return a reader's own words for the text and for the HTML."""
    plain, escaped = _piece(text), str(escape(text))
    return plain, plain if escaped == text else _piece(escaped)
