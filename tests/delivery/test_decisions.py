"""What an operator, a policy and evidence make of mails that no relay settled."""

import json
from collections.abc import Callable
from datetime import timedelta
from subprocess import CompletedProcess

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import clock as real_clock
from newsletter import membership, operating, pipeline
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.decisions.store import PATIENCE, Which
from newsletter.delivery.ledger import Handoff, Leased
from newsletter.delivery.models import Attempt, Delivery, DeliveryState, SkipReason
from newsletter.delivery.retry import Phase, accepted, no_reply, refused
from newsletter.errors import InputError
from newsletter.issues.models import Issue
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.web import create_web

UNKNOWN, FAILED = Which(DeliveryState.UNKNOWN), Which(DeliveryState.FAILED)
Command = Callable[..., CompletedProcess[str]]


def queued(app: App, readers: int = 3) -> Issue:
    add_papers(app, [record(1)])
    add_readers(app, readers)
    return open_and_queue(app)


def hand_off(app: App, issue_id: int | None, number: int, owner: str = "me") -> list[Leased]:
    """Lease some mails and mark them as handed off."""
    with app.db.session() as session:
        leased = ledger.lease(session, issue_id, owner=owner, now=app.now(), limit=number)
        kept = {"considered": 1, "picks": [[1, 0.5, "because"]]}
        marks = []
        for each in leased:
            person = subscribers.get(session, each.subscriber_id)
            marks.append(Handoff(each, person.email if person else "", f"<{each.id}@x>", kept))
        assert len(ledger.mark_handoffs(session, marks, owner=owner, now=app.now())) == number
    return leased


def doubtful(app: App, issue: Issue, number: int) -> list[Leased]:
    """Let the connection die at some mails' last dots."""
    leased = hand_off(app, issue.id, number)
    with app.db.session() as session:
        outcomes = [(each, no_reply(Phase.DOT, "closed", 1, 0)) for each in leased]
        ledger.settle(session, outcomes, owner="me", now=app.now())
    return leased


def rows(app: App) -> list[Delivery]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Delivery).order_by(Delivery.id)))  # type: ignore[arg-type]


def states(app: App) -> list[str]:
    return [row.state for row in rows(app)]


def words(app: App) -> list[tuple[int, str, str]]:
    with app.db.snapshot() as session:
        tried = session.exec(select(Attempt).order_by(Attempt.id))  # type: ignore[arg-type]
        return [(each.no, each.phase, each.outcome) for each in tried]


def test_what_the_operator_takes_as_sent_is_sent_and_written_down(app_on_both: App) -> None:
    issue = queued(app_on_both)
    doubtful(app_on_both, issue, 2)
    assert operating.resolve(app_on_both, UNKNOWN, "sent").number == 2
    assert states(app_on_both) == ["sent", "sent", "queued"]
    assert words(app_on_both)[2:] == [(1, "operator", "sent")] * 2
    assert operating.resolve(app_on_both, UNKNOWN, "sent").number == 0, "a second time changes nothing"


def test_what_is_sent_again_waits_for_a_stopped_worker_and_is_the_same_mail(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue = queued(app, 1)
    [first] = doubtful(app, issue, 1)
    clock.forward(minutes=5)
    decided = operating.resolve(app, UNKNOWN, "resend")
    assert decided.not_before == rows(app)[0].not_before == clock.at + timedelta(minutes=10)
    pipeline.deliver(app, issue.id)
    assert states(app) == ["deferred"]
    clock.forward(minutes=10)
    pipeline.deliver(app, issue.id)
    [row] = rows(app)
    assert (row.state, row.message_id, row.attempts) == ("sent", f"<{first.id}@x>", 2)
    assert row.selection is not None
    assert (row.selection["considered"], row.selection["picks"]) == (1, [[1, 0.5, "because", None, ""]])


def test_who_left_or_is_suppressed_or_pauses_is_not_sent_anything_again(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue = queued(app, 4)
    doubtful(app, issue, 4)
    left, barred, pausing, _ = (row.subscriber_id for row in rows(app))
    membership.unsubscribe(app, [left])
    with app.db.session() as session:
        people = subscribers.addressees(session, [barred, pausing])
        subscribers.suppress(session, people[barred].email, "bounced", clock.at)
        subscribers.pause(session, pausing, issue.day, issue.day + timedelta(days=9))
    decided = operating.resolve(app, UNKNOWN, "resend")
    assert (decided.number, decided.refused) == (1, {"not_active": 1, "suppressed": 1, "paused": 1})
    assert states(app) == ["unknown"] * 3 + ["deferred"]


def test_failed_mails_are_retried_until_their_issues_time_is_over(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue = queued(app, 2)
    with app.db.session() as session:
        leased = ledger.lease(session, issue.id, owner="me", now=clock.at, limit=2)
        outcome = refused(Phase.RCPT, 550, "who is that", 1, 0)
        ledger.settle(session, [(each, outcome) for each in leased], owner="me", now=clock.at)
    one = operating.which(app, state=DeliveryState.FAILED, issue=issue.slot, subscriber="reader1@example.org")
    assert operating.retry(app, one).number == 1
    pipeline.deliver(app, issue.id)
    assert sorted(states(app)) == ["failed", "sent"]
    clock.forward(hours=21)
    with pytest.raises(InputError, match="1 not: their issue's time is over"):
        operating.retry(app, FAILED)


@pytest.mark.parametrize(("policy", "becomes"), [("hold", "unknown"), ("assume-sent", "sent"), ("resend", "deferred")])
def test_the_policy_decides_in_the_sweep_and_not_before_its_time(
    make_app: Callable[..., App], database_url: str, clock: Clock, policy: str, becomes: str
) -> None:
    app = make_app(database_url, on_unknown=policy)
    doubtful(app, queued(app, 2), 1)
    clock.at += PATIENCE - timedelta(seconds=1)
    pipeline.sweep(app)
    assert states(app) == ["unknown", "queued"]
    clock.forward(seconds=1)
    pipeline.sweep(app)
    assert states(app) == [becomes, "queued"]


def test_the_policy_makes_three_copies_at_most(make_app: Callable[..., App], sqlite_url: str, clock: Clock) -> None:
    app = make_app(sqlite_url, on_unknown="resend")
    issue = queued(app, 1)
    for _ in range(5):
        if states(app) != ["unknown"]:
            doubtful(app, issue, 1)
        clock.at += PATIENCE
        pipeline.sweep(app)
    assert [(row.state, row.attempts) for row in rows(app)] == [("unknown", 3)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("room", ["open", "click", "feedback", "leave"])
def test_a_link_that_comes_back_shows_that_its_mail_arrived(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock, room: str, method: str
) -> None:
    app = make_app(sqlite_url, tracking="off")
    issue = queued(app, 2)
    printed = clock.at
    [mail] = doubtful(app, issue, 1)
    sign = app.signer.sign
    read = sign(Purpose.READ, mail.id, now=printed)
    path = {
        "open": f"/o/{read}.gif",
        "click": f"/c/{read}/1/page",
        "feedback": f"/f/{sign(Purpose.FEEDBACK, mail.id, now=printed)}/1/like",
        "leave": f"/u/{sign(Purpose.UNSUBSCRIBE, mail.subscriber_id, now=printed)}",
    }[room]
    clock.forward(minutes=3)
    web = TestClient(create_web(app), follow_redirects=False)
    web.request(method, path)
    assert states(app) == ["sent", "queued"]
    assert words(app)[-1][1:] == ("evidence", "sent")
    with app.db.snapshot() as session:
        person = subscribers.get(session, mail.subscriber_id)
        assert person is not None
        assert person.state == "active"


def test_one_click_shows_that_the_mail_arrived_and_an_older_link_does_not(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    [first, second] = doubtful(app, queued(app, 2), 2)
    web = TestClient(create_web(app))
    for mail, printed in ((first, clock.at), (second, clock.at - timedelta(days=1))):
        token = app.signer.sign(Purpose.UNSUBSCRIBE, mail.subscriber_id, now=printed)
        assert web.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert states(app) == ["sent", "unknown"]


def test_evidence_or_a_late_acceptance_calls_off_another_copy(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue = queued(app, 2)
    [read, late] = doubtful(app, issue, 2)
    operating.resolve(app, UNKNOWN, "resend")
    token = app.signer.sign(Purpose.READ, read.id, now=clock.at)
    TestClient(create_web(app)).get(f"/o/{token}.gif")
    with app.db.session() as session:
        assert ledger.settle(session, [(late, accepted(250, "after all"))], owner="me", now=clock.at) == {late.id}
    clock.at += PATIENCE
    pipeline.deliver(app, issue.id)
    assert [(row.state, row.attempts) for row in rows(app)] == [("sent", 1)] * 2


def test_what_may_have_arrived_is_never_said_to_be_too_late_or_left_out(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue = queued(app, 3)
    [first, *_] = doubtful(app, issue, 2)
    operating.resolve(app, UNKNOWN, "resend")
    membership.unsubscribe(app, [first.subscriber_id])
    clock.at += PATIENCE
    with app.db.session() as session:
        ledger.lease(session, issue.id, owner="me", now=clock.at, limit=9)
        ledger.skip(session, [(first, SkipReason.NOT_ACTIVE)], owner="me", now=clock.at)
    clock.forward(hours=21)
    pipeline.sweep(app)
    assert states(app) == ["unknown", "unknown", "failed"]


def test_attempts_and_deliveries_add_up_after_crashes(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    issue = queued(app, 3)
    hand_off(app, issue.id, 1)
    with app.db.session() as session:
        ledger.lease(session, issue.id, owner="another", now=clock.at, limit=1)
    clock.at += ledger.HANDOFF_LEASE + timedelta(minutes=1)
    pipeline.deliver(app, issue.id)
    assert states(app) == ["unknown", "sent", "sent"]
    assert sorted(words(app)) == [
        (1, "dot", "sent"),
        (1, "lost", "deferred"),
        (1, "lost", "unknown"),
        (2, "dot", "sent"),
    ]
    with app.db.snapshot() as session:
        assert deliveries.accounting(session, issue.id or 0, issue.slot).progress == "done-with-unknown"


def test_the_operator_sees_names_and_decides_on_the_command_line(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command
) -> None:
    app = make_app(sqlite_url, now=real_clock.now)
    add_papers(app, [record(1, listed_at=app.now())])
    add_readers(app, 3)
    issue = open_and_queue(app)
    doubtful(app, issue, 2)
    settings = {"database_url": sqlite_url, "secret_key": "a key for tests"}
    listed = command_here("deliveries", "list", "--state", "unknown", "--issue", issue.slot, **settings)
    assert listed.returncode == 3
    assert [line.split("  ")[:4] for line in listed.stdout.splitlines()[-2:]] == [
        [f"reader{n}@example.org", f"digest {issue.slot}", "unknown", "1 attempt"] for n in (1, 0)
    ]
    assert "closed" in listed.stdout
    found = json.loads(command_here("deliveries", "list", "--json", "--limit", "2", **settings).stdout)
    assert ([each["state"] for each in found["deliveries"]], found["left_out"]) == (["queued", "unknown"], 1)
    status = command_here("status", **settings)
    assert status.returncode == 3
    one = ("--state", "unknown", "--subscriber", "reader0@example.org", "--json")
    again = command_here("deliveries", "resolve", *one, "--as", "resend", **settings)
    assert (again.returncode, json.loads(again.stdout)["number"]) == (0, 1)
    sent = command_here("deliveries", "resolve", "--state", "unknown", "--as", "sent", **settings)
    assert (sent.returncode, sent.stdout) == (0, "1 taken as sent\n")
    for args, code in ((("resolve", "--state", "failed", "--as", "sent"), 2), (("retry", "--state", "sent"), 2),
                       (("list", "--state", "lost"), 2), (("list", "--issue", "1999-01-01"), 1),
                       (("retry", "--state", "failed", "--subscriber", "nobody@example.org"), 1)):  # fmt: skip
        refused_ = command_here("deliveries", *args, **settings)
        assert refused_.returncode == code, args
        assert refused_.stderr
        assert "Traceback" not in refused_.stderr


def test_a_long_ledger_is_listed_in_pages(app: App) -> None:
    from newsletter.delivery.decisions import store

    queued(app, 1_100)
    with app.db.snapshot() as session:
        found = [each.id for each in store.listing(session, Which(), 1_050)]
    assert found == list(range(1_100, 50, -1))
