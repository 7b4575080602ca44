"""Rules of lists: how a reader, or their mail program, leaves (RFC 2369, RFC 2919, RFC 8058). Pure."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from newsletter.delivery.lint.opened import Opened, host_of
from newsletter.delivery.lint.rules import Book, brief

RULES = Book("list")
_OPAQUE = 16  # characters that nobody can guess


def _is_list_mail(mail: Opened) -> bool:
    return mail.for_list


def _pages(mail: Opened) -> list[str]:
    """Return the web addresses in List-Unsubscribe; of a trial also those without TLS."""
    local = mail.about.local_site
    return [each for each in mail.leaving if each.startswith("https://") or (local and each.startswith(local))]


@RULES.rule("unsubscribe", "List-Unsubscribe has one https address", _is_list_mail)
def _unsubscribe(mail: Opened) -> Iterator[str]:
    if not mail.values("List-Unsubscribe"):
        yield "there is none"
    elif len(_pages(mail)) != 1:
        yield f"{len(_pages(mail))} of them"
    elif not host_of(_pages(mail)[0]) or re.search(r"\s", _pages(mail)[0]):
        yield f"{brief(_pages(mail)[0])} is no address"
    for each in mail.leaving:
        if each not in _pages(mail) and not each.startswith("mailto:"):
            yield f"{brief(each)} is neither https nor mailto"


@RULES.rule("plain", "List-Unsubscribe is not encoded, and its addresses are not folded")
def _plain(mail: Opened) -> Iterator[str]:
    raw = next((value for name, value in mail.fields if name.lower() == "list-unsubscribe"), "")
    if "=?" in raw:
        yield "it is encoded (RFC 2047), which no mail program undoes there"
    if re.search(r"<[^>]*\s[^>]*>", raw):
        yield "a blank or a fold inside an address"


@RULES.rule("mailto", "List-Unsubscribe has a mailto address as well", _is_list_mail)
def _mailto(mail: Opened) -> Iterator[str]:
    if not any(re.match(r"mailto:[^@?]+@[^@?]+", each) for each in mail.leaving):
        yield "there is none"


@RULES.rule("one_click", "List-Unsubscribe-Post is exactly List-Unsubscribe=One-Click", _is_list_mail)
def _one_click(mail: Opened) -> Iterator[str]:
    if (text := mail.value("List-Unsubscribe-Post")) != "List-Unsubscribe=One-Click":
        yield f"it is {brief(text)!r}" if text else "there is none"


@RULES.rule("opaque", "the address to unsubscribe at cannot be guessed", _is_list_mail)
def _opaque(mail: Opened) -> Iterator[str]:
    for each in _pages(mail):
        if not re.search(rf"[A-Za-z0-9_-]{{{_OPAQUE},}}", urlsplit(each).path + "?" + urlsplit(each).query):
            yield f"fewer than {_OPAQUE} characters: {brief(each)}"


@RULES.rule("id", "List-Id is an id in angle brackets", _is_list_mail)
def _id(mail: Opened) -> Iterator[str]:
    if not re.search(r"<[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+>$", mail.value("List-Id")):
        yield f"it is {brief(mail.value('List-Id'))!r}"


@RULES.rule("visible", "text and HTML both hold the link to unsubscribe", _is_list_mail)
def _visible(mail: Opened) -> Iterator[str]:
    for page in _pages(mail):
        if page not in mail.text_urls:
            yield "the text does not"
        if not any(each.url == page for each in mail.page.links):
            yield "the HTML does not"


@RULES.rule("outside", "a mail outside the list has none of its headers", lambda mail: not mail.for_list)
def _outside(mail: Opened) -> Iterator[str]:
    names = ("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post")
    yield from (f"{name} is there" for name in names if mail.values(name))


@RULES.rule("automatic", "Auto-Submitted and Precedence keep answering machines quiet")
def _automatic(mail: Opened) -> Iterator[str]:
    if mail.value("Auto-Submitted").lower() != "auto-generated":
        yield f"Auto-Submitted is {brief(mail.value('Auto-Submitted'), 40)!r}"
    if mail.value("Precedence").lower() not in {"bulk", "list"}:
        yield f"Precedence is {brief(mail.value('Precedence'), 40)!r}"


@RULES.rule("feedback", "Feedback-ID has four fields, the last of 5 to 15 characters")
def _feedback(mail: Opened) -> Iterator[str]:
    if not re.fullmatch(r"[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]{5,15}", mail.value("Feedback-ID")):
        yield f"it is {brief(mail.value('Feedback-ID'))!r}"


@RULES.rule("post", "List-Post, if it is there, says NO: nobody answers to a list")
def _post(mail: Opened) -> Iterator[str]:
    yield from (f"it is {brief(each)!r}" for each in mail.values("List-Post") if each.split(" ")[0] != "NO")
