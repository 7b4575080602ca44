"""Specimens: each mail as its templates print it for a reader whom there is not; nothing is read, written or sent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import jinja2

from newsletter import demo
from newsletter.app import App
from newsletter.delivery.alarms.models import Bundle, Told
from newsletter.delivery.desk import Prepared
from newsletter.delivery.ledger import Leased
from newsletter.delivery.lint import About
from newsletter.delivery.models import Mail
from newsletter.delivery.printing import address_digest, address_notice, sign
from newsletter.delivery.transports import Outgoing
from newsletter.errors import InputError
from newsletter.issues.compose import Edition, Reader, Selection
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import Paper
from newsletter.papers.sources.jsonl import parse_lines
from newsletter.rendering.typeset import Press
from newsletter.rendering.views import Tokens
from newsletter.signing import Purpose
from newsletter.subscribers.models import Addressee, State
from newsletter.subscribers.preferences import LISTS, Preferences

_READER = 1
_ADDRESS = "reader@example.org"
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
_DIGESTS: dict[str, tuple[int, bool]] = {  # papers, and whether the reader lets themselves be counted
    "ten papers": (10, True),
    "ten papers, not tracked": (10, False),
    "one paper": (1, True),
    "no paper, but why": (0, True),
}


@dataclass(frozen=True, slots=True)
class Specimen:
    """One of the forms that a mail may take.

    :ivar title: the mail's name, and which form it is.
    """

    title: str
    message: bytes
    about: About


def specimens(app: App, mail: Mail) -> Iterator[Specimen]:
    """Yield the forms of a mail.

    :raises InputError: its templates cannot be rendered.
    """
    now = app.now()
    try:
        if mail is Mail.DIGEST:
            edition = _edition(now)
            for form, (number, tracked) in _DIGESTS.items():
                wishes = Preferences(topics=("language models",), max_papers=number or 1, source_news=True)
                wishes = wishes.model_copy(update={"tracking": tracked})
                outgoing = _digest(app, edition, wishes, papers=bool(number), now=now)
                yield _signed(app, f"{mail}, {form}", outgoing, tracked=tracked)
        else:
            notice = _leased(mail)
            person, bundle = _person(Preferences()), _ALARMS if mail is Mail.ALERT else None
            outgoing = address_notice(notice, person, _ADDRESS, app.templates, app.identity, now, bundle)
            yield _signed(app, str(mail), outgoing)
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as exc:  # whatever a template makes of values
        raise InputError(f"the templates of {mail} cannot be rendered: {exc}") from None


def _signed(app: App, title: str, outgoing: Outgoing, *, tracked: bool | None = None) -> Specimen:
    [signed] = sign([outgoing], app.identity, app.now())
    return Specimen(title, signed.message, app.about(tracked=tracked))


def _digest(app: App, edition: Edition, wishes: Preferences, *, papers: bool, now: datetime) -> Outgoing:
    identity = app.identity
    links = replace(identity.links, tracked=identity.links.tracked and wishes.tracking)
    press = Press(app.templates.mail(Mail.DIGEST), edition, identity.letterhead, links)
    selection = press.fit(edition.choose([Reader(wishes, frozenset())])[0]) if papers else Selection(0, ())
    tokens = Tokens(
        read=identity.signer.sign(Purpose.READ, _READER, now=now),
        unsubscribe=identity.signer.sign(Purpose.UNSUBSCRIBE, _READER, now=now),
        feedback=identity.signer.sign(Purpose.FEEDBACK, _READER, now=now),
        preferences=identity.signer.sign(Purpose.PREFERENCES, _READER, now=now),
    )
    printed = press.print(edition.compose(wishes, selection), tokens)
    prepared = Prepared(_person(wishes), selection, printed, tokens.unsubscribe)
    return address_digest(_leased(Mail.DIGEST), prepared, identity, now, now.date().isoformat())


def _leased(mail: Mail) -> Leased:
    return Leased(1, mail, _READER, 1, None, None, about_id=1)


def _person(wishes: Preferences) -> Addressee:
    asked: dict[str, Any] = wishes.model_dump()
    asked |= {name: json.dumps(asked[name]) for name in LISTS}
    return Addressee(_READER, _ADDRESS, State.ACTIVE, None, None, None, asked)


def _edition(now: datetime) -> Edition:
    records = [each for parsed in parse_lines(demo.papers(), now, now) for each in parsed.records]
    papers = {}
    for number, each in enumerate(records, start=1):
        told = {name: getattr(each, name) for name in Paper.model_fields if hasattr(each, name)}
        lists = {name: list(value) for name, value in told.items() if isinstance(value, tuple)}
        papers[number] = Paper(id=number, first_seen_at=now, updated_at=now, **(told | lists))
    candidates = [
        IssueCandidate(issue_id=1, paper_id=number, trend=(each.upvotes or 0) / 100, upvotes=each.upvotes)
        for number, each in papers.items()
    ]
    return Edition(now.date(), candidates, papers, (_NEWS,))
