"""Rules of parts: text and HTML side by side, and a text that a person could have written (RFC 2046). Pure."""

import base64
import re
from collections.abc import Iterator
from urllib.parse import unquote

from newsletter.delivery.lint.identity import BIDI
from newsletter.delivery.lint.opened import URL, Opened
from newsletter.delivery.lint.rules import Book, brief

RULES = Book("parts")
_MARKUP = re.compile(r"</?(?:p|div|table|tr|td|tbody|span|br|html|body|h[1-6])(?:\s[^<>]*)?/?>|"
                     r"&(?:amp|lt|gt|quot|nbsp|#\d+|#x[0-9a-f]+);", re.IGNORECASE)  # fmt: skip
# our own kinds of statements; LaTeX has braces, too, and in HTML a title's "<" is escaped
_LEFTOVER = re.compile(
    r"\{\{-? [a-z_]\w*(?:\.\w+)* (?:\|[^}]*)?-?\}\}|[\x02\x03]"
    r"|\{%-?\s*(?:if|for|endif|endfor|block|endblock|set|include|else|elif)\b"
)
_LEFTOVER_IN_HTML = re.compile(rf"{_LEFTOVER.pattern}|<!--[%#]|<mj-")
_WORD = re.compile(r"\w+")
_AS_MANY = 0.6  # a letter says in fewer words what a page with buttons says

# keeps what is written from right to left to itself: it turns nothing, as long as it ends
_ISOLATED = re.compile("\u2068[^\u202a-\u202e\u2066-\u2069\n]*\u2069")


@RULES.rule("alternative", "the mail is multipart/alternative: text first, then HTML, and nothing else")
def _alternative(mail: Opened) -> Iterator[str]:
    kind = mail.parsed.get_content_type()
    if kind != "multipart/alternative":
        yield f"it is {brief(kind)}"
    kinds = [each.get_content_type() for each in mail.parts]
    if kinds != ["text/plain", "text/html"]:
        yield f"it holds {', '.join(map(brief, kinds)) or 'nothing'}"
    if mail.value("MIME-Version") != "1.0":
        yield "MIME-Version is not 1.0"


@RULES.rule("charset", "each part is in UTF-8 and says so")
def _charset(mail: Opened) -> Iterator[str]:
    for part in mail.parts:
        charset = str(part.get_content_charset(""))
        raw = part.get_payload(decode=True)
        if charset not in {"utf-8", "us-ascii"}:
            yield f"{part.get_content_type()}: it says {brief(charset, 20)!r}"
        elif isinstance(raw, bytes) and not _decodes(raw, charset):
            yield f"{part.get_content_type()}: it is not in {charset}"


def _decodes(raw: bytes, charset: str) -> bool:
    try:
        raw.decode(charset)
    except UnicodeDecodeError:
        return False
    return True


@RULES.rule("structure", "a parser finds nothing wrong with the structure")
def _structure(mail: Opened) -> Iterator[str]:
    for part in mail.parsed.walk():
        yield from (brief(type(each).__name__) for each in part.defects)


@RULES.rule("attachments", "nothing is attached")
def _attachments(mail: Opened) -> Iterator[str]:
    for part in mail.parsed.walk():
        if part.get_content_disposition() == "attachment" or part.get_filename():
            yield brief(part.get_filename() or part.get_content_type())


@RULES.rule("text", "the text part says something")
def _text(mail: Opened) -> Iterator[str]:
    if len(_words(mail.text)) < 5:
        yield "it is empty, or nearly so"


@RULES.rule("written", "the text part is text: no tags, no entities")
def _written(mail: Opened) -> Iterator[str]:
    if found := _MARKUP.search(mail.text):
        yield brief(found[0])


@RULES.rule("as_much", "the text part says about as much as the HTML part")
def _as_much(mail: Opened) -> Iterator[str]:
    text, html = len(_words(mail.text)), len(_words(mail.page.visible))
    if text < _AS_MANY * html:
        yield f"{text} words, against {html}"


def _words(text: str) -> list[str]:
    return _WORD.findall(URL.sub(" ", text))


@RULES.rule("links", "every link of the HTML part is in the text part")
def _links(mail: Opened) -> Iterator[str]:
    for url in dict.fromkeys(each.url for each in mail.page.links):
        if url and url not in mail.text_urls and url not in mail.text:
            yield brief(url)


@RULES.rule("leftovers", "no statement of a template is left in subject or parts")
def _leftovers(mail: Opened) -> Iterator[str]:
    for where, text, pattern in (
        ("Subject", mail.shown("Subject"), _LEFTOVER),
        ("text", mail.text, _LEFTOVER),
        ("HTML", mail.html, _LEFTOVER_IN_HTML),
    ):
        if found := pattern.search(text):
            yield f"{where}: {brief(text[found.start() :], 30)}"


@RULES.rule("direction", "no character turns the direction of writing behind the reader's back")
def _direction(mail: Opened) -> Iterator[str]:
    for where, text in (("text", mail.text), ("HTML", mail.html)):
        if found := BIDI.search(_ISOLATED.sub("", text)):
            yield f"{where}: U+{ord(found[0]):04X}"


@RULES.rule("postal", "text and HTML both show the postal address", lambda mail: bool(mail.about.postal_address))
def _postal(mail: Opened) -> Iterator[str]:
    wanted = " ".join(mail.about.postal_address.split())
    for where, text in (("text", mail.text), ("HTML", mail.page.visible)):
        if wanted not in " ".join(text.split()):
            yield f"the {where} does not"


@RULES.rule("address", "no link holds the reader's address, plain or in base64")
def _address(mail: Opened) -> Iterator[str]:
    reader = mail.value("To").strip("<> ").lower()
    if "@" not in reader:
        return
    # the end of it may be joined to what follows, and three bytes become four letters
    coded = [base64.b64encode(b"\0" * shift + reader.encode()).decode().rstrip("=")[4:-2] for shift in range(3)]
    for url in {*mail.leaving, *mail.text_urls, *(each.url for each in mail.page.links), *_pictures(mail)}:
        known = unquote(url).replace("-", "+").replace("_", "/")
        if reader in unquote(url).lower() or any(len(each) > 8 and each in known for each in coded):
            yield brief(url)


def _pictures(mail: Opened) -> list[str]:
    return [each.get("src") for each in mail.page.named("img")]
