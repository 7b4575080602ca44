"""The bytes of a message: headers and two parts (RFC 5322, RFC 2046), ready for DATA. Pure."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime, formataddr
from functools import lru_cache
from textwrap import wrap

_MAX_HEADER_TEXT = 150  # characters of a subject
# "=_" cannot occur in quoted-printable, where "=" is followed by two hex digits or a line end (RFC 2045, 6.7).
_BOUNDARY = "=_newsletter_parts"
_PART = "\r\n--{}\r\nContent-Type: text/{}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_TEXT, _HTML = (_PART.format(_BOUNDARY, kind).encode() for kind in ("plain", "html"))
_END = f"\r\n--{_BOUNDARY}--\r\n".encode()
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the headers of one mail need to know.

    :ivar list_id: such as ``digest.news.example.org`` (RFC 2919).
    :ivar unsubscribe_url: one https address, the same as in the body (RFC 8058); empty for a mail outside the list.
    :ivar feedback_id: ``a:b:c:sender`` as mailbox providers count complaints by.
    """

    sender_name: str
    sender_address: str
    recipient: str
    subject: str
    date: datetime
    message_id: str
    list_id: str
    unsubscribe_url: str
    unsubscribe_mailto: str
    feedback_id: str


def build(envelope: Envelope, text: Iterable[bytes], html: Iterable[bytes]) -> list[bytes]:
    """Return the message in pieces; `text` and `html` are pieces of quoted-printable with CRLF.

    None of their lines begins with a dot, so none of the message's does: it goes through DATA as it is (RFC 5321,
    section 4.5.2).
    """
    head = (
        f"From: {_mailbox(envelope.sender_name, envelope.sender_address)}\r\n"
        f"To: {envelope.recipient}\r\n"  # checked when it was taken in: ASCII, no space, no control character
        f"Subject: {_encoded(envelope.subject, 'Subject')}\r\n"
        f"Date: {_date(envelope.date)}\r\n"
        f"Message-ID: {envelope.message_id}\r\n"
        f"{_list_headers(envelope)}"
        f"Feedback-ID: {envelope.feedback_id}\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "Precedence: bulk\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"\r\n'
    )
    return [head.encode("ascii"), _TEXT, *text, _HTML, *html, _END]


@lru_cache(maxsize=10)  # all mails of a batch are made at the same instant
def _date(at: datetime) -> str:
    return format_datetime(at)


def _list_headers(envelope: Envelope) -> str:
    if not envelope.unsubscribe_url:
        return ""
    return (
        f"List-Id: <{envelope.list_id}>\r\n"
        # Never encoded and never folded inside an address: the standard library does both to long ones.
        f"List-Unsubscribe: <{envelope.unsubscribe_url}>,\r\n <{envelope.unsubscribe_mailto}>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )


def header_text(text: str) -> str:
    """Return `text` fit for a header: on one line, nothing that controls, turns or encodes what follows."""
    kept = "".join(char if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} else " " for char in text)
    # A reader that decodes twice, or Python writing the header again, would take this for an encoded word.
    kept = _SPACES.sub(" ", kept.replace("=?", "= ?").replace("?=", "? =")).strip()
    return kept if len(kept) <= _MAX_HEADER_TEXT else kept[: _MAX_HEADER_TEXT - 1].rstrip() + "…"


@lru_cache(maxsize=1_000)  # an issue has few subjects, and each takes longer than all else in a head
def _encoded(text: str, name: str) -> str:
    text = header_text(text)
    charset = "us-ascii" if text.isascii() else "utf-8"
    return Header(text, charset, maxlinelen=76, header_name=name).encode(linesep="\r\n")


@lru_cache(maxsize=10)
def _mailbox(name: str, address: str) -> str:
    name = header_text(name)
    if name.isascii():
        return "\r\n ".join(wrap(formataddr((name, address)), 70, break_long_words=False, break_on_hyphens=False))
    # formataddr would make one encoded word of it, however long (RFC 2047, section 2: 75 characters)
    return Header(name, "utf-8", maxlinelen=75, header_name="From").encode(linesep="\r\n") + f"\r\n <{address}>"
