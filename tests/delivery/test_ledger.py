"""The ledger on both databases: leases, fences, the reaper, and the accounting."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fakes import Clock
from samples import add_papers, add_readers, open_and_queue, record
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.desk import freeze, thaw
from newsletter.delivery.lapses import store as lapses
from newsletter.delivery.ledger import Handoff
from newsletter.delivery.models import Delivery, SkipReason
from newsletter.delivery.retry import Phase, accepted, no_reply
from newsletter.delivery.store import Accounting
from newsletter.issues.digest import DigestPick, Mention, Selection, Span
from newsletter.issues.models import Issue
from newsletter.ranking.types import Parts
from newsletter.subscribers.models import Subscriber


@pytest.fixture
def issue(app_on_both: App) -> Issue:
    add_papers(app_on_both, [record(number) for number in range(1, 4)])
    add_readers(app_on_both, 5)
    return open_and_queue(app_on_both)


def lease(app: App, issue: Issue, owner: str = "me", limit: int = 3) -> list[ledger.Leased]:
    with app.db.session() as session:
        return ledger.lease(session, issue.id, owner=owner, now=app.now(), limit=limit)


def mark(app: App, leased: ledger.Leased, owner: str = "me") -> bool:
    with app.db.session() as session:
        person = session.get(Subscriber, leased.subscriber_id)
        handoff = Handoff(leased, person.email if person else "", "<m@x>", {"considered": 1, "picks": []})
        return ledger.mark_handoffs(session, [handoff], owner=owner, now=app.now()) == {leased.id}


def states(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Delivery.state).order_by(sa.text("id"))))


def test_a_lease_takes_each_delivery_once(app_on_both: App, issue: Issue) -> None:
    first, second = lease(app_on_both, issue), lease(app_on_both, issue, "you")
    assert (len(first), len(second)) == (3, 2)
    assert {each.id for each in first} & {each.id for each in second} == set()
    assert lease(app_on_both, issue, "they") == []


def test_many_workers_at_once_lease_nothing_twice(app_on_both: App) -> None:
    add_papers(app_on_both, [record(1)])
    add_readers(app_on_both, 60)
    issue = open_and_queue(app_on_both)

    def work(number: int) -> list[int]:
        taken: list[int] = []
        while batch := lease(app_on_both, issue, f"worker {number}", limit=7):
            taken += [each.id for each in batch]
        return taken

    with ThreadPoolExecutor(6) as threads:
        taken = [id_ for each in threads.map(work, range(6)) for id_ in each]
    assert len(taken) == len(set(taken)) == 60


def test_a_lost_lease_can_change_nothing(app_on_both: App, issue: Issue, clock: Clock) -> None:
    (leased, *_) = lease(app_on_both, issue, "slow")
    clock.at += ledger.LEASE + timedelta(seconds=1)
    with app_on_both.db.session() as session:
        assert lapses.reap(session, clock.at) == (3, 0)
    again = next(each for each in lease(app_on_both, issue, "quick") if each.id == leased.id)
    assert not mark(app_on_both, leased, "slow")
    assert mark(app_on_both, again, "quick")
    with app_on_both.db.session() as session:
        assert not ledger.settle(session, [(leased, no_reply(Phase.RCPT, "x", 1, 0))], owner="slow", now=clock.at)
    assert states(app_on_both)[leased.id - 1] == "handoff"


def test_a_mail_printed_for_an_address_that_is_another_readers_by_now_is_not_handed_over(
    app_on_both: App, issue: Issue
) -> None:
    first, second, third = lease(app_on_both, issue)
    with app_on_both.db.session() as session:
        people = {each.id: session.get(Subscriber, each.subscriber_id) for each in (first, second, third)}
        was = {id_: person.email for id_, person in people.items() if person}
        session.delete(people[second.id])
    with app_on_both.db.session() as session:
        moved = session.get(Subscriber, first.subscriber_id)
        assert moved
        moved.email = was[second.id]
    with app_on_both.db.session() as session:
        handoffs = [Handoff(each, was[each.id], "<m@x>", None) for each in (first, second, third)]
        assert ledger.mark_handoffs(session, handoffs, owner="me", now=app_on_both.now()) == {third.id}


def test_an_attempt_is_marked_once_whoever_else_is_in_its_group(app_on_both: App, issue: Issue, clock: Clock) -> None:
    app = app_on_both
    first, second, third = lease(app, issue)
    assert mark(app, first)
    clock.forward(seconds=1)
    handoffs = [Handoff(each, f"reader{each.subscriber_id - 1}@example.org", "<m@x>", None) for each in (first, second)]
    with app.db.session() as session:
        assert ledger.mark_handoffs(session, handoffs, owner="me", now=app.now()) == {second.id}
    with app.db.session() as session:
        assert ledger.mark_handoffs(session, handoffs, owner="me", now=app.now()) == set()
    assert states(app)[:3] == ["handoff", "handoff", "leased"]
    assert third.attempts == 1


def test_nothing_to_write_down_is_no_error(app_on_both: App) -> None:
    with app_on_both.db.session() as session:
        assert ledger.mark_handoffs(session, [], owner="me", now=app_on_both.now()) == set()
        assert ledger.settle(session, [], owner="me", now=app_on_both.now()) == set()


def test_what_was_chosen_is_kept_as_it_is(app_on_both: App, issue: Issue) -> None:
    told = Parts(0.5, 0.25, 0.0, 1e-9, 0.1, 1 / 3, 2.0)
    chosen = freeze(
        Selection(
            9,
            (DigestPick(1, 2 / 3, "“quoted” \\ \x00 \u2028", told, "a section"), DigestPick(2, 1, "old")),
            Span.WEEK,
            (Mention(3, "7 points"),),
            "what is inside",
            ("good morning", ""),
        )
    )
    (leased, *_) = lease(app_on_both, issue)
    for kept in (chosen, chosen | {"later": ["another", {"version": None}], "picks": [[1, 0.5]]}):
        with app_on_both.db.session() as session:
            session.execute(sa.update(Delivery).values(state="leased"))
            handoff = Handoff(leased, "reader0@example.org", "<m@x>", kept)
            assert ledger.mark_handoffs(session, [handoff], owner="me", now=app_on_both.now())
        with app_on_both.db.snapshot() as session:
            row = session.get(Delivery, leased.id)
        assert row
        assert row.selection == json.loads(json.dumps(kept))
        if kept is chosen:
            assert freeze(thaw(row.selection)) == chosen


def test_an_expired_handoff_is_unknown_until_late_evidence_settles_it(
    app_on_both: App, issue: Issue, clock: Clock
) -> None:
    (leased, *_) = lease(app_on_both, issue)
    mark(app_on_both, leased)
    clock.at += ledger.HANDOFF_LEASE + timedelta(seconds=1)
    with app_on_both.db.session() as session:
        assert lapses.reap(session, clock.at) == (2, 1)
    assert states(app_on_both)[leased.id - 1] == "unknown"
    assert leased.id not in {each.id for each in lease(app_on_both, issue, "you", limit=9)}
    with app_on_both.db.session() as session:
        assert ledger.settle(session, [(leased, accepted(250, "ok"))], owner="me", now=clock.at)
    assert states(app_on_both)[leased.id - 1] == "sent"


def test_a_mail_that_was_sent_cannot_become_anything_else(app_on_both: App, issue: Issue, clock: Clock) -> None:
    (leased, *_) = lease(app_on_both, issue)
    mark(app_on_both, leased)
    with app_on_both.db.session() as session:
        assert ledger.settle(session, [(leased, accepted(250, "ok"))], owner="me", now=clock.at)
        assert not ledger.settle(session, [(leased, no_reply(Phase.DOT, "x", 1, 0))], owner="me", now=clock.at)
    clock.forward(days=3)
    pipeline.sweep(app_on_both)
    assert states(app_on_both)[leased.id - 1] == "sent"


def test_released_deliveries_count_no_attempt(app_on_both: App, issue: Issue) -> None:
    leased = lease(app_on_both, issue)
    with app_on_both.db.session() as session:
        ledger.release(session, leased, owner="me", not_before=app_on_both.now())
    assert {each.attempts for each in lease(app_on_both, issue)} == {1}


def test_a_reader_with_another_mail_in_flight_waits(app_on_both: App, issue: Issue, clock: Clock) -> None:
    busy = {each.subscriber_id for each in lease(app_on_both, issue)}
    clock.forward(days=1)
    with app_on_both.db.session() as session:
        session.execute(sa.update(Delivery).values(lease_until=clock.at + timedelta(hours=1)))
    tomorrow = open_and_queue(app_on_both)
    assert {each.subscriber_id for each in lease(app_on_both, tomorrow, limit=9)}.isdisjoint(busy)


def test_queueing_twice_and_by_many_changes_nothing(app_on_both: App, issue: Issue) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(open_and_queue, app_on_both) for _ in range(4)]:
            assert done.result().id == issue.id
    assert states(app_on_both) == ["queued"] * 5


def test_the_accounting_adds_up_at_every_step(app_on_both: App, issue: Issue, clock: Clock) -> None:
    def now() -> Accounting:
        with app_on_both.db.snapshot() as session:
            return deliveries.accounting(session, issue.id or 0, issue.slot)

    assert now().queued == 5
    leased = lease(app_on_both, issue)
    assert (now().queued, now().leased) == (2, 3)
    mark(app_on_both, leased[0])
    assert (now().leased, now().handoff) == (2, 1)
    with app_on_both.db.session() as session:
        ledger.skip(session, [(leased[1], SkipReason.NOTHING_NEW)], owner="me", now=clock.at)
    assert now().skipped == {"nothing_new": 1}
    assert now().eligible == 5


def test_an_accounting_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(AssertionError, match="add up"):
        Accounting("2026-08-05", eligible=3, sent=2)


def test_a_batch_costs_a_fixed_number_of_statements(app_on_both: App) -> None:
    add_papers(app_on_both, [record(number) for number in range(1, 20)])
    counted: list[int] = []
    for size in (10, 150):
        add_readers(app_on_both, size, prefix=f"size{size}")
        issue = open_and_queue(app_on_both)
        statements: list[str] = []

        def note(_c: object, _cur: object, statement: str, *_: object, seen: list[str] = statements) -> None:
            seen.append(statement)

        sa.event.listen(app_on_both.db.engine, "before_cursor_execute", note)
        leased = lease(app_on_both, issue, limit=size)
        with app_on_both.db.snapshot() as session:
            from newsletter.delivery.printing import print_digests
            from newsletter.pipeline import _desk

            outgoing, _ = print_digests(
                session, _desk(app_on_both, session, issue.id or 0), leased, app_on_both.identity, app_on_both.now()
            )
        sa.event.remove(app_on_both.db.engine, "before_cursor_execute", note)
        assert len(outgoing) == size
        counted.append(len([each for each in statements if "SELECT" in each or "UPDATE" in each]))
    assert counted[1] <= counted[0], "the number of statements grows with the number of readers"


def test_two_issues_cannot_lease_one_reader_at_the_same_moment(app_on_both: App, issue: Issue, clock: Clock) -> None:
    (_, *_) = lease(app_on_both, issue, limit=1)
    clock.forward(days=1)
    tomorrow = open_and_queue(app_on_both)
    statement = sa.update(Delivery).where(Delivery.issue_id == tomorrow.id).values(state="leased", lease_owner="you")  # type: ignore[arg-type]
    with pytest.raises(IntegrityError), app_on_both.db.session() as session:
        session.execute(statement)  # what a lease does that did not see the other


def test_two_issues_delivered_at_the_same_moment_send_no_paper_twice(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(number) for number in range(1, 31)])
    add_readers(app_on_both, 60, max_papers=5)
    first = open_and_queue(app_on_both)
    clock.forward(hours=15, minutes=10)  # past midnight; the first issue has not expired
    second = open_and_queue(app_on_both)
    workers = [replace(app_on_both, desks={}) for _ in range(2)]  # each with an owner and a desk of its own
    with ThreadPoolExecutor(2) as threads:
        list(
            threads.map(lambda pair: pipeline.deliver(pair[0], pair[1].id), zip(workers, (first, second), strict=True))
        )
    for issue in (first, second):
        pipeline.deliver(app_on_both, issue.id)
    with app_on_both.db.snapshot() as session:
        rows = session.exec(select(Delivery)).all()
    assert {row.state for row in rows} == {"sent"}
    picks = [(row.subscriber_id, pick[0]) for row in rows for pick in (row.selection or {})["picks"]]
    assert len(picks) == len(set(picks)) == 60 * 10
