"""Tidying: one reminder after a day, a week to confirm in, a month to undo in; on both databases."""

from datetime import date, timedelta
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, mails_of, open_and_queue, paths_in, record, text_of
from sqlmodel import select

from newsletter import membership, pipeline, steering
from newsletter.app import App
from newsletter.membership import Asking
from newsletter.papers.models import Paper
from newsletter.papers.pasted import read_pasted
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes.models import AddressChange, PreferenceChange
from newsletter.subscribers.intake.models import SignUp
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.ratings.models import Rating, Said
from newsletter.tables import TABLES
from newsletter.tracking import store as events
from newsletter.tracking.models import Event, Kind
from newsletter.web import create_web

ADA = "ada@example.org"
WISHES = Preferences(topics=("a wish of hers",))


@pytest.fixture
def both(app_on_both: App) -> TestClient:
    return TestClient(create_web(app_on_both), follow_redirects=False)


def ask(app: App, email: str = ADA, client: str = "somebody", **wishes: Any) -> None:
    liked = read_pasted("10.1000/liked").papers
    membership.ask(app, Asking(email, Preferences(**wishes) if wishes else WISHES, liked, client, said="words"))
    mails_of(app)


def state(app: App, email: str = ADA) -> str:
    with app.db.snapshot() as session:
        found = subscribers.find(session, email)
    return found.state if found else "gone"


def rows(app: App) -> list[Any]:
    with app.db.snapshot() as session:
        found = [[each.model_dump() for each in session.exec(select(table))] for table in TABLES]  # type: ignore[attr-defined]
    return [sorted(each, key=repr) for each in found]


def test_who_has_not_confirmed_is_reminded_once_and_forgotten_after_a_week(app_on_both: App, clock: Clock) -> None:
    ask(app_on_both)
    start, at = clock.at, []
    while clock.at < start + timedelta(days=9):
        before = len(mails_of(app_on_both, ADA))
        pipeline.tidy(app_on_both)
        if len(mails_of(app_on_both, ADA)) > before:
            at.append(clock.at - start)
        if state(app_on_both) == "gone":
            break
        clock.forward(hours=6)
    assert at == [timedelta(hours=24)]
    assert clock.at - start == timedelta(days=7, hours=6)
    first, second = mails_of(app_on_both, ADA)
    assert first["subject"] != second["subject"]
    assert "a wish of hers" not in text_of(second), "nothing that a stranger typed"
    assert paths_in(second, "u")


def test_nobody_is_reminded_too_early(app_on_both: App, clock: Clock) -> None:
    ask(app_on_both)
    clock.forward(hours=23, minutes=59)
    pipeline.tidy(app_on_both)
    assert len(mails_of(app_on_both)) == 1
    clock.forward(minutes=1)
    pipeline.tidy(app_on_both)
    pipeline.tidy(app_on_both)
    assert len(mails_of(app_on_both)) == 2


@pytest.mark.parametrize("ends", ["confirmed", "left", "late"])
def test_nobody_is_reminded_of_what_is_over(app_on_both: App, both: TestClient, clock: Clock, ends: str) -> None:
    ask(app_on_both)
    [mail] = mails_of(app_on_both, ADA)
    if ends == "confirmed":
        assert both.post(paths_in(mail, "confirm")[0]).status_code == 200
    elif ends == "left":
        assert both.post(paths_in(mail, "u")[0]).status_code == 200
    clock.forward(days=6 if ends == "late" else 1, hours=1)  # the link would end before they read it
    known = len(mails_of(app_on_both))
    pipeline.tidy(app_on_both)
    assert len(mails_of(app_on_both)) == known


def test_who_leaves_after_the_reminder_was_queued_does_not_get_it(app_on_both: App, clock: Clock) -> None:
    ask(app_on_both)
    clock.forward(hours=25)
    pipeline.tidy(app_on_both)
    with app_on_both.db.snapshot() as session:
        found = subscribers.find(session, ADA)
    assert found
    membership.unsubscribe(app_on_both, [found.id or 0])
    assert len(mails_of(app_on_both)) == 1


def test_who_asked_twice_is_reminded_once_and_not_at_all_after_three_mails(app_on_both: App, clock: Clock) -> None:
    ask(app_on_both)
    clock.forward(hours=24, minutes=10)
    pipeline.tidy(app_on_both)
    ask(app_on_both)
    for _ in range(4):
        clock.forward(hours=12)
        pipeline.tidy(app_on_both)
    assert len(mails_of(app_on_both)) == 3
    clock.forward(hours=1)
    ask(app_on_both)
    assert len(mails_of(app_on_both)) == 3, "three mails to an address in thirty days, with the reminder"


def test_more_than_a_batch_of_people_is_reminded_over_some_runs_each_once(app: App, clock: Clock) -> None:
    entries = [Entry(f"reader{n}@example.org", Preferences(), State.PENDING) for n in range(230)]
    membership.import_subscribers(app, entries)
    clock.forward(hours=25)
    assert [membership.remind(app) for _ in range(4)] == [100, 100, 30, 0]


def test_the_links_of_both_mails_work_until_the_seventh_day_and_not_after(
    app_on_both: App, both: TestClient, clock: Clock
) -> None:
    for number in range(4):
        ask(app_on_both, f"reader{number}@example.org", f"client {number}")
    start = clock.at
    clock.forward(days=1)
    pipeline.tidy(app_on_both)
    links = [[paths_in(mail, "confirm")[0] for mail in mails_of(app_on_both, f"reader{n}@example.org")]
             for n in range(4)]  # fmt: skip
    assert [len(each) for each in links] == [2] * 4
    clock.at = start + timedelta(days=7)
    pipeline.tidy(app_on_both)
    assert both.get(links[0][0]).status_code == 200
    assert [both.post(links[n][n]).status_code for n in (0, 1)] == [200, 200]
    clock.forward(seconds=1)
    assert both.post(links[2][0]).status_code == 404
    pipeline.tidy(app_on_both)
    for path in (*links[2], *links[3]):
        assert [both.get(path).status_code, both.post(path).status_code] == [404, 404]
    assert [state(app_on_both, f"reader{n}@example.org") for n in range(4)] == ["active", "active", "gone", "gone"]
    with app_on_both.db.snapshot() as session:
        active = subscribers.find(session, "reader1@example.org")
    assert active
    assert active.topics == ["a wish of hers"]


def test_who_had_left_before_is_unsubscribed_again_and_keeps_what_they_wished(
    app_on_both: App, both: TestClient, clock: Clock
) -> None:
    [id_] = add_readers(app_on_both, 1, topics=("their own",))
    membership.unsubscribe(app_on_both, [id_])
    clock.forward(days=100)
    ask(app_on_both, "reader0@example.org", topics=("a stranger's",))
    assert state(app_on_both, "reader0@example.org") == State.PENDING
    clock.forward(days=7, seconds=1)
    pipeline.tidy(app_on_both)
    with app_on_both.db.snapshot() as session:
        found = subscribers.get(session, id_)
    assert (found.state, found.topics) == (State.UNSUBSCRIBED, ["their own"])
    [mail] = mails_of(app_on_both)
    assert both.post(paths_in(mail, "confirm")[0]).status_code == 404
    assert membership.come_back(app_on_both, id_, app_on_both.now(), "undo") is None


def test_a_second_sign_up_gives_another_week(app_on_both: App, both: TestClient, clock: Clock) -> None:
    ask(app_on_both)
    clock.forward(days=6)
    ask(app_on_both)
    clock.forward(days=6)
    pipeline.tidy(app_on_both)
    first, second = (paths_in(each, "confirm")[0] for each in mails_of(app_on_both, ADA))
    assert both.post(first).status_code == 404
    assert both.post(second).status_code == 200
    with app_on_both.db.snapshot() as session:
        assert [each.key for each in session.exec(select(Rating))] == ["doi:10.1000/liked"]


def test_what_was_asked_is_blanked_after_a_week_and_deleted_after_a_month(app_on_both: App, clock: Clock) -> None:
    def asked() -> list[tuple[Any, ...]]:
        with app_on_both.db.snapshot() as session:
            return [(each.email, each.client, each.wishes, each.liked) for each in session.exec(select(SignUp))]

    ask(app_on_both)
    membership.ask(app_on_both, Asking("refused@example.org", client="c"))
    mails_of(app_on_both)
    clock.forward(days=7)
    pipeline.tidy(app_on_both)
    assert {each[0] for each in asked()} == {ADA, "refused@example.org"}
    clock.forward(seconds=1)
    pipeline.tidy(app_on_both)
    assert asked() == [("", "", None, [])] * 2
    clock.forward(days=23)
    pipeline.tidy(app_on_both)
    assert asked() == []


def test_a_month_is_long_enough_to_undo_and_then_it_is_forgotten(app_on_both: App, clock: Clock) -> None:
    [id_] = add_readers(app_on_both, 1)
    add_papers(app_on_both, [record(1), record(2)])
    issue = open_and_queue(app_on_both)
    with app_on_both.db.snapshot() as session:
        one, two = session.exec(select(Paper).order_by(Paper.id)).all()  # type: ignore[arg-type]
    kept = steering.speak(app_on_both, id_, issue.id or 0, one, Said.LIKED).rating_id
    back = steering.speak(app_on_both, id_, issue.id or 0, two, Said.LIKED).rating_id
    steering.take_back(app_on_both, id_, back)
    change = steering.save(app_on_both, id_, Preferences(hour=9))
    steering.ask_address(app_on_both, id_, "new@example.org")
    clock.forward(days=30)
    pipeline.tidy(app_on_both)
    assert counts(app_on_both) == (2, 1, 1)
    clock.forward(seconds=1)
    pipeline.tidy(app_on_both)
    assert counts(app_on_both) == (1, 0, 0)
    assert steering.undo(app_on_both, id_, change) is False
    with app_on_both.db.snapshot() as session:
        assert [each.id for each in session.exec(select(Rating))] == [kept]
        person = subscribers.get(session, id_)
    assert (person.hour, person.state) == (9, State.ACTIVE)


def counts(app: App) -> tuple[int, int, int]:
    with app.db.snapshot() as session:
        found = [len(session.exec(select(each)).all()) for each in (Rating, PreferenceChange, AddressChange)]
    return found[0], found[1], found[2]


def test_what_a_reader_opened_and_clicked_is_forgotten_after_ninety_days_but_what_names_nobody(
    app_on_both: App, clock: Clock
) -> None:
    [id_] = add_readers(app_on_both, 1)
    with app_on_both.db.session() as session:
        for who in (0, id_):
            events.record(session, Kind.OPENED, clock.at, issue_id=1, subscriber_id=who)
            events.record(
                session, Kind.CLICKED, clock.at - timedelta(days=1), issue_id=1, subscriber_id=who, paper_id=1
            )

    def left() -> list[tuple[int, str]]:
        pipeline.tidy(app_on_both)
        with app_on_both.db.snapshot() as session:
            return sorted(session.exec(select(Event.subscriber_id, Event.kind)))

    clock.forward(days=89, hours=1)
    assert left() == [(0, "clicked"), (0, "opened"), (id_, "opened")]
    clock.forward(days=1)
    assert left() == [(0, "clicked"), (0, "opened")]


def test_tidying_twice_changes_nothing_and_hurts_nobody_who_is_active(app_on_both: App, clock: Clock) -> None:
    ids = add_readers(app_on_both, 3)
    membership.unsubscribe(app_on_both, ids[:1])
    steering.pause(app_on_both, ids[1], date(2026, 12, 24))
    ask(app_on_both)
    for days in (0, 1, 2, 6, 7, 8, 29, 30, 31, 400):
        clock.at = clock.at.replace(year=2026, month=8, day=5) + timedelta(days=days, seconds=1)
        pipeline.tidy(app_on_both)
        mails_of(app_on_both)
        before = rows(app_on_both)
        pipeline.tidy(app_on_both)
        mails_of(app_on_both)
        assert rows(app_on_both) == before
    assert [state(app_on_both, f"reader{n}@example.org") for n in range(3)] == ["unsubscribed", "active", "active"]


def test_someone_who_withdrew_and_undid_it_is_forgotten_after_the_week_too(app_on_both: App, clock: Clock) -> None:
    ask(app_on_both)
    with app_on_both.db.snapshot() as session:
        found = subscribers.find(session, ADA)
    assert found
    membership.unsubscribe(app_on_both, [found.id or 0])
    left_at = clock()
    clock.forward(hours=2)
    assert membership.come_back(app_on_both, found.id or 0, left_at, "pause")
    clock.forward(days=8)
    pipeline.tidy(app_on_both)
    assert state(app_on_both) == "gone"


def test_who_asks_for_the_link_before_confirming_keeps_the_papers_they_pasted(
    app_on_both: App, both: TestClient, clock: Clock
) -> None:
    ask(app_on_both)
    clock.forward(hours=25)
    membership.ask(app_on_both, Asking(ADA, client="somebody"))
    again = mails_of(app_on_both, ADA)[-1]
    assert both.post(paths_in(again, "confirm")[0]).status_code == 200
    with app_on_both.db.snapshot() as session:
        assert [each.key for each in session.exec(select(Rating))] == ["doi:10.1000/liked"]
