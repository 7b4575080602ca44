"""Marks of many connections at once: one transaction, each its own answer, and one that fails costs no other."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import membership
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery.ledger import Leased
from newsletter.delivery.marks import LedgerMarks
from newsletter.delivery.models import Attempt, Delivery
from newsletter.delivery.retry import Phase, accepted, refused
from newsletter.delivery.transports import Outgoing
from newsletter.issues.models import Issue
from newsletter.migrate import migrate
from newsletter.subscribers.models import Suppression

KEPT: dict[str, object] = {"considered": 1, "picks": []}


@pytest.fixture
def issue(app_on_both: App) -> Issue:
    add_papers(app_on_both, [record(1)])
    add_readers(app_on_both, 6)
    return open_and_queue(app_on_both)


def lease(app: App, issue: Issue) -> list[Leased]:
    with app.db.session() as session:
        return ledger.lease(session, issue.id, owner="me", now=app.now(), limit=9)


def outgoing(leased: Leased, selection: dict[str, object] | None = None) -> Outgoing:
    recipient = f"reader{leased.subscriber_id - 1}@example.org"
    return Outgoing(leased, "x", "news@example.org", recipient, "<m@x>", [], selection or KEPT)


class Asked:
    """What each handoff was answered, in order of asking."""

    def __init__(self, marks: LedgerMarks) -> None:
        self.answers: dict[int, bool | Exception] = {}
        self._marks = marks

    def handoff(self, mail: Outgoing) -> None:
        self._marks.handoff(mail, lambda answer: self.answers.update({mail.leased.id: answer}))


def states(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Delivery.state).order_by(Delivery.id)))  # type: ignore[arg-type]


def test_handoffs_and_outcomes_share_a_transaction_and_each_gets_its_own_answer(app_on_both: App, issue: Issue) -> None:
    app = app_on_both
    first, second, gone, third, *rest = lease(app, issue)
    with LedgerMarks(app.db, app.now, "me", issue.id) as marks:
        asked = Asked(marks)
        asked.handoff(outgoing(first))
        asked.handoff(outgoing(second))
        marks.flush()
        assert states(app)[:2] == ["handoff"] * 2, "committed when it is told"
        membership.unsubscribe(app, [gone.subscriber_id])
    marks = LedgerMarks(app.db, app.now, "me", issue.id)
    asked, groups, write = Asked(marks), list[int](), marks._write
    marks._write = lambda group: (groups.append(len(group)), write(group))[1]  # type: ignore[method-assign]
    marks.settle(outgoing(first), accepted(250, "taken"))
    marks.settle(outgoing(second), refused(Phase.DOT, 550, "5.1.1 nobody", 1, 0))
    asked.handoff(outgoing(gone))
    asked.handoff(outgoing(third))
    with marks:  # what was said before anybody wrote
        pass
    assert groups == [4]
    assert asked.answers == {gone.id: False, third.id: True}
    assert states(app) == ["sent", "failed", "skipped", "handoff", *["leased"] * len(rest)]
    with app.db.snapshot() as session:
        assert sorted(session.exec(select(Attempt.outcome))) == ["failed", "sent"]
        assert len(session.exec(select(Suppression)).all()) == 1


def test_a_mark_that_cannot_be_written_costs_no_other_what_is_known_of_it(app_on_both: App, issue: Issue) -> None:
    app = app_on_both
    first, second, third, *_ = lease(app, issue)
    marks = LedgerMarks(app.db, app.now, "me", issue.id)
    asked = Asked(marks)
    asked.handoff(outgoing(first))
    asked.handoff(outgoing(second, {"picks": object()}))  # no JSON
    marks.settle(outgoing(first), accepted(250, "taken"))
    asked.handoff(outgoing(third))
    with marks:
        pass
    assert (asked.answers[first.id], asked.answers[third.id]) == (True, True)
    assert isinstance(asked.answers[second.id], Exception)
    assert states(app)[:3] == ["sent", "leased", "handoff"]
    with app.db.snapshot() as session:
        assert list(session.exec(select(Attempt.outcome))) == ["sent"]


def test_a_database_that_comes_back_is_told_what_became_of_mails(make_app: Callable[..., App], tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrate(app.db)
    add_papers(app, [record(1)])
    add_readers(app, 6)
    first, second, *_ = lease(app, open_and_queue(app))
    with LedgerMarks(app.db, app.now, "me", 1) as marks:
        asked = Asked(marks)
        asked.handoff(outgoing(first))
        marks.flush()
        with app.db.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE deliveries RENAME TO elsewhere")
        marks.settle(outgoing(first), accepted(250, "taken"))
        asked.handoff(outgoing(second))
        while second.id not in asked.answers:
            pass
        assert isinstance(asked.answers[second.id], Exception), "a mail must wait that nobody can write down"
        with app.db.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO deliveries")
    assert states(app)[:2] == ["sent", "leased"]


def test_leases_are_renewed_while_the_transport_lives_and_only_then(app_on_both: App, issue: Issue) -> None:
    app = app_on_both
    first, *_ = lease(app, issue)
    with app.db.session() as session:
        ledger.renew(session, owner="me", now=app.now() + timedelta(minutes=5))
        ledger.renew(session, owner="somebody else", now=app.now() + timedelta(minutes=9))
    with app.db.snapshot() as session:
        row = session.get(Delivery, first.id)
        assert row is not None
        assert row.lease_until == app.now() + timedelta(minutes=5) + ledger.LEASE
