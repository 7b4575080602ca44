"""Whatever stands in a slot, the mail is what it would be with harmless words there: the same tags, the same head."""

import json
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.utils import parseaddr
from functools import lru_cache
from urllib.parse import urlsplit

import pytest
from conftest import NOW
from samples import HOSTILE

from newsletter.delivery.desk import MAILS, Identity, Prepared
from newsletter.delivery.ledger import Leased
from newsletter.delivery.lint.markup import Element
from newsletter.delivery.lint.opened import Opened
from newsletter.delivery.message import header_text
from newsletter.delivery.models import Mail
from newsletter.delivery.printing import address_digest, address_notice
from newsletter.issues.digest import DigestPick, Mention, Selection
from newsletter.papers.models import Paper, PaperRecord
from newsletter.papers.sources.jsonl import parse_lines
from newsletter.papers.textclean import clean
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import Templates
from newsletter.rendering.typeset import Press
from newsletter.rendering.views import Tokens
from newsletter.settings import Sender
from newsletter.signing import Signer
from newsletter.specimens import About
from newsletter.specimens.papers import hostile
from newsletter.specimens.proofs import SPANS, edition
from newsletter.subscribers.models import Addressee, State
from newsletter.subscribers.preferences import LISTS, Preferences

SITE = "https://news.example.org"
TEXTS = sorted({*hostile(), *HOSTILE})
HARMLESS = "harmless words"
ASKED = Preferences().model_dump() | dict.fromkeys(LISTS, "[]")
TOKENS = Tokens("r" * 38, "u" * 38, "f" * 38, "p" * 38)


@lru_cache(maxsize=1)
def templates() -> Templates:
    return Templates()


def paper(number: int, text: str) -> Paper:
    """Return a paper as a source's record becomes it, with a text in every field that takes one."""
    told = {
        "id": f"arxiv:2608.{number:05d}", "title": f"Title {number} {text}", "abstract": f"Abstract {text}.",
        "summary": text, "organization": f"At {text}", "authors": [f"A {text}", f"B {text}"], "categories": [text],
        "keywords": [text], "url": text, "pdf_url": text, "code_url": text, "project_url": f"https://{text}",
        "picture_url": "https://pictures.example.org/1.png" if number == 2 else text, "upvotes": 7,
    }  # fmt: skip
    [parsed] = parse_lines([json.dumps(told).encode()], NOW, NOW)
    [record] = parsed.records
    fields = {name: getattr(record, name) for name in Paper.model_fields if name in PaperRecord.__slots__}
    lists = {name: list(value) for name, value in fields.items() if isinstance(value, tuple)}
    return Paper(id=number, first_seen_at=NOW, updated_at=NOW, **(fields | lists))


def mail_with(text: str, mail: Mail) -> Opened:
    """Return a mail with a text in every slot that somebody else than us can fill."""
    name = clean(f"S {text}", 200)
    identity = Identity(
        Sender(name, "papers@example.org"),
        "example.org",
        Letterhead(name, SITE, clean(f"P {text}", 200)),
        Links(SITE, tracked=True, pictures=True),
        Signer(["secret" * 8]),
    )
    person = Addressee(1, "reader@example.org", State.ACTIVE, None, None, None, ASKED)
    leased = Leased(1, mail, 1, 1, None, None, about_id=1)
    if mail not in MAILS.values():
        outgoing = address_notice(leased, person, person.email, templates(), identity, NOW)
    else:
        papers = {number: paper(number, text) for number in (1, 2, 3)}
        named = Preferences.model_validate({"keywords": [f"K {text}"[:90]], "source_news": True}).keywords[0]
        wishes = Preferences(keywords=(named,), source_news=True)
        of = edition(papers, NOW, SPANS[mail], f"N {clean(text, 200)}")
        picks = [DigestPick(1, 0.9, f"matches “{named}”", None, named), DigestPick(2, 0.8, f"like “{named}”", None, "")]
        mention = Mention(3, clean(f"M {text}", 200))
        press = Press(templates().mail(mail), of, identity.letterhead, identity.links)
        chosen = Selection(3, tuple(picks), SPANS[mail], (mention,))
        printed = press.print(of.compose(wishes, chosen), TOKENS)
        outgoing = address_digest(leased, Prepared(person, chosen, printed, "u" * 38), identity, NOW, "2026-08-05")
    return Opened(outgoing.message, About(site=SITE, postal_address="", tracked=True, keys=(), trial=False))


def shape(mail: Opened) -> list[tuple[str, tuple[str, ...]]]:
    """Return a mail's tags with their attributes' names, but for teasers and papers' links, which may be left out."""
    return [(each.name, tuple(each.attributes)) for each in _settled(mail.page.elements)]


def _settled(elements: list[Element]) -> Iterator[Element]:
    in_teaser = False
    for each in elements:
        if each.name in {"p", "h2", "h3", "div"}:
            in_teaser = each.get("class") == "said"
        if not in_teaser and each.get("class") != "link":
            yield each


@pytest.mark.parametrize("mail", list(Mail))
def test_a_text_in_any_slot_is_text(mail: Mail) -> None:
    assert len(TEXTS) >= 40
    expected = mail_with(HARMLESS, mail)
    for text in TEXTS:
        made = mail_with(text, mail)
        assert shape(made) == shape(expected), text
        assert [name for name, _ in made.fields] == [name for name, _ in expected.fields], text
        assert made.value("To") == "reader@example.org"
        assert made.page.unbalanced == []
        assert {each.get("style") for each in _settled(made.page.elements)} == {
            each.get("style") for each in _settled(expected.page.elements)
        }
        assert made.page.styles == expected.page.styles
        for each in made.page.elements:
            assert not [name for name in each.attributes if name.startswith("on")], text
            for name in ("href", "src"):
                if name in each.attributes:
                    assert_harmless(each.get(name))
        if clean(text, 200):
            said = " ".join(clean(text, 200).split())[:40]
            assert said in " ".join(made.page.visible.split()), text
        called, address = parseaddr(made.value("From"))
        assert str(make_header(decode_header(called))) == header_text(clean(f"S {text}", 200)), text
        assert address == "papers@example.org"


def assert_harmless(url: str) -> None:
    parts = urlsplit(url)
    assert parts.scheme in {"http", "https"}, url
    assert "." in (parts.hostname or ""), url
    assert "@" not in parts.netloc, url
    assert not set(url) & set("\"'<> \n\r\t\\"), url
