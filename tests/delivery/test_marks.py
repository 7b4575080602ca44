"""Marks of many connections at once: one transaction, each its own answer, and one that fails costs no other."""

from collections.abc import Callable
from threading import Thread

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
from newsletter.errors import LeaseLostError
from newsletter.issues.models import Issue
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
    return Outgoing(leased, "x", "news@example.org", recipient, "<m@x>", b"", selection or KEPT)


def at_once(marks: LedgerMarks, *asked: Callable[[], None]) -> list[str]:
    """Let each thread ask for its mark while nobody can commit; return what each was answered."""
    answers = [""] * len(asked)

    def ask(number: int) -> None:
        try:
            asked[number]()
        except Exception as exc:  # noqa: BLE001  whatever it is, it is the answer
            answers[number] = type(exc).__name__

    threads = [Thread(target=ask, args=(number,)) for number in range(len(asked))]
    with marks._turn:
        for thread in threads:
            thread.start()
        while len(marks._waiting) < len(asked):
            pass
    for thread in threads:
        thread.join()
    return answers


def states(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Delivery.state).order_by(Delivery.id)))  # type: ignore[arg-type]


def test_handoffs_and_outcomes_share_a_transaction_and_each_gets_its_own_answer(app_on_both: App, issue: Issue) -> None:
    app, marks = app_on_both, LedgerMarks(app_on_both.db, app_on_both.now, "me", issue.id)
    first, second, gone, third, *rest = lease(app, issue)
    marks.handoff(outgoing(first))
    marks.handoff(outgoing(second))
    assert states(app)[:2] == ["handoff"] * 2, "committed when the call returns"
    membership.unsubscribe(app, [gone.subscriber_id])
    commits = []
    write = marks._write
    marks._write = lambda group: (commits.append(len(group)), write(group))[1]  # type: ignore[method-assign]
    answers = at_once(
        marks,
        lambda: marks.settle(outgoing(first), accepted(250, "taken")),
        lambda: marks.settle(outgoing(second), refused(Phase.DOT, 550, "5.1.1 nobody", 1, 0)),
        lambda: marks.handoff(outgoing(gone)),
        lambda: marks.handoff(outgoing(third)),
    )
    assert commits == [4]
    assert answers == ["", "", LeaseLostError.__name__, ""]
    assert states(app) == ["sent", "failed", "skipped", "handoff", *["leased"] * len(rest)]
    with app.db.snapshot() as session:
        assert sorted(session.exec(select(Attempt.outcome))) == ["failed", "sent"]
        assert len(session.exec(select(Suppression)).all()) == 1


def test_a_mark_that_cannot_be_written_costs_no_other_what_is_known_of_it(app_on_both: App, issue: Issue) -> None:
    app, marks = app_on_both, LedgerMarks(app_on_both.db, app_on_both.now, "me", issue.id)
    first, second, third, *_ = lease(app, issue)
    marks.handoff(outgoing(first))
    answers = at_once(
        marks,
        lambda: marks.handoff(outgoing(second, {"picks": object()})),  # no JSON
        lambda: marks.settle(outgoing(first), accepted(250, "taken")),
        lambda: marks.handoff(outgoing(third)),
    )
    assert [bool(answer) for answer in answers] == [True, False, False]
    assert states(app)[:3] == ["sent", "leased", "handoff"]
    with app.db.snapshot() as session:
        assert list(session.exec(select(Attempt.outcome))) == ["sent"]
