"""What strangers ask for, from the row it is written into to the reader who confirms it, on both databases."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fakes import Clock
from samples import HOSTILE, add_readers, joined, mails_of, record, text_of
from sqlmodel import select
from visitors import ADA, consents, dump, person, sign_ups, statements

from newsletter import membership, pipeline, privacy
from newsletter.app import App
from newsletter.delivery.models import Delivery, Mail
from newsletter.membership import Asking
from newsletter.papers.pasted import read_pasted
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import address_hash
from newsletter.subscribers.changes.models import Act
from newsletter.subscribers.intake.models import EntryPoint, Outcome, SignUp
from newsletter.subscribers.models import ERASED, State
from newsletter.subscribers.preferences import LISTS, Preferences

MINE, THEIRS = Preferences(topics=("graphs",), hour=7), Preferences(topics=("spam",), hour=23)


def ask(app: App, wishes: Preferences | None = MINE, client: str = "me", email: str = ADA, **more: Any) -> int:
    """Ask, let a worker look at it, and return the id of what was written down."""
    membership.ask(app, Asking(email, wishes, client=client, **more))
    membership.admit(app)
    return sign_ups(app)[-1].id or 0


def queued(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return [each.mail for each in session.exec(select(Delivery).order_by(Delivery.id))]


def at_once(*jobs: Callable[[], object]) -> None:
    """Do several things at the same time."""
    gate, failed = threading.Barrier(len(jobs)), []

    def run(job: Callable[[], object]) -> None:
        gate.wait(20)
        try:
            job()
        except Exception as exc:  # noqa: BLE001  a thread's failure must fail the test
            failed.append(exc)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def someone_in_every_state(app: App) -> list[str]:
    """Return addresses: new, pending, active, unsubscribed, suppressed and erased."""
    names = ("new", "pending", "active", "unsubscribed", "suppressed", "erased")
    entries = [membership.Entry(f"{name}@example.org", MINE, State(name)) for name in names if name in set(State)]
    entries.append(membership.Entry("erased@example.org", MINE, State.ACTIVE))
    membership.import_subscribers(app, entries)
    privacy.erase(app, person(app, "erased@example.org").id or 0)
    with app.db.session() as session:
        subscribers.suppress(session, "suppressed@example.org", "bounced", app.now())
    mails_of(app)
    return [f"{name}@example.org" for name in names]


def test_asking_is_the_same_statements_for_everybody_and_touches_nothing_but_the_list(app_on_both: App) -> None:
    app, seen = app_on_both, []
    people = someone_in_every_state(app)
    before = dump(app, but=SignUp)
    for email in people:
        for wishes in (MINE, None):
            with statements(app) as found:
                membership.ask(app, Asking(email, wishes, client="me"))
            seen.append(found)
    assert all(each == seen[0] for each in seen)
    assert dump(app, but=SignUp) == before
    assert [each.outcome for each in sign_ups(app)[1:]] == [Outcome.NEW] * 12


@pytest.mark.parametrize("worker", [1, 4])
def test_workers_who_look_at_the_same_time_mail_no_more_than_the_limits_allow(
    make_app: Callable[..., App], database_url: str, worker: int
) -> None:
    apps = [make_app(database_url) for _ in range(worker)]
    for number in range(30):
        membership.ask(apps[0], Asking(f"victim{number}@example.org", MINE, client="a machine"))
    for number in range(30):
        membership.ask(apps[0], Asking(ADA.swapcase() if number % 2 else ADA, MINE, client=f"client {number}"))
    at_once(*(lambda app=app: membership.admit(app) for app in apps))
    assert len(queued(apps[0])) == 6
    assert Counter(each.outcome for each in sign_ups(apps[0])) == {Outcome.MAILED: 6, Outcome.REFUSED: 54}
    assert [each.act for each in consents(apps[0])] == [Act.ASKED] * 6


def test_asking_and_looking_at_the_same_time_loses_nothing_and_mails_one(
    make_app: Callable[..., App], database_url: str
) -> None:
    apps = [make_app(database_url) for _ in range(2)]
    asking = [lambda app=app: [membership.ask(app, Asking(ADA, MINE, client="me")) for _ in range(15)] for app in apps]
    looking = [lambda app=app: [membership.admit(app) for _ in range(15)] for app in apps]
    at_once(*asking, *looking)
    membership.admit(apps[0])
    assert len(sign_ups(apps[0])) == 30
    assert queued(apps[0]) == [Mail.CONFIRMATION]


def test_pressing_the_button_twice_at_the_same_time_is_one_welcome(
    make_app: Callable[..., App], database_url: str
) -> None:
    apps = [make_app(database_url) for _ in range(3)]
    id_ = ask(apps[0])
    at_once(*(lambda app=app: membership.confirm(app, id_) for app in apps))
    assert queued(apps[0]) == [Mail.CONFIRMATION, Mail.WELCOME]
    assert [each.act for each in consents(apps[0])] == [Act.ASKED, Act.CONFIRMED]


def test_a_stranger_cannot_change_what_i_am_about_to_confirm(app_on_both: App) -> None:
    mine = ask(app_on_both)
    ask(app_on_both, THEIRS, client="a stranger")
    ask(app_on_both, THEIRS, client="a stranger", email="ADA@example.org")
    assert membership.confirm(app_on_both, mine) is not None
    assert person(app_on_both).preferences == MINE
    assert queued(app_on_both) == [Mail.CONFIRMATION, Mail.WELCOME]


def test_i_can_correct_what_i_am_about_to_confirm(app_on_both: App) -> None:
    mine = ask(app_on_both, THEIRS)
    ask(app_on_both, MINE, liked=read_pasted("arXiv:2608.00001").papers)
    assert membership.confirm(app_on_both, mine) is not None
    assert person(app_on_both).preferences == MINE
    assert '"arxiv:2608.00001"' in dump(app_on_both).replace("'", '"')
    assert queued(app_on_both) == [Mail.CONFIRMATION, Mail.WELCOME]


def test_once_confirmed_nobody_changes_it_by_signing_up_again(app_on_both: App, clock: Clock) -> None:
    membership.confirm(app_on_both, ask(app_on_both))
    for client in ("me", "a stranger"):
        ask(app_on_both, THEIRS, client=client)
        clock.forward(days=2)
        ask(app_on_both, THEIRS, client=client)
    assert person(app_on_both).preferences == MINE
    assert joined(app_on_both, ADA) is State.ACTIVE
    assert set(queued(app_on_both)) == {Mail.CONFIRMATION, Mail.WELCOME, Mail.LINK}


def test_each_link_confirms_its_own_sign_up_and_no_other(app_on_both: App, clock: Clock) -> None:
    first = ask(app_on_both)
    clock.forward(days=1, minutes=1)
    second = ask(app_on_both, THEIRS, client="a stranger")
    assert queued(app_on_both) == [Mail.CONFIRMATION] * 2
    membership.confirm(app_on_both, first)
    assert person(app_on_both).preferences == MINE
    membership.confirm(app_on_both, second)
    assert person(app_on_both).preferences == MINE, "who is active already is changed by no confirmation"


def test_a_sign_up_that_was_refused_confirms_nothing(app_on_both: App) -> None:
    ask(app_on_both)
    refused = ask(app_on_both, THEIRS, client="a stranger")
    assert membership.confirm(app_on_both, refused) is None
    assert membership.confirm(app_on_both, refused + 1) is None
    assert joined(app_on_both, ADA) is State.PENDING


@pytest.mark.parametrize("confirmed_before", [True, False])
def test_leaving_ends_every_earlier_link_even_when_somebody_signs_the_address_up_again(
    app_on_both: App, clock: Clock, confirmed_before: bool
) -> None:
    old = ask(app_on_both)
    if confirmed_before:
        membership.confirm(app_on_both, old)
    clock.forward(minutes=1)
    membership.unsubscribe(app_on_both, [person(app_on_both).id or 0])
    assert membership.confirm(app_on_both, old) is None
    clock.forward(days=1, minutes=1)
    fresh = ask(app_on_both, THEIRS, client="a stranger")
    assert joined(app_on_both, ADA) is State.PENDING
    assert membership.confirm(app_on_both, old) is None, "a link is used once, or withdrawn for good"
    assert joined(app_on_both, ADA) is State.PENDING
    assert membership.confirm(app_on_both, fresh) is not None


def test_who_withdrew_and_took_that_back_can_still_confirm(app_on_both: App) -> None:
    mine = ask(app_on_both)
    id_ = person(app_on_both).id or 0
    membership.unsubscribe(app_on_both, [id_])
    assert membership.come_back(app_on_both, id_, app_on_both.now(), "undo") is not None
    assert joined(app_on_both, ADA) is State.PENDING
    assert membership.confirm(app_on_both, mine) is not None
    assert joined(app_on_both, ADA) is State.ACTIVE


def test_a_reminder_comes_once_after_a_day(app_on_both: App, clock: Clock) -> None:
    ask(app_on_both)
    for hours in (23, 1, 24, 24):
        clock.forward(hours=hours)
        pipeline.tidy(app_on_both)
    assert queued(app_on_both) == [Mail.CONFIRMATION, Mail.REMINDER]


@pytest.mark.parametrize("end", ["confirmed", "left"])
def test_who_has_answered_is_not_reminded(app_on_both: App, clock: Clock, end: str) -> None:
    mine = ask(app_on_both)
    if end == "confirmed":
        membership.confirm(app_on_both, mine)
    else:
        membership.unsubscribe(app_on_both, [person(app_on_both).id or 0])
    clock.forward(days=2)
    pipeline.tidy(app_on_both)
    assert Mail.REMINDER not in queued(app_on_both)


def test_after_seven_days_nothing_is_left_that_names_who_did_not_confirm(app_on_both: App, clock: Clock) -> None:
    wishes = Preferences(keywords=("a rare illness",))
    ask(app_on_both, wishes, liked=read_pasted("My favourite paper of all").papers)
    ask(app_on_both, wishes, client="a stranger")
    pipeline.deliver(app_on_both, None)
    clock.forward(days=7)
    pipeline.tidy(app_on_both)
    assert joined(app_on_both, ADA) is State.PENDING, "they have the whole week"
    clock.forward(seconds=1)
    pipeline.tidy(app_on_both)
    left = dump(app_on_both)
    for trace in ("ada@", "rare illness", "favourite", "stranger"):
        assert trace not in left
    assert len(sign_ups(app_on_both)) == 2, "the limits go on counting"
    clock.forward(days=30)
    pipeline.tidy(app_on_both)
    assert sign_ups(app_on_both) == []


def test_who_had_left_and_does_not_confirm_anew_has_left_again(app_on_both: App, clock: Clock) -> None:
    [id_] = add_readers(app_on_both, 1, topics=("graphs",))
    membership.unsubscribe(app_on_both, [id_])
    ask(app_on_both, THEIRS, client="a stranger", email="reader0@example.org")
    assert joined(app_on_both, "reader0@example.org") is State.PENDING
    clock.forward(days=7, seconds=1)
    pipeline.tidy(app_on_both)
    assert joined(app_on_both, "reader0@example.org") is State.UNSUBSCRIBED
    assert person(app_on_both, "reader0@example.org").topics == ["graphs"]


def test_what_nobody_looked_at_for_a_week_is_forgotten_and_mailed_to_nobody(app_on_both: App, clock: Clock) -> None:
    membership.ask(app_on_both, Asking(ADA, MINE, client="me"))
    clock.forward(days=8)
    pipeline.tidy(app_on_both)
    pipeline.deliver(app_on_both, None)
    assert queued(app_on_both) == []
    with app_on_both.db.snapshot() as session:
        assert list(subscribers.every(session)) == []


def test_the_log_of_consent_says_what_was_agreed_to_where_and_with_which_link(app_on_both: App, clock: Clock) -> None:
    mine = ask(app_on_both, said="the words of the form", entry=EntryPoint.API)
    membership.confirm(app_on_both, mine, said="the words above the button", token="0123456789abcdef")
    id_ = person(app_on_both).id or 0
    clock.forward(days=1, minutes=1)
    membership.unsubscribe(app_on_both, [id_])
    again = ask(app_on_both, said="the words of a later form")
    membership.confirm(app_on_both, again, said="other words")
    privacy.erase(app_on_both, id_)
    log = consents(app_on_both)
    assert [(each.act, each.entry, each.said, each.token) for each in log[:3]] == [
        (Act.ASKED, EntryPoint.API, "the words of the form", ""),
        (Act.CONFIRMED, EntryPoint.API, "the words above the button", "0123456789abcdef"),
        (Act.LEFT, EntryPoint.FORM, "", ""),
    ]
    assert [(each.act, each.said) for each in log[3:]] == [
        (Act.ASKED, "the words of a later form"),
        (Act.CONFIRMED, "other words"),
        (Act.ERASED, ""),
    ]
    assert {each.email_hash for each in log} == {address_hash(ADA)}
    assert [each.at for each in log] == sorted(each.at for each in log)


def test_a_stranger_who_only_asks_for_a_link_agrees_to_nothing(app_on_both: App) -> None:
    ask(app_on_both, None)
    ask(app_on_both, None, email="READER0@example.org")
    assert consents(app_on_both) == []


def test_who_was_erased_is_found_nowhere_and_may_sign_up_again(app_on_both: App, clock: Clock) -> None:
    mine = ask(app_on_both, Preferences(keywords=("a rare illness",)))
    membership.confirm(app_on_both, mine)
    pipeline.deliver(app_on_both, None)
    clock.forward(days=1, minutes=1)
    membership.ask(app_on_both, Asking(ADA, THEIRS, client="a stranger"))
    privacy.erase(app_on_both, person(app_on_both).id or 0)
    left = dump(app_on_both)
    assert "ada@" not in left
    assert "rare illness" not in left
    kept = sign_ups(app_on_both)
    assert {(each.email, each.subscriber_id, each.wishes is None) for each in kept} == {("", None, True)}
    assert membership.confirm(app_on_both, mine) is None
    with app_on_both.db.snapshot() as session:
        assert subscribers.suppressed(session, [ADA]) == {ADA}
    again = ask(app_on_both)
    assert again > mine, "an id is never given to somebody else"
    assert membership.confirm(app_on_both, again) is not None
    with app_on_both.db.snapshot() as session:
        assert subscribers.suppressed(session, [ADA]) == set()
    assert queued(app_on_both)[-1] == Mail.WELCOME


def test_a_complaint_is_not_lifted_by_signing_up_again(app_on_both: App) -> None:
    with app_on_both.db.session() as session:
        subscribers.suppress(session, ADA, "complained", app_on_both.now())
        subscribers.suppress(session, ADA, ERASED, app_on_both.now())
    ask(app_on_both)
    assert queued(app_on_both) == []
    assert [each.why for each in sign_ups(app_on_both)] == ["suppressed"]


def test_whatever_is_asked_for_can_be_looked_at_mailed_and_confirmed(app_on_both: App) -> None:
    """One row that cannot be worked on would hold up everybody's behind it."""
    texts = [text[:100] for text in HOSTILE]
    pasted = "\n".join(
        f"@article{{x, title={{{text} and some more words}}, doi={{10.1000/{text}}}}}" for text in HOSTILE
    )
    wishes = Preferences.model_validate(dict.fromkeys(LISTS, texts) | {"about": " ".join(texts)})
    liked = read_pasted("\n".join([*HOSTILE, pasted, record(1).title])).papers
    mine = ask(app_on_both, wishes, liked=liked)
    [confirmation] = mails_of(app_on_both, ADA)
    assert "confirm" in text_of(confirmation)
    assert membership.confirm(app_on_both, mine) is not None
    assert "Welcome" in mails_of(app_on_both, ADA)[1]["subject"]
    assert person(app_on_both).preferences == wishes


def test_a_row_holds_a_hash_of_who_asked_and_no_more(app_on_both: App) -> None:
    ask(app_on_both, client="0123456789abcdef")
    [row] = sign_ups(app_on_both)
    assert set(SignUp.model_fields) == {
        "id", "email", "email_hash", "domain", "client", "entry", "asked_at", "not_before", "wishes", "liked", "said",
        "outcome", "mail", "why", "subscriber_id", "mailed_at", "reminded_at",
    }  # fmt: skip
    assert (row.client, row.domain) == ("0123456789abcdef", address_hash("example.org"))
