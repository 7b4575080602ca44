"""How much strangers may set off: the decision alone, and each limit on both databases."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from fakes import Clock
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select
from visitors import ADA, sign_ups, visitor

from newsletter import membership
from newsletter.app import App
from newsletter.delivery.models import Delivery, Mail
from newsletter.errors import SettingsError
from newsletter.membership import Asking
from newsletter.settings import load
from newsletter.subscribers.intake.limits import Limits, Mailed, is_flood, refusal
from newsletter.subscribers.intake.models import EntryPoint, Outcome
from newsletter.subscribers.preferences import Preferences
from newsletter.web import create_web

LIMITS = Limits(all_hour=200, domain_hour=60, client_hour=5)
FEW = st.integers(0, 300)
COUNTS = st.builds(Mailed, FEW, FEW, FEW, FEW, FEW)


def ask(app: App, email: str, client: str = "somebody", *, link: bool = False) -> None:
    """Ask as strangers do."""
    membership.ask(app, Asking(email, None if link else Preferences(), client=client, entry=EntryPoint.FORM))


def queued(app: App) -> list[Delivery]:
    """Look at what was asked for, and return the mails of it so far."""
    membership.admit(app)
    with app.db.snapshot() as session:
        return list(session.exec(select(Delivery).order_by(Delivery.id)))


@pytest.fixture
def strict(make_app: Callable[..., App], database_url: str) -> App:
    """An app that mails few strangers: 3 for a client, 5 at a domain, 8 altogether."""
    return make_app(database_url, signups_per_hour_client=3, signups_per_hour_domain=5, signups_per_hour=8)


@pytest.mark.parametrize(
    ("mailed", "limit"),
    [
        (Mailed(), ""),
        (Mailed(address_day=1), "address"),
        (Mailed(address_month=2), ""),
        (Mailed(address_month=3), "address"),
        (Mailed(client_hour=4), ""),
        (Mailed(client_hour=5), "client"),
        (Mailed(domain_hour=59), ""),
        (Mailed(domain_hour=60), "domain"),
        (Mailed(all_hour=199), ""),
        (Mailed(all_hour=200), "all"),
        (Mailed(1, 9, 99, 9, 999), "address"),
    ],
)
def test_each_limit_holds_from_its_last_mail_on(mailed: Mailed, limit: str) -> None:
    assert refusal(mailed, LIMITS) == limit


@given(mailed=COUNTS, more=COUNTS)
def test_who_has_been_mailed_more_is_never_allowed_what_less_forbids(mailed: Mailed, more: Mailed) -> None:
    names = ("address_day", "address_month", "domain_hour", "client_hour", "all_hour")
    both = Mailed(*(getattr(mailed, name) + getattr(more, name) for name in names))
    assert refusal(both, LIMITS) or not refusal(mailed, LIMITS)


def test_a_flood_is_twenty_times_what_may_be_mailed() -> None:
    assert [is_flood(count, 0, LIMITS) for count in (99, 100)] == [False, True]
    assert [is_flood(0, count, LIMITS) for count in (3_999, 4_000)] == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"signups_per_hour": 0},
        {"signups_per_hour_domain": -1},
        {"signups_per_hour_client": 0},
        {"signup_work_bits": 25},
        {"signup_work_bits": -1},
        {"trusted_proxies": "*"},
        {"trusted_proxies": "the proxy"},
        {"trusted_proxies": "127.0.0.1, 10.0.0.0/33"},
    ],
)
def test_a_setting_that_would_switch_a_limit_off_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"NEWSLETTER_{next(iter(wrong)).upper()}"):
        load(_env_file=None, **wrong)


def test_the_limits_are_those_of_the_settings(app: App) -> None:
    assert membership._limits(app) == LIMITS


def test_a_client_sets_off_no_more_mails_in_an_hour_than_it_may(strict: App, clock: Clock) -> None:
    for number in range(6):
        ask(strict, f"victim{number}@mail{number}.example.org")
    assert len(queued(strict)) == 3
    clock.forward(minutes=59, seconds=59)
    ask(strict, "late@example.org")
    assert len(queued(strict)) == 3
    clock.forward(seconds=1)
    ask(strict, "later@example.org")
    assert len(queued(strict)) == 4
    refused = [each.why for each in sign_ups(strict) if each.outcome == Outcome.REFUSED]
    assert refused == ["client"] * 4, "nothing is dropped in silence"


def test_a_domain_is_mailed_so_often_an_hour_whoever_asks(strict: App) -> None:
    for number in range(7):
        ask(strict, f"p{number}@victim.example.org", client=f"client {number}")
    ask(strict, "other@example.org", client="client 7")
    assert len(queued(strict)) == 6
    assert [each.why for each in sign_ups(strict)] == [*[""] * 5, "domain", "domain", ""]


def test_all_strangers_together_set_off_so_many_mails_an_hour(strict: App, clock: Clock) -> None:
    for number in range(10):
        ask(strict, f"p{number}@d{number}.example.org", client=f"client {number}")
    assert len(queued(strict)) == 8
    clock.forward(hours=1)
    ask(strict, ADA, client="client 0")
    assert len(queued(strict)) == 11, "who came too many comes an hour later"


def test_more_than_a_flood_is_not_even_written_down(strict: App, clock: Clock) -> None:
    for number in range(63):
        ask(strict, f"p{number}@example.org")
    assert len(sign_ups(strict)) == 60
    ask(strict, ADA, client="somebody else")
    assert len(sign_ups(strict)) == 61
    clock.forward(hours=1)
    ask(strict, ADA)
    assert len(sign_ups(strict)) == 62


def test_the_operators_import_is_under_no_limit_and_uses_none_up(strict: App) -> None:
    entries = [membership.Entry(f"p{n}@example.org", Preferences(), membership.State.PENDING) for n in range(20)]
    membership.import_subscribers(strict, entries)
    ask(strict, ADA)
    assert len(queued(strict)) == 21


def test_a_link_is_mailed_under_the_same_limits(strict: App, clock: Clock) -> None:
    entries = [membership.Entry(f"p{n}@example.org", Preferences(), membership.State.ACTIVE) for n in range(6)]
    membership.import_subscribers(strict, entries)
    for number in range(6):
        ask(strict, f"p{number}@example.org", link=True)
    assert [each.mail for each in queued(strict)] == [Mail.LINK] * 3
    clock.forward(hours=2)
    for _ in range(3):
        ask(strict, "p0@example.org", link=True)
        ask(strict, "p5@example.org", link=True)
    assert len(queued(strict)) == 4, "once a day for one address"


def test_a_link_for_nobody_is_no_mail_and_counts_like_any_other(strict: App) -> None:
    for number in range(5):
        ask(strict, f"nobody{number}@example.org", link=True)
    ask(strict, ADA)
    assert queued(strict) == [], "or what is left would tell who is a subscriber"
    ask(strict, ADA, client="another")
    assert [each.mail for each in queued(strict)] == [Mail.CONFIRMATION]


def test_at_midnight_a_client_begins_anew_and_gets_at_most_twice_as_much(strict: App, clock: Clock) -> None:
    """Clients have another hash every day, so that nobody can follow them: that is the price."""
    clock.forward(hours=14, minutes=59)
    web = create_web(strict)
    for _ in range(2):
        for number in range(5):
            visitor(strict, web=web).post("/subscribe", data={"email": f"p{number}@{clock():x%H}.example.org"})
        clock.forward(minutes=2)
    assert len(queued(strict)) == 6


def test_whoever_asks_every_few_hours_for_months_gets_an_address_three_mails_in_thirty_days(
    app_on_both: App, clock: Clock
) -> None:
    """Confirmations and reminders together, with somebody new who asks each time."""
    start, came = clock(), dict[int, Delivery]()
    while clock() - start < timedelta(days=40):
        membership.remind(app_on_both)
        membership.purge(app_on_both)
        ask(app_on_both, ADA, client=str(clock()), link=clock().hour % 2 == 0)
        came |= {each.id or 0: each for each in queued(app_on_both)}
        clock.forward(hours=9)
    mails = [came[id_] for id_ in sorted(came)]
    for first in mails:
        assert sum(first.queued_at <= each.queued_at < first.queued_at + timedelta(days=30) for each in mails) <= 3
    assert len(mails) > 3
    assert Mail.REMINDER in {each.mail for each in mails}, "a reminder counts"
    asked = [each.queued_at for each in mails if each.mail != Mail.REMINDER]
    assert all(later - earlier >= timedelta(days=1) for earlier, later in pairwise(asked))
