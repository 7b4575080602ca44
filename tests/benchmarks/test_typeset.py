"""What typesetting saves: a mail printed from the typeset issue, beside one rendered and built in full."""

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime
from email.message import EmailMessage
from email.policy import SMTP

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dkim_keys import key, pem
from samples import record

from newsletter import clock
from newsletter.delivery import dkim
from newsletter.delivery.message import Envelope, build
from newsletter.issues.compose import Edition
from newsletter.issues.digest import DigestPick, Mention, Selection, Span
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.placeholders import joined
from newsletter.rendering.templates import Templates
from newsletter.rendering.typeset import Press, Printed
from newsletter.rendering.views import Tokens, whole_digest
from newsletter.subscribers.preferences import Preferences

pytestmark = pytest.mark.benchmark
DAY, SITE, TOKENS = (
    date(2026, 8, 5),
    Letterhead("Daily Papers", "https://news.example.org", "1 Example Street"),
    Tokens("r" * 38, "u" * 38, "f" * 38, "p" * 38),
)


def per_call(work: Callable[[], object], calls: int) -> float:
    """Return the least microseconds a call takes, of five rounds."""
    best = float("inf")
    for _ in range(5):
        started = clock.monotonic()
        for _ in range(calls):
            work()
        best = min(best, (clock.monotonic() - started) / calls)
    return best * 1e6


def test_printing_against_rendering() -> None:
    papers = {}
    for number in range(1, 101):
        made = record(
            number,
            f"An ordinary title of paper {number}",
            abstract="A sentence about it. " * 60,
            authors=("Ada Example",) * 6,
        )
        fields = {
            name: getattr(made, name) for name in ("key", "title", "abstract", "url", "pdf_url", "listed_at", "source")
        }
        papers[number] = Paper(
            id=number, authors=list(made.authors), first_seen_at=made.listed_at, updated_at=made.listed_at, **fields
        )
    candidates = [IssueCandidate(issue_id=1, paper_id=number, trend=0.5, upvotes=7) for number in papers]
    edition, links, mail = (
        Edition(DAY, candidates, papers),
        Links(SITE.base_url, tracked=True),
        Templates().mail("digest"),
    )
    picks = [DigestPick(n, 0.5, "matches “diffusion”, 7 upvotes", None, f"topic {n % 3}") for n in range(1, 11)]
    mentions = tuple(Mention(number, "7 upvotes") for number in range(11, 14))
    selection = Selection(100, tuple(picks), Span.DAY, mentions)
    preferences = Preferences(keywords=("diffusion",))
    envelope = Envelope(
        SITE.name, "papers@example.org", "reader@example.org", "A subject + 9 more", datetime(2026, 8, 5, tzinfo=UTC),
        "<1@example.org>", "digest.example.org", links.unsubscribe(TOKENS.unsubscribe), "mailto:papers@example.org",
        "a:b:c:d",
    )  # fmt: skip
    press = Press(mail, edition, SITE, links)

    def printed() -> bytes:
        done = press.print(edition.compose(preferences, selection), TOKENS)
        return joined(build(envelope, done.text_pieces, done.html_pieces), done.tokens)

    def rendered() -> bytes:
        digest = edition.compose(preferences, selection)
        content = mail.render(whole_digest(digest, papers, SITE, links, TOKENS))
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = "papers@example.org", "reader@example.org", content.subject
        message.set_content(content.text)
        message.add_alternative(content.html, subtype="html")
        return message.as_bytes()

    fast, slow = per_call(printed, 200), per_call(rendered, 10)
    every = edition.compose(preferences, Selection(100, tuple(DigestPick(n, 0.5, "x") for n in papers)))
    setting = per_call(lambda: Press(mail, edition, SITE, links).print(every, TOKENS), 1)
    print(f"\nprinted {fast:.0f} µs, rendered {slow:.0f} µs: {slow / fast:.0f} times; {len(printed())} bytes")
    print(f"typesetting an issue of 100 papers: {setting / 1000:.1f} ms")
    assert len(printed()) < len(rendered()) * 1.2
    for kind in ("rsa", "ed25519"):
        signing(press.print(edition.compose(preferences, selection), TOKENS), envelope, kind)


def signing(done: Printed, envelope: Envelope, kind: str) -> None:
    """Print what a signature of ours costs, and one by the library that verifies it in the tests."""
    pieces, at = build(envelope, done.text_pieces, done.html_pieces), datetime(2026, 8, 5, tzinfo=UTC)
    message, secret = joined(pieces, done.tokens), pem(kind) if kind == "rsa" else _seed(kind)
    ours = per_call(lambda: dkim.signed(pieces, [key(kind)], at, done.tokens), 200)
    alone = per_call(lambda: key(kind).sign(b"x" * 1_000), 200)
    how = {"canonicalize": (b"relaxed", b"relaxed"), "signature_algorithm": f"{kind}-sha256".encode()}
    theirs = per_call(lambda: dkimpy.sign(message, b"s", b"example.org", secret, **how), 5)
    print(f"signed by {kind}: {ours:.0f} µs, of which the arithmetic {alone:.0f}; dkimpy {theirs:.0f} µs")


def _seed(kind: str) -> bytes:
    return base64.b64encode(load_pem_private_key(pem(kind), None).private_bytes_raw())  # type: ignore[union-attr]
