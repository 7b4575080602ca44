"""Rules of the HTML part: it reads in every client, is safe in all of them, and every link says where it goes. Pure."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from newsletter.delivery.lint.markup import Element
from newsletter.delivery.lint.opened import Opened, host_of
from newsletter.delivery.lint.rules import Book, brief

RULES = Book("html")
_MOST, _CLIPPED = 80 * 1024, 102 * 1024  # bytes: ours, and where clients cut
_MOST_STYLE = 8 * 1024
_ACTIVE = (
    "script", "iframe", "object", "embed", "applet", "form", "input", "button", "select", "textarea", "link", "base",
    "frame", "frameset", "svg", "math", "video", "audio", "canvas", "dialog", "portal",
)  # fmt: skip
_URL_ATTRIBUTES = (
    "href",
    "src",
    "action",
    "background",
    "poster",
    "cite",
    "data",
    "formaction",
    "srcset",
    "xlink:href",
)
_BAD_SCHEME = re.compile(r"[\x00-\x20]*(javascript|vbscript|data|file|blob)[\x00-\x20]*:", re.IGNORECASE)
_CSS_REMOTE = re.compile(r"@import|@font-face|url\s*\(|expression\s*\(|behavior\s*:", re.IGNORECASE)
_HOST = re.compile(r"^(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})(?:[/:?#]\S*)?$", re.IGNORECASE)
_TWICE = re.compile(r"&amp;(?:amp|lt|gt|quot|apos|nbsp|#\d+|#x[0-9a-f]+);", re.IGNORECASE)


@RULES.rule("doctype", "there is a doctype")
def _doctype(mail: Opened) -> Iterator[str]:
    if mail.page.doctype.lower().split()[:2] != ["doctype", "html"]:
        yield "none of HTML"


@RULES.rule("language", "the language is named")
def _language(mail: Opened) -> Iterator[str]:
    if not any(re.match(r"[A-Za-z]{2,3}(-|$)", each.get("lang")) for each in mail.page.named("html")):
        yield "no lang at <html>"


@RULES.rule("title", "there is a title")
def _title(mail: Opened) -> Iterator[str]:
    if not mail.page.title.strip():
        yield "none, or an empty one"


@RULES.rule("heading", "there is one heading of the first order")
def _heading(mail: Opened) -> Iterator[str]:
    if (number := len(mail.page.named("h1"))) != 1:
        yield f"{number} of them"


@RULES.rule("preheader", "a hidden text adds to the subject in the list of mails")
def _preheader(mail: Opened) -> Iterator[str]:
    if not mail.page.hidden.strip():
        yield "none, or an empty one"


@RULES.rule("size", "the HTML has at most 80 KiB: clients clip near 102 KB")
def _size(mail: Opened) -> Iterator[str]:
    if (size := len(mail.html.encode("utf-8", "replace"))) > _MOST:
        yield f"{size / 1024:.0f} KiB" + (", and will be clipped" if size > _CLIPPED else "")


@RULES.rule("style", "styles have at most 8 KiB")
def _style(mail: Opened) -> Iterator[str]:
    if (size := sum(len(each.encode("utf-8", "replace")) for each in mail.page.styles)) > _MOST_STYLE:
        yield f"{size / 1024:.1f} KiB"


@RULES.rule("dark", "light and dark are both meant")
def _dark(mail: Opened) -> Iterator[str]:
    metas = {each.get("name").lower(): each.get("content") for each in mail.page.named("meta")}
    if "dark" not in metas.get("color-scheme", ""):
        yield "no meta color-scheme with dark"
    if not re.search(r"prefers-color-scheme\s*:\s*dark", "".join(mail.page.styles)):
        yield "no styles for dark"


@RULES.rule("balanced", "every tag has its end")
def _balanced(mail: Opened) -> Iterator[str]:
    yield from mail.page.unbalanced[:5]


@RULES.rule("tables", "tables are layout and say so")
def _tables(mail: Opened) -> Iterator[str]:
    number = sum(each.get("role") not in {"presentation", "none"} for each in mail.page.named("table"))
    if number:
        yield f"{number} without role=presentation"


@RULES.rule("active", "nothing is active: no script, form, frame or embedded thing")
def _active(mail: Opened) -> Iterator[str]:
    yield from (f"<{each.name}>" for each in mail.page.named(*_ACTIVE))
    for each in mail.page.named("meta"):
        if each.get("http-equiv").lower() in {"refresh", "set-cookie"}:
            yield f"<meta http-equiv={each.get('http-equiv')}>"


@RULES.rule("handlers", "no attribute is a handler")
def _handlers(mail: Opened) -> Iterator[str]:
    yield from (
        f"{name} at <{each.name}>" for each in mail.page.elements for name in each.attributes if name[:2] == "on"
    )


@RULES.rule("schemes", "no address is javascript:, data: or the like")
def _schemes(mail: Opened) -> Iterator[str]:
    for each in mail.page.elements:
        yield from (f"{brief(each.get(name), 40)} at <{each.name}>" for name in _URL_ATTRIBUTES
                    if _BAD_SCHEME.match(each.get(name)))  # fmt: skip


@RULES.rule("remote", "styles load nothing: no import, font or picture")
def _remote(mail: Opened) -> Iterator[str]:
    for style in (*mail.page.styles, *(each.get("style") for each in mail.page.elements)):
        if found := _CSS_REMOTE.search(style):
            yield brief(style[found.start() :], 30)


@RULES.rule("https", "links and pictures are whole https addresses")
def _https(mail: Opened) -> Iterator[str]:
    found = [*(each.url for each in mail.page.links), *(each.get("src") for each in mail.page.named("img"))]
    yield from dict.fromkeys(brief(url) or "an empty one" for url in found if not _is_whole(mail, url))


def _is_whole(mail: Opened, url: str) -> bool:
    if _BAD_SCHEME.match(url) or re.match(r"mailto:[^@\s]+@[^@\s]+$", url):
        return True  # what is wrong with the first is told above
    local = mail.about.local_site
    return bool(host_of(url)) and (url.startswith("https://") or bool(local and url.startswith(local)))


@RULES.rule("hosts", "links name hosts, not numbers, users or odd ports")
def _hosts(mail: Opened) -> Iterator[str]:
    local = mail.about.local_site
    for url in dict.fromkeys(each.url for each in mail.page.links):
        if not (local and url.startswith(local)) and url.startswith(("http:", "https:")) and _is_odd(url):
            yield brief(url)


def _is_odd(url: str) -> bool:
    try:
        parts = urlsplit(url)
        if parts.port not in {None, 80, 443} or "@" in parts.netloc:
            return True
        ip_address(parts.hostname or "")
    except ValueError:
        return False
    return True


@RULES.rule("labels", "every link has words, or a picture with some")
def _labels(mail: Opened) -> Iterator[str]:
    yield from (brief(each.url) for each in mail.page.links if not each.label.strip())


@RULES.rule("promises", "a link that reads like an address goes there")
def _promises(mail: Opened) -> Iterator[str]:
    for each in mail.page.links:
        said = _HOST.match(each.label.strip())
        if said and host_of(each.url) and said[1].lower() != host_of(each.url):
            yield f"{brief(each.label, 40)} goes to {brief(host_of(each.url), 40)}"


@RULES.rule("alt", "every picture has an alt text, if only an empty one")
def _alt(mail: Opened) -> Iterator[str]:
    yield from (brief(each.get("src")) for each in mail.page.named("img") if "alt" not in each.attributes)


@RULES.rule("pictures", "every picture has a fixed size")
def _pictures(mail: Opened) -> Iterator[str]:
    for each in mail.page.named("img"):
        if not each.get("width").isdigit() or not each.get("height").isdigit():
            yield brief(each.get("src"))


@RULES.rule("pixel", "one invisible picture counts at most, with an empty alt text")
def _pixel(mail: Opened) -> Iterator[str]:
    found = _pixels(mail)
    if len(found) > 1:
        yield f"{len(found)} of them"
    yield from (f"alt is {brief(each.get('alt'), 20)!r}" for each in found if each.get("alt"))


@RULES.rule(
    "untracked", "who may not be counted gets no pixel and plain links", lambda mail: mail.about.tracked is False
)
def _untracked(mail: Opened) -> Iterator[str]:
    if _pixels(mail):
        yield "there is a pixel"
    counted = f"{mail.about.site}/c/"
    if any(each.url.startswith(counted) for each in mail.page.links) or counted in mail.text:
        yield "links pass by us"


def _pixels(mail: Opened) -> list[Element]:
    return [each for each in mail.page.named("img") if {each.get("width"), each.get("height")} & {"0", "1"}]


@RULES.rule("escaped", "nothing is escaped twice")
def _escaped(mail: Opened) -> Iterator[str]:
    if found := _TWICE.search(mail.html):
        yield brief(found[0])
