"""What each reader of one batch gets: tracked or not, daily, weekly or caught up; and a dry run prints the same."""

import itertools
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fakes import Clock, SmtpServer
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, mails_of, open_and_queue, paper_ids_in, paths_in, record, text_of
from sqlmodel import select

from newsletter import pipeline, privacy, rehearsal, steering
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.desk import Prepared, freeze
from newsletter.delivery.models import Delivery, Mail
from newsletter.issues.models import Issue
from newsletter.papers.models import Paper
from newsletter.pipeline import _desk
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.preferences import Preferences
from newsletter.tracking.models import Event
from newsletter.web import create_web

MONDAY = datetime(2026, 8, 10, 9, tzinfo=UTC)
_TOKEN = re.compile(rb"(?<![\w-])[\w-]{38}(?![\w-])")


@pytest.fixture
def app(app_on_both: App, clock: Clock) -> App:
    """An app on a Monday, with a week of papers: the hottest of Tuesday, the others fresh."""
    clock.at = MONDAY
    tuesday = datetime(2026, 8, 4, tzinfo=UTC)
    long_ago = datetime(2026, 7, 20, tzinfo=UTC)
    add_papers(app_on_both, [
        record(1, "The talk of the week", listed_at=tuesday, upvotes=100),
        *(record(n, f"Fresh paper number {n}", listed_at=MONDAY.replace(hour=0), upvotes=n) for n in range(30, 40)),
        record(2, "Hot three weeks ago", listed_at=long_ago, upvotes=5_000),
    ])  # fmt: skip
    return app_on_both


def titles(app: App, mail: Any) -> list[str]:
    with app.db.snapshot() as session:
        known = dict(session.exec(select(Paper.id, Paper.title)).all())
    return [known[id_] for id_ in paper_ids_in(mail)]


def events(app: App) -> list[tuple[str, int]]:
    with app.db.snapshot() as session:
        return sorted(session.exec(select(Event.kind, Event.subscriber_id)).all())


def accounting(app: App, issue: Issue) -> deliveries.Accounting:
    with app.db.snapshot() as session:
        return deliveries.accounting(session, issue.id or 0, issue.slot)


def everybody(app: App) -> dict[str, int]:
    """Add a reader of each kind; return their ids by kind."""
    kinds: dict[str, dict[str, Any]] = {
        "daily": {},
        "weekly": {"cadence": "weekly"},
        "bar": {"cadence": "above_bar", "bar": 70, "topics": ("talk",)},
        "high": {"cadence": "above_bar", "bar": 100, "topics": ("proteins",)},
        "untracked": {"tracking": False},
        "back": {"topics": ("hot",)},
        "away": {},
        "weekly_back": {"cadence": "weekly", "tracking": False},
    }
    ids = {kind: add_readers(app, 1, prefix=kind, max_papers=3, **each)[0] for kind, each in kinds.items()}
    pauses = {"back": (date(2026, 7, 18), date(2026, 8, 10)), "away": (date(2026, 8, 1), date(2026, 8, 11))}
    pauses["weekly_back"] = date(2026, 8, 5), date(2026, 8, 7)
    with app.db.session() as session:
        for kind, (since, until) in pauses.items():
            person = subscribers.get(session, ids[kind])
            assert person
            person.paused_from, person.paused_until = since, until
    return ids


def test_each_kind_of_reader_gets_their_own_edition_in_one_batch(app: App) -> None:
    everybody(app)
    issue = open_and_queue(app)
    found = {each["to"].partition("0@")[0]: each for each in mails_of(app)}
    assert set(found) == {"daily", "weekly", "bar", "untracked", "back", "weekly_back"}
    assert accounting(app, issue).skipped == {"nothing_new": 1}, "nobody who is away is even queued"
    assert titles(app, found["weekly"])[0] == "The talk of the week"
    assert titles(app, found["daily"]) == [f"Fresh paper number {n}" for n in (39, 38, 37)]
    assert titles(app, found["untracked"]) == titles(app, found["daily"])
    assert titles(app, found["bar"]) == ["The talk of the week"]
    assert titles(app, found["back"])[0] == "Hot three weeks ago"
    openings = {kind: text_of(mail).split("\r\n\r\n")[1].replace("\r\n", " ") for kind, mail in found.items()}
    assert "of this week" in openings["weekly"]
    assert openings["back"].startswith(
        "Welcome back. Your pause is over. While you were away: 3 of 12 papers since 18 July"
    )
    assert "While you were away: 3 of 11 papers since 5 August" in openings["weekly_back"]
    assert "away" not in openings["daily"]


def test_who_was_away_for_months_is_told_since_when_papers_were_looked_at(app: App) -> None:
    ids = add_readers(app, 2, max_papers=3)
    with app.db.session() as session:
        for id_, since in zip(ids, (date(2026, 2, 1), date(2026, 5, 1)), strict=True):
            person = subscribers.get(session, id_)
            assert person
            person.paused_from, person.paused_until = since, date(2026, 8, 10)
    issue = open_and_queue(app)
    openings = [text_of(mail).split("\r\n\r\n")[1].replace("\r\n", " ") for mail in mails_of(app)]
    assert all("While you were away" in each and "since 13 July" in each for each in openings), openings
    assert len(app.desks[issue.id or 0]._settings) == 2, "one edition for both, beside the day's"


def test_nobody_above_the_bar_gets_a_paper_below_it(app: App) -> None:
    ids = [add_readers(app, 1, prefix=f"bar{bar}", cadence="above_bar", bar=bar, topics=("talk", "paper"))[0]
           for bar in (0, 25, 50, 75, 100)]  # fmt: skip
    issue = open_and_queue(app)
    mails_of(app)
    with app.db.snapshot() as session:
        kept = deliveries.kept_selections(session, issue.id or 0, ids)
    sizes = []
    for id_, bar in zip(ids, (0, 25, 50, 75, 100), strict=True):
        scores = [score for _, score, *_ in kept[id_]["picks"]] if id_ in kept else []
        assert all(score >= bar / 100 for score in scores)
        sizes.append(len(scores))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_who_is_not_counted_gets_plain_links_and_no_picture_beside_others_who_are(app: App) -> None:
    add_readers(app, 3, prefix="yes", max_papers=3)
    add_readers(app, 3, prefix="no", max_papers=3, tracking=False)
    open_and_queue(app)
    sent = mails_of(app)
    assert len(sent) == 6
    for mail in sent:
        part = mail.get_body(("html",))
        assert part
        html, counted = part.get_content(), mail["to"].startswith("yes")
        assert ("/o/" in html, bool(paths_in(mail, "c"))) == (counted, counted)
        assert ("https://arxiv.org/abs/2608.00039" in html, "https://arxiv.org/abs/" in text_of(mail)) == (
            not counted,
            not counted,
        )
        assert len(paths_in(mail, "f")) == 15, "what they say of papers is their own word, whatever is counted"
        assert html.count("/f/") >= 15


def test_who_switches_counting_off_is_not_counted_in_earlier_mails_either(
    make_app: Callable[..., App], app: App
) -> None:
    app = make_app(app.settings.database_url, now=app.now, tracking="personal")
    [id_] = add_readers(app, 1, max_papers=3)
    open_and_queue(app)
    [mail] = mails_of(app)
    client = TestClient(create_web(app), follow_redirects=False)
    steering.save(app, id_, Preferences(tracking=False))
    pixel = re.search(r"/o/[\w-]+\.gif", mail.get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert pixel
    assert client.get(pixel[0]).status_code == 200
    assert client.get(paths_in(mail, "c")[0]).status_code == 302, "the link still goes to the paper"
    assert events(app) == []


def test_a_dry_run_prints_what_the_real_run_sends_to_every_kind_of_reader(app: App) -> None:
    everybody(app)
    day = app.now().date()
    rehearsed = rehearsal.rehearse(app, day, pipeline.resolve_due(day, app.now(), any_hour=True))
    with app.db.snapshot() as session:
        assert not session.exec(select(Issue)).all()
        assert not session.exec(select(Delivery)).all()
    issue = open_and_queue(app)
    batch = lease(app, issue, limit=99)
    with app.db.snapshot() as session:
        ids = [each.subscriber_id for each in batch]
        real = _desk(app, session, issue.id or 0).prepare(session, ids, {}, app.now(), {each: each for each in ids})
    expected = [plain(each) for each in real.values() if isinstance(each, Prepared)]
    assert [plain(each) for each in rehearsed.mails] == expected
    assert len(expected) == 6
    with app.db.session() as session:
        ledger.release(session, batch, owner="me", not_before=app.now())
    pipeline.deliver(app, issue.id)
    assert accounting(app, issue) == rehearsed.accounting


def plain(mail: Prepared) -> tuple[Any, ...]:
    """Return all of a mail but the tokens in its links, which carry the delivery."""
    printed = mail.printed
    texts = [_TOKEN.sub(b"TOKEN", part) for part in (printed.text, printed.html)]
    return mail.subscriber.email, printed.subject, freeze(mail.selection), mail.warnings, *texts


def lease(app: App, issue: Issue, limit: int = 1) -> list[ledger.Leased]:
    with app.db.session() as session:
        return ledger.lease(session, issue.id, owner="me", now=app.now(), limit=limit)


def test_who_pauses_after_being_queued_is_not_mailed(app: App) -> None:
    ids = add_readers(app, 2)
    issue = open_and_queue(app)
    steering.pause(app, ids[0], date(2026, 8, 11))
    assert [each["to"] for each in mails_of(app)] == ["reader1@example.org"]
    assert accounting(app, issue).skipped == {"paused": 1}


def test_who_ends_the_pause_after_that_day_was_skipped_is_caught_up_on_the_next(app: App, clock: Clock) -> None:
    [id_] = add_readers(app, 1, max_papers=3)
    open_and_queue(app)
    steering.pause(app, id_, date(2026, 8, 20))
    assert mails_of(app) == []
    steering.resume(app, id_)
    clock.forward(days=1)
    add_papers(app, [record(50, listed_at=clock.at)])
    open_and_queue(app)
    assert "While you were away" in text_of(mails_of(app)[0])


class Relay:
    """A relay that does something the first time it comes to a step."""

    def __init__(self, server: SmtpServer, step: str, act: Callable[[], str | None]) -> None:
        self.act, self.step, self.done = act, step, False
        server.script = self

    def __call__(self, step: str, _session: object) -> str | None:
        if step != self.step or self.done:
            return None
        self.done = True
        return self.act()


@pytest.fixture
def relayed(make_app: Callable[..., App], app: App, smtp: SmtpServer) -> App:
    return make_app(app.settings.database_url, now=app.now, smtp_url=f"{smtp.url}&connections=1")


def test_who_moves_while_their_mail_is_on_its_way_gets_it_at_the_new_address_only(
    relayed: App, smtp: SmtpServer, clock: Clock
) -> None:
    [id_] = add_readers(relayed, 1)
    steering.ask_address(relayed, id_, "new@example.org")
    with relayed.db.snapshot() as session:
        [asked] = changes.history(session, id_, "")[1]
    issue = open_and_queue(relayed)
    Relay(smtp, "rcpt", lambda: steering.move(relayed, asked.id or 0) and None)
    pipeline.deliver(relayed, issue.id)
    clock.forward(minutes=2)
    pipeline.deliver(relayed, issue.id)
    assert smtp.recipients() == ["new@example.org"]
    assert accounting(relayed, issue).sent == 1


def test_who_pauses_while_their_mail_is_on_its_way_is_not_mailed(relayed: App, smtp: SmtpServer, clock: Clock) -> None:
    [id_] = add_readers(relayed, 1)
    issue = open_and_queue(relayed)
    Relay(smtp, "rcpt", lambda: steering.pause(relayed, id_, date(2026, 8, 20)) and None)
    pipeline.deliver(relayed, issue.id)
    clock.forward(minutes=2)
    pipeline.deliver(relayed, issue.id)
    assert smtp.recipients() == []
    assert accounting(relayed, issue).skipped == {"paused": 1}


def test_a_catch_up_that_is_tried_again_is_sent_even_if_its_reader_undid_the_pause(
    relayed: App, smtp: SmtpServer, clock: Clock
) -> None:
    [id_] = add_readers(relayed, 1, max_papers=2, topics=("hot",))
    with relayed.db.session() as session:
        person = subscribers.get(session, id_)
        assert person
        person.paused_from, person.paused_until = date(2026, 7, 18), date(2026, 8, 10)
    issue = open_and_queue(relayed)
    Relay(smtp, "dot", lambda: "451 4.3.0 later")
    pipeline.deliver(relayed, issue.id)
    assert accounting(relayed, issue).deferred == 1
    with relayed.db.session() as session:  # they undo the pause, as if it had never been
        person = subscribers.get(session, id_)
        assert person
        person.paused_from = person.paused_until = None
    clock.forward(hours=2)
    pipeline.deliver(relayed, issue.id)
    assert accounting(relayed, issue).skipped == {}
    assert smtp.recipients() == ["reader0@example.org"]


def test_a_mail_that_is_tried_again_after_the_weekly_reader_became_a_daily_one_is_the_same(
    relayed: App, smtp: SmtpServer, clock: Clock
) -> None:
    [id_] = add_readers(relayed, 1, max_papers=2, cadence="weekly")
    issue = open_and_queue(relayed)
    Relay(smtp, "dot", lambda: "451 4.3.0 later")
    pipeline.deliver(relayed, issue.id)
    with relayed.db.snapshot() as session:
        kept = deliveries.kept_selections(session, issue.id or 0, [id_])
    steering.save(relayed, id_, Preferences(tracking=False))
    clock.forward(hours=2)
    pipeline.deliver(relayed, issue.id)
    with relayed.db.snapshot() as session:
        again = deliveries.kept_selections(session, issue.id or 0, [id_])
    assert again[id_]["picks"] == kept[id_]["picks"]
    assert again[id_]["said"] != kept[id_]["said"]
    assert b"The talk of the week" in smtp.accepted[0].data
    assert b"/o/" not in smtp.accepted[0].data


def test_no_two_mails_of_a_reader_have_the_same_subject_one_after_the_other(app: App, clock: Clock) -> None:
    add_readers(app, 1, max_papers=1, keywords=("correction",))
    for day in range(3):
        at = app.now() - timedelta(hours=1)
        add_papers(app, [record(100 + day, "Correction", abstract=f"Word {day}.", authors=[f"A {day}"], listed_at=at)])
        open_and_queue(app)
        mails = mails_of(app)
        clock.forward(days=1)
    subjects = [str(mail["subject"]) for mail in mails]
    assert [each.partition(" (")[0] for each in subjects] == ["Correction"] * 3
    assert all(first != second for first, second in itertools.pairwise(subjects)), subjects


def test_what_is_trending_is_kept_clicked_and_never_named_twice(app: App, clock: Clock) -> None:
    [id_] = add_readers(app, 1, max_papers=1, keywords=("lichens",))
    add_papers(app, [record(200 + n, f"Lichens of island {n}", abstract=f"Place {n}.", upvotes=0) for n in range(3)])
    named = []
    for _ in range(2):
        issue = open_and_queue(app)
        mails_of(app)
        with app.db.snapshot() as session:
            kept = deliveries.kept_selections(session, issue.id or 0, [id_])[id_]
        named.append([paper_id for paper_id, _ in kept["trending"]])
        assert all(said.endswith(("upvotes", "upvote", "a day")) for _, said in kept["trending"])
        clock.forward(days=1)
    assert [len(each) for each in named] == [3, 3]
    assert not set(named[0]) & set(named[1])


def test_a_mail_about_a_change_of_address_goes_to_nobody_who_must_not_be_mailed(relayed: App, smtp: SmtpServer) -> None:
    [id_] = add_readers(relayed, 1)
    steering.ask_address(relayed, id_, "new@example.org")
    with relayed.db.session() as session:
        subscribers.suppress(session, "new@example.org", "bounced", relayed.now())
    pipeline.deliver(relayed, None)
    assert smtp.recipients() == []


@pytest.mark.parametrize("mail", [Mail.LINK, Mail.NEW_ADDRESS])
def test_a_relay_that_answers_after_its_reader_was_erased_stops_nobody_elses_mail(
    relayed: App, smtp: SmtpServer, mail: Mail
) -> None:
    ids = add_readers(relayed, 3)
    for id_ in ids:
        if mail is Mail.LINK:
            steering.end_links(relayed, id_)
        else:
            steering.ask_address(relayed, id_, f"new{id_}@example.org")
    Relay(smtp, "dot", lambda: str(privacy.erase(relayed, ids[0])) and None)
    pipeline.deliver(relayed, None)
    pipeline.deliver(relayed, None)
    assert len(smtp.recipients()) == 3
    with relayed.db.snapshot() as session:
        assert set(session.exec(select(Delivery.state))) == {"sent"}
