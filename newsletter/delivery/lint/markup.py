"""HTML read once for all rules: its elements, links and visible text. Pure."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_UNSEEN = {"head", "style", "script", "title", "template"}
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Element:
    """An element's begin tag; attributes without a value have an empty one."""

    name: str
    attributes: dict[str, str]

    def get(self, name: str) -> str:
        """Return an attribute, or an empty text."""
        return self.attributes.get(name, "")


@dataclass(slots=True)
class Link:
    """A link and what is read of it: its text, and the alt texts of its pictures."""

    url: str
    label: str = ""


@dataclass
class Page:
    """What an HTML part holds.

    :ivar hidden: text that is there for the list of mails alone (the preheader).
    :ivar unbalanced: begin or end tags without their counterpart.
    """

    doctype: str = ""
    title: str = ""
    elements: list[Element] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    visible: str = ""
    hidden: str = ""
    unbalanced: list[str] = field(default_factory=list)

    def named(self, *names: str) -> list[Element]:
        """Return the elements of some names."""
        return [each for each in self.elements if each.name in names]


def read_page(html: str) -> Page:
    """Read an HTML part; whatever it is, something comes back."""
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError) as exc:  # of the standard library's parser, on some broken declarations
        reader.page.unbalanced.append(f"cannot be read: {exc}")
    reader.end()
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[Element] = []
        self._visible: list[str] = []
        self._hidden: list[str] = []
        self._unseen = self._concealed = 0
        self._link: Link | None = None

    def handle_decl(self, decl: str) -> None:
        self.page.doctype = self.page.doctype or decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.page.elements.append(element)
        if tag == "a" and "href" in element.attributes:
            self._link = Link(element.get("href"))
            self.page.links.append(self._link)
        if tag == "img" and self._link:
            self._link.label += element.get("alt")
        if tag not in _VOID:
            self._open.append(element)
            self._count(element, 1)
        self._visible.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = None
        if tag in _VOID:
            return
        if not any(each.name == tag for each in self._open):
            self.page.unbalanced.append(f"</{tag}> without <{tag}>")
            return
        while (element := self._open.pop()).name != tag:
            self.page.unbalanced.append(f"<{element.name}> without </{element.name}>")
            self._count(element, -1)
        self._count(element, -1)
        self._visible.append(" ")

    def handle_data(self, data: str) -> None:
        inside = self._open[-1].name if self._open else ""
        if inside == "style":
            self.page.styles.append(data)
        elif inside == "title":
            self.page.title += data
        if self._unseen:
            return
        if self._concealed:
            self._hidden.append(data)
            return
        self._visible.append(data)
        if self._link:
            self._link.label += data

    def _count(self, element: Element, by: int) -> None:
        self._unseen += by * (element.name in _UNSEEN)
        self._concealed += by * bool(_HIDDEN.search(element.get("style")))

    def end(self) -> None:
        self.page.unbalanced += [f"<{each.name}> without </{each.name}>" for each in self._open]
        self.page.visible, self.page.hidden = "".join(self._visible), "".join(self._hidden)
