"""Rules of identity: who writes to whom, and as what. Pure."""

import re
from collections.abc import Iterator
from email.utils import getaddresses, parsedate_to_datetime

from newsletter.delivery.lint.opened import Opened
from newsletter.delivery.lint.rules import Book, brief

RULES = Book("identity")
_FREE_MAIL = re.compile(
    r"(gmail|googlemail|hotmail|outlook|live|aol|icloud|protonmail|qq|163)\.com"
    r"|(yahoo|gmx)\.[a-z.]+|me\.com|web\.de|mail\.ru|proton\.me|t-online\.de"
)
_ADDRESS = re.compile(r"[^\s@<>(),;:\"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_NO_REPLY = re.compile(r"^(no|do-?not|dont)[-_.]?reply", re.IGNORECASE)
_FAKE = re.compile(r"^\s*(re|fwd?|aw|wg|antw)\s*(\[\d+\])?:", re.IGNORECASE)
_MOST_SUBJECT = 150
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _addresses(mail: Opened, name: str) -> list[str]:
    return [address for _, address in getaddresses(mail.values(name)) if address]


@RULES.rule("from", "From names one sender by a whole address")
def _from(mail: Opened) -> Iterator[str]:
    found = _addresses(mail, "From")
    if len(found) != 1:
        yield f"{len(found)} addresses"
    yield from (f"{brief(each)} is no address" for each in found if not _ADDRESS.fullmatch(each))
    if BIDI.search(mail.shown("From")):
        yield "its name turns the direction of writing"


@RULES.rule("own_domain", "From is of a domain of our own, not of a free mail provider, which lets nobody else send")
def _own_domain(mail: Opened) -> Iterator[str]:
    for each in _addresses(mail, "From"):
        if _FREE_MAIL.fullmatch(each.rpartition("@")[2].lower()):
            yield f"{brief(each)}"


@RULES.rule("reply", "somebody reads what is answered: no no-reply")
def _reply(mail: Opened) -> Iterator[str]:
    for name in ("From", "Reply-To"):
        yield from (f"{name}: {brief(each)}" for each in _addresses(mail, name) if _NO_REPLY.match(each))


@RULES.rule("to", "To is the reader, and nobody else")
def _to(mail: Opened) -> Iterator[str]:
    found = _addresses(mail, "To")
    if len(found) != 1 or not _ADDRESS.fullmatch(found[0]):
        yield f"{len(found)} addresses" if len(found) != 1 else "no whole address"
    if mail.values("Cc"):
        yield "there is a Cc"


@RULES.rule("date", "Date is a date with a numeric zone")
def _date(mail: Opened) -> Iterator[str]:
    text = mail.value("Date")
    try:
        parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        yield f"{brief(text, 40)!r} is none" if text else "there is none"
        return
    if not re.search(r" [+-]\d{4}( \(.*\))?$", text):
        yield f"no numeric zone: {brief(text, 40)}"


@RULES.rule("message_id", "Message-ID is one id at a whole host name")
def _message_id(mail: Opened) -> Iterator[str]:
    text = mail.value("Message-ID")
    if not re.fullmatch(r"<[^\s<>@]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+>", text):
        yield f"{brief(text, 60)!r}" if text else "there is none"


@RULES.rule("subject", "Subject says something in at most 150 characters and turns no direction of writing")
def _subject(mail: Opened) -> Iterator[str]:
    text = mail.shown("Subject")
    if not text.strip():
        yield "it is empty"
    if len(text) > _MOST_SUBJECT:
        yield f"{len(text)} characters"
    if BIDI.search(text) or _CONTROL.search(text):
        yield "a character that turns or controls what follows"


@RULES.rule("honest", "Subject does not look like an answer to something")
def _honest(mail: Opened) -> Iterator[str]:
    if found := _FAKE.match(mail.shown("Subject")):
        yield f"it begins with {found[0].strip()!r}"
