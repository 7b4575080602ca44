"""Readers join and leave: what each step does, and which mails it asks for, on both databases."""

from collections.abc import Iterable

import pytest
from fakes import Clock
from samples import joined
from sqlmodel import select

from newsletter import membership, pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery, Mail
from newsletter.subscribers import store
from newsletter.subscribers.models import Entry, State, Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.tracking.models import Event, Kind

ADA = "ada@example.org"
WISHES = Preferences(topics=("graphs",))


def person(app: App, email: str = ADA) -> Subscriber:
    with app.db.snapshot() as session:
        found = store.find(session, email)
    assert found is not None
    return found


def mails(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return [each.mail for each in session.exec(select(Delivery).order_by(Delivery.id))]


def events(app: App) -> list[tuple[str, int, int]]:
    with app.db.snapshot() as session:
        return [(each.kind, each.subscriber_id, each.times) for each in session.exec(select(Event))]


def add(app: App, *emails: str, state: State = State.ACTIVE) -> None:
    membership.import_subscribers(app, [Entry(email, WISHES, state) for email in emails])


def wishes_of(app: App, emails: Iterable[str]) -> list[Preferences]:
    return [person(app, email).preferences for email in emails]


def test_signing_up_twice_on_a_day_asks_for_one_confirmation_with_the_last_wishes(
    app_on_both: App, clock: Clock
) -> None:
    membership.sign_up(app_on_both, "Ada@example.org", WISHES)
    clock.forward(hours=2)
    membership.sign_up(app_on_both, "ADA@example.org", Preferences(hour=3))
    assert mails(app_on_both) == [Mail.CONFIRMATION]
    assert person(app_on_both).preferences == Preferences(hour=3)
    assert (person(app_on_both).email, joined(app_on_both, ADA)) == ("Ada@example.org", State.PENDING)
    clock.forward(days=1)
    membership.sign_up(app_on_both, ADA, WISHES)
    assert mails(app_on_both) == [Mail.CONFIRMATION] * 2


def test_active_reader_stays_untouched_when_a_stranger_types_their_address(app_on_both: App) -> None:
    add(app_on_both, ADA)
    before = person(app_on_both).model_dump()
    membership.sign_up(app_on_both, "ADA@EXAMPLE.org", Preferences(hour=3, mutes=("graphs",)))
    assert person(app_on_both).model_dump() == before
    assert mails(app_on_both) == []


def test_reader_who_left_and_signs_up_again_is_pending_until_they_confirm(app_on_both: App, clock: Clock) -> None:
    add(app_on_both, ADA)
    who = person(app_on_both).id or 0
    membership.unsubscribe(app_on_both, who)
    clock.forward(days=3)
    membership.sign_up(app_on_both, ADA, Preferences(hour=3))
    assert joined(app_on_both, ADA) is State.PENDING
    assert mails(app_on_both) == [Mail.CONFIRMATION]
    back = membership.confirm(app_on_both, who)
    assert back is not None
    assert (back.id, back.state, back.hour) == (who, State.ACTIVE, 3)
    assert (back.confirmed_at, back.unsubscribed_at) == (clock(), None)


def test_suppressed_address_gets_no_confirmation(app_on_both: App) -> None:
    with app_on_both.db.session() as session:
        store.suppress(session, "ADA@example.org", "bounced", app_on_both.now())
    membership.sign_up(app_on_both, ADA, WISHES)
    assert mails(app_on_both) == []
    add(app_on_both, "Ada@example.org", state=State.PENDING)
    assert pipeline.deliver(app_on_both, None) == 0


def test_suppressed_address_that_is_imported_is_skipped_with_the_reason(app_on_both: App) -> None:
    with app_on_both.db.session() as session:
        store.suppress(session, ADA, "bounced", app_on_both.now())
    add(app_on_both, ADA, "bob@example.org", state=State.PENDING)
    assert pipeline.deliver(app_on_both, None) == 1
    with app_on_both.db.snapshot() as session:
        rows = session.exec(select(Delivery).order_by(Delivery.id)).all()
    assert [(row.state, row.skip_reason) for row in rows] == [("skipped", "suppressed"), ("sent", None)]


def test_confirming_twice_gives_one_welcome(app_on_both: App, clock: Clock) -> None:
    membership.sign_up(app_on_both, ADA, WISHES)
    who = person(app_on_both).id or 0
    first = membership.confirm(app_on_both, who)
    clock.forward(minutes=5)
    second = membership.confirm(app_on_both, who)
    assert first is not None
    assert second is not None
    assert second.confirmed_at == first.confirmed_at
    assert mails(app_on_both) == [Mail.CONFIRMATION, Mail.WELCOME]


def test_reader_who_left_cannot_come_back_by_an_old_confirmation_link(app_on_both: App) -> None:
    membership.sign_up(app_on_both, ADA, WISHES)
    who = person(app_on_both).id or 0
    membership.unsubscribe(app_on_both, who)
    assert membership.confirm(app_on_both, who) is None
    assert joined(app_on_both, ADA) is State.UNSUBSCRIBED
    assert Mail.WELCOME not in mails(app_on_both)


def test_confirming_somebody_who_never_was_is_nobody(app_on_both: App) -> None:
    assert membership.confirm(app_on_both, 12_345) is None
    assert mails(app_on_both) == []


def test_leaving_twice_is_leaving_once_and_is_recorded_once(app_on_both: App, clock: Clock) -> None:
    add(app_on_both, ADA)
    who = person(app_on_both).id or 0
    left_at = clock()
    assert membership.unsubscribe(app_on_both, who)
    clock.forward(hours=1)
    assert membership.unsubscribe(app_on_both, who)
    assert person(app_on_both).unsubscribed_at == left_at
    assert events(app_on_both) == [(Kind.UNSUBSCRIBED, who, 1)]
    assert not membership.unsubscribe(app_on_both, who + 1)
    assert len(events(app_on_both)) == 1


def test_mail_that_waits_is_not_sent_to_somebody_who_left(app_on_both: App) -> None:
    membership.sign_up(app_on_both, ADA, WISHES)
    membership.unsubscribe(app_on_both, person(app_on_both).id or 0)
    assert pipeline.deliver(app_on_both, None) == 0
    assert not list(app_on_both.settings.outbox_dir.rglob("*.eml"))


def test_operator_adds_an_address_once(app_on_both: App) -> None:
    assert membership.add_subscriber(app_on_both, "Ada@example.org", WISHES, confirmed=True)
    assert not membership.add_subscriber(app_on_both, "ADA@example.org", Preferences(), confirmed=False)
    assert wishes_of(app_on_both, [ADA]) == [WISHES]
    assert (joined(app_on_both, ADA), mails(app_on_both)) == (State.ACTIVE, [])


@pytest.mark.parametrize("state", list(State))
def test_only_pending_readers_of_an_import_are_asked_to_confirm_and_only_once(app_on_both: App, state: State) -> None:
    entries = [Entry(f"reader{n}@example.org", WISHES, state) for n in range(3)]
    assert membership.import_subscribers(app_on_both, entries) == (3, 0)
    assert membership.import_subscribers(app_on_both, entries) == (0, 0)
    assert mails(app_on_both) == ([Mail.CONFIRMATION] * 3 if state is State.PENDING else [])


def test_import_that_fails_half_way_leaves_nothing_behind(app_on_both: App) -> None:
    broken = Entry(None, WISHES, State.ACTIVE)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        membership.import_subscribers(app_on_both, [Entry(ADA, WISHES, State.PENDING), broken])
    with app_on_both.db.snapshot() as session:
        assert list(store.every(session)) == []
    assert mails(app_on_both) == []
