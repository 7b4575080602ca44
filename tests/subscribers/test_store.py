"""Subscribers and suppressions on both databases."""

import csv
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from samples import HOSTILE, joined
from sqlmodel import Session, select

from newsletter import membership
from newsletter.app import App
from newsletter.subscribers import csvfile, store
from newsletter.subscribers.models import Entry, State, Subscriber
from newsletter.subscribers.preferences import Preferences, parse_preferences


def entry(email: str, state: State = State.ACTIVE, **wishes: Any) -> Entry:
    return Entry(email, Preferences.model_validate(wishes), state)


def write(app: App, entries: Iterable[Entry], **how: bool) -> tuple[int, int]:
    with app.db.session() as session:
        added, changed = store.write_entries(session, list(entries), app.now(), **how)
    return len(added), changed


def everybody(app: App) -> dict[str, Subscriber]:
    with app.db.snapshot() as session:
        return {each.email: each for each in store.every(session)}


def exported(app: App) -> str:
    target = io.StringIO(newline="")
    with app.db.snapshot() as session:
        csv.writer(target).writerows([csvfile.COLUMNS, *(csvfile.row(each) for each in store.every(session))])
    return target.getvalue()


@contextmanager
def counted(app: App) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN")):
            statements.append(statement)

    sa.event.listen(app.db.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(app.db.engine, "before_cursor_execute", note)


def test_writing_the_same_entries_twice_changes_nothing(app_on_both: App) -> None:
    entries = [entry(f"reader{n}@example.org", topics=(f"topic {n}",), hour=n) for n in range(20)]
    assert write(app_on_both, entries) == (20, 0)
    before = exported(app_on_both)
    assert write(app_on_both, entries) == (0, 0)
    assert exported(app_on_both) == before


def test_known_subscriber_gets_the_new_wishes_and_keeps_everything_else(app_on_both: App) -> None:
    write(app_on_both, [entry("Ada@example.org", topics=("graphs",))])
    before = everybody(app_on_both)["Ada@example.org"]
    assert write(app_on_both, [entry("ADA@example.org", State.PENDING, topics=("proteins",), hour=3)]) == (0, 1)
    after = everybody(app_on_both)["Ada@example.org"]
    assert (after.topics, after.hour) == (["proteins"], 3)
    kept = ("id", "email", "email_key", "state", "created_at", "confirmed_at", "unsubscribed_at")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert write(app_on_both, [entry("ada@example.org", topics=("music",))], only_new=True) == (0, 0)
    assert everybody(app_on_both)["Ada@example.org"].topics == ["proteins"]


def test_nobody_who_left_is_brought_back_by_an_import(app_on_both: App) -> None:
    write(app_on_both, [entry("left@example.org")])
    person = everybody(app_on_both)["left@example.org"]
    assert membership.unsubscribe(app_on_both, [person.id or 0])[0] == {person.id}
    for state in State:
        write(app_on_both, [entry("LEFT@example.org", state, hour=5)])
        assert joined(app_on_both, "left@example.org") is State.UNSUBSCRIBED
    assert everybody(app_on_both)["left@example.org"].unsubscribed_at == person.created_at


def test_pending_subscriber_is_not_confirmed_by_an_import(app_on_both: App) -> None:
    write(app_on_both, [entry("new@example.org", State.PENDING)])
    write(app_on_both, [entry("new@example.org", State.ACTIVE)])
    assert joined(app_on_both, "new@example.org") is State.PENDING


def test_of_an_address_that_comes_twice_in_a_batch_the_first_counts_every_time(app_on_both: App) -> None:
    twice = [
        entry("ada@example.org", hour=1),
        entry("bob@example.org", hour=2),
        entry("ADA@example.org", State.PENDING, hour=3),
    ]
    assert write(app_on_both, twice) == (2, 0)
    assert write(app_on_both, twice) == (0, 0)
    people = everybody(app_on_both)
    assert {email: each.hour for email, each in people.items()} == {"ada@example.org": 1, "bob@example.org": 2}


def test_imported_state_comes_with_its_instant(app_on_both: App) -> None:
    write(app_on_both, [entry(f"{state}@example.org", state) for state in State])
    now = app_on_both.now()
    at = {each.state: (each.confirmed_at, each.unsubscribed_at) for each in everybody(app_on_both).values()}
    assert at == {State.PENDING: (None, None), State.ACTIVE: (now, None), State.UNSUBSCRIBED: (None, now)}


def test_five_thousand_rows_cost_a_few_statements(app_on_both: App) -> None:
    entries = [entry(f"reader{n}@example.org", timezone="Europe/Berlin", topics=("graphs",)) for n in range(5_000)]
    with counted(app_on_both) as statements:
        assert write(app_on_both, entries) == (5_000, 0)
    assert len(statements) < 50
    with counted(app_on_both) as statements:
        assert write(app_on_both, entries) == (0, 0)
    assert len(statements) <= 10
    assert exported(app_on_both).count("\n") == 5_001


def test_export_import_export_is_identical(make_app: Callable[..., App], sqlite_url: str, postgresql_url: str) -> None:
    wild = [text.replace("\ufffd", "")[:90] for text in HOSTILE] + ["=1+1", "'=1", "a;b", "\u200b x"]
    one, other = make_app(sqlite_url), make_app(postgresql_url)
    states = list(State)
    entries = [
        Entry(f"reader{n}@example.org", parse_preferences({"topics": [text], "mutes": wild}), states[n % 3])
        for n, text in enumerate(wild)
    ]
    write(one, entries)
    text = exported(one)
    read = list(csvfile.read_entries(io.StringIO(text, newline=""), confirmed=True))
    assert write(one, read) == (0, 0)  # type: ignore[arg-type]  a bad line would be text
    write(other, read)  # type: ignore[arg-type]
    assert exported(other) == text


def test_every_subscriber_comes_once_by_id_over_many_pages(app_on_both: App) -> None:
    write(app_on_both, [entry(f"reader{n}@example.org", list(State)[n % 2]) for n in range(1_001)])
    with app_on_both.db.snapshot() as session:
        ids = [each.id for each in store.every(session)]
        active = [each.state for each in store.every(session, State.ACTIVE)]
        assert store.counts(session) == {"pending": 501, "active": 500, "unsubscribed": 0}
        assert list(store.addressees(session, [each or 0 for each in ids])) == ids
    assert ids == sorted(ids, key=lambda each: each or 0)
    assert len(set(ids)) == 1_001
    assert active == [State.ACTIVE] * 500


def test_id_of_an_erased_subscriber_is_never_given_again(app_on_both: App) -> None:
    write(app_on_both, [entry("first@example.org")])
    old = everybody(app_on_both)["first@example.org"].id
    with app_on_both.db.session() as session:
        session.delete(session.exec(select(Subscriber)).one())
    write(app_on_both, [entry("second@example.org")])
    assert everybody(app_on_both)["second@example.org"].id != old


def test_activating_and_leaving_happen_once(app_on_both: App) -> None:
    write(app_on_both, [entry("new@example.org", State.PENDING)])
    who = everybody(app_on_both)["new@example.org"].id or 0
    now = app_on_both.now()
    left = {who: "new@example.org"}
    acts: list[Callable[[Session, datetime], object]] = [
        lambda session, at: store.activate(session, who, at),
        lambda session, at: store.activate(session, who, at),
        lambda session, at: store.leave(session, [who, who + 1], at),
        lambda session, at: store.leave(session, [who], at),
        lambda session, at: store.activate(session, who, at),
    ]
    done: list[object] = []
    for act in acts:
        with app_on_both.db.session() as session:
            done.append(act(session, now + timedelta(minutes=len(done))))
    assert done == [True, False, left, {}, False]
    person = everybody(app_on_both)["new@example.org"]
    assert (person.confirmed_at, person.unsubscribed_at) == (now, now + timedelta(minutes=2))


def test_suppression_holds_for_every_spelling_and_names_nobody(app_on_both: App) -> None:
    with app_on_both.db.session() as session:
        for spelling in ("Ada@example.org", "ada@example.org"):
            store.suppress(session, spelling, "bounced", app_on_both.now())
    with app_on_both.db.snapshot() as session:
        assert store.suppressed(session, ["ADA@example.org", "bob@example.org"]) == {"ADA@example.org"}
        assert store.suppressed(session, []) == set()
        kept = session.connection().exec_driver_sql("SELECT * FROM suppressions").all()
    assert len(kept) == 1
    assert "example" not in repr(kept)


def admitted(app: App) -> None:
    membership.ask(app, membership.Asking("Ada@example.org", Preferences(hour=2)))
    assert membership.admit(app) == 1


def added(app: App) -> None:
    assert not membership.add_subscriber(app, "Ada@example.org", Preferences(hour=2), confirmed=False)


@pytest.mark.parametrize("add", [admitted, added])
def test_two_people_who_add_one_address_at_the_same_moment_both_succeed(
    make_app: Callable[..., App], postgresql_url: str, add: Callable[[App], None]
) -> None:
    app = make_app(postgresql_url)
    failures: list[BaseException] = []

    def second() -> None:
        try:
            add(app)
        except BaseException as exc:  # noqa: BLE001  a thread's failure must not be lost
            failures.append(exc)

    thread = threading.Thread(target=second)
    with app.db.session() as session:
        first = store.add(session, "ada@example.org", Preferences(hour=1), State.PENDING, app.now())
        thread.start()
        while thread.is_alive() and not _blocked(app):
            thread.join(0.01)
    thread.join()
    assert not failures
    [kept] = everybody(app).values()
    assert (kept.id, kept.hour) == (first.id, 1)


def _blocked(app: App) -> bool:
    with app.db.engine.connect() as connection:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'"
        return bool(connection.exec_driver_sql(statement.replace("%", "%%")).scalar())


@pytest.mark.parametrize("number", [0, 1, 2_500])
def test_however_many_are_asked_about_it_is_one_statement(app_on_both: App, number: int) -> None:
    app, emails = app_on_both, [f"reader{each}@example.org" for each in range(number)]
    write(app, [entry(each) for each in emails])
    with app.db.session() as session:
        for each in emails[:2]:
            store.suppress(session, each, "bounced", app.now())
    ids = [each.id or 0 for each in everybody(app).values()]
    with app.db.snapshot() as session, counted(app) as statements:
        people = store.addressees(session, [*ids, 10_000_000])
        barred = store.suppressed(session, [*emails, "stranger@example.org"])
    assert {each.email for each in people.values()} == set(emails)
    assert barred == set(emails[:2])
    assert len(statements) == 2
