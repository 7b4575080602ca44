"""The main job from a source to a reader's inbox."""

import email
import json
import re
from collections.abc import Callable
from datetime import date
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from fakes import Clock, HuggingFaceServer, SmtpServer, listed
from samples import add_readers, open_and_queue, pull_days
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.issues import store as issues
from newsletter.issues.cadence import Group
from newsletter.papers.models import Paper
from newsletter.rehearsal import rehearse

DAYS = [date(2026, 8, day) for day in (3, 4, 5)]
TITLES = (
    "Diffusion models for protein design",
    "A benchmark for language agents",
    "Robots that fold laundry",
    "Quantization of large language models",
    "Flow matching in video generation",
    "Speech recognition without labels",
)


def message(data: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(data, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


@pytest.fixture
def days(huggingface: HuggingFaceServer) -> HuggingFaceServer:
    for offset, day in enumerate(DAYS):
        huggingface.days[day.isoformat()] = [
            listed(100 * offset + n, f"{title}, part {offset}", day, upvotes=5 * n + offset)
            for n, title in enumerate(TITLES, 1)
        ]
    huggingface.today = DAYS[-1]
    return huggingface


def test_papers_travel_from_the_source_to_the_relay(
    make_app: Callable[..., App], database_url: str, days: HuggingFaceServer, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, huggingface_url=days.url, smtp_url=smtp.url)
    add_readers(app, 3, prefix="diffusion", keywords=("diffusion",), max_papers=2)
    add_readers(app, 2, prefix="anyone", max_papers=4)
    mailed: dict[str, list[str]] = {}
    for day in DAYS:
        clock.at = clock.at.replace(day=day.day)
        pull_days(app, [day])
        issue = open_and_queue(app)
        pipeline.deliver(app, issue.id)
        with app.db.snapshot() as session:
            accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
        assert (accounting.eligible, accounting.sent) == (5, 5)
    for each in smtp.accepted:
        text = message(each.data).get_body(("plain",))
        assert text is not None
        mailed.setdefault(each.recipient, []).extend(
            re.findall(r"arxiv\.org/abs/(\S+)|/c/\S+/(\d+)/page", text.get_content())
        )
    # who named nothing is told of what is trending by the papers themselves, the others by three lines below theirs
    assert {len(papers) for papers in mailed.values()} == {3 * (2 + 3), 3 * 4}
    assert all(len(set(papers)) == len(papers) for papers in mailed.values()), "a paper came twice"
    # whoever of the first day's readers: several connections hand over at once
    first = message(next(each.data for each in smtp.accepted if each.recipient.startswith("diffusion")))
    assert first["subject"].startswith("Diffusion models for protein design, part 0")


def test_dry_run_equals_the_run_that_follows_and_writes_nothing(
    make_app: Callable[..., App], database_url: str, days: HuggingFaceServer, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, huggingface_url=days.url, smtp_url=smtp.url)
    add_readers(app, 4, prefix="a", topics=("diffusion", "agents"), max_papers=3)
    add_readers(app, 3, prefix="b", keywords=("robots",), timezone="Asia/Tokyo")
    add_readers(app, 2, prefix="c", mutes=(*(title.split()[0] for title in TITLES), "diffusion", "language"))
    pull_days(app, DAYS)
    clock.at = clock.at.replace(day=5)
    before = _dump(app)
    planned = rehearse(app, DAYS[-1], pipeline.resolve_due(DAYS[-1], app.now(), any_hour=True))
    assert _dump(app) == before
    assert not smtp.connections
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, issue.id or 0, issue.slot) == planned.accounting
        kept = {
            row.subscriber_id: row.selection
            for row in session.exec(select(deliveries.Delivery))
            if row.selection is not None
        }
    assert planned.accounting.skipped == {"nothing_new": 2}
    assert {mail.subscriber.id: _picks(mail) for mail in planned.mails} == {
        who: selection["picks"] for who, selection in kept.items()
    }
    subjects = {each.recipient: message(each.data)["subject"] for each in smtp.accepted}
    assert {mail.subscriber.email: mail.printed.subject for mail in planned.mails} == subjects
    sizes = {each.recipient: len(_html(each.data).encode()) for each in smtp.accepted}
    assert {mail.subscriber.email: mail.printed.html_bytes for mail in planned.mails} == sizes


def test_a_limited_dry_run_equals_a_limited_run(
    make_app: Callable[..., App], sqlite_url: str, days: HuggingFaceServer
) -> None:
    app = make_app(sqlite_url, huggingface_url=days.url)
    add_readers(app, 5)
    pull_days(app, DAYS)
    planned = rehearse(app, DAYS[-1], pipeline.resolve_due(DAYS[-1], app.now(), any_hour=True), limit=2)
    issue = open_and_queue(app)
    assert pipeline.deliver(app, issue.id, limit=2) == 2
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert accounting == planned.accounting
    assert (accounting.sent, accounting.queued) == (2, 3)


def test_a_dry_run_foresees_what_a_crash_and_a_refusal_left_behind(
    make_app: Callable[..., App], database_url: str, days: HuggingFaceServer, clock: Clock, smtp: SmtpServer
) -> None:
    app = make_app(database_url, huggingface_url=days.url, smtp_url=smtp.url)
    add_readers(app, 6)
    pull_days(app, DAYS)
    smtp.script = lambda step, session: "450 4.2.1 busy" if step == "rcpt" and "reader0@" in session.recipient else None
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id, limit=2)
    with app.db.session() as session:
        ledger.lease(session, issue.id, owner="one that dies", now=app.now(), limit=2)
    clock.forward(minutes=10)
    add_readers(app, 2, prefix="new", hour=9)
    smtp.script = lambda _step, _session: None
    find = pipeline.resolve_due(issue.day, app.now(), any_hour=True)
    planned = rehearse(app, issue.day, find, limit=4)
    pipeline.queue(app, issue, find([*_groups(app)]))
    pipeline.deliver(app, issue.id, limit=4)
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, issue.id or 0, issue.slot) == planned.accounting
    assert {mail.subscriber.email for mail in planned.mails} == set(smtp.recipients()[-4:])


def test_later_votes_do_not_change_an_open_issue(
    app: App, days: HuggingFaceServer, make_app: Callable[..., App]
) -> None:
    app = make_app(app.settings.database_url, huggingface_url=days.url)
    pull_days(app, DAYS)
    issue = pipeline.open_issue(app, DAYS[-1])
    days.days["2026-08-05"][0]["paper"]["upvotes"] = 999
    assert pull_days(app, [DAYS[-1]])[0].stored.updated == 1
    with app.db.snapshot() as session:
        frozen = {each.paper_id: each.upvotes for each in issues.candidates(session, issue.id or 0)}
        paper = session.exec(select(Paper).where(Paper.upvotes == 999)).one()
    assert frozen[paper.id or 0] == 7


def test_the_command_line_does_the_whole_job(
    command: Callable[..., Any], days: HuggingFaceServer, smtp: SmtpServer, sqlite_url: str
) -> None:
    days.today = date.today()  # noqa: DTZ011  the process below has the real clock
    settings = {"huggingface_url": days.url, "smtp_url": smtp.url, "database_url": sqlite_url}
    assert command("init", **settings).returncode == 0
    pulled = command("pull", "--since", "2026-08-03", "--day", "2026-08-05", "--json", **settings)
    assert pulled.returncode == 0, pulled.stderr
    assert json.loads(pulled.stdout)["new"] == 18
    added = command(
        "subscribers", "add", "a@example.org", "--topic", "diffusion", "--max-papers", "3", "--confirmed", **settings
    )
    assert added.returncode == 0, added.stderr
    send = ("send", "--day", "2026-08-05", "--all-due", "--json")
    planned = json.loads(command(*send, "--dry-run", **settings).stdout)
    assert planned["dry_run"] is True
    sent = command(*send, **settings)
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout) == {key: planned[key] for key in json.loads(sent.stdout)}
    assert [message(each.data)["subject"] for each in smtp.accepted] == [planned["deliveries"][0]["subject"]]
    assert len(planned["deliveries"][0]["papers"]) == 3
    status = json.loads(command("status", "--json", **settings).stdout)
    assert status["issues"][0]["sent"] == 1
    assert status["sources"][0]["source"] == "huggingface"


def _groups(app: App) -> list[Group]:
    with app.db.snapshot() as session:
        return issues.groups(session)


def _dump(app: App) -> str:
    from newsletter.tables import TABLES

    with app.db.snapshot() as session:
        return repr([[row.model_dump() for row in session.exec(select(table))] for table in TABLES])


def _picks(mail: Any) -> list[list[Any]]:
    return [[pick.paper_id, pick.score, pick.reason, list(pick.parts), pick.section] for pick in mail.selection.picks]


def _html(data: bytes) -> str:
    part = message(data).get_body(("html",))
    assert part is not None
    return str(part.get_content())
