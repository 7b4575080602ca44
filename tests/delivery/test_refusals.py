"""Refusals that come again: an address that is refused on two days, a mailbox that stays full."""

from datetime import timedelta

import pytest
from fakes import Clock
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery.retry import Outcome, Phase, accepted, refused
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Subscriber, Suppression

HARD = refused(Phase.RCPT, 550, "go away", 1, 0)
FULL = refused(Phase.RCPT, 552, "5.2.2 no room", 1, 0)
SENT = accepted(250, "ok")


def days(app: App, clock: Clock, *outcomes: Outcome) -> None:
    """Try the issue of one day after the other."""
    for outcome in outcomes:
        issue = open_and_queue(app)
        with app.db.session() as session:
            leased = ledger.lease(session, issue.id, owner="me", now=clock.at, limit=9)
            assert leased
            ledger.settle(session, [(each, outcome) for each in leased], owner="me", now=clock.at)
        clock.forward(days=1)


@pytest.fixture
def reader(app_on_both: App) -> int:
    add_papers(app_on_both, [record(1)])
    return add_readers(app_on_both, 1)[0]


def suppressed(app: App) -> int:
    with app.db.snapshot() as session:
        return len(session.exec(select(Suppression)).all())


@pytest.mark.parametrize(
    ("outcomes", "given_up"),
    [((HARD,), 0), ((HARD, HARD), 1), ((HARD, SENT, HARD), 0), ((HARD, FULL, HARD), 1), ((FULL, FULL), 0)],
    ids=str,
)
def test_an_address_that_is_refused_on_two_days_with_no_mail_between_is_given_up(
    app_on_both: App, reader: int, clock: Clock, outcomes: tuple[Outcome, ...], given_up: int
) -> None:
    days(app_on_both, clock, *outcomes)
    assert suppressed(app_on_both) == given_up


def test_an_address_that_a_reader_has_left_behind_does_not_count_against_the_new_one(
    app_on_both: App, reader: int, clock: Clock
) -> None:
    days(app_on_both, clock, HARD)
    with app_on_both.db.session() as session:
        person = subscribers.get(session, reader)
        assert person
        person.links_since = clock.at  # as moving does
        session.add(person)
    days(app_on_both, clock, HARD)
    assert suppressed(app_on_both) == 0
    days(app_on_both, clock, HARD)
    assert suppressed(app_on_both) == 1


def test_three_issues_in_a_row_to_a_full_mailbox_pause_its_reader_who_may_come_back(
    app_on_both: App, reader: int, clock: Clock
) -> None:
    def paused(app: App) -> Subscriber:
        with app.db.snapshot() as session:
            person = subscribers.get(session, reader)
            assert person
            return person

    days(app_on_both, clock, FULL, FULL, SENT, FULL, FULL)
    assert paused(app_on_both).paused_until is None
    days(app_on_both, clock, FULL)
    person = paused(app_on_both)
    assert person.state == "active"
    assert person.paused_until == clock.at.date() - timedelta(days=1) + timedelta(weeks=4)
    assert suppressed(app_on_both) == 0


def test_a_mail_that_is_too_big_is_an_error_of_ours(
    app_on_both: App, reader: int, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    from newsletter import logs

    logs.configure("ERROR")
    days(app_on_both, clock, refused(Phase.MAIL, 552, "5.3.4 too big", 1, 0))
    assert "mail refused for what it is" in capfd.readouterr().err
    assert suppressed(app_on_both) == 0
