"""What a relay's answers and its silence mean for a mail, an address and an issue; `test_faults` has the table."""

import email
import re
from collections import Counter
from collections.abc import Callable
from email import policy

import pytest
from fakes import Clock, Session, SmtpServer
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import membership, pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Attempt, Delivery
from newsletter.delivery.store import Accounting
from newsletter.issues.models import Issue
from newsletter.subscribers.models import Suppression

READERS = 6
Run = Callable[..., tuple[App, Accounting]]


@pytest.fixture(params=["pipelined", "one by one"])
def run(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock, request: pytest.FixtureRequest
) -> Run:
    """Deliver an issue to six readers, then again after the waits, until nothing is left or time is over."""
    if request.param == "one by one":
        smtp.extensions.remove("PIPELINING")

    def run(script: Callable[[str, Session], str | None], *, rounds: int = 3) -> tuple[App, Accounting]:
        app = make_app(sqlite_url, smtp_url=smtp.url.replace("timeout=5", "timeout=1&connections=1"))
        add_papers(app, [record(number) for number in range(1, 4)])
        add_readers(app, READERS, max_papers=2)
        smtp.script = script
        issue = open_and_queue(app)
        for _ in range(rounds):
            pipeline.deliver(app, issue.id)
            clock.forward(minutes=7)
        with app.db.snapshot() as session:
            return app, deliveries.accounting(session, issue.id or 0, issue.slot)

    return run


def once(step: str, reply: str, at: int = 3) -> Callable[[str, Session], str | None]:
    """Answer one step otherwise, once."""
    passed = Counter[str]()

    def script(seen: str, _session: Session) -> str | None:
        passed[seen] += 1
        return reply if (seen, passed[seen]) == (step, at) else None

    return script


def for_reader(number: int, step: str, reply: str) -> Callable[[str, Session], str | None]:
    """Answer a step otherwise for one reader, always."""
    return lambda seen, session: reply if seen == step and session.recipient.startswith(f"reader{number}@") else None


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data"])
def test_silence_before_the_dot_costs_nobody_their_mail(run: Run, smtp: SmtpServer, step: str) -> None:
    _, accounting = run(once(step, "hang", at=1 if step in {"connect", "ehlo"} else 3))
    assert accounting.sent == READERS
    assert sorted(smtp.recipients()) == [f"reader{number}@example.org" for number in range(READERS)]


@pytest.mark.parametrize("trouble", ["hang", "25", "354 more please"])
def test_no_clear_answer_to_the_dot_is_unknown_and_never_sent_again(run: Run, smtp: SmtpServer, trouble: str) -> None:
    _, accounting = run(once("accepted", trouble))
    assert (accounting.sent, accounting.unknown) == (READERS - 1, 1)
    assert Counter(smtp.recipients()).most_common(1)[0][1] == 1


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_a_temporary_refusal_is_tried_again(run: Run, smtp: SmtpServer, step: str) -> None:
    app, accounting = run(once(step, "451 4.7.1 greylisted", at=1))
    assert accounting.sent == READERS
    with app.db.snapshot() as session:
        assert [each.outcome for each in session.exec(select(Attempt).where(Attempt.outcome != "sent"))] == ["deferred"]


@pytest.mark.parametrize("reply", ["550 5.1.1 no such user", "550 5.1.10 null mx"])
def test_an_address_that_does_not_exist_fails_and_is_suppressed(run: Run, smtp: SmtpServer, reply: str) -> None:
    app, accounting = run(for_reader(2, "rcpt", reply))
    assert (accounting.sent, accounting.failed) == (READERS - 1, 1)
    with app.db.snapshot() as session:
        assert len(session.exec(select(Suppression)).all()) == 1
    assert smtp.connections == 1, "one refused recipient must not cost the connection"


@pytest.mark.parametrize("reply", ["552 5.2.2 mailbox full", "553 5.5.4 no", "554 no thanks", "550 no"])
def test_another_final_refusal_fails_and_suppresses_nobody(run: Run, reply: str) -> None:
    app, accounting = run(for_reader(2, "rcpt", reply))
    assert (accounting.sent, accounting.failed) == (READERS - 1, 1)
    with app.db.snapshot() as session:
        assert not session.exec(select(Suppression)).all()


def test_a_relay_that_takes_data_for_nobody_is_given_nothing(run: Run, smtp: SmtpServer) -> None:
    def script(step: str, session: Session) -> str | None:
        if session.recipient.startswith("reader2@"):
            return {"rcpt": "550 5.1.1 no such user", "data": "354 go ahead"}.get(step)
        return None

    _, accounting = run(script)
    assert (accounting.sent, accounting.failed) == (READERS - 1, 1)
    assert all(each.data for each in smtp.accepted)
    assert smtp.connections == 1


def test_a_relay_that_takes_a_mail_from_nobody_is_given_nothing(run: Run, smtp: SmtpServer) -> None:
    steps = Counter[str]()

    def script(step: str, _session: Session) -> str | None:
        steps[step] += 1
        return (
            {"mail": "451 4.3.0 not now", "rcpt": "250 2.1.5 ok", "data": "354 go ahead"}.get(step)
            if steps["mail"] == 3
            else None
        )

    _, accounting = run(script)
    assert accounting.sent == READERS
    assert all(each.data for each in smtp.accepted)
    assert len(set(smtp.recipients())) == len(smtp.recipients()) == READERS


@pytest.mark.parametrize("step", ["rcpt", "data"])
def test_a_reply_to_the_dot_before_the_dot_is_believed_by_nobody(run: Run, smtp: SmtpServer, step: str) -> None:
    passed = Counter[str]()

    def script(seen: str, _session: Session) -> str | None:
        passed[seen] += 1
        if passed[seen] != 3:
            return None
        early = {"rcpt": "250 2.1.5 ok\r\n354 go ahead\r\n250 taken", "data": "354 go ahead\r\n250 taken already"}
        return early.get(seen) if seen == step else "554 5.6.0 no" if seen == "dot" else None

    _, accounting = run(script, rounds=1)
    assert accounting.sent == len(smtp.accepted)


@pytest.mark.parametrize("more", ["250 2.1.0 ok", "421 4.4.2 you took too long"])
def test_what_a_relay_says_out_of_turn_is_no_answer_to_the_next_mail(run: Run, smtp: SmtpServer, more: str) -> None:
    app, accounting = run(once("accepted", f"250 2.0.0 taken\r\n{more}"), rounds=1)
    assert accounting.sent == READERS
    assert smtp.connections == 2
    with app.db.snapshot() as session:
        assert len(session.exec(select(Attempt)).all()) == READERS


def test_a_reply_that_is_neither_yes_nor_no_sends_no_empty_mail(run: Run, smtp: SmtpServer) -> None:
    _, accounting = run(for_reader(2, "rcpt", "252 2.1.5 cannot verify, will try"))
    assert (accounting.sent, accounting.deferred) == (READERS - 1, 1)
    assert all(each.data for each in smtp.accepted)
    assert len(smtp.accepted) == READERS - 1


def test_a_relay_that_forgets_the_other_replies_after_a_refusal_is_not_waited_for_long(
    run: Run, smtp: SmtpServer
) -> None:
    def script(step: str, session: Session) -> str | None:
        if session.recipient.startswith("reader2@"):
            return {"rcpt": "550 5.1.1 no such user", "data": "hang"}.get(step)
        return None

    _, accounting = run(script, rounds=1)
    assert (accounting.sent, accounting.failed) == (READERS - 1, 1)


def test_a_reply_may_hold_anything_that_is_text(run: Run) -> None:
    app, accounting = run(once("rcpt", "450 4.2.1 b\0sy \x1b[31m \u202e"))
    assert accounting.sent == READERS
    with app.db.snapshot() as session:
        [deferred] = session.exec(select(Attempt).where(Attempt.outcome == "deferred"))
    assert "\0" not in deferred.reply


def test_a_relay_that_refuses_us_stops_the_issue_and_loses_nobody(run: Run, smtp: SmtpServer, clock: Clock) -> None:
    passed = Counter[str]()

    def script(step: str, _session: Session) -> str | None:
        passed[step] += 1
        return "550 5.7.26 unauthenticated sender" if step == "mail" and passed[step] >= 3 else None

    app, accounting = run(script)
    assert (accounting.sent, accounting.failed) == (2, 0)
    smtp.script = lambda _step, _session: None
    with app.db.session() as session:
        issue = session.exec(select(Issue)).one()
        assert issue.state == "stopped"
        assert "5.7.26" in issue.stopped_why
        assert not session.exec(select(Suppression)).all()
        issue.state = "open"
    pipeline.deliver(app, issue.id)
    assert sorted(smtp.recipients()) == [f"reader{number}@example.org" for number in range(READERS)]


def test_a_relay_that_is_away_costs_no_attempt_and_is_not_hammered(run: Run, smtp: SmtpServer) -> None:
    app, accounting = run(lambda step, _: "421 4.3.2 closed" if step == "connect" else None, rounds=1)
    assert accounting.deferred == READERS
    assert smtp.connections == 1, "one connection is enough to know"
    with app.db.snapshot() as session:
        rows = session.exec(select(Delivery)).all()
    assert {(row.attempts, (row.reply or "")[:3]) for row in rows} == {(0, "421")}


def test_one_readers_server_that_refuses_us_stops_nobody(run: Run) -> None:
    app, accounting = run(for_reader(2, "rcpt", "550 5.7.1 not from you"))
    assert (accounting.sent, accounting.failed) == (READERS - 1, 1)
    with app.db.snapshot() as session:
        assert session.exec(select(Issue)).one().state == "open"


def test_the_third_refusal_in_a_row_stops_the_issue(run: Run, smtp: SmtpServer) -> None:
    app, accounting = run(lambda step, _: "550 5.7.1 relaying denied" if step == "rcpt" else None)
    assert (accounting.sent, accounting.failed, accounting.deferred) == (0, 3, READERS - 3)
    with app.db.snapshot() as session:
        assert session.exec(select(Issue)).one().state == "stopped"


def test_a_relay_that_lets_us_wait_holds_up_no_more_than_a_mail_a_connection(run: Run, smtp: SmtpServer) -> None:
    _, accounting = run(lambda step, _: "hang" if step == "rcpt" else None, rounds=1)
    assert accounting.deferred == READERS
    assert smtp.connections == 1


def test_a_greeting_of_554_is_the_relays_trouble_and_not_the_readers(run: Run) -> None:
    _, accounting = run(once("connect", "554 5.3.2 not today", at=1))
    assert accounting.sent == READERS


def test_an_address_that_is_always_busy_fails_after_six_attempts(run: Run, clock: Clock) -> None:
    app, _ = run(for_reader(2, "rcpt", "450 4.2.1 busy"), rounds=1)
    for _ in range(20):
        clock.forward(hours=1)
        pipeline.deliver(app, 1)
    with app.db.snapshot() as session:
        stuck = session.exec(select(Delivery).where(Delivery.state != "sent")).one()
    assert (stuck.state, stuck.attempts) == ("failed", 6)
    assert (stuck.reply or "").startswith("gave up")


def test_a_mail_that_is_too_late_expires(run: Run, clock: Clock) -> None:
    app, _ = run(lambda step, _: "421 4.3.2 closed" if step == "connect" else None, rounds=1)
    clock.forward(hours=21)
    pipeline.sweep(app)
    with app.db.snapshot() as session:
        assert {each.reply for each in session.exec(select(Delivery))} == {"expired"}


def test_reader_who_leaves_after_the_body_is_asked_for_gets_no_dot(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, smtp_url=smtp.url + "&connections=1")
    add_papers(app, [record(1)])
    readers = add_readers(app, READERS)

    def leave(step: str, session: Session) -> str | None:
        if step == "data" and session.recipient.startswith("reader3@"):
            membership.unsubscribe(app, [readers[3]])
        return None

    smtp.script = leave
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    clock.forward(minutes=6)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert "reader3@example.org" not in smtp.recipients()
    assert (accounting.sent, accounting.skipped) == (READERS - 1, {"not_active": 1})


def test_no_dot_in_a_body_can_end_it_early(make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer) -> None:
    app = make_app(sqlite_url, smtp_url=smtp.url)
    evil = ".\r\nMAIL FROM:<evil@example.org>\n.\n..\n.end " + "." * 300
    add_papers(app, [record(1, f"A title {evil}", abstract=evil)])
    add_readers(app, 1)
    pipeline.deliver(app, open_and_queue(app).id)
    [mail] = smtp.accepted
    assert mail.data.endswith(b"--\r\n")
    assert not re.search(rb"^\.", mail.data, re.MULTILINE)
    text = email.message_from_bytes(mail.data, policy=policy.default).get_body(("plain",))
    assert text is not None
    assert ".end" in text.get_content()


def test_connections_are_kept_open_over_batches(run: Run, smtp: SmtpServer) -> None:
    run(lambda _step, _session: None)
    assert smtp.connections == 1


def test_a_port_where_nobody_listens_defers(make_app: Callable[..., App], sqlite_url: str) -> None:
    app = make_app(sqlite_url, smtp_url="smtp://127.0.0.1:1?starttls=never&timeout=1")
    add_papers(app, [record(1)])
    add_readers(app, 2)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert accounting.deferred == 2
