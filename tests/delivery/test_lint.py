"""Lint: every mail of ours passes every rule, and each rule catches its own fault."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from conftest import NOW, ROOT
from dkim_keys import key, key_files
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE, add_papers, add_readers, open_and_queue, record

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import dkim
from newsletter.delivery.lint import RULES, About, Opened, faults, lint
from newsletter.delivery.models import Mail
from newsletter.papers.models import MAX_TITLE
from newsletter.papers.textclean import clean
from newsletter.rehearsal import rehearse
from newsletter.rendering.typeset import quoted_printable
from newsletter.specimens import Specimen, specimens
from newsletter.specimens.proofs import SPANS

Command = Callable[..., CompletedProcess[str]]
KEYS = (key("rsa"), key("ed25519"))
POSTAL = "Daily Papers, 1 Example Street, 12345 Example"
SITE = "https://news.example.org"
PICTURE = '<img src="https://news.example.org/o/x.gif" width="1" height="1" alt="">'
_TEXT = "Content-Type: text/plain; charset=utf-8"


@pytest.fixture
def ours(make_app: Callable[..., App], sqlite_url: str, tmp_path: Path) -> App:
    """An app that signs and names its postal address."""
    return make_app(sqlite_url, postal_address=POSTAL, dkim_keys=key_files(tmp_path, "rsa", "ed25519"))


@pytest.fixture
def good(ours: App) -> Specimen:
    """A digest that passes all rules."""
    return next(specimens(ours, Mail.DIGEST))


def broken(raw: bytes, about: About | None = None) -> set[str]:
    return {each.rule.name for each in lint(raw, about) if each.faults}


@pytest.mark.parametrize("mail", list(Mail))
@pytest.mark.parametrize("tracking", ["off", "aggregate"])
def test_every_mail_of_ours_passes_every_rule(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path, mail: Mail, tracking: str
) -> None:
    setting = key_files(tmp_path, "rsa", "ed25519")
    app = make_app(sqlite_url, postal_address=POSTAL, tracking=tracking, dkim_keys=setting)
    found = list(specimens(app, mail))
    assert len(found) == (8 if mail in SPANS else 2 if mail is Mail.WELCOME else 1)
    for each in found:
        assert faults(each.message, each.about) == [], each.title
        assert dkim.head_fields(each.message.decode("ascii"))[0][0] == "DKIM-Signature"


def test_both_kinds_of_digest_are_looked_at(ours: App) -> None:
    titles = {each.title: each for each in specimens(ours, Mail.DIGEST)}
    pixel = {title: "/o/" in Opened(each.message).html for title, each in titles.items()}
    assert [title for title, there in pixel.items() if not there] == [
        "digest, ten papers, not tracked",
        "digest, hostile",
    ]


@dataclass(frozen=True)
class Mutation:
    """One thing done to a good mail: before it is signed, to its head or a part, or behind that, to all its bytes.

    :ivar also: the other rules, all of them, that see the same fault from their side.
    """

    head: Callable[[str], str] = str
    text: Callable[[str], str] = str
    html: Callable[[str], str] = str
    raw: Callable[[bytes], bytes] = bytes
    about: Callable[[About], About] = lambda about: about
    signed: bool = True
    also: tuple[str, ...] = ()

    def of(self, good: Specimen) -> tuple[bytes, About]:
        """Return the mail made anew with the mutation in it."""
        mail = Opened(good.message)
        head = "".join(f"{name}:{value}\r\n" for name, value in mail.fields if name != "DKIM-Signature")
        parts = {"plain": self.text(mail.text), "html": self.html(mail.html)}
        pieces = [self.head(head).encode("utf-8"), b"\r\n"]
        for kind, text in parts.items():
            begin = f"--=_newsletter_parts\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
            pieces += [begin.encode(), b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", quoted_printable(text)]
            pieces.append(b"\r\n")
        pieces.append(b"--=_newsletter_parts--\r\n")
        if self.signed and pieces[0].isascii():
            pieces = dkim.signed(pieces, KEYS, NOW)
        return self.raw(b"".join(pieces)), self.about(good.about)


def put(name: str, value: str) -> Callable[[str], str]:
    """Give a field of the head another value."""
    return lambda head: re.sub(rf"(?ms)^{name}:.*?\r\n(?![ \t])", lambda _: f"{name}: {value}\r\n", head, count=1)


def drop(name: str) -> Callable[[str], str]:
    """Take a field out of the head."""
    return lambda head: re.sub(rf"(?ms)^{name}:.*?\r\n(?![ \t])", "", head, count=1)


def add(line: str) -> Callable[[str], str]:
    """Add a line to the head."""
    return lambda head: head + line + "\r\n"


def swap(old: str, new: str) -> Callable[[str], str]:
    """Replace the first place of a text that must be there."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def inside(html: str) -> Callable[[str], str]:
    """Put something at the end of the page."""
    return swap("</body>", f"{html}</body>")


def tag(pattern: str, new: str) -> Callable[[str], str]:
    """Replace what a pattern finds first."""

    def change(text: str) -> str:
        assert re.search(pattern, text, re.DOTALL)
        return re.sub(pattern, new, text, count=1, flags=re.DOTALL)

    return change


def at_first(line: bytes) -> Callable[[bytes], bytes]:
    """Put a line in front of the text part, as it is."""
    begin = b"quoted-printable\r\n\r\n"
    return lambda raw: raw.replace(begin, begin + line, 1)


def in_tag(pattern: str) -> Callable[[bytes], bytes]:
    """Change a tag of both signatures, behind their back."""
    old, new = pattern.split(" -> ")
    return lambda raw: re.sub(old.encode(), new.encode(), raw)


BROKEN_BY_HAND = ("dkim.verifies",)
NOT_SIGNED = {"signed": False, "about": lambda about: replace(about, keys=())}
_UNSUBSCRIBE = rf"{SITE}/u/[A-Za-z0-9_-]+"
_LINK = '<a href="{}">a link</a>'

MUTATIONS: dict[str, Mutation | tuple[Mutation, ...]] = {
    "wire.crlf": (
        Mutation(raw=lambda raw: raw.replace(b"\r\n", b"\n")),
        Mutation(raw=lambda raw: raw.replace(b"--\r\n", b"--")),
    ),
    "wire.length": Mutation(head=add("X-Long: " + "x" * 1_000)),
    "wire.folded": Mutation(head=put("Subject", "many words " * 8)),
    "wire.nul": (
        Mutation(raw=lambda raw: raw.replace(b"new papers", b"new\0papers"), also=("dkim.body",)),
        Mutation(head=add("X-Control: a\x07b")),
    ),
    "wire.head": Mutation(head=add("this is no field"), also=("parts.structure",)),
    "wire.ascii": Mutation(head=add("X-Name: Zoë"), **NOT_SIGNED),
    "wire.encoded_words": (
        Mutation(head=put("Subject", f"=?utf-8?q?{'=C3=BC' * 12}?=")),
        Mutation(head=put("Subject", "=?utf-8?b?not base64?=")),
        Mutation(head=put("Subject", "=?nonsense?q?a?=")),
        Mutation(head=put("Subject", "=?utf-8?q?never ended")),
    ),
    "wire.once": Mutation(head=add("Subject: another one")),
    "wire.private": (
        Mutation(head=add("Bcc: somebody@example.org")),
        Mutation(head=add("Return-Path: <somebody@example.org>")),
        Mutation(head=add("Resent-To: somebody@example.org")),
    ),
    "wire.size": Mutation(html=inside(f"<!-- {'x' * 220_000} -->"), also=("html.size",)),
    "wire.dots": Mutation(raw=lambda raw: raw.replace(b"--\r\n", b"--\r\n.\r\n"), also=("dkim.body",)),
    "wire.transfer": (
        Mutation(raw=lambda raw: raw.replace(b"quoted-printable", b"x-zip", 1), also=("dkim.body", "parts.links")),
        Mutation(raw=at_first(b"=zz\r\n"), also=("dkim.body",)),
        Mutation(raw=at_first(b"end \r\n"), also=("dkim.body",)),
        Mutation(raw=at_first(b"l" * 90 + b"\r\n"), also=("dkim.body",)),
        Mutation(raw=at_first("ü\r\n".encode()), also=("dkim.body",)),
        Mutation(
            raw=lambda raw: raw.replace(b"quoted-printable", b"base64", 1),
            also=(
                "dkim.body",
                "parts.as_much",
                "parts.links",
                "parts.postal",
                "parts.charset",
                "list.visible",
                "parts.structure",
                "parts.leftovers",
            ),
        ),
    ),
    "identity.from": (
        Mutation(head=put("From", "Two <a@example.org>, People <b@example.org>")),
        Mutation(head=put("From", "Nobody <nobody>"), also=("dkim.aligned",)),
    ),
    "identity.own_domain": Mutation(head=put("From", "Me <me@gmail.com>"), also=("dkim.aligned",)),
    "identity.reply": (
        Mutation(head=put("From", "Us <no-reply@example.org>")),
        Mutation(head=add("Reply-To: donotreply@example.org")),
    ),
    "identity.to": (
        Mutation(head=put("To", "reader@example.org, other@example.org")),
        Mutation(head=put("To", "undisclosed-recipients:;")),
        Mutation(head=add("Cc: other@example.org")),
    ),
    "identity.date": (
        Mutation(head=put("Date", "yesterday")),
        Mutation(head=put("Date", "Wed, 05 Aug 2026 09:00:00 GMT")),
        Mutation(head=drop("Date")),
    ),
    "identity.message_id": (Mutation(head=put("Message-ID", "<1@localhost>")), Mutation(head=drop("Message-ID"))),
    "identity.subject": (
        Mutation(head=put("Subject", "")),
        Mutation(head=put("Subject", "\r\n ".join(["a long subject of many words"] * 8))),
        Mutation(head=put("Subject", "=?utf-8?q?=E2=80=AEdrow?=")),
    ),
    "identity.honest": (
        Mutation(head=put("Subject", "Re: your question")),
        Mutation(head=put("Subject", "=?utf-8?q?Fwd=3A_f=C3=BCr_Sie?=")),
    ),
    "list.unsubscribe": (
        Mutation(head=drop("List-Unsubscribe"), also=("list.mailto",)),
        Mutation(head=tag(_UNSUBSCRIBE, "http://news.example.org/u/AAAAAAAAAAAAAAAAAAAAAAAA")),
        Mutation(head=tag("<mailto:", f"<{SITE}/u/{'B' * 38}>, <mailto:"), also=("list.visible", "wire.folded")),
    ),
    "list.plain": (
        Mutation(
            head=put("List-Unsubscribe", f"=?utf-8?q?<{SITE}/u/{'B' * 38}>?="),
            also=("list.mailto", "list.visible", "wire.encoded_words"),
        ),
        Mutation(head=tag("<mailto:", "<mailto:\r\n ")),
    ),
    "list.mailto": Mutation(head=tag(",\\s*<mailto:[^>]*>", "")),
    "list.one_click": (
        Mutation(head=put("List-Unsubscribe-Post", "List-Unsubscribe=one-click")),
        Mutation(head=drop("List-Unsubscribe-Post")),
    ),
    "list.opaque": Mutation(head=tag(_UNSUBSCRIBE, f"{SITE}/u/12"), also=("list.visible",)),
    "list.id": (Mutation(head=put("List-Id", "digest")), Mutation(head=drop("List-Id"))),
    "list.visible": (
        Mutation(text=lambda text: re.sub(_UNSUBSCRIBE, SITE, text), also=("parts.links",)),
        Mutation(html=lambda html: re.sub(_UNSUBSCRIBE, f"{SITE}/", html)),
    ),
    "list.outside": Mutation(head=tag(":digest:", ":new_address:")),
    "list.automatic": (Mutation(head=drop("Auto-Submitted")), Mutation(head=put("Precedence", "first-class"))),
    "list.feedback": (Mutation(head=put("Feedback-ID", "a:digest:b:c")), Mutation(head=drop("Feedback-ID"))),
    "list.post": Mutation(head=add("List-Post: <mailto:all@example.org>")),
    "dkim.signed": Mutation(signed=False),
    "dkim.algorithm": Mutation(raw=in_tag("a=rsa-sha256 -> a=rsa-sha1"), also=BROKEN_BY_HAND),
    "dkim.strength": Mutation(raw=in_tag("(s=rsa; (?s:.)*? b=)(?:\\S{74}\r\n ){2} -> \\1"), also=BROKEN_BY_HAND),
    "dkim.relaxed": Mutation(raw=in_tag("c=relaxed/relaxed -> c=simple/relaxed"), also=BROKEN_BY_HAND),
    "dkim.covers": Mutation(raw=in_tag(":subject -> :x"), also=("dkim.oversigned", *BROKEN_BY_HAND)),
    "dkim.oversigned": Mutation(raw=in_tag("content-type:from: -> content-type:x:"), also=BROKEN_BY_HAND),
    "dkim.whole": Mutation(raw=in_tag("v=1; -> v=1; l=10;"), also=BROKEN_BY_HAND),
    "dkim.aligned": Mutation(head=put("From", "Us <us@example.com>")),
    "dkim.body": Mutation(raw=lambda raw: raw.replace(b"new papers", b"old papers")),
    "dkim.verifies": (
        Mutation(raw=lambda raw: raw.replace(b"\r\nSubject: ", b"\r\nSubject: x", 1)),
        Mutation(
            raw=lambda raw: raw.replace(b"Subject: ", b"Reply-To: <evil@example.org>\r\nSubject: ", 1),
            also=("dkim.oversigned",),
        ),
    ),
    "parts.alternative": (
        Mutation(head=tag("multipart/alternative", "multipart/mixed")),
        Mutation(
            raw=lambda raw: raw.replace(_TEXT.encode(), b"Content-Type: text/enriched; charset=utf-8"),
            also=("dkim.body", "parts.text", "parts.as_much", "parts.links", "parts.postal", "list.visible"),
        ),
        Mutation(head=drop("MIME-Version")),
    ),
    "parts.charset": (
        Mutation(raw=lambda raw: raw.replace(b"charset=utf-8", b"charset=windows-1252", 1), also=("dkim.body",)),
        Mutation(raw=lambda raw: raw.replace(b"=E2=80=93", b"=E2=80").replace(b"=C2=B7", b"=C2"), also=("dkim.body",)),
    ),
    "parts.structure": Mutation(raw=lambda raw: raw.replace(b"--=_newsletter_parts--", b""), also=("dkim.body",)),
    "parts.attachments": Mutation(
        raw=lambda raw: raw.replace(
            _TEXT.encode(), b"Content-Disposition: attachment; filename=a.txt\r\n" + _TEXT.encode()
        ),
        also=("dkim.body",),
    ),
    "parts.text": Mutation(text=lambda _: "", also=("parts.as_much", "parts.links", "parts.postal", "list.visible")),
    "parts.written": (
        Mutation(text=swap("new papers", "<p>new</p> papers")),
        Mutation(text=swap("new papers", "new&nbsp;papers")),
    ),
    "parts.as_much": Mutation(text=lambda text: " ".join(re.findall(r"https://\S+", text)) + f" {POSTAL}"),
    "parts.links": Mutation(html=inside(_LINK.format("https://example.org/only-here"))),
    "parts.leftovers": (
        Mutation(text=swap("new papers", "{{ digest.new }} papers")),
        Mutation(html=inside("<p>{% if card.links %}</p>")),
        Mutation(html=inside("<!--% endfor %-->")),
        Mutation(head=put("Subject", "{{ digest.subject }}")),
    ),
    "parts.direction": (
        Mutation(text=swap("new", "\u202enew")),
        Mutation(html=inside("<p>\u2066turned</p>")),
        Mutation(html=inside("<p>\u2068never ends</p>")),
        Mutation(html=inside("<p>\u2068inside \u202e it\u2069</p>")),
    ),
    "parts.postal": (Mutation(text=swap(POSTAL, "")), Mutation(html=swap(POSTAL, ""))),
    "parts.address": tuple(
        Mutation(html=inside(_LINK.format(url)), text=lambda text, url=url: f"{text}\n{url}")  # type: ignore[misc]
        for url in (
            f"{SITE}/r?mail=reader@example.org",
            f"{SITE}/r?mail=Reader%40Example.org",
            f"{SITE}/r/cmVhZGVyQGV4YW1wbGUub3Jn",
            f"{SITE}/r/eDpyZWFkZXJAZXhhbXBsZS5vcmc",
        )
    ),
    "html.doctype": Mutation(html=swap("<!DOCTYPE html>", "")),
    "html.language": Mutation(html=tag(r"<html lang=\"en\"", "<html")),
    "html.title": Mutation(html=tag("<title>.*?</title>", "<title> </title>")),
    "html.heading": (Mutation(html=inside("<h1>Another</h1>")), Mutation(html=tag("<h1(.*?)</h1>", r"<h2\1</h2>"))),
    "html.preheader": Mutation(html=swap("display:none", "display:block")),
    "html.size": Mutation(html=inside(f"<!-- {'x' * 82_000} -->")),
    "html.style": Mutation(html=swap("</head>", f"<style>{'p { margin: 0; } ' * 600}</style></head>")),
    "html.dark": (
        Mutation(html=tag(r"<meta content=\"light dark\" name=\"color-scheme\">", "")),
        Mutation(html=swap("prefers-color-scheme: dark", "prefers-color-scheme: light")),
    ),
    "html.balanced": (
        Mutation(html=inside("<div>")),
        Mutation(html=inside("</em>")),
        Mutation(html=lambda html: html[:-30]),
    ),
    "html.tables": Mutation(html=inside("<table><tr><td>figures</td></tr></table>")),
    "html.active": (
        Mutation(html=inside("<script>alert(1)</script>")),
        Mutation(html=inside('<form action="https://example.org/"></form>')),
        Mutation(html=inside('<svg width="1"></svg>')),
        Mutation(html=swap("<head>", '<head><meta http-equiv="refresh" content="0">')),
    ),
    "html.handlers": Mutation(html=inside('<p onclick="steal()">press</p>')),
    "html.schemes": (
        Mutation(html=inside(_LINK.format("javascript:alert(1)")), also=("parts.links",)),
        Mutation(html=inside(_LINK.format(" JaVaScRiPt&#58;alert(1)")), also=("parts.links",)),
        Mutation(html=inside('<img src="data:image/gif;base64,xx" alt="" width="9" height="9">')),
    ),
    "html.remote": (
        Mutation(html=swap("</head>", "<style>@import 'https://example.org/a.css';</style></head>")),
        Mutation(html=inside('<p style="background:url(https://example.org/a.png)">x</p>')),
    ),
    "html.https": tuple(
        Mutation(html=inside(_LINK.format(url)), text=lambda text, url=url: f"{text}\n{url}")  # type: ignore[misc]
        for url in ("http://example.org/", "/relative", "//example.org/a", "")
    ),
    "html.hosts": tuple(
        Mutation(html=inside(_LINK.format(url)), text=lambda text, url=url: f"{text}\n{url}")  # type: ignore[misc]
        for url in ("https://192.0.2.7/", "https://arxiv.org@example.org/", "https://example.org:8443/")
    ),
    "html.labels": Mutation(html=inside(f'<a href="{SITE}/"> </a>')),
    "html.promises": Mutation(html=inside(f'<a href="{SITE}/">https://arxiv.org/abs/1</a>')),
    "html.alt": Mutation(html=inside(f'<img src="{SITE}/a.png" width="9" height="9">')),
    "html.pictures": Mutation(html=inside(f'<img src="{SITE}/a.png" alt="a picture" width="100%">')),
    "html.pixel": (Mutation(html=inside(PICTURE)), Mutation(html=swap('alt=""', 'alt="counts"'))),
    "html.untracked": Mutation(about=lambda about: replace(about, tracked=False)),
    "html.escaped": Mutation(html=inside("<p>this &amp;amp; that</p>")),
}
CASES = [
    (name, number, each)
    for name, found in MUTATIONS.items()
    for number, each in enumerate(found if isinstance(found, tuple) else (found,), 1)
]


def test_every_rule_has_a_mutation_and_a_name_of_its_own() -> None:
    assert [each.name for each in RULES] == list(MUTATIONS)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_0-9]+", each.name) for each in RULES)
    assert all(each.wants and not each.wants.endswith(".") and len(each.wants) <= 100 for each in RULES)


def test_what_is_mutated_is_good(good: Specimen) -> None:
    assert broken(*Mutation().of(good)) == set()


@pytest.mark.parametrize(("name", "number", "mutation"), CASES, ids=[f"{name}-{number}" for name, number, _ in CASES])
def test_each_rule_catches_its_fault(name: str, number: int, mutation: Mutation, good: Specimen) -> None:
    found = broken(*mutation.of(good))
    assert name in found
    assert found == {name, *mutation.also}


@given(st.binary(max_size=2_000))
def test_whatever_the_bytes_each_rule_says_something(raw: bytes) -> None:
    assert len(list(lint(raw))) == len(RULES)


@given(st.data())
def test_a_mail_that_was_cut_or_scrambled_is_judged_all_the_same(data: st.DataObject) -> None:
    raw = (ROOT / "tests/delivery/test_lint.py").read_bytes()[:300]
    head = b"From: a@example.org\r\nContent-Type: multipart/alternative; boundary=x\r\n"
    head += b"DKIM-Signature: v=1; h=a; b=x\r\n\r\n"
    part = b"--x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><p a=<![if x]><!--" + raw
    whole = bytearray(head + part)
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    mail = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert len(list(lint(mail, About(SITE, POSTAL, False, KEYS)))) == len(RULES)


def test_a_mail_without_anything_breaks_most_rules() -> None:
    assert len(broken(b"")) > 20
    assert {"wire.head", "identity.from", "list.unsubscribe", "parts.alternative", "html.doctype"} <= broken(b"\r\n")


def test_a_file_with_the_line_ends_of_this_machine_breaks_one_rule_only(good: Specimen) -> None:
    for end in (b"\n", b"\r"):
        assert broken(good.message.replace(b"\r\n", end), good.about) == {"wire.crlf"}


def test_a_mail_that_has_arrived_may_have_what_relays_wrote(good: Specimen) -> None:
    trace = b"Return-Path: <bounce+1@example.org>\r\nReceived: from a by b; Wed, 05 Aug 2026 09:00:00 +0000\r\n"
    assert broken(trace + good.message, good.about) == set()


def test_a_trial_on_this_machine_needs_no_certificate(make_app: Callable[..., App], sqlite_url: str) -> None:
    app = make_app(sqlite_url, base_url="http://127.0.0.1:8000")
    for mail in Mail:
        for each in specimens(app, mail):
            assert faults(each.message, each.about) == []
            elsewhere = broken(each.message, replace(each.about, site=SITE))
            assert "html.https" in elsewhere
            assert not mail.is_of_list or "list.unsubscribe" in elsewhere


def test_a_site_on_this_machine_is_no_site_for_mails_that_leave_it(
    make_app: Callable[..., App], sqlite_url: str
) -> None:
    for url, trial in (("smtp://127.0.0.1:25?starttls=never", True), ("smtp://smtp.example.org:587", False)):
        app = make_app(sqlite_url, base_url="http://127.0.0.1:8000", smtp_url=url)
        found = broken(next(specimens(app, Mail.WELCOME)).message, app.about())
        assert found == (set() if trial else {"html.https", "html.hosts", "list.unsubscribe"})


@pytest.mark.parametrize(
    "name", ["A rather " * 15 + "long name", 'Papers, "new" ones, ' * 7, "Überlange Namen " * 8, "x" * 140]
)
def test_the_longest_sender_names_pass_as_well(make_app: Callable[..., App], sqlite_url: str, name: str) -> None:
    quoted = name.replace('"', '\\"')
    app = make_app(sqlite_url, sender=f'"{quoted}" <papers@example.org>')
    for mail in Mail:
        for each in specimens(app, mail):
            assert faults(each.message, each.about) == []


def test_hostile_titles_leave_nothing_that_lint_finds(ours: App) -> None:
    # a title that its source escaped twice is told of, and rightly so
    texts = [clean(text, MAX_TITLE) for text in HOSTILE if "&amp;" not in text]
    add_papers(ours, [record(n, text, abstract=text * 3, authors=(text[:200],) * 9) for n, text in enumerate(texts, 1)])
    add_readers(ours, 2, max_papers=50)
    add_readers(ours, 1, prefix="plain", max_papers=50, tracking=False)
    issue = open_and_queue(ours)
    planned = rehearse(ours, issue.day, pipeline.resolve_due(issue.day, ours.now(), any_hour=True))
    assert planned.linted == len(planned.mails) == 3
    assert [mail.warnings for mail in planned.mails] == [(), (), ()]


def test_a_dry_run_looks_at_the_first_mails_only(app: App) -> None:
    add_papers(app, [record(1)])
    add_readers(app, 52)
    day = app.now().date()
    planned = rehearse(app, day, pipeline.resolve_due(day, app.now(), any_hour=True))
    assert (len(planned.mails), planned.linted) == (52, 50)


def test_a_dry_run_shows_what_is_wrong(make_app: Callable[..., App], sqlite_url: str, tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", templates)
    body = templates / "email/digest/body.mjml"
    worse = body.read_text(encoding="utf-8").replace("New for you<", 'New for you <img src="a.png" /><')
    body.write_text(worse, encoding="utf-8")
    app = make_app(sqlite_url, templates_dir=templates)
    add_papers(app, [record(1)])
    add_readers(app, 1)
    day = app.now().date()
    [mail] = rehearse(app, day, pipeline.resolve_due(day, app.now(), any_hour=True)).mails
    found = {warning.partition(":")[0] for warning in mail.warnings}
    assert found == {"html.https", "html.alt", "html.pictures"}


def test_the_command_judges_files_and_templates(command_here: Command, good: Specimen, tmp_path: Path) -> None:
    settings = {"base_url": SITE, "dkim_keys": key_files(tmp_path, "rsa", "ed25519"), "postal_address": POSTAL}
    shown = command_here("lint", **settings)
    assert shown.returncode == 0
    assert {line.partition(",")[0] for line in shown.stdout.splitlines() if line[:1] != " "} == set(Mail)
    assert not re.search(r"^ *fault", shown.stdout, re.MULTILINE)
    (tmp_path / "good.eml").write_bytes(good.message)
    judged = command_here("lint", "good.eml", **settings)
    assert judged.returncode == 0
    assert judged.stdout.startswith("good.eml\n  ok     wire.crlf")
    assert judged.stdout.count("\n") == len(RULES) + 1
    (tmp_path / "bad.eml").write_bytes(good.message.replace(b"Subject: ", b"Subject: Re: ", 1))
    judged = command_here("lint", "--faults", "good.eml", "bad.eml", **settings)
    assert judged.returncode == 1
    assert [line.split()[1] for line in judged.stdout.splitlines() if line[:1] == " "] == [
        "identity.honest",
        "dkim.verifies",
    ]
    assert judged.stderr == "newsletter: 2 faults\n"
    told = json.loads(command_here("lint", "bad.eml", "--json", **settings).stdout)
    assert told["faults"] == 2
    assert [each["rule"] for each in told["mails"][0]["rules"]] == [each.name for each in RULES]


def test_the_command_says_what_it_cannot_judge(command_here: Command, tmp_path: Path) -> None:
    unknown = command_here("lint", "digset")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("newsletter: digset is no file, and no mail of ours: digest, ")
    templates = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", templates)
    (templates / "email/welcome/body.txt").write_text("{{ site.nobody.knows }}", encoding="utf-8")
    broken_template = command_here("lint", "welcome", templates_dir=str(templates))
    assert broken_template.returncode == 1
    assert broken_template.stderr.startswith(f"newsletter: {templates}/email/welcome/body.txt, line 1: ")
    assert "has no attribute 'nobody'" in broken_template.stderr


@pytest.mark.parametrize("charset", ["undefined", "idna", "utf-8\0", "rot13", "no-such-one"])
@pytest.mark.parametrize("byte", [b"x", b"\xe9"])
def test_a_charset_that_is_none_is_no_reason_to_stop(
    command_here: Command, tmp_path: Path, charset: str, byte: bytes
) -> None:
    mail = tmp_path / "mail.eml"
    head = f'From: a@example.org\r\nContent-Type: text/html; charset="{charset}"\r\n\r\n'
    mail.write_bytes(head.encode() + byte)
    done = command_here("lint", str(mail))
    assert done.returncode == 1
    assert "fault" in done.stdout
