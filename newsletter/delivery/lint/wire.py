"""Rules of the wire: what the bytes of a message are like (RFC 5322, RFC 2045, RFC 2047). Pure."""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator
from email.message import Message

from newsletter.delivery.lint.opened import Opened
from newsletter.delivery.lint.rules import Book, brief

RULES = Book("wire")
_MOST = 200 * 1024  # bytes of a message
_ONCE = {
    "from", "sender", "reply-to", "to", "cc", "message-id", "in-reply-to", "references", "subject", "date",
    "mime-version", "content-type", "content-transfer-encoding", "list-id", "list-unsubscribe",
    "list-unsubscribe-post", "list-post", "feedback-id", "precedence", "auto-submitted",
}  # fmt: skip
_NAME = re.compile(rb"[!-9;-~]+:")
_WORD = re.compile(r"=\?([^?]*)\?([^?]*)\?([^?]*)\?=")
_LIKE_A_WORD = re.compile(r"=\?\S*")
_BAD_ESCAPE = re.compile(rb"=(?![0-9A-F]{2}|\r\n|$)")


@RULES.rule("crlf", "every line ends with CRLF")
def _crlf(mail: Opened) -> Iterator[str]:
    number = len(re.findall(rb"\r(?!\n)|(?<!\r)\n", mail.raw))
    if number:
        yield f"{number} ends with CR or LF alone"
    if not mail.raw.endswith((b"\r\n", b"\n", b"\r")):
        yield "the last line has no end"


@RULES.rule("length", "no line has more than 998 bytes")
def _length(mail: Opened) -> Iterator[str]:
    yield from (f"a line of {len(line)} bytes" for line in re.split(rb"\r\n|\r|\n", mail.raw) if len(line) > 998)


@RULES.rule("folded", "lines of the head that can be folded have at most 78 characters")
def _folded(mail: Opened) -> Iterator[str]:
    for line in mail.head.split(b"\r\n"):
        # a blank behind the name, or the first of a line, is no place to fold at
        if len(line) > 78 and re.search(rb"[^ \t][ \t]", line.partition(b": ")[2] if _NAME.match(line) else line):
            yield f"{len(line)} characters: {brief(line.decode('ascii', 'replace'), 40)}"


@RULES.rule("nul", "there is no NUL, and no control character in the head")
def _nul(mail: Opened) -> Iterator[str]:
    if b"\0" in mail.raw:
        yield "there is a NUL"
    if re.search(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", mail.head):
        yield "a control character in the head"


@RULES.rule("head", "the head is lines of name and value, and a blank line ends it")
def _head(mail: Opened) -> Iterator[str]:
    if not re.search(rb"\r\n\r\n|\n\n|\r\r", mail.raw):
        yield "no blank line"
    for number, line in enumerate(mail.head.split(b"\r\n")):
        if not (_NAME.match(line) or (number and line.startswith((b" ", b"\t")) and line.strip())):
            yield f"no field: {brief(line.decode('ascii', 'replace'), 40)!r}"


@RULES.rule("ascii", "the head is ASCII")
def _ascii(mail: Opened) -> Iterator[str]:
    if not mail.head.isascii():
        yield "bytes above 127 in the head"


@RULES.rule("encoded_words", "encoded words can be decoded and have at most 75 characters")
def _encoded_words(mail: Opened) -> Iterator[str]:
    for name, value in mail.fields:
        words = list(_WORD.finditer(value))
        yield from (f"{name}: one of {len(word[0])} characters" for word in words if len(word[0]) > 75)
        yield from (f"{name}: {brief(word[0], 40)}" for word in words if not _decodes(*word.groups()))
        if len(_LIKE_A_WORD.findall(value)) > len(words):
            yield f"{name}: something that only looks like one"


def _decodes(charset: str, how: str, text: str) -> bool:
    """Whether an encoded word is one."""
    try:
        if how.lower() == "b":
            raw = base64.b64decode(text, validate=True)
        elif how.lower() == "q" and not re.search(r"=(?![0-9A-Fa-f]{2})|\s", text):
            raw = binascii.a2b_qp(text, header=True)
        else:
            return False
        raw.decode(charset.partition("*")[0])
    except (ValueError, LookupError):
        return False
    return True


@RULES.rule("once", "no field that may stand there once stands there twice")
def _once(mail: Opened) -> Iterator[str]:
    counts = Counter(name.strip().lower() for name, _ in mail.fields)
    yield from (f"{name}: {counts[name]} times" for name in sorted(_ONCE) if counts[name] > 1)


@RULES.rule("private", "no Bcc, and nothing that only relays write")
def _private(mail: Opened) -> Iterator[str]:
    names = {name.strip().lower() for name, _ in mail.fields}
    # who looks at a mail that has arrived finds what the last relay wrote
    for name in ("bcc", *(() if "received" in names else ("return-path",))):
        if name in names:
            yield f"{name} is there"
    yield from (f"{name} is there" for name in sorted(names) if name.startswith("resent-"))


@RULES.rule("size", "the message has at most 200 KiB")
def _size(mail: Opened) -> Iterator[str]:
    if len(mail.raw) > _MOST:
        yield f"{len(mail.raw) / 1024:.0f} KiB"


@RULES.rule("dots", "no line begins with a dot, which relays double and undouble")
def _dots(mail: Opened) -> Iterator[str]:
    number = len(re.findall(rb"(?:^|[\r\n])\.", mail.raw))
    if number:
        yield f"{number} of them do"


@RULES.rule("transfer", "each part's transfer encoding is known, and true to the letter")
def _transfer(mail: Opened) -> Iterator[str]:
    for part in mail.parts:
        encoding = str(part.get("Content-Transfer-Encoding", "7bit")).strip().lower()
        body = _encoded(part)
        where = f"{part.get_content_type()}, {brief(encoding, 20)}"
        if encoding not in {"7bit", "8bit", "quoted-printable", "base64"}:
            yield f"{where}: not one that every relay knows"
        elif encoding != "8bit" and not body.isascii():
            yield f"{where}: bytes above 127"
        elif encoding == "quoted-printable":
            yield from (f"{where}: {what}" for what in _bad_quoting(body))
        elif encoding == "base64" and not _is_base64(body):
            yield f"{where}: cannot be decoded"


def _encoded(part: Message) -> bytes:
    """Return a part's body as it stands there, with CRLF."""
    try:
        text = part.get_payload()
    except (LookupError, ValueError):  # a charset that is none
        text = ""
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", raw)


def _bad_quoting(body: bytes) -> Iterator[str]:
    if found := _BAD_ESCAPE.search(body):
        yield f"{body[found.start() : found.start() + 3]!r} is no encoded byte"
    lines = body.split(b"\r\n")
    if (longest := max(map(len, lines))) > 76:
        yield f"a line of {longest} characters: 76 are allowed"
    if any(line.endswith((b" ", b"\t")) for line in lines):
        yield "a blank at the end of a line"


def _is_base64(body: bytes) -> bool:
    try:
        base64.b64decode(b"".join(body.split()), validate=True)
    except ValueError:
        return False
    return True
