"""npm's own mjml: it finds our templates valid, and makes the same of them as the port that we compile them with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from html.parser import HTMLParser
from typing import Any

import pytest
from conftest import ROOT
from judges import ask_node

from newsletter.delivery.models import Mail
from newsletter.rendering.templates import compile_mjml

pytestmark = pytest.mark.trusted
_FOLDER = ROOT / "templates/email"
_INCLUDE = re.compile(r'<mj-include path="\./(.+?)" />')
_CONDITIONAL = re.compile(r"(\[if [^]]+\]>)(.*?)(<!\[endif\])?", re.DOTALL)
# Since 4.16 npm's rounds the cell inside a section too and clips what stands out; the port rounds the table around it.
_KNOWN = {"border-radius", "border-collapse", "overflow"}
Piece = tuple[str, Mapping[str, Any]]


class _Reader(HTMLParser):
    """Takes HTML apart, with what stands in comments for Outlook; spaces and the order of attributes do not count."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[Piece] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        told: dict[str, Any] = {name: " ".join((value or "").split()) for name, value in attrs}
        told = {name: value for name, value in told.items() if value or name not in {"class", "style"}}
        self.pieces.append((tag, told | {"style": dict(_declarations(told.get("style", "")))}))

    def handle_endtag(self, tag: str) -> None:
        self.pieces.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if text := " ".join(data.split()):
            self.pieces.append(("", {"text": text}))

    def handle_decl(self, decl: str) -> None:
        self.pieces.append(("!", {"text": decl.lower()}))

    def unknown_decl(self, data: str) -> None:
        self.pieces.append(("!", {"text": data}))

    def handle_comment(self, data: str) -> None:
        if found := _CONDITIONAL.fullmatch(data.strip()):
            self.pieces += [("!", {"text": found[1]}), *read(found[2]), ("!", {"text": "endif" if found[3] else ""})]
        else:
            self.pieces.append(("!", {"text": " ".join(data.split())}))


def read(html: str) -> list[Piece]:
    """Return the pieces of HTML in order."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.pieces


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    for each in style.split(";"):
        name, _, value = each.partition(":")
        if name.strip():
            yield name.strip(), value.strip()


def differences(ours: str, npms: str) -> list[str]:
    """Return where two pages are not made of the same pieces, but for what is known."""
    left, right = read(ours), read(npms)
    keys = [[repr(sorted(told.items(), key=repr)) + tag for tag, told in pieces] for pieces in (left, right)]
    found = []
    for kind, a, b, c, d in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        known = b - a == d - c and all(_is_known(one, other) for one, other in zip(left[a:b], right[c:d], strict=True))
        if kind != "equal" and not known:
            found.append(f"ours {left[a:b]}, npm's {right[c:d]}")
    return found


def _is_known(ours: Piece, npms: Piece) -> bool:
    def rest(told: Mapping[str, Any]) -> dict[str, Any]:
        style = {name: value for name, value in told.get("style", {}).items() if name not in _KNOWN}
        return {**told, "style": style}

    return ours[0] == npms[0] and rest(ours[1]) == rest(npms[1])


def whole(mail: Mail) -> str:
    """Return a mail's template with its parts, and theirs, in it."""
    source = f'<mj-include path="./{mail}/body.mjml" />'
    while _INCLUDE.search(source):
        source = _INCLUDE.sub(lambda found: (_FOLDER / found[1]).read_text(encoding="utf-8"), source)
    return source


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Our templates, by mail."""
    return {mail: whole(mail) for mail in Mail}


@pytest.fixture(scope="module")
def npms(sources: dict[str, str]) -> Mapping[str, Any]:
    """What npm's makes of them, and of one that makes no sense."""
    return ask_node("mjml.cjs", "mjml/lib/index.js", sources | {"broken": "<mjml><mj-body><mj-txt /></mj-body></mjml>"})


@pytest.mark.parametrize("mail", list(Mail))
def test_our_mjml_is_valid(npms: Mapping[str, Any], mail: Mail) -> None:
    assert npms[mail]["errors"] == []


@pytest.mark.parametrize("mail", list(Mail))
def test_our_compiler_makes_the_same_as_npms(sources: Mapping[str, str], npms: Mapping[str, Any], mail: Mail) -> None:
    assert "<mj-include" not in sources[mail]
    assert differences(compile_mjml(sources[mail]), npms[mail]["html"]) == []


def test_what_is_wrong_is_seen(sources: Mapping[str, str], npms: Mapping[str, Any]) -> None:
    html = npms[Mail.WELCOME]["html"]
    assert npms["broken"]["errors"]
    assert differences(html, html) == []
    assert len(differences(html.replace('align="center"', "", 1), html)) == 1
    assert len(differences(html.replace("</table>", "</table></table>", 1), html)) == 1
    assert len(differences(html.replace("#ffffff", "#fffffe", 1), html)) == 1
