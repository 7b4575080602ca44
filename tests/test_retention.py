"""What is kept of old issues, and that dropping it may stop at any mail; on both databases."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline, retention
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.archive import store as archive_store
from newsletter.delivery.models import Attempt, Delivery
from newsletter.delivery.store import Accounting
from newsletter.issues.models import Issue, Kept
from newsletter.papers.models import Paper, link_targets
from newsletter.signing import Purpose
from newsletter.web import create_web


@pytest.fixture
def sent(app_on_both: App) -> Issue:
    """An issue that four readers got."""
    add_papers(app_on_both, [record(number) for number in range(1, 4)])
    add_readers(app_on_both, 4)
    issue = open_and_queue(app_on_both)
    pipeline.deliver(app_on_both, issue.id)
    return issue


def accounting(app: App, issue: Issue) -> Accounting:
    with app.db.snapshot() as session:
        return deliveries.accounting(session, issue.id or 0, issue.slot)


def left(app: App) -> tuple[str, int, int, int]:
    """Return what is said to be kept, and how many deliveries, selections and attempts there are."""
    with app.db.snapshot() as session:
        [kept] = session.exec(select(Issue.kept))
        rows = session.exec(select(Delivery).where(Delivery.mail == "digest")).all()
        tries = session.exec(select(sa.func.count()).select_from(Attempt)).one()
    return kept, len(rows), len([row for row in rows if row.selection]), tries


def test_an_old_issue_loses_first_what_its_mails_held_then_its_mails_but_never_its_accounting(
    app_on_both: App, sent: Issue, clock: Clock
) -> None:
    before = accounting(app_on_both, sent)
    assert (before.eligible, before.sent) == (4, 4)
    for days, kept in (
        (99, (Kept.EVERYTHING, 4, 4, 4)),
        (2, (Kept.STATES, 4, 0, 0)),
        (298, (Kept.STATES, 4, 0, 0)),
        (2, (Kept.ACCOUNTING, 0, 0, 0)),
        (1, (Kept.ACCOUNTING, 0, 0, 0)),
    ):
        clock.forward(days=days)
        for _ in range(2):  # a second time changes nothing
            retention.archive(app_on_both)
            assert left(app_on_both) == kept
            assert accounting(app_on_both, sent) == before


def test_archiving_that_is_killed_goes_on_the_next_time_and_counts_everybody(
    app_on_both: App, sent: Issue, clock: Clock
) -> None:
    before = accounting(app_on_both, sent)
    clock.forward(days=401)
    with app_on_both.db.session() as session:
        archive_store.close(session, sent.id or 0)
    with app_on_both.db.session() as session:
        assert archive_store.drop(session, sent.id or 0, 0, 3)
    assert left(app_on_both)[:2] == (Kept.EVERYTHING, 1)
    assert accounting(app_on_both, sent) == before
    retention.archive(app_on_both)
    assert left(app_on_both) == (Kept.ACCOUNTING, 0, 0, 0)
    assert accounting(app_on_both, sent) == before


def test_a_run_that_takes_too_long_leaves_the_rest_for_the_next(app_on_both: App, sent: Issue, clock: Clock) -> None:
    clock.forward(days=401)
    app_on_both.stopping.set()
    retention.archive(app_on_both)
    assert left(app_on_both)[:2] == (Kept.EVERYTHING, 4)
    app_on_both.stopping.clear()
    retention.archive(app_on_both)
    assert left(app_on_both)[:2] == (Kept.ACCOUNTING, 0)


@pytest.mark.parametrize("days", [101, 401])
def test_links_in_archived_mails_still_lead_to_papers_and_out(
    app_on_both: App, sent: Issue, clock: Clock, days: int
) -> None:
    with app_on_both.db.snapshot() as session:
        mail = session.exec(select(Delivery).where(Delivery.issue_id == sent.id)).first()
        paper = session.exec(select(Paper)).first()
    assert mail
    assert paper
    sign = app_on_both.signer.sign
    read, feedback = (sign(each, mail.id or 0, now=clock()) for each in (Purpose.READ, Purpose.FEEDBACK))
    leave = sign(Purpose.UNSUBSCRIBE, mail.subscriber_id, now=clock())
    [kind, *_] = link_targets(paper)
    clock.forward(days=days)
    retention.archive(app_on_both)
    web = TestClient(create_web(app_on_both), follow_redirects=False)
    click = web.get(f"/c/{read}/{paper.id}/{kind}")
    assert (click.status_code, click.headers["location"]) == (302, link_targets(paper)[kind])
    assert web.get(f"/o/{read}.gif").status_code == 200
    assert web.get(f"/f/{feedback}/{paper.id}/like").status_code == 404
    assert web.post(f"/u/{leave}").status_code == 200


def test_old_mails_outside_any_issue_are_dropped_but_those_that_wait(app_on_both: App, clock: Clock) -> None:
    [id_] = add_readers(app_on_both, 1)
    with app_on_both.db.session() as session:
        for effect, done in (("old", True), ("waiting", False)):
            deliveries.queue_notices(
                session, deliveries.Mail.WELCOME, {id_: effect}, now=clock(), within=timedelta(days=1_000)
            )
            if done:
                session.execute(sa.update(Delivery).values(state="sent", done_at=clock()))
    clock.forward(days=401)
    retention.archive(app_on_both)
    with app_on_both.db.snapshot() as session:
        assert [row.state for row in session.exec(select(Delivery))] == ["queued"]
