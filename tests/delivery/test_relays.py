"""Several relays, and what each of them offers: shares by weight, stand-bys, sizes, and connections that wear out."""

from collections import Counter
from collections.abc import Callable, Iterator
from threading import Barrier

import pytest
from fakes import Clock, Session, SmtpServer
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import clock as real_clock
from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery.models import Attempt, Delivery
from newsletter.delivery.store import Accounting, accounting
from newsletter.settings import Settings
from newsletter.subscribers.models import Subscriber

READERS = 12
Deliver = Callable[..., tuple[App, Accounting]]


@pytest.fixture
def other() -> Iterator[SmtpServer]:
    with SmtpServer().serving() as server:
        yield server


@pytest.fixture
def deliver(make_app: Callable[..., App], sqlite_url: str) -> Deliver:
    """Deliver an issue to twelve readers over the relays that are named."""

    def deliver(*urls: str) -> tuple[App, Accounting]:
        app = make_app(sqlite_url, smtp_url=" ".join(urls))
        add_papers(app, [record(1)])
        add_readers(app, READERS)
        issue = open_and_queue(app)
        pipeline.deliver(app, issue.id)
        with app.db.snapshot() as session:
            return app, accounting(session, issue.id or 0, issue.slot)

    return deliver


def test_a_relay_with_a_pace_gets_all_mails_also_where_all_readers_share_a_domain(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    app = make_app(
        sqlite_url, smtp_url=smtp.url, now=real_clock.now, rate=200, warmup=f"{real_clock.now().date()}:99x1"
    )
    add_papers(app, [record(1, listed_at=app.now())])
    add_readers(app, 60)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    assert len(set(smtp.recipients())) == len(smtp.accepted) == 60


def test_relays_share_the_mails(deliver: Deliver, smtp: SmtpServer, other: SmtpServer) -> None:
    both_there = Barrier(2)
    first = set[SmtpServer]()

    def script(step: str, session: Session) -> None:
        if step == "mail" and session.server not in first:
            first.add(session.server)
            both_there.wait(timeout=20)

    smtp.script = other.script = script
    _, found = deliver(f"{smtp.url}&connections=1", f"{other.url}&connections=1")
    assert found.sent == READERS
    assert smtp.accepted
    assert other.accepted


def test_what_one_relay_cannot_take_goes_over_the_others(deliver: Deliver, smtp: SmtpServer, other: SmtpServer) -> None:
    smtp.script = lambda step, _: "421 4.3.2 closed" if step == "connect" else None
    _, found = deliver(f"{smtp.url}&weight=5", other.url)
    assert (found.sent, len(other.accepted)) == (READERS, READERS)


def test_a_stand_by_is_for_when_all_others_are_away(deliver: Deliver, smtp: SmtpServer, other: SmtpServer) -> None:
    passed = Counter[str]()

    def dies(step: str, _session: Session) -> str | None:
        passed[step] += 1
        return "421 4.3.2 going down" if passed["mail"] > 3 or (step == "connect" and passed[step] > 1) else None

    smtp.script = dies
    app, found = deliver(f"{smtp.url}&connections=1", f"{other.url}&weight=0&connections=1")
    assert found.sent == READERS
    assert len(smtp.accepted) in {3, 4}
    assert len(smtp.accepted) + len(other.accepted) == READERS
    with app.db.snapshot() as session:
        assert set(session.exec(select(Attempt.outcome))) == {"sent"}, "nobody's attempt is spent on a relay that dies"


def test_a_stand_by_is_not_asked_while_another_serves(deliver: Deliver, smtp: SmtpServer, other: SmtpServer) -> None:
    deliver(smtp.url, f"{other.url}&weight=0")
    assert (len(smtp.accepted), other.connections) == (READERS, 0)


def test_a_connection_is_closed_after_so_many_mails(deliver: Deliver, smtp: SmtpServer) -> None:
    _, found = deliver(f"{smtp.url}&connections=1&messages=5")
    assert (found.sent, smtp.connections) == (READERS, 3)


def test_a_message_larger_than_the_relay_takes_fails_and_says_so(deliver: Deliver, smtp: SmtpServer) -> None:
    smtp.extensions.append("SIZE 2000")
    app, found = deliver(smtp.url)
    assert (found.failed, smtp.accepted) == (READERS, [])
    with app.db.snapshot() as session:
        replies = {*session.exec(select(Attempt.reply)), *session.exec(select(Delivery.reply))}
    assert all(reply and reply.endswith("and the relay takes 2000") for reply in replies)


def test_a_relay_is_told_how_large_a_message_is(deliver: Deliver, smtp: SmtpServer) -> None:
    smtp.extensions.append("SIZE")
    heard: list[str] = []
    smtp.script = lambda step, session: heard.append(session.line) if step == "mail" else None
    deliver(smtp.url)
    sizes = [int(line.rpartition("SIZE=")[2]) for line in heard]
    assert sorted(sizes) == sorted(len(each.data) for each in smtp.accepted)


@pytest.mark.parametrize("step", ["mail", "data"])
def test_a_refusal_behind_a_dot_is_asked_for_again_alone(deliver: Deliver, smtp: SmtpServer, step: str) -> None:
    passed = Counter[str]()

    def script(seen: str, _session: Session) -> str | None:
        passed[seen] += 1
        return "450 4.3.0 what?" if (seen, passed[seen]) == (step, 3) else None

    smtp.script = script
    app, found = deliver(f"{smtp.url}&connections=1")
    assert (found.sent, smtp.connections) == (READERS, 2)
    with app.db.snapshot() as session:
        assert set(session.exec(select(Attempt.outcome))) == {"sent"}


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("smtp://a smtp://b?weight=x", "weight must be a number between 0 and 1000"),
        ("smtp://a?weight=0", "at least one relay needs a weight above 0"),
        ("smtp://a?messages=0", "messages must be a number between 1 and 1000000"),
        ("smtp://a?connections=2.5", "connections must be a whole number"),
        ("smtp://a,smtp://b", "must look like"),
        ("smtp://a,b", "several relays have spaces between them"),
        ("smtp://a:0", "the port is not a number between 1 and 65535"),
        ("smtp://a:99999", "the port is not a number between 1 and 65535"),
        ("smtp://[::1", "must look like"),
        ("smtp://a/b", "must look like"),
        ("smtp://user:12#secret@relay.example.com:587", "must look like"),
        ("smtp://user:12?secret@relay.example.com", "are written %3F, %23 and %40"),
    ],
)
def test_relays_that_mean_nothing_are_refused(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Settings(_env_file=None, smtp_url=url)


@pytest.mark.parametrize("host", ["mail_relay", "smtp.example.com.", "bücher.example", "127.0.0.1", "[::1]"])
def test_relays_in_a_network_of_ones_own_may_be_called_as_they_are(host: str) -> None:
    [relay] = Settings(_env_file=None, smtp_url=f"smtp://{host}:25").relays
    assert relay.host == host.strip("[]")


def test_a_warm_up_cap_ends_the_day_and_the_rest_costs_nobody_an_attempt(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(sqlite_url, smtp_url=smtp.url, warmup="2026-08-05:5x1")
    add_papers(app, [record(1)])
    add_readers(app, READERS)
    issue = open_and_queue(app)
    for _ in range(3):
        pipeline.deliver(app, issue.id)
        clock.forward(minutes=3)
    assert len(smtp.accepted) == 5
    with app.db.snapshot() as session:
        waiting = session.exec(select(Delivery).where(Delivery.state == "deferred")).all()
    assert {each.attempts for each in waiting} == {0}
    assert {(each.reply or "")[:26] for each in waiting} == {"the relay is given nothing"}
    clock.forward(hours=15)
    pipeline.deliver(app, issue.id)
    assert len(smtp.accepted) == 10, "the next day has a cap of its own"


def test_a_domain_that_wants_us_slower_rests_while_others_go_on(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(sqlite_url, smtp_url=f"{smtp.url}&connections=1")
    add_papers(app, [record(1)])
    add_readers(app, READERS)
    with app.db.session() as session:
        for person in session.exec(select(Subscriber).where(Subscriber.id > READERS // 2)):  # type: ignore[operator]
            person.email = person.email_key = f"reader{person.id}@slow.example"
    heard: list[str] = []

    def script(step: str, session: Session) -> str | None:
        if step != "rcpt" or not session.recipient.endswith("@slow.example"):
            return None
        heard.append(session.recipient)
        return "450 4.7.0 too fast" if len(heard) == 1 else None

    smtp.script = script
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    assert len(heard) <= 2, "one was refused, and one was on its way when it was"
    assert len(smtp.accepted) == READERS // 2 + len(heard) - 1
    clock.forward(minutes=20)
    pipeline.deliver(app, issue.id)
    clock.forward(minutes=20)
    pipeline.deliver(app, issue.id)
    assert len(set(smtp.recipients())) == len(smtp.recipients()) == READERS


def test_mails_go_out_no_faster_than_the_rate(make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer) -> None:
    app = make_app(sqlite_url, smtp_url=smtp.url, now=real_clock.now, rate=20)
    at: list[float] = []
    smtp.script = lambda step, _: at.append(real_clock.monotonic()) if step == "mail" else None
    add_papers(app, [record(1, listed_at=real_clock.now())])
    add_readers(app, READERS, hour=0)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    assert len(smtp.accepted) == READERS
    assert at[-1] - at[0] > (READERS - 1) / 20 * 0.9, "each a twentieth of a second behind the one before"
