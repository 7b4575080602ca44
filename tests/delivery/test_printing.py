"""From leased deliveries to messages: what goes into the mail, and what one broken paper may cost."""

import email
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import ROOT
from fakes import Clock
from samples import HOSTILE, add_papers, add_readers, open_and_queue, record
from sqlmodel import col, select

from newsletter import membership, pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.message import header_text
from newsletter.delivery.models import Delivery, Mail
from newsletter.papers.models import MAX_TITLE
from newsletter.papers.textclean import clean
from newsletter.rehearsal import rehearse, write_rehearsal
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import parse_address
from newsletter.subscribers.preferences import Preferences


def mails(app: App) -> dict[str, EmailMessage]:
    found = {}
    for path in app.settings.outbox_dir.rglob("*.eml"):
        message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        assert isinstance(message, EmailMessage)
        found[str(message["to"])] = message
    return found


def test_a_paper_that_cannot_be_rendered_costs_its_own_readers_only(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path
) -> None:
    templates = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", templates)
    body = templates / "email/_partials/papers.txt"
    broken = '{% block card scoped %}{% if "poison" in card.title %}{{ card.nobody.knows }}{% endif %}'
    body.write_text(body.read_text(encoding="utf-8").replace("{% block card scoped %}", broken), encoding="utf-8")
    app = make_app(sqlite_url, templates_dir=templates)
    add_papers(app, [record(1, "A poison title"), record(2, "A harmless title"), record(3, "Another harmless title")])
    add_readers(app, 2, prefix="unlucky", keywords=("poison",))
    add_readers(app, 3, prefix="lucky", mutes=("poison",))
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert (accounting.sent, accounting.skipped) == (3, {"unprintable": 2})


def test_hostile_titles_reach_the_inbox_as_text(app: App) -> None:
    add_papers(
        app, [record(n, clean(text, MAX_TITLE), authors=(text[:200],) * 600) for n, text in enumerate(HOSTILE, 1)]
    )
    add_readers(app, 1, max_papers=50)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    (message,) = mails(app).values()
    names = [name for name, _ in message.raw_items()]
    assert len(names) == len(set(names)) == 13
    assert "Bcc" not in names
    assert message["to"] == "reader0@example.org"
    text = message.get_body(("plain",))
    assert text is not None
    for title in HOSTILE:
        # the text part wraps its lines
        assert " ".join(clean(title, 40).rstrip("…").split()) in " ".join(text.get_content().split())


def test_a_mail_that_would_be_too_large_is_shortened_and_says_so(app: App, clock: Clock) -> None:
    add_papers(app, [record(n, "&" * 900 + str(n), abstract="<" * 5_000) for n in range(1, 61)])
    add_readers(app, 1, max_papers=50)
    issue = open_and_queue(app)
    planned = rehearse(app, issue.day, pipeline.resolve_due(issue.day, app.now(), any_hour=True))
    assert "too large" in planned.mails[0].warnings[0]
    pipeline.deliver(app, issue.id)
    (message,) = mails(app).values()
    html = message.get_body(("html",))
    assert html is not None
    assert len(html.get_content().encode()) <= 80 * 1024
    first = {pick.paper_id for pick in planned.mails[0].selection.picks}
    clock.forward(days=1)
    tomorrow = rehearse(app, clock.at.date(), pipeline.resolve_due(clock.at.date(), app.now(), any_hour=True))
    assert {pick.paper_id for pick in tomorrow.mails[0].selection.picks}.isdisjoint(first), "the others come tomorrow"


def test_subjects_are_one_clean_line(app: App) -> None:
    add_papers(app, [record(1, clean(HOSTILE[1], MAX_TITLE))])
    add_readers(app, 1)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    (message,) = mails(app).values()
    assert str(message["subject"]) == header_text(HOSTILE[1])


def test_the_longest_and_oddest_addresses_are_mailed_as_they_are(app: App) -> None:
    long = "l" * 60 + "@" + ".".join(["d" * 60, "e" * 60, "example", "org"])
    add_papers(app, [record(1)])
    for address in (long, "a=?utf-8?q?b?=@example.org", "plain@example.org"):
        assert membership.add_subscriber(app, parse_address(address), Preferences(), confirmed=True)
    issue = open_and_queue(app)
    assert pipeline.deliver(app, issue.id) == 3
    raw = [path.read_bytes() for path in app.settings.outbox_dir.rglob("*.eml")]
    assert {re.search(rb"^To: (.*)\r$", each, re.MULTILINE)[1].decode() for each in raw} == {  # type: ignore[index]
        long, "a=?utf-8?q?b?=@example.org", "plain@example.org",
    }  # fmt: skip


def test_a_dry_run_never_writes_among_mails_that_were_sent(app: App, clock: Clock) -> None:
    add_papers(app, [record(n) for n in range(1, 9)])
    add_readers(app, 1, max_papers=3)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    (sent,) = app.settings.outbox_dir.rglob("*.eml")
    before = sent.read_bytes()
    add_readers(app, 1, prefix="other")
    planned = rehearse(app, issue.day, pipeline.resolve_due(issue.day, app.now(), any_hour=True))
    write_rehearsal(app, planned, app.settings.outbox_dir)
    assert sent.read_bytes() == before
    assert len(list(app.settings.outbox_dir.rglob("*.eml"))) == 2


@pytest.mark.parametrize("topics", ["[[", "[" * 3000, "null", '{"a": 1}', "[1]", "NaN"])
def test_lists_that_nobody_can_read_cost_their_own_reader_only(app: App, topics: str) -> None:
    add_papers(app, [record(1)])
    readers = add_readers(app, 3)
    with app.db.session() as session:
        deliveries.queue_notices(
            session, Mail.WELCOME, dict.fromkeys(readers, "x"), now=app.now(), within=timedelta(days=1)
        )
        session.execute(sa.text("UPDATE subscribers SET topics = :topics WHERE id = :id"), {"topics": topics, "id": 2})
    issue = open_and_queue(app)
    assert pipeline.deliver(app, issue.id) == 2
    assert pipeline.deliver(app, None) == 2
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
        notices = session.exec(select(Delivery.state).where(col(Delivery.issue_id).is_(None))).all()
    assert (accounting.sent, accounting.skipped) == (2, {"unprintable": 1})
    assert sorted(notices) == ["sent", "sent", "skipped"]


def test_wishes_that_mean_nothing_any_more_cost_their_own_reader_only(app: App) -> None:
    add_papers(app, [record(1)])
    readers = add_readers(app, 3)
    with app.db.session() as session:
        person = subscribers.get(session, readers[1])
        assert person is not None
        person.max_papers, person.timezone = 60, "Mars/Olympus"
        session.add(person)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert (accounting.sent, accounting.skipped) == (2, {"unprintable": 1})
