"""DKIM signatures (RFC 6376, RFC 8463): relaxed/relaxed, one for each key. Pure.

The body's pieces are those of the typeset issue, so most of them are brought into their canonical form once for an
issue and not once for a reader. Header fields that a reader of the mail, or a mail program, acts on are signed once
more often than they stand there: none can be added behind our back (RFC 6376, section 8.15).
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache

from newsletter.delivery.dkim.keys import Key
from newsletter.rendering.placeholders import NO_TOKENS, joined

# Also where they are absent: a mail that has no Reply-To must not be given one.
OVERSIGNED = (
    "From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip
_SIGNED = {name.lower() for name in (*OVERSIGNED, "Feedback-ID", "Auto-Submitted", "Precedence")}
_BLANKS = re.compile(rb"[ \t]+")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_FIELD_END = re.compile(r"\r\n(?![ \t])")
_LINE = 74  # characters of a folded line
_FEW = 12  # pieces: fewer are of a mail that shares them with no other


def sign_all(
    messages: Sequence[tuple[Sequence[bytes], Mapping[bytes, bytes]]], keys: Sequence[Key], now: datetime
) -> list[list[bytes]]:
    """Return messages in pieces, each with its signatures; all processors work at it.

    Nearly all of it is the arithmetic of RSA, during which Python's lock is free.

    :param messages: the pieces of each, and what will be put in for the placeholders in them.
    """
    share = -(-len(messages) // (os.cpu_count() or 1))
    if not keys or share == len(messages):
        return [signed(pieces, keys, now, tokens) for pieces, tokens in messages]
    shares = [messages[at : at + share] for at in range(0, len(messages), share)]
    with ThreadPoolExecutor(len(shares)) as threads:
        done = threads.map(lambda part: [signed(pieces, keys, now, tokens) for pieces, tokens in part], shares)
        return [each for part in done for each in part]


def signed(
    pieces: Sequence[bytes], keys: Sequence[Key], now: datetime, tokens: Mapping[bytes, bytes] = NO_TOKENS
) -> list[bytes]:
    """Return a message in pieces, with a signature by each key on top.

    :param pieces: the first is the head, the second begins with the blank line; no piece begins or ends inside blanks.
    :param tokens: what will be put in for the placeholders in them.
    """
    if not keys:
        return list(pieces)
    fields = head_fields(pieces[0].decode("ascii"))
    digest = body_hash([pieces[1].removeprefix(b"\r\n"), *pieces[2:]], tokens)
    return [*(_signature(fields, digest, key, now) for key in keys), *pieces]


def head_fields(head: str) -> list[tuple[str, str]]:
    """Return the fields of a head as they stand there: name, and all behind the colon, without the last line end."""
    fields = []
    for line in _FIELD_END.split(head):
        name, colon, value = line.partition(":")
        if colon:
            fields.append((name, value))
    return fields


def body_hash(pieces: Sequence[bytes], tokens: Mapping[bytes, bytes] = NO_TOKENS) -> str:
    """Return the hash of a body in its canonical form (RFC 6376, sections 3.4.4 and 3.7)."""
    body = joined([relaxed_body(b"".join(pieces))] if len(pieces) < _FEW else map(_relaxed, pieces), tokens)
    body = body.rstrip(b"\r\n")
    return base64.b64encode(hashlib.sha256(body + b"\r\n" if body else b"").digest()).decode()


def relaxed_body(text: bytes) -> bytes:
    """Return lines with one blank for each run of blanks and none at their ends."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text.replace(b" \r\n", b"\r\n")


@lru_cache(maxsize=8_192)  # a reader's own strings are few, and push out what no reader gets any more
def _relaxed(piece: bytes) -> bytes:
    return relaxed_body(piece)


def relaxed_header(name: str, value: str) -> bytes:
    """Return a field in its canonical form, without its line end (RFC 6376, section 3.4.2)."""
    text = _BLANKS.sub(b" ", _FOLD.sub(b"", value.encode("utf-8", "surrogateescape"))).strip(b" \t")
    return name.strip().lower().encode("utf-8", "surrogateescape") + b":" + text


def signed_data(fields: Sequence[tuple[str, str]], names: Sequence[str], signature: str) -> bytes:
    """Return what a signature signs: the named fields, from the last of a name upwards, and itself without ``b=``.

    :param signature: the value of the DKIM-Signature field with nothing behind its ``b=``.
    """
    left: dict[str, list[str]] = {}
    for name, value in fields:
        left.setdefault(name.strip().lower(), []).append(value)
    lines = [relaxed_header(name, left[name.lower()].pop()) for name in names if left.get(name.lower())]
    return b"\r\n".join([*lines, relaxed_header("dkim-signature", signature)])


def _signature(fields: Sequence[tuple[str, str]], digest: str, key: Key, now: datetime) -> bytes:
    names = _names(tuple(name.lower() for name, _ in fields))
    value = (
        f" v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n"
        f" s={key.selector}; t={int(now.timestamp())};\r\n"
        f" h={_folded(names)};\r\n"
        f" bh={digest};\r\n b="
    )
    made = base64.b64encode(key.sign(signed_data(fields, names, value))).decode()
    made = "\r\n ".join(made[at : at + _LINE] for at in range(0, len(made), _LINE))
    return f"DKIM-Signature:{value}{made}\r\n".encode()


@lru_cache(maxsize=16)  # all mails of a kind have the same fields
def _names(present: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names to sign: those that are there, and once more each that must not be added."""
    return tuple([name for name in present if name in _SIGNED] + [name.lower() for name in OVERSIGNED])


@lru_cache(maxsize=16)
def _folded(names: tuple[str, ...]) -> str:
    lines, line = [], ""
    for name in names:
        if len(line) + len(name) > _LINE - 4:
            lines.append(line)
            line = ""
        line += f"{name}:"
    return "\r\n  ".join([*lines, line]).rstrip(":")
