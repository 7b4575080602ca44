"""Steering: cadence, pauses, changes of address and the links that end, over days of ticks and on both databases."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, joined, mails_of, open_and_queue, paper_ids_in, paths_in, record, text_of
from sqlmodel import col, select

from newsletter import membership, pipeline, steering
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.errors import InputError
from newsletter.issues.models import Issue
from newsletter.membership import Asking
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes.models import AddressChange
from newsletter.subscribers.models import ERASED, State, Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.web import create_web

ADA, NEW = "reader0@example.org", "new@example.org"


@pytest.fixture
def running(make_app: Callable[..., App], database_url: str) -> App:
    """An app that waits for no source."""
    return make_app(database_url, wait_minutes=0)


@pytest.fixture
def client(running: App) -> TestClient:
    return TestClient(create_web(running), follow_redirects=False)


def run(app: App, clock: Clock, *, until: datetime, step: timedelta = timedelta(hours=1)) -> None:
    """Tick until an instant, with three new papers each midnight (UTC)."""
    woken: list[int | None] = []
    ticking = replace(app, wake=woken.append)
    while clock.at < until:
        if clock.at.hour == 0:
            add_papers(app, [paper(clock.at, number) for number in range(3)])
        pipeline.tick(ticking)
        if woken:
            for issue_id in pipeline.sweep(app):
                pipeline.deliver(app, issue_id)
            woken.clear()
        clock.at += step


def paper(at: datetime, number: int, votes: int = 10) -> object:
    name = at.toordinal() % 10_000 * 10 + number
    return record(name, f"Paper {number} of {at.date()}", listed_at=at, upvotes=votes + number)


def days(app: App, id_: int, state: str = "sent") -> list[str]:
    """Return the slots of the issues a reader has in a state."""
    with app.db.snapshot() as session:
        query = select(Issue.slot).join(Delivery, col(Delivery.issue_id) == col(Issue.id)).order_by(Issue.slot)
        return list(session.exec(query.where(Delivery.subscriber_id == id_, Delivery.state == state)))


def person(app: App, id_: int) -> Subscriber:
    with app.db.snapshot() as session:
        found = subscribers.get(session, id_)
    assert found
    return found


def preferences(app: App, id_: int) -> str:
    return f"/preferences/{app.signer.sign(Purpose.PREFERENCES, id_, now=app.now())}"


def test_each_cadence_brings_its_own_days(running: App, clock: Clock) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)  # a Wednesday
    wishes = [
        {},
        {"cadence": "weekdays"},
        {"cadence": "weekly"},
        {"cadence": "days", "weekdays": ("sat", "tue")},
        {"cadence": "above_bar", "bar": 0},
        {"cadence": "above_bar", "bar": 100, "topics": ("nothing of the kind",)},
    ]
    ids = [add_readers(running, 1, prefix=f"kind{n}", max_papers=1, **each)[0] for n, each in enumerate(wishes)]
    run(running, clock, until=datetime(2026, 8, 13, tzinfo=UTC))
    week = [f"2026-08-{day:02}" for day in range(5, 13)]
    assert days(running, ids[0]) == week
    assert days(running, ids[1]) == [week[n] for n in (0, 1, 2, 5, 6, 7)]
    assert days(running, ids[2]) == ["2026-08-10"]
    assert days(running, ids[3]) == ["2026-08-08", "2026-08-11"]
    assert days(running, ids[4]) == week
    assert (days(running, ids[5]), days(running, ids[5], "skipped")[1:]) == ([], week)
    assert {len(paper_ids_in(each)) for each in mails_of(running)} == {1}


@pytest.mark.parametrize(
    ("zone", "start", "hours", "chosen"),
    [
        ("America/Los_Angeles", "2026-10-30", (0, 1, 23), {"fri": "10-30", "sun": "11-01", "mon": "11-02"}),
        ("America/Los_Angeles", "2027-03-12", (0, 2, 3), {"fri": "03-12", "sun": "03-14", "mon": "03-15"}),
        ("Pacific/Kiritimati", "2026-08-02", (0, 14, 23), {"mon": "08-03", "wed": "08-05"}),
    ],
)
def test_chosen_days_are_local_days_once_each_around_midnight_and_clock_changes(
    running: App, clock: Clock, zone: str, start: str, hours: tuple[int, ...], chosen: dict[str, str]
) -> None:
    clock.at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    year = start[:4]
    wish = {"cadence": "days", "weekdays": tuple(chosen), "timezone": zone, "max_papers": 1}
    ids = [add_readers(running, 1, prefix=f"at{hour}", hour=hour, **wish)[0] for hour in hours]
    run(running, clock, until=clock.at + timedelta(days=4, hours=20), step=timedelta(minutes=30))
    for id_ in ids:
        assert days(running, id_) == [f"{year}-{day}" for day in chosen.values()]


def test_a_reader_who_changes_hour_or_zone_gets_no_day_twice(running: App, clock: Clock) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)
    [id_] = add_readers(running, 1, hour=6, max_papers=1)
    run(running, clock, until=datetime(2026, 8, 5, 12, tzinfo=UTC))
    steering.save(running, id_, Preferences(hour=14, max_papers=1))
    run(running, clock, until=datetime(2026, 8, 6, tzinfo=UTC))
    assert days(running, id_) == ["2026-08-05"]
    steering.save(running, id_, Preferences(hour=1, timezone="America/Los_Angeles", max_papers=1))
    run(running, clock, until=datetime(2026, 8, 8, tzinfo=UTC))
    assert days(running, id_) == ["2026-08-05", "2026-08-06", "2026-08-07"]


def test_a_pause_is_followed_by_the_best_of_all_of_it_and_then_by_normal_days(running: App, clock: Clock) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)
    add_papers(running, [record(1, "Old and hot", listed_at=clock.at, upvotes=9_000)])
    [id_] = add_readers(running, 1, max_papers=2, topics=("hot",))
    steering.pause(running, id_, date(2026, 8, 20))
    run(running, clock, until=datetime(2026, 8, 20, tzinfo=UTC))
    assert mails_of(running) == []
    run(running, clock, until=datetime(2026, 8, 22, tzinfo=UTC))
    assert days(running, id_) == ["2026-08-20", "2026-08-21"]
    first, second = mails_of(running)
    assert "Old and hot" in text_of(first), "listed fifteen days ago, when the pause began"
    assert "While you were away: 2 of 49 papers since 5 August" in text_of(first).replace("\n", " ")
    assert "While you were away" not in text_of(second)
    assert set(paper_ids_in(first)).isdisjoint(paper_ids_in(second))


def test_a_weekly_readers_first_mail_after_a_pause_is_the_catch_up(running: App, clock: Clock) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)
    [id_] = add_readers(running, 1, max_papers=1, cadence="weekly")
    steering.pause(running, id_, date(2026, 8, 19))
    run(running, clock, until=datetime(2026, 9, 1, tzinfo=UTC), step=timedelta(hours=3))
    assert days(running, id_) == ["2026-08-24", "2026-08-31"]
    first, second = (text_of(each).replace("\n", " ") for each in mails_of(running))
    assert "While you were away" in first
    assert "of this week" in second


def test_a_pause_that_is_ended_early_brings_the_catch_up_at_once(running: App, clock: Clock) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)
    [id_] = add_readers(running, 1, max_papers=1)
    steering.pause(running, id_, date(2026, 9, 20))
    run(running, clock, until=datetime(2026, 8, 15, 12, tzinfo=UTC))
    steering.resume(running, id_)
    pipeline.tick(running)
    assert days(running, id_, "queued") == ["2026-08-15"]
    assert "since 5 August" in text_of(mails_of(running)[0]).replace("\n", " ")


def test_ending_a_pause_that_is_none_changes_nothing(running: App, clock: Clock) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)
    never, over = add_readers(running, 2, max_papers=1)
    steering.pause(running, over, date(2026, 8, 6))
    run(running, clock, until=datetime(2026, 8, 8, tzinfo=UTC))
    before = [person(running, id_).model_dump() for id_ in (never, over)]
    assert [steering.resume(running, id_) for id_ in (never, over)] == [0, 0]
    assert [person(running, id_).model_dump() for id_ in (never, over)] == before
    run(running, clock, until=datetime(2026, 8, 9, tzinfo=UTC))
    assert "While you were away" not in text_of(mails_of(running, ADA)[-1])


def test_who_pauses_again_before_the_catch_up_came_misses_nothing_of_the_first_pause(
    running: App, clock: Clock
) -> None:
    clock.at = datetime(2026, 8, 5, tzinfo=UTC)
    add_papers(running, [record(1, "Old and hot", listed_at=clock.at, upvotes=9_000)])
    [id_] = add_readers(running, 1, max_papers=2, topics=("hot",), cadence="weekly")
    steering.pause(running, id_, date(2026, 8, 18))
    run(running, clock, until=datetime(2026, 8, 19, tzinfo=UTC), step=timedelta(hours=3))
    steering.pause(running, id_, date(2026, 8, 22))
    run(running, clock, until=datetime(2026, 8, 25, tzinfo=UTC), step=timedelta(hours=3))
    [mail] = mails_of(running)
    assert "Old and hot" in text_of(mail)
    steering.pause(running, id_, date(2026, 9, 1))
    assert person(running, id_).paused_from == date(2026, 8, 25), "the first one is over: this is another"


def test_a_pause_may_be_moved_but_no_longer_than_a_year(app: App) -> None:
    [id_] = add_readers(app, 1, timezone="Pacific/Kiritimati")  # where it is eleven in the evening of 5 August
    for until in (date(2026, 8, 5), date(2026, 8, 4), date(2027, 8, 7), date.max, date.min):
        with pytest.raises(InputError):
            steering.pause(app, id_, until)
    assert person(app, id_).paused_until is None
    for until in (date(2027, 8, 6), date(2026, 8, 6), date(2026, 9, 1)):
        assert steering.pause(app, id_, until)
        assert (person(app, id_).paused_from, person(app, id_).paused_until) == (date(2026, 8, 5), until)


def ask_new(app: App, id_: int, email: str = NEW) -> str:
    """Ask for a change of address; return the path to confirm it, or nothing if no mail came."""
    steering.ask_address(app, id_, email)
    asked = [each for each in mails_of(app, email) if paths_in(each, "address")]
    return paths_in(asked[-1], "address")[0] if asked else ""


def test_an_address_changes_when_it_is_confirmed_and_the_old_one_is_told(running: App, client: TestClient) -> None:
    [id_] = add_readers(running, 1)
    add_papers(running, [record(1)])
    open_and_queue(running)
    [digest] = mails_of(running, ADA)
    old, feedback, leave = preferences(running, id_), paths_in(digest, "f")[0], paths_in(digest, "u")[0]
    path = ask_new(running, id_)
    [mail] = mails_of(running, NEW)
    assert (mail["List-Unsubscribe"], paths_in(mail, "u"), paths_in(mail, "preferences")) == (None, [], [])
    assert ADA not in mail.as_string(), "the new address may be a stranger's"
    for method in ("GET", "HEAD"):
        assert client.request(method, path).status_code == 200
    assert person(running, id_).email == ADA
    assert client.get(old).status_code == 200
    done = client.post(path)
    assert (done.status_code, NEW in done.text) == (200, True)
    assert (person(running, id_).email, person(running, id_).email_key) == (NEW, NEW)
    assert [client.get(each).status_code for each in (old, feedback)] == [404, 404]
    assert client.post(feedback).status_code == 404
    [told] = [each for each in mails_of(running, ADA) if each["subject"] != digest["subject"]]
    assert (NEW in told.as_string(), paths_in(told, "preferences")) == (False, [])
    assert client.post(path).status_code == 200, "pressing twice is the same as once"
    assert len(mails_of(running)) == 3
    assert client.post(leave).status_code == 200, "who holds an old mail can still stop all mail"
    assert joined(running, NEW) == State.UNSUBSCRIBED


def test_whether_the_new_address_is_taken_cannot_be_seen(running: App, client: TestClient) -> None:
    ada, _ = add_readers(running, 2)
    with running.db.session() as session:
        subscribers.suppress(session, "bounced@example.org", "bounced", running.now())
    path = preferences(running, ada)
    pages = []
    for email in ("reader1@example.org", "bounced@example.org", NEW):
        page = client.post(f"{path}/address", data={"email": email})
        assert page.status_code == 200
        pages.append(page.text)
    assert len(set(pages)) == 1
    assert [each["to"] for each in mails_of(running)] == [NEW]
    refused = client.post(f"{path}/address", data={"email": "fourth@example.org"})
    assert (refused.status_code, "tomorrow" in refused.text, "fourth@example.org" in refused.text) == (400, True, True)
    own = client.post(f"{path}/address", data={"email": ADA.upper()})
    assert (own.status_code, 'id="email-wrong"' in own.text) == (400, True)
    assert [each["to"] for each in mails_of(running)] == [NEW]


def test_a_row_that_nobody_confirmed_or_whose_owner_left_gives_way(running: App) -> None:
    ada, bob = add_readers(running, 2)
    membership.ask(running, Asking("pending@example.org", Preferences(topics=("x",))))
    [confirmation] = mails_of(running, "pending@example.org")
    [gone] = add_readers(running, 1, prefix="left")
    membership.unsubscribe(running, [gone])
    for id_, email in ((ada, "pending@example.org"), (bob, "left0@example.org")):
        [asked] = moves(running, id_, email)
        moved = steering.move(running, asked)
        assert moved
        assert (person(running, id_).email, joined(running, email)) == (email, State.ACTIVE)
    token = paths_in(confirmation, "confirm")[0].rpartition("/")[2]
    sign_up = running.signer.unsign(Purpose.CONFIRM, token, now=running.now())
    assert membership.confirm(running, sign_up) is None
    assert membership.come_back(running, gone, running.now(), "undo") is None
    mails_of(running)


def moves(app: App, id_: int, email: str) -> Iterator[int]:
    steering.ask_address(app, id_, email)
    with app.db.snapshot() as session:
        query = select(AddressChange.id).where(AddressChange.new_email == email, AddressChange.subscriber_id == id_)
        return iter(session.exec(query).all())  # type: ignore[arg-type]


def test_a_change_of_address_ends_with_time_and_with_its_reader(running: App, client: TestClient, clock: Clock) -> None:
    early, late, gone = add_readers(running, 3)
    paths = [ask_new(running, id_, f"new{id_}@example.org") for id_ in (early, late, gone)]
    membership.unsubscribe(running, [gone])
    assert [client.get(paths[2]).status_code, client.post(paths[2]).status_code] == [404, 404]
    clock.forward(days=2)
    assert client.post(paths[0]).status_code == 200
    clock.forward(seconds=1)
    assert [client.get(paths[1]).status_code, client.post(paths[1]).status_code] == [404, 404]
    assert person(running, late).email == "reader1@example.org"


def test_of_two_changes_of_address_only_one_is_made(running: App, clock: Clock) -> None:
    [id_] = add_readers(running, 1)
    both = [next(moves(running, id_, f"new{n}@example.org")) for n in range(2)]
    with ThreadPoolExecutor(2) as threads:
        moved = list(threads.map(lambda each: steering.move(running, each), both))
    assert sum(each is not None for each in moved) == 1
    with running.db.snapshot() as session:
        done = [each for each in session.exec(select(AddressChange)) if each.done_at]
    assert [each.new_email for each in done] == [person(running, id_).email]
    clock.forward(minutes=1)
    told = [each["to"] for each in mails_of(running) if not paths_in(each, "address")]
    assert told == [ADA]


def test_two_readers_who_move_to_one_address_at_once_do_not_both_get_it(running: App) -> None:
    ids = add_readers(running, 2)
    both = [next(moves(running, id_, NEW)) for id_ in ids]
    with ThreadPoolExecutor(2) as threads:
        moved = list(threads.map(lambda each: steering.move(running, each), both))
    assert sum(each is not None for each in moved) == 1
    assert sorted(person(running, id_).email == NEW for id_ in ids) == [False, True]


def test_who_moves_to_an_address_that_was_once_erased_is_mailed_there(running: App) -> None:
    [id_] = add_readers(running, 1)
    with running.db.session() as session:
        subscribers.suppress(session, NEW, ERASED, running.now())
    assert steering.move(running, next(moves(running, id_, NEW)))
    with running.db.snapshot() as session:
        assert subscribers.suppressed(session, [NEW]) == set()


@pytest.mark.parametrize("times", [1, 3])
def test_earlier_links_end_and_a_mail_brings_a_new_one(
    running: App, client: TestClient, clock: Clock, times: int
) -> None:
    [id_] = add_readers(running, 1)
    fresh = preferences(running, id_)
    for _ in range(times):
        old, page = fresh, client.post(f"{fresh}/links")
        assert page.status_code == 200
        assert client.get(old).status_code == 404
        fresh = page.text.split('<form method="post" action="')[1].split('"')[0]
        assert client.post(fresh, data={"topics": ["robotics"]}).status_code == 303
        mail = mails_of(running, ADA)[-1]
        clock.forward(minutes=10)
    assert client.get(paths_in(mail, "preferences")[0]).status_code == 200, "the page says that a new one was sent"
    assert client.post(paths_in(mail, "preferences")[0], data={"topics": ["vision"]}).status_code == 303
    if times > 1:  # whoever holds a link must not fill their mailbox
        assert "tomorrow" in client.post(f"{fresh}/links").text
        assert client.get(fresh).status_code == 200


def test_a_lost_link_is_mailed_to_who_is_active_and_to_nobody_else(
    running: App, client: TestClient, clock: Clock
) -> None:
    [id_] = add_readers(running, 1)
    [gone] = add_readers(running, 1, prefix="left")
    membership.unsubscribe(running, [gone])
    membership.ask(running, Asking("pending@example.org", Preferences(topics=("robotics",)), client="c"))
    assert len(mails_of(running)) == 1
    people = (ADA, "left0@example.org", "pending@example.org", "nobody@example.org")
    pages = [client.post("/link", data={"email": email}).text.replace(email, "…") for email in people]
    assert len(set(pages)) == 1
    assert [each["to"] for each in mails_of(running)[1:]] == [ADA], "the pending one was mailed within a day"
    [mail] = mails_of(running, ADA)
    assert client.get(paths_in(mail, "preferences")[0]).status_code == 200
    clock.forward(hours=24, minutes=1)
    for email in people:
        client.post("/link", data={"email": email})
    assert sorted(each["to"] for each in mails_of(running)[2:]) == ["pending@example.org", ADA]
    again = mails_of(running, "pending@example.org")[-1]
    assert client.post(paths_in(again, "confirm")[0]).status_code == 200
    with running.db.snapshot() as session:
        found = subscribers.find(session, "pending@example.org")
    assert found
    assert (found.state, found.topics) == (State.ACTIVE, ["robotics"])
    assert person(running, id_).state == State.ACTIVE


def waiting(app: App) -> list[int]:
    """Return the processes of PostgreSQL that wait for a lock."""
    with app.db.snapshot() as session:
        query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return list(session.execute(sa.text(query)).scalars())


def test_preferences_saved_at_the_same_moment_are_never_mixed(
    make_app: Callable[..., App], postgresql_url: str
) -> None:
    running = make_app(postgresql_url)  # on SQLite whoever writes is alone
    [id_] = add_readers(running, 1, weekdays=("mon",))
    days_, none = Preferences(cadence="days", weekdays=("mon",)), Preferences(cadence="daily", topics=("x",))  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as threads:
        with running.db.session() as session:  # both wait for this row
            session.execute(sa.update(Subscriber).where(col(Subscriber.id) == id_).values(about="busy"))
            saving = [threads.submit(steering.save, running, id_, each) for each in (days_, none)]
            while len(waiting(running)) < 2:
                assert not any(each.done() for each in saving)
        assert all(each.result() for each in saving)
    assert person(running, id_).preferences in {days_, none}
