"""Alarms: what needs the operator is mailed to them once, by the same ledger as everything else; on both databases."""

import email
import json
import re
from collections.abc import Callable
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from subprocess import CompletedProcess
from threading import Barrier, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import ROOT
from fakes import Clock, SmtpServer
from samples import add_papers, add_readers, mails_of, open_and_queue, record, text_of
from sqlmodel import select
from structlog.testing import capture_logs

from newsletter import membership, operating, pipeline, privacy, retention
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.alarms.models import Alarm
from newsletter.delivery.alarms.store import still_open
from newsletter.delivery.custody.models import Custody
from newsletter.delivery.decisions.store import Which
from newsletter.delivery.lint import faults
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, Mail, SkipReason
from newsletter.issues import store as issues
from newsletter.issues.models import Issue
from newsletter.migrate import migrate
from newsletter.papers.pulls.models import Pull
from newsletter.settings import Settings
from newsletter.subscribers import store as subscribers

ADMIN = "admin@example.org"
READER = "reader0@example.org"
WHY = "5.7.1 <reader0@example.org>: relaying denied"
Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def app(make_app: Callable[..., App], database_url: str) -> App:
    """An app that knows where its operator is."""
    return make_app(database_url, admin_email=ADMIN)


def queued(app: App, readers: int = 4) -> Issue:
    add_papers(app, [record(1)])
    add_readers(app, readers)
    return open_and_queue(app)


def stop(app: App, issue: Issue, why: str = WHY) -> None:
    with app.db.session() as session:
        assert issues.stop(session, issue.id or 0, why)


def work(app: App) -> None:
    """Do what the schedule does in a minute."""
    for _ in range(2):
        for issue_id in pipeline.sweep(app):
            pipeline.deliver(app, issue_id)


def alerts(app: App) -> list[EmailMessage]:
    """Return the alerts in the outbox, in order."""
    files = sorted(app.settings.outbox_dir.glob("notices/*.eml"), key=lambda file: int(file.stem))
    found = [email.message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return [each for each in found if ":alert:" in each["Feedback-ID"]]


def rows(app: App) -> list[tuple[str, str | None]]:
    """Return how the alerts in the ledger stand."""
    with app.db.snapshot() as session:
        found = session.exec(select(Delivery).where(Delivery.mail == Mail.ALERT).order_by(sa.text("id"))).all()
    return [(row.state, row.skip_reason) for row in found]


def titles(app: App) -> list[str]:
    """Return what holds now."""
    with app.db.snapshot() as session:
        return [each.title for each in still_open(session)]


def words(mail: EmailMessage) -> str:
    return " ".join(text_of(mail).split())


def leave_unknown(app: App, issue: Issue | None, number: int, **at: Any) -> None:
    """Let mails be in doubt, as if their dots had been written and no reply had come."""
    now = app.now()
    with app.db.session() as session:
        session.execute(
            sa.insert(Delivery),
            [
                {
                    "mail": Mail.DIGEST if issue else Mail.WELCOME,
                    "issue_id": issue.id if issue else None,
                    "subscriber_id": 100_000 + each,
                    "state": DeliveryState.UNKNOWN,
                    "attempts": 1,
                    **dict.fromkeys(("queued_at", "not_before", "handed_at", "done_at", "expires_at"), now),
                    **at,
                }
                for each in range(number)
            ],
        )


def test_an_issue_that_the_relay_stops_is_told_once_while_it_is_stopped(app: App, clock: Clock) -> None:
    issue = queued(app)
    stop(app, issue)
    for _ in range(3):
        work(app)
        clock.forward(minutes=30)
    [mail] = alerts(app)
    assert (mail["to"], mail["subject"]) == (ADMIN, f"Daily Papers needs you: The issue {issue.slot} is stopped")
    assert "relaying denied" in words(mail)
    assert "Since 2026-08-05 09:00 UTC" in words(mail)
    assert f"newsletter issues resume {issue.slot}" in words(mail)
    assert rows(app) == [("sent", None)]
    with app.db.snapshot() as session:
        found = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert (found.eligible, found.queued) == (4, 4), "no alert is counted among an issue's mails"
    operating.change_issue(app, issue.slot, "resume")
    work(app)
    assert (titles(app), len(alerts(app))) == ([], 1), "when it is over there is nothing to tell"


def test_it_names_no_reader_and_passes_all_rules(app: App) -> None:
    issue = queued(app)
    stop(app, issue)
    leave_unknown(app, issue, 2)
    work(app)
    [file] = app.settings.outbox_dir.glob("notices/*.eml")
    assert faults(file.read_bytes(), app.about()) == []
    [mail] = alerts(app)
    whole = "".join(str(part.get_content()) for part in mail.walk() if not part.is_multipart())
    assert READER not in whole
    rooms = ("/u/", "/preferences/", "/rejoin/", "/confirm/", "/address/")
    assert [room for room in rooms if room in whole] == []
    assert not [name for name in mail if name.startswith("List-")]
    with app.db.snapshot() as session:
        assert READER not in repr([each.model_dump() for each in session.exec(select(Alarm))])


def test_without_an_address_alarms_are_logged_once_and_told_when_there_is_one(
    make_app: Callable[..., App], database_url: str
) -> None:
    app = make_app(database_url)
    issue = queued(app)
    stop(app, issue)
    with capture_logs() as logged:
        work(app)
    assert [each["what"] for each in logged if each["event"] == "alarm"] == [f"The issue {issue.slot} is stopped"]
    assert (alerts(app), rows(app), titles(app)) == ([], [], [f"The issue {issue.slot} is stopped"])
    work(make_app(database_url, admin_email=ADMIN))
    assert len(alerts(app)) == 1


def stopped_and_in_doubt(app: App, clock: Clock) -> Issue:
    """Let two things need the operator, and let a worker look."""
    issue = queued(app)
    stop(app, issue)
    leave_unknown(app, None, 1)
    clock.forward(hours=1)
    work(app)
    return issue


def test_all_that_is_new_is_in_one_mail_and_what_is_new_later_in_another(app: App, clock: Clock) -> None:
    issue = stopped_and_in_doubt(app, clock)
    [first] = alerts(app)
    assert first["subject"].endswith("is stopped, and 1 more")
    assert "One mail outside any issue is in doubt" in words(first)
    clock.forward(minutes=1)
    leave_unknown(app, issue, 7)
    clock.forward(hours=1)
    work(app)
    [_, second] = alerts(app)
    assert second["subject"] == f"Daily Papers needs you: 7 mails of the issue {issue.slot} are in doubt"
    assert f"told before, and it still holds: * The issue {issue.slot} is stopped" in words(second)


def test_an_alarm_that_comes_again_is_mailed_once_a_day(app: App, clock: Clock) -> None:
    issue = queued(app)
    for day in (1, 2):
        for _ in range(3):
            stop(app, issue)
            work(app)
            with app.db.session() as session:
                issues.resume(session, issue.id or 0)
            pipeline.sweep(app)
            assert titles(app) == []
        assert len(alerts(app)) == day
        clock.forward(days=1)
        with app.db.session() as session:  # it would have expired
            session.execute(sa.update(Delivery).values(expires_at=clock.at + timedelta(days=1)))


def test_one_that_is_told_after_midnight_and_comes_again_is_not_mailed_twice_that_day(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    clock.at = clock.at.replace(hour=23, minute=59)
    nobody = make_app(database_url)
    issue = queued(nobody)
    stop(nobody, issue)
    pipeline.sweep(nobody)
    app = make_app(database_url, admin_email=ADMIN)
    clock.forward(minutes=2)
    for _ in range(3):
        work(app)
        with app.db.session() as session:
            issues.resume(session, issue.id or 0)
        pipeline.sweep(app)
        assert titles(app) == []
        stop(app, issue)
    assert len(alerts(app)) == 1


def test_told_before_is_only_what_was_told_before(app: App, clock: Clock) -> None:
    issue = queued(app)
    stop(app, issue)
    pipeline.sweep(app)
    clock.forward(hours=2)
    leave_unknown(app, None, 1, queued_at=clock.at - timedelta(hours=2), done_at=clock.at - timedelta(hours=2))
    work(app)
    first, second = map(words, alerts(app))
    assert "is stopped" in first
    assert "in doubt" in second
    assert not [each for each in (first, second) if "it still holds" in each], "both went out at the same time"
    leave_unknown(app, issue, 1)
    clock.forward(hours=1)
    work(app)
    [_, _, third] = map(words, alerts(app))
    told = third.split("it still holds")[1]
    assert "is stopped" in told
    assert "One mail outside any issue is in doubt" in told


def test_two_workers_who_look_at_the_same_moment_tell_it_once(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    apps = [make_app(database_url, admin_email=f"{ADMIN},second@example.org", smtp_url=smtp.url) for _ in range(3)]
    stop(apps[0], queued(apps[0]))
    start = Barrier(len(apps))

    def both(app: App) -> None:
        start.wait()
        work(app)

    workers = [Thread(target=both, args=[app]) for app in apps]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    work(apps[0])
    assert sorted(smtp.recipients()) == [ADMIN, "second@example.org"]


def test_each_operator_gets_one_and_who_is_no_operator_any_more_gets_none(
    make_app: Callable[..., App], database_url: str
) -> None:
    app = make_app(database_url, admin_email=f" {ADMIN}, Second@example.org ,ADMIN@example.org,, third@example.org")
    assert app.settings.admins == (ADMIN, "Second@example.org", "third@example.org")
    stop(app, queued(app))
    pipeline.sweep(app)
    fewer = make_app(database_url, admin_email=f"new@example.org,{ADMIN}")
    work(fewer)
    assert [mail["to"] for mail in alerts(fewer)] == ["new@example.org", ADMIN]
    assert rows(fewer) == [("sent", None), ("sent", None), ("skipped", "not_active")]


@pytest.mark.parametrize("they", ["read", "left", "are suppressed", "are erased"])
def test_an_operator_who_is_a_reader_too_gets_both_each_for_itself(
    make_app: Callable[..., App], database_url: str, they: str
) -> None:
    app = make_app(database_url, admin_email=READER)
    issue = queued(app, 1)
    if they == "left":
        membership.unsubscribe(app, [1])
    elif they == "are suppressed":
        with app.db.session() as session:
            subscribers.suppress(session, READER, "bounced", app.now())
    elif they == "are erased":
        privacy.erase(app, 1)
    leave_unknown(app, None, 1)
    with app.db.session() as session:
        session.execute(sa.update(Delivery).where(Delivery.mail == Mail.WELCOME).values(done_at=None, handed_at=None))
        session.execute(sa.update(Delivery).where(Delivery.mail == Mail.WELCOME).values(queued_at=issue.window_start))
    work(app)
    assert [mail["to"] for mail in alerts(app)] == [READER]
    assert len(mails_of(app, READER)) == (2 if they == "read" else 1)


def test_nothing_is_mailed_while_sending_is_held_and_it_follows_when_it_is_released(app: App, clock: Clock) -> None:
    issue = queued(app)
    pipeline.deliver(app, issue.id, limit=1)
    with app.db.session() as session:
        session.execute(sa.update(Custody).values(place="another place"))
    leave_unknown(app, issue, 3)
    for _ in range(3):
        work(app)
        clock.forward(hours=1)
    assert (alerts(app), rows(app)) == ([], [])
    assert set(titles(app)) == {"Sending is held", f"3 mails of the issue {issue.slot} are in doubt"}
    assert operating.release(app)
    work(app)
    [mail] = alerts(app)
    assert "Since 2026-08-05 09:00 UTC, until 2026-08-05 12:00 UTC" in words(mail)
    assert "This database is a copy, or was restored from a backup" in words(mail)
    assert "3 mails of the issue" in words(mail)


def test_an_alert_that_waits_when_sending_is_held_goes_out_when_it_is_released(app: App) -> None:
    issue = queued(app)
    pipeline.deliver(app, issue.id, limit=1)
    stop(app, issue)
    pipeline.sweep(app)
    with app.db.session() as session:
        session.execute(sa.update(Custody).values(place="another place"))
    work(app)
    assert (alerts(app), rows(app)) == ([], [("queued", None)])
    operating.release(app)
    work(app)
    assert f"The issue {issue.slot} is stopped" in str(alerts(app)[0]["subject"])
    assert [state for state, _ in rows(app)] == ["sent", "sent"], "the hold is told behind it"


def test_one_whose_sending_is_held_at_its_last_dot_waits_as_well(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, admin_email=ADMIN, smtp_url=f"{smtp.url}&connections=1")
    leave_unknown(app, None, 1)
    clock.forward(hours=1)

    def hold(step: str, _session: object) -> None:
        if step == "data":
            with app.db.session() as session:
                session.execute(sa.update(Custody).values(held_why="for a test"))

    smtp.script = hold
    work(app)
    assert (smtp.recipients(), rows(app)) == ([], [("deferred", None)])
    smtp.script = lambda _step, _session: None
    operating.release(app)
    clock.forward(minutes=2)
    work(app)
    assert ADMIN in smtp.recipients()
    assert rows(app)[0] == ("sent", None)


def test_what_is_over_before_its_mail_went_out_needs_none(app: App) -> None:
    issue = queued(app)
    stop(app, issue)
    pipeline.sweep(app)
    operating.change_issue(app, issue.slot, "resume")
    work(app)
    assert (alerts(app), rows(app)) == ([], [("skipped", "nothing_new")])


def test_what_was_over_before_its_mail_went_out_is_told_when_it_comes_again_that_day(app: App, clock: Clock) -> None:
    issue = queued(app)
    for _ in range(2):
        stop(app, issue)
        pipeline.sweep(app)
        operating.change_issue(app, issue.slot, "resume")
        pipeline.sweep(app)
        pipeline.deliver(app, None)
        clock.forward(minutes=10)
    stop(app, issue)
    for _ in range(3):
        work(app)
        clock.forward(minutes=10)
    assert [mail["subject"] for mail in alerts(app)] == [f"Daily Papers needs you: The issue {issue.slot} is stopped"]
    assert rows(app) == [("skipped", "nothing_new"), ("skipped", "nothing_new"), ("sent", None)]


def test_what_waits_in_the_ledger_survives_its_process(make_app: Callable[..., App], database_url: str) -> None:
    first = make_app(database_url, admin_email=ADMIN)
    stop(first, queued(first))
    pipeline.sweep(first)
    first.close()
    work(make_app(database_url, admin_email=ADMIN))
    assert len(alerts(first)) == 1


def test_thousands_in_doubt_are_one_line_and_many_issues_are_a_mail_that_ends(app: App, clock: Clock) -> None:
    issue = queued(app)
    leave_unknown(app, issue, 5_000)
    with app.db.session() as session:
        for number in range(60):
            values = issue.model_dump(exclude={"id", "slot", "accounting"})
            session.add(Issue(**values, slot=f"old-{number}"))
    with app.db.snapshot() as session:
        old = session.exec(select(Issue).where(Issue.slot != issue.slot)).all()
    for each in old:
        leave_unknown(app, each, 1)
    clock.forward(hours=1)
    work(app)
    [mail] = alerts(app)
    assert "5,000 mails of the issue" in words(mail)
    assert "And 41 more" in words(mail)
    assert len(mail.as_bytes()) < 80_000
    [file] = app.settings.outbox_dir.glob("notices/*.eml")
    assert faults(file.read_bytes(), app.about()) == []


@pytest.mark.parametrize(("policy_", "at_once"), [("hold", True), ("assume-sent", False)])
def test_mails_in_doubt_are_told_when_their_issue_is_through_or_after_an_hour(
    make_app: Callable[..., App], database_url: str, clock: Clock, policy_: str, at_once: bool
) -> None:
    app = make_app(database_url, admin_email=ADMIN, on_unknown=policy_)
    issue = queued(app)
    leave_unknown(app, issue, 2)
    pipeline.sweep(app)
    assert titles(app) == [], "others of it wait"
    pipeline.deliver(app, issue.id)
    work(app)
    assert len(alerts(app)) == at_once
    clock.forward(hours=1)
    work(app)
    assert len(alerts(app)) == at_once, "with a policy nobody has to decide"
    operating.resolve(app, Which(DeliveryState.UNKNOWN), "sent")
    work(app)
    assert titles(app) == []


@pytest.mark.parametrize("trouble", ["550 5.1.1 nobody of that name", "550 5.7.1 relaying denied", "drop"])
def test_no_alarm_comes_of_an_alert_and_what_still_holds_is_told_anew_the_next_day(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock, trouble: str
) -> None:
    app = make_app(database_url, admin_email=ADMIN, smtp_url=f"{smtp.url}&connections=1")
    add_readers(app, 1)
    leave_unknown(app, None, 1)
    clock.forward(hours=1)
    at = "dot" if trouble == "drop" else "rcpt"
    smtp.script = lambda step, _session: trouble if step == at else None
    for _ in range(6):
        work(app)
        clock.forward(hours=3)
    doubtful = trouble == "drop"
    assert rows(app) == ([("unknown", None)] if doubtful else [("failed", None)] * len(rows(app)))
    assert len(rows(app)) == (1 if doubtful else 2), "one a day"
    assert titles(app) == ["One mail outside any issue is in doubt"]
    with app.db.snapshot() as session:
        assert subscribers.suppressed(session, [ADMIN]) == set(), "what a relay says of the operator bars no reader"
        replies = set(session.exec(select(Attempt.reply)))
    assert doubtful or trouble[4:] in replies, "the operator sees why"
    smtp.script = lambda _step, _session: None
    clock.forward(days=1)
    work(app)
    assert smtp.recipients() == ([] if doubtful else [ADMIN]), "what may have come is not sent again"


def test_an_alert_that_failed_can_be_tried_again_by_hand(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, command_here: Command
) -> None:
    app = make_app(sqlite_url, admin_email=ADMIN, smtp_url=f"{smtp.url}&connections=1")
    stop(app, queued(app))
    smtp.script = lambda step, _session: "550 5.1.1 nobody" if step == "rcpt" else None
    work(app)
    settings = {"database_url": sqlite_url, "secret_key": "a key for tests"}
    listed = command_here("deliveries", "list", "--state", "failed", **settings)
    assert "\n(operator)  alert  failed  1 attempt  " in listed.stdout
    smtp.script = lambda _step, _session: None
    assert operating.retry(app, Which(DeliveryState.FAILED)).number == 1
    work(app)
    assert smtp.recipients() == [ADMIN]


def test_one_that_nobody_could_send_for_a_day_is_told_anew_if_it_still_holds(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, admin_email=ADMIN, smtp_url=smtp.url)
    leave_unknown(app, None, 1)
    clock.forward(hours=1)
    smtp.script = lambda step, _session: "drop" if step == "connect" else None
    work(app)
    clock.forward(days=1, minutes=1)
    smtp.script = lambda _step, _session: None
    for _ in range(3):
        work(app)
        clock.forward(minutes=3)
    assert smtp.recipients() == [ADMIN]
    assert rows(app) == [("failed", None), ("sent", None)]


def pulled(app: App, source: str, **fields: Any) -> None:
    now = app.now()
    with app.db.session() as session:
        session.add(Pull(source=source, day=now.date(), started_at=now, finished_at=now, **fields))


def test_a_source_that_has_failed_for_a_day_is_told_and_is_over_when_it_answers(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    secret = "feed:https://papers.example.org/feed/a-secret-word?key=another"
    app = make_app(database_url, admin_email=ADMIN, sources=f"huggingface,{secret}")
    pulled(app, secret, listed=3)
    for hour in range(26):
        clock.forward(hours=1)
        pulled(app, secret, error=f"{secret} answered 503")
        pulled(app, "biorxiv", error="is no source of ours any more")
        pulled(app, "huggingface", error="503" if hour % 3 else "")
        work(app)
        assert len(alerts(app)) == (hour >= 24)
    [mail] = alerts(app)
    assert mail["subject"] == "Daily Papers needs you: papers.example.org does not answer"
    assert "Since 2026-08-05 10:00 UTC" in words(mail)
    assert "secret" not in mail.as_string()
    pulled(app, secret, listed=3)
    work(app)
    assert (titles(app), len(alerts(app))) == ([], 1)


def own_templates(tmp_path: Path, mail: str, more: str = "{{ site.nobody.knows }}") -> Path:
    """Return a folder in which one mail's text cannot be printed, or says more."""
    body = Path(f"email/{mail}/body.txt")
    text = (ROOT / "templates" / body).read_text(encoding="utf-8")
    (tmp_path / "templates" / body).parent.mkdir(parents=True)
    (tmp_path / "templates" / body).write_text(text + more, encoding="utf-8")
    return tmp_path / "templates"


def test_mails_that_cannot_be_printed_are_told_and_forgotten_after_a_day(
    make_app: Callable[..., App], database_url: str, tmp_path: Path, clock: Clock
) -> None:
    app = make_app(database_url, admin_email=ADMIN, templates_dir=own_templates(tmp_path, "welcome"))
    readers = add_readers(app, 3)
    with app.db.session() as session:
        once = dict.fromkeys(readers, "x")
        deliveries.queue_notices(session, Mail.WELCOME, once, now=app.now(), within=timedelta(days=1))
    work(app)
    work(app)
    [mail] = alerts(app)
    assert mail["subject"] == "Daily Papers needs you: 3 mails outside any issue are impossible to print"
    assert "newsletter deliveries list --state skipped" in words(mail)
    clock.forward(days=1, minutes=1)
    work(app)
    assert (titles(app), len(alerts(app))) == ([], 1)


def test_an_alert_that_cannot_be_printed_itself_ends_in_the_log(
    make_app: Callable[..., App], database_url: str, tmp_path: Path, clock: Clock
) -> None:
    app = make_app(database_url, admin_email=ADMIN, templates_dir=own_templates(tmp_path, "alert"))
    leave_unknown(app, None, 1)
    clock.forward(hours=1)
    for _ in range(4):
        work(app)
        clock.forward(minutes=1)
    assert rows(app) == [("skipped", SkipReason.UNPRINTABLE)]
    assert titles(app) == ["One mail outside any issue is in doubt"]


def test_an_alert_is_given_no_link_that_is_signed_for_somebody(
    make_app: Callable[..., App], database_url: str, tmp_path: Path
) -> None:
    rooms = ("preferences", "unsubscribe")  # templates that name other links are refused at the start
    more = "".join(f"{{% if {room}_url is defined %}}given {room}{{% endif %}}" for room in rooms)
    more += "{% if alarms is defined %}given alarms{% endif %}"
    app = make_app(database_url, admin_email=ADMIN, templates_dir=own_templates(tmp_path, "alert", more))
    stop(app, queued(app))
    work(app)
    [mail] = alerts(app)
    assert re.findall(r"given \w+", words(mail)) == ["given alarms"]


def test_looking_for_alarms_keeps_no_mail_from_going_out(app: App) -> None:
    issue = queued(app)
    with app.db.session() as session:
        session.execute(sa.text("ALTER TABLE alarms RENAME TO elsewhere"))
    assert pipeline.sweep(app) == [issue.id]
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, issue.id or 0, issue.slot).sent == 4


def test_what_is_over_for_long_is_forgotten_and_what_holds_is_not(app: App, clock: Clock) -> None:
    issue = stopped_and_in_doubt(app, clock)
    operating.change_issue(app, issue.slot, "resume")
    work(app)
    clock.forward(days=101)
    pipeline.tidy(app)
    with app.db.snapshot() as session:
        assert list(session.exec(select(Alarm.title))) == ["One mail outside any issue is in doubt"]
    clock.forward(days=300)
    retention.archive(app)
    assert rows(app) == []


def test_status_names_alarms_and_what_keeps_mails_from_being_sent(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command, clock: Clock
) -> None:
    away = {"smtp_url": "smtp://127.0.0.1:1?timeout=2", "database_url": sqlite_url, "secret_key": "a key for tests"}
    app = make_app(**away)
    issue = queued(app)
    pipeline.deliver(app, issue.id)
    quiet = command_here("status", **away)
    assert "  4 not sent so far: " in quiet.stdout
    assert "127.0.0.1" in quiet.stdout
    assert "ALARM" not in quiet.stdout
    stop(app, issue)
    for is_swept in (False, True):  # it needs no sweep to be seen, and no address
        if is_swept:
            pipeline.sweep(app)
        said = command_here("status", **away)
        since = " since 2026-08-05T09:00Z" if is_swept else ""
        line = f"ALARM: The issue {issue.slot} is stopped{since}; see: newsletter issues resume {issue.slot}\n"
        assert (said.returncode, line in said.stdout) == (3, True)
    found = json.loads(command_here("status", "--json", **away).stdout)
    assert [(each["kind"], each["what"]) for each in found["alarms"]] == [
        ("stopped", f"The issue {issue.slot} is stopped")
    ]
    assert found["issues"][0]["waits_for"]["number"] == 4


@pytest.mark.parametrize(("number", "says"), [(1, "1 mail"), (2, "2 mails")])
def test_status_says_of_alerts_in_doubt_why_it_asks_for_a_look(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command, number: int, says: str
) -> None:
    app = make_app(sqlite_url)
    settings = {"database_url": sqlite_url, "secret_key": "a key for tests"}
    assert "in doubt" not in command_here("status", **settings).stdout
    leave_unknown(app, None, number, mail=Mail.ALERT)
    said = command_here("status", **settings)
    line = f"{says} in doubt outside any issue: newsletter deliveries list --state unknown\n"
    assert (said.returncode, line in said.stdout, "ALARM" in said.stdout) == (3, True, False)
    assert json.loads(command_here("status", "--json", **settings).stdout)["unknown_outside"] == number


@pytest.mark.parametrize(
    "text",
    ["admin", "admin@", "Admin <admin@example.org>", "a@example.org b@example.org", "ünï@example.org",
     "a@example.org\r\nBcc: b@example.org", "a@localhost", ",".join(f"a{n}@example.org" for n in range(11))],
)  # fmt: skip
def test_an_address_that_is_none_is_named_when_the_program_starts(text: str) -> None:
    with pytest.raises(ValueError, match="admin_email: "):
        Settings(_env_file=None, admin_email=text)


def test_a_database_of_the_version_before_is_migrated(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url, admin_email=ADMIN)
    with app.db.session() as session:
        session.execute(sa.text("DROP TABLE alarms"))
        session.execute(sa.text("DROP INDEX ix_deliveries_unprintable"))
        session.execute(sa.text("UPDATE alembic_version SET version_num = '0009'"))
    migrate(app.db)
    stop(app, queued(app))
    work(app)
    assert len(alerts(app)) == 1
