"""Printing specimens: each form that a mail may take, by the code that prints real ones."""

import json
from binascii import a2b_qp
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from newsletter.delivery.alarms.models import Bundle, Told
from newsletter.delivery.desk import MAILS, Identity, Prepared
from newsletter.delivery.ledger import Leased
from newsletter.delivery.lint.rules import brief
from newsletter.delivery.models import Mail
from newsletter.delivery.printing import address_digest, address_notice
from newsletter.delivery.transports import Outgoing
from newsletter.errors import InputError, NewsletterError
from newsletter.issues.compose import Edition, Reader
from newsletter.issues.digest import Selection, Span
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper
from newsletter.ranking.types import Rated
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import Templates
from newsletter.rendering.typeset import Press, Printed
from newsletter.rendering.views import Tokens, whole_digest
from newsletter.settings import Sender
from newsletter.signing import Purpose, Signer
from newsletter.specimens.papers import hostile, sample
from newsletter.subscribers.models import Addressee, State
from newsletter.subscribers.preferences import LISTS, MAX_INTEREST, Cadence, Preferences, Weekday

SPANS: Mapping[Mail, Span] = {mail: span for span, mail in MAILS.items()}
"""The mails of an issue, and what their editions cover; all others are notices."""
_READER = 1
_ADDRESS = "reader@example.org"
_KEY = "the links of specimens lead nowhere"
_AWAY = timedelta(days=9)
_NEWS = "arXiv has not announced anything today"
_ALARMS = Bundle(
    (
        Told(
            "The issue 2026-08-05 is stopped",
            "The relay refuses our mail, whoever the reader: “5.7.26 unauthenticated”. Mend that, then let it go on.",
            "newsletter issues resume 2026-08-05",
            "2026-08-05 09:00 UTC",
        ),
        Told(
            "Sending is held",
            "This database is a copy, or was restored from a backup.",
            "newsletter deliveries release",
            "2026-08-05 07:30 UTC",
            "2026-08-05 08:45 UTC",
        ),
    ),
    before=(Told("bioRxiv does not answer", "", "newsletter status", "2026-08-03 21:20 UTC"),),
)
_TOPICS = Preferences(topics=("language models", "robotics"), keywords=("diffusion",))
_BUSY = Preferences(  # who is told everything that a notice may say, at its longest
    cadence=Cadence.DAYS, weekdays=tuple(Weekday), timezone="America/Argentina/ComodRivadavia", hour=0
)


@dataclass(frozen=True, slots=True)
class Form:
    """One of the forms of a digest: what there is to choose from, and who reads it.

    :ivar title: of the form, as a person who looks through all of them knows it.
    :ivar papers: the name of a sample.
    :ivar none: whether there is nothing new for the reader, who wants to be told why.
    """

    title: str
    papers: str
    wishes: Preferences
    rated: tuple[Rated, ...] = ()
    news: str = _NEWS
    none: bool = False


def forms() -> Iterator[Form]:
    """Yield the forms of a digest, the plainest first."""
    yield Form("ten papers", "demo", _TOPICS)
    yield Form("ten papers, not tracked", "demo", _wishing(_TOPICS, tracking=False, outside=True))
    yield Form("one paper", "demo", _wishing(_TOPICS, max_papers=1))
    yield Form("no paper, but why", "demo", _wishing(_TOPICS, source_news=True), none=True)
    fifty = Preferences(max_papers=50, topics=tuple(f"interest number {each} of many" for each in range(1, 60)))
    yield Form("fifty papers, all as long as can be", "long", fifty)
    yield _hostile()
    chinese = Preferences(topics=("大语言模型", "机器人"), keywords=("蛋白质", "量子计算"))
    yield Form("Chinese", "chinese", chinese)
    arabic = Preferences(topics=("النماذج اللغوية", "الروبوتات"), keywords=("البروتينات", "الانتشار"))
    yield Form("Arabic", "arabic", arabic)


def _hostile() -> Form:
    """Return the form whose every word is hostile; not tracked, so that the papers' own addresses stand in it."""
    texts = hostile()
    words = tuple(each[:MAX_INTEREST] for each in texts)
    wishes = Preferences(
        keywords=words, authors=words, about=" ".join(texts)[:1_000], max_papers=50, tracking=False, source_news=True
    )
    rated = tuple(Rated(label=each, text=each, weight=1.0) for each in texts)
    return Form("hostile", "hostile", wishes, rated, "; ".join(texts[:3]))


def _wishing(wishes: Preferences, **others: object) -> Preferences:
    return wishes.model_copy(update=others)


@dataclass(frozen=True, slots=True)
class Order:
    """What specimens are printed with: plain values, so that another process may print them."""

    sender: Sender
    envelope_domain: str
    letterhead: Letterhead
    links: Links
    now: datetime

    @property
    def identity(self) -> Identity:
        """Who the mails come from; no link in them works, since no reader and no delivery is meant."""
        signer = Signer([_KEY])
        return Identity(self.sender, self.envelope_domain, self.letterhead, self.links, signer)


@dataclass(frozen=True, slots=True)
class Proof:
    """A printed specimen before it is signed.

    :ivar form: which form of the mail it is; empty where there is but one.
    :ivar pieces: the message's head, and what follows it.
    :ivar tracked: whether the reader may be counted, where the mail depends on it.
    """

    form: str
    pieces: tuple[bytes, bytes]
    tracked: bool | None = None


def proofs(order: Order, templates: Templates, mail: Mail) -> Iterator[Proof]:
    """Yield the forms of a mail.

    :raises InputError: its templates cannot be rendered.
    """
    try:
        yield from _digests(order, templates, mail) if mail in SPANS else _notices(order, templates, mail)
    except (NewsletterError, MemoryError, RecursionError):
        raise
    except Exception as exc:  # whatever a template makes of values
        place = templates.place(exc) or f"the templates of {mail}"
        raise InputError(f"{place}: {' '.join(str(exc).split()) or type(exc).__name__}") from exc


def _digests(order: Order, templates: Templates, mail: Mail) -> Iterator[Proof]:
    for form in forms():
        papers = sample(form.papers, order.now)
        outgoing = _digest(order, templates, mail, form, edition(papers, order.now, SPANS[mail], form.news))
        yield _proof(form.title, outgoing, tracked=form.wishes.tracking)


def _notices(order: Order, templates: Templates, mail: Mail) -> Iterator[Proof]:
    """Yield a notice, and once more for a reader with other wishes, where it says something else to them."""
    alarms = _ALARMS if mail is Mail.ALERT else None
    plain, busy = (
        address_notice(_leased(mail), _person(wishes), _ADDRESS, templates, order.identity, order.now, alarms)
        for wishes in (Preferences(), _BUSY)
    )
    differs = busy.message != plain.message
    yield _proof("for most readers" if differs else "", plain)
    if differs:
        yield _proof("on chosen days, far away", busy)


def _proof(form: str, outgoing: Outgoing, *, tracked: bool | None = None) -> Proof:
    head = outgoing.pieces[0]
    return Proof(form, (head, outgoing.message[len(head) :]), tracked)


def edition(papers: Mapping[int, Paper], now: datetime, span: Span, news: str = _NEWS) -> Edition:
    """Return the edition of a span that may choose from these papers."""
    candidates = [
        IssueCandidate(issue_id=1, paper_id=number, trend=min((each.upvotes or 0) / 100, 1.0), upvotes=each.upvotes)
        for number, each in papers.items()
    ]
    since = now.date() - _AWAY if span is Span.CATCH_UP else None
    return Edition(now.date(), candidates, dict(papers), (news,), span=span, since=since)


def _digest(order: Order, templates: Templates, mail: Mail, form: Form, chosen_from: Edition) -> Outgoing:
    identity, now, wishes = order.identity, order.now, form.wishes
    links = replace(identity.links, tracked=identity.links.tracked and wishes.tracking)
    press = Press(templates.mail(mail), chosen_from, identity.letterhead, links)
    reader = Reader(wishes, frozenset(), form.rated)
    selection = Selection(0, ()) if form.none else chosen_from.choose([reader])[0]
    sign = identity.signer.sign
    tokens = Tokens(
        read=sign(Purpose.READ, _READER, now=now),
        unsubscribe=sign(Purpose.UNSUBSCRIBE, _READER, now=now),
        feedback=sign(Purpose.FEEDBACK, _READER, now=now),
        preferences=sign(Purpose.PREFERENCES, _READER, now=now),
    )
    digest = chosen_from.compose(wishes, selection)
    printed = press.print(digest, tokens)
    shown = digest.first(len(digest.picks) - printed.left_out) if printed.left_out else digest
    values = whole_digest(shown, chosen_from.papers, identity.letterhead, links, tokens, printed.room)
    _compare(printed, templates, mail, values)
    prepared = Prepared(_person(wishes), selection, printed, tokens.unsubscribe)
    return address_digest(_leased(mail), prepared, identity, now, now.date().isoformat())


def _compare(printed: Printed, templates: Templates, mail: Mail, values: Mapping[str, Any]) -> None:
    """Say so where a template does something that an issue which is typeset once cannot do.

    :raises InputError: naming the file.
    """
    plain = templates.mail(mail).render(values)
    html, text = (a2b_qp(part).decode().replace("\r\n", "\n") for part in (printed.html, printed.text))
    for name, made, meant in (
        ("subject.txt", printed.subject, plain.subject),
        ("body.txt", text, plain.text),
        ("body.mjml", html, plain.html),
    ):
        if made != meant:
            at = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(made, meant, strict=False)))
            raise InputError(
                f"email/{mail}/{name}: what is set once for all readers, headings, cards, lines and what stands around "
                f"them, must not go by what one of them gets; near “{brief(meant[max(0, at - 20) : at + 20])}”"
            )


def _leased(mail: Mail) -> Leased:
    return Leased(1, mail, _READER, 1, None, None, about_id=1)


def _person(wishes: Preferences) -> Addressee:
    asked: dict[str, Any] = wishes.model_dump()
    asked |= {name: json.dumps(asked[name]) for name in LISTS}
    return Addressee(_READER, _ADDRESS, State.ACTIVE, None, None, None, asked)
