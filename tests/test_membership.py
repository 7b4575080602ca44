"""Readers join and leave: what each step does, and which mails it asks for, on both databases."""

from collections.abc import Iterable
from datetime import date

import pytest
from fakes import Clock
from samples import add_papers, add_readers, joined, mails_of, open_and_queue, paper_ids_in, record, sign_up
from sqlmodel import select

from newsletter import membership, pipeline, steering
from newsletter.app import App
from newsletter.delivery.models import Delivery, Mail
from newsletter.membership import Asking
from newsletter.subscribers import store
from newsletter.subscribers.changes.models import Act, Consent
from newsletter.subscribers.intake.models import Outcome, SignUp
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


def consents(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return [each.act for each in session.exec(select(Consent).order_by(Consent.id))]


def confirmed(app: App, sign_up_id: int) -> Subscriber:
    """Press the button of a confirmation, and return who is a subscriber now."""
    done = membership.confirm(app, sign_up_id)
    assert done is not None
    return done.subscriber


def add(app: App, *emails: str, state: State = State.ACTIVE) -> None:
    membership.import_subscribers(app, [Entry(email, WISHES, state) for email in emails])


def wishes_of(app: App, emails: Iterable[str]) -> list[Preferences]:
    return [person(app, email).preferences for email in emails]


def test_signing_up_twice_on_a_day_asks_for_one_confirmation_with_the_last_wishes(
    app_on_both: App, clock: Clock
) -> None:
    first = sign_up(app_on_both, "Ada@example.org", topics=["graphs"])
    clock.forward(hours=2)
    assert sign_up(app_on_both, "ADA@example.org", hour=3) == first, "no second one was mailed"
    assert mails(app_on_both) == [Mail.CONFIRMATION]
    assert (person(app_on_both).email, joined(app_on_both, ADA)) == ("Ada@example.org", State.PENDING)
    assert confirmed(app_on_both, first).preferences == Preferences(hour=3)


def test_a_day_later_there_is_a_second_confirmation_and_each_stands_for_its_own_wishes(
    app_on_both: App, clock: Clock
) -> None:
    first = sign_up(app_on_both, ADA, hour=3)
    clock.forward(days=1)
    second = sign_up(app_on_both, ADA, hour=4)
    assert mails(app_on_both) == [Mail.CONFIRMATION] * 2
    assert confirmed(app_on_both, first).hour == 3
    assert confirmed(app_on_both, second).hour == 3, "who has confirmed once is asked for nothing any more"


def test_somebody_else_who_types_the_address_of_a_pending_reader_changes_nothing(
    app_on_both: App, clock: Clock
) -> None:
    first = sign_up(app_on_both, ADA, topics=["graphs"])
    clock.forward(hours=2)
    assert sign_up(app_on_both, ADA, client="a stranger", hour=3) == first
    assert mails(app_on_both) == [Mail.CONFIRMATION]
    assert confirmed(app_on_both, first).preferences == WISHES


def test_what_strangers_ask_for_is_nobody_before_a_worker_has_looked(app_on_both: App) -> None:
    for wishes in (WISHES, None):
        membership.ask(app_on_both, Asking(ADA, wishes))
    with app_on_both.db.snapshot() as session:
        assert list(store.every(session)) == []
        assert [each.outcome for each in session.exec(select(SignUp))] == [Outcome.NEW] * 2
    assert mails(app_on_both) == []
    assert pipeline.sweep(app_on_both) == [None]
    assert pipeline.deliver(app_on_both, None) == 1
    assert pipeline.sweep(app_on_both) == []


def test_active_reader_stays_untouched_when_a_stranger_types_their_address(app_on_both: App) -> None:
    add(app_on_both, ADA)
    before = person(app_on_both).model_dump()
    asked = sign_up(app_on_both, "ADA@EXAMPLE.org", hour=3, mutes=["graphs"])
    assert mails(app_on_both) == [Mail.LINK], "a reader who forgot that they are one gets their link"
    assert confirmed(app_on_both, asked).model_dump() == before == person(app_on_both).model_dump()
    assert mails(app_on_both) == [Mail.LINK]


def test_reader_who_left_and_signs_up_again_is_pending_until_they_confirm(app_on_both: App, clock: Clock) -> None:
    add(app_on_both, ADA)
    who = person(app_on_both).id or 0
    membership.unsubscribe(app_on_both, [who])
    clock.forward(days=3)
    asked = sign_up(app_on_both, ADA, hour=3)
    assert joined(app_on_both, ADA) is State.PENDING
    assert mails(app_on_both) == [Mail.CONFIRMATION]
    back = confirmed(app_on_both, asked)
    assert (back.id, back.state, back.hour) == (who, State.ACTIVE, 3)
    assert (back.confirmed_at, back.unsubscribed_at) == (clock(), None)


@pytest.mark.parametrize("wishes", [WISHES, None])
def test_suppressed_address_gets_no_mail_whatever_is_asked_for(app_on_both: App, wishes: Preferences | None) -> None:
    with app_on_both.db.session() as session:
        store.suppress(session, "ADA@example.org", "bounced", app_on_both.now())
    membership.ask(app_on_both, Asking(ADA, wishes))
    assert pipeline.deliver(app_on_both, None) == 0
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
    asked = sign_up(app_on_both, ADA)
    first = membership.confirm(app_on_both, asked)
    clock.forward(minutes=5)
    second = membership.confirm(app_on_both, asked)
    assert first is not None
    assert second is not None
    assert second.subscriber.confirmed_at == first.subscriber.confirmed_at
    assert (first.first, second.first) == (False, False)
    assert mails(app_on_both) == [Mail.CONFIRMATION, Mail.WELCOME]


def test_who_confirms_gets_the_latest_issue_at_once_and_only_once(app_on_both: App, clock: Clock) -> None:
    add_papers(app_on_both, [record(number) for number in range(1, 4)])
    issue = open_and_queue(app_on_both)
    asked = sign_up(app_on_both, ADA, hour=23)
    done = [membership.confirm(app_on_both, asked) for _ in range(2)]
    assert [each and each.first for each in done] == [True, False]
    assert mails(app_on_both) == [Mail.CONFIRMATION, Mail.DIGEST]
    assert [str(mail["subject"]) for mail in mails_of(app_on_both, ADA)][1:] == ["Paper number 3 + 2 more"]
    clock.forward(hours=14)  # their own hour has come
    pipeline.tick(app_on_both)
    assert pipeline.deliver(app_on_both, issue.id) == 0
    assert mails(app_on_both) == [Mail.CONFIRMATION, Mail.DIGEST]


def test_reader_who_left_cannot_come_back_by_an_old_confirmation_link(app_on_both: App) -> None:
    asked = sign_up(app_on_both, ADA)
    membership.unsubscribe(app_on_both, [person(app_on_both).id or 0])
    assert membership.confirm(app_on_both, asked) is None
    assert joined(app_on_both, ADA) is State.UNSUBSCRIBED
    assert Mail.WELCOME not in mails(app_on_both)


def test_confirming_somebody_who_never_was_is_nobody(app_on_both: App) -> None:
    assert membership.confirm(app_on_both, 12_345) is None
    membership.ask(app_on_both, Asking(ADA, WISHES))
    assert membership.confirm(app_on_both, 1) is None, "nobody has looked at it yet"
    assert mails(app_on_both) == []


def test_leaving_twice_is_leaving_once_and_is_recorded_once(app_on_both: App, clock: Clock) -> None:
    add(app_on_both, ADA)
    who = person(app_on_both).id or 0
    left_at = clock()
    assert membership.unsubscribe(app_on_both, [who]) == ({who}, {who})
    clock.forward(hours=1)
    assert membership.unsubscribe(app_on_both, [who, who + 1]) == ({who}, set())
    assert person(app_on_both).unsubscribed_at == left_at
    assert events(app_on_both) == [(Kind.UNSUBSCRIBED, who, 1)]
    assert consents(app_on_both) == [Act.CONFIRMED, Act.LEFT]
    assert membership.unsubscribe(app_on_both, [who + 1]) == (set(), set())
    assert len(events(app_on_both)) == 1


def test_many_leave_together_and_those_who_left_before_are_not_counted_again(app_on_both: App) -> None:
    add(app_on_both, *(f"reader{n}@example.org" for n in range(5)))
    ids = [person(app_on_both, f"reader{n}@example.org").id or 0 for n in range(5)]
    membership.unsubscribe(app_on_both, ids[:2])
    assert membership.unsubscribe(app_on_both, ids[1:4]) == (set(ids[1:4]), set(ids[2:4]))
    assert sorted(events(app_on_both)) == [(Kind.UNSUBSCRIBED, who, 1) for who in ids[:4]]
    assert joined(app_on_both, "reader4@example.org") is State.ACTIVE


def test_mail_that_waits_is_not_sent_to_somebody_who_left(app_on_both: App) -> None:
    membership.ask(app_on_both, Asking(ADA, WISHES))
    membership.admit(app_on_both)
    assert mails(app_on_both) == [Mail.CONFIRMATION]
    membership.unsubscribe(app_on_both, [person(app_on_both).id or 0])
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


def test_who_signs_up_again_gets_what_the_page_promises(app_on_both: App, clock: Clock) -> None:
    """The issue that was skipped while they were away, or a welcome if they have had it; and no old pause holds it."""
    add_papers(app_on_both, [record(number) for number in range(1, 4)])
    gone, paused, had = add_readers(app_on_both, 3)
    steering.pause(app_on_both, paused, date(2026, 9, 30))
    membership.unsubscribe(app_on_both, [paused])
    issue = open_and_queue(app_on_both)
    membership.unsubscribe(app_on_both, [gone])
    mails_of(app_on_both)
    membership.unsubscribe(app_on_both, [had])
    promised = []
    for number in range(3):
        clock.forward(hours=1)
        done = membership.confirm(app_on_both, sign_up(app_on_both, f"reader{number}@example.org", client=str(number)))
        assert done
        promised.append(done.first)
        pipeline.deliver(app_on_both, issue.id)
    assert promised == [True, True, False]
    subjects = [str(mail["subject"]) for mail in mails_of(app_on_both, "reader2@example.org")]
    assert "Welcome" in subjects[-1]
    for number in range(2):
        assert any(paper_ids_in(mail) for mail in mails_of(app_on_both, f"reader{number}@example.org"))
