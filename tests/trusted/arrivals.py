"""Our mails as a reader's mail server has them before it: signed, and with the traces of their way."""

import re
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime, parseaddr, parsedate_to_datetime

from newsletter.delivery.lint import Opened
from newsletter.delivery.models import Mail

# Of a range that is nobody's (RFC 2544): filters know the ranges of examples (RFC 5737) and count them as forged.
RELAY_IP, RELAY = "198.18.5.25", "mail.example.org"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A form of one of our mails.

    :ivar raw: with CRLF.
    :ivar html: its HTML part, decoded.
    """

    mail: Mail
    title: str
    raw: bytes
    html: str

    @property
    def sender(self) -> str:
        """The address in From."""
        return parseaddr(Opened(self.raw).value("From"))[1]

    @property
    def recipient(self) -> str:
        """The address in To."""
        return Opened(self.raw).value("To")


def arrive(mail: Mail, title: str, message: bytes) -> Arrived:
    """Send a mail by its relay to its reader's server: a mail with no trace of any server is taken for a forged one."""
    opened = Opened(message)
    sent_at = parsedate_to_datetime(opened.value("Date"))
    hops = [  # the last one stands first
        f"from {RELAY} ({RELAY} [{RELAY_IP}])\r\n\tby mx.example.net (Postfix) with ESMTPS id 7Xb1D22kQz",
        f"from news.example.org (news.example.org [10.0.0.8])\r\n\tby {RELAY} (Postfix) with ESMTPSA id 5Wf0zN1mRt",
    ]
    traces = "".join(
        f"Received: {hop}\r\n\tfor <{opened.value('To')}>; {format_datetime(sent_at + timedelta(seconds=seconds))}\r\n"
        for hop, seconds in zip(hops, (3, 1), strict=True)
    )
    return Arrived(mail, title, traces.encode("ascii") + message, opened.html)


def altered(mail: Arrived, pattern: bytes, replacement: bytes) -> Arrived:
    """Return a mail with one thing about it changed, which must be there to be changed."""
    raw, number = re.subn(pattern, lambda _: replacement, mail.raw, count=1, flags=re.DOTALL)
    assert number, pattern
    return Arrived(mail.mail, f"{mail.title}, altered", raw, Opened(raw).html)
