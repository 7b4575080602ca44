"""Relays that lie, talk without end, or say nothing; and addresses that are valid but odd.

What a relay says is about the dialogue, so most of it is asked on SQLite only.
"""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from fakes import Clock, Reply, Session, SmtpServer
from house import READERS, House, Kind, house, once
from samples import add_papers, open_and_queue, record
from sqlmodel import select

from newsletter import clock as the_clock
from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.errors import InputError
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import parse_address
from newsletter.subscribers.models import Entry, State, Subscriber
from newsletter.subscribers.preferences import Preferences

KINDS = [Kind("sqlite", pipelining=True, connections=4), Kind("sqlite", pipelining=False, connections=1)]
STEPS = ("connect", "ehlo", "mail", "rcpt", "data", "accepted")


@pytest.fixture(scope="module", params=KINDS, ids=str)
def a_house(request: pytest.FixtureRequest) -> Iterator[House]:
    """Build one for all lies, with little patience."""

    @contextmanager
    def url() -> Iterator[str]:
        folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("lies")
        path = folder / "newsletter.db"
        path.write_bytes(request.getfixturevalue("_migrated_sqlite").read_bytes())
        yield f"sqlite:///{path}"

    with house(request.param, {"sqlite": url}, timeout="1") as built:
        yield built


def endless_banner() -> Reply:
    return itertools.repeat(b"250-and another thing\r\n" * 400)


def endless_line() -> Reply:
    return itertools.chain([b"250 "], itertools.repeat(b"a" * 8_192))


LIES: dict[str, Reply | Callable[[], Reply]] = {
    "garbage": "\x16\x03\x01 no SMTP at all \x00\x7f",
    "half a line": [b"25"],
    "an empty line": "",
    "a code of no class": "999 what",
    "a code that says nothing of the kind": "214 there is no help",
    "two codes in one reply": "250-one\r\n451 another",
    "bytes that are no text": [b"250 \xff\xfe\x80\r\n"],
    "a banner without an end": endless_banner,
    "a line without an end": endless_line,
    "ten thousand lines": "250-more\r\n" * 9_999 + "250 at last",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_at_every_step_costs_nobody_their_mail_and_mails_nobody_twice(a_house: House, lie: str) -> None:
    lies = [once(step, LIES[lie])() for step in STEPS]

    def script(step: str, session: Session) -> Reply | None:
        return next((reply for each in lies if (reply := each(step, session)) is not None), None)

    ended = a_house.run(script)
    assert not ended.broken()
    # Behind the dot it leaves one who may have the mail, if it was no 250 after all.
    assert ended.number("unknown") <= 1, ended
    assert ended.number("sent") == READERS - ended.number("unknown"), ended
    assert a_house.smtp.blurted < 64_000_000, "it was listened to for ever"


def test_a_greeting_may_hold_anything(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    smtp.script = lambda step, _: [b"554 5.3.2 not \0 now \xff\xfe\x1b[31m\r\n"] if step == "connect" else None
    app = make_app(database_url, smtp_url=smtp.url)
    (found,) = delivered(app, "reader0@example.org")
    assert (found.state, (found.reply or "")[:3]) == ("deferred", "554")
    smtp.script = lambda _step, _session: None
    clock.forward(minutes=3)
    pipeline.deliver(app, found.issue_id)
    assert smtp.recipients() == ["reader0@example.org"]


@pytest.mark.parametrize(
    "offered",
    [
        "SIZE " + "9" * 5_000,
        "SIZE -1",
        "SIZE ٣٣",
        "SIZE 1 2 3",
        "SIZE=0",
        "PIPELINING PIPELINING",
        "AUTH",
        "=",
        "8BITMIME\t",
    ],
    ids=lambda offered: offered[:16],
)
def test_what_a_relay_offers_may_be_nonsense(a_house: House, offered: str) -> None:
    ended = a_house.run(lambda step, _: f"250-sink\r\n250-{offered}\r\n250 HELP" if step == "ehlo" else None)
    assert not ended.broken()
    assert ended.number("sent") == READERS, ended


def test_a_relay_that_knows_no_ehlo_is_spoken_to_as_in_1982(a_house: House) -> None:
    ended = a_house.run(
        lambda step, _: "502 5.5.1 what" if step == "ehlo" and "EHLO" in a_house.smtp.heard[-1] else None
    )
    assert not ended.broken()
    assert ended.number("sent") == READERS, ended


EARLY = {
    "connect": "220 hello\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken",
    "ehlo": "250-sink\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken",
    "mail": "250 ok\r\n250 ok\r\n354 go\r\n250 taken",
    "rcpt": "250 ok\r\n354 go\r\n250 taken",
    "data": "354 go\r\n250 taken",
    "accepted": "250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken",
}


@pytest.mark.parametrize("step", EARLY)
def test_replies_to_commands_that_were_never_sent_are_believed_by_nobody(a_house: House, step: str) -> None:
    ended = a_house.run(once(step, EARLY[step])())
    assert not ended.broken()
    assert ended.number("sent") + ended.number("unknown") == READERS, ended
    assert ended.number("unknown") <= 1, ended


ONE_KIND = pytest.mark.parametrize("a_house", KINDS[:1], indirect=True, ids=str)


@ONE_KIND
def test_a_relay_that_stalls_is_waited_for_no_longer_than_the_timeout(a_house: House) -> None:
    stalls = [once(step, "hang")() for step in ("data", "accepted")]
    began = the_clock.monotonic()
    ended = a_house.run(lambda *seen: next((reply for each in stalls if (reply := each(*seen))), None))
    assert the_clock.monotonic() - began < 20, "it hung"
    assert not ended.broken()
    assert (ended.number("unknown"), ended.number("sent")) == (1, READERS - 1), ended


@ONE_KIND
def test_a_relay_that_drips_is_waited_for_no_longer_than_the_timeout(a_house: House) -> None:
    def drip() -> Iterator[bytes]:
        for _ in range(60):
            a_house.smtp.release.wait(0.25)
            yield b"250-still thinking\r\n"

    began = the_clock.monotonic()
    ended = a_house.run(once("rcpt", drip)())
    assert the_clock.monotonic() - began < 12, "each drop was taken for news"
    assert not ended.broken()
    assert ended.number("sent") == READERS, ended


def test_talk_without_an_end_takes_no_memory(a_house: House) -> None:
    issue = a_house.begin(lambda step, _: endless_banner() if step == "rcpt" else None)
    tracemalloc.start()
    try:
        pipeline.deliver(a_house.app, issue.id)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
    assert a_house.ended(issue).number("deferred") == READERS
    assert set(a_house.ended(issue).replies.values()) != {""}, "no reason is given"


@pytest.mark.parametrize(
    ("extensions", "script", "reason"),
    [
        (["PIPELINING"], {}, "STARTTLS"),
        (["PIPELINING", "STARTTLS"], {"starttls": "454 4.7.0 TLS not available"}, "454"),
        (["PIPELINING", "STARTTLS"], {"starttls": "502 5.5.1 what is that"}, "502"),
        (["PIPELINING", "STARTTLS"], {"starttls": "drop"}, ""),
        (["PIPELINING", "STARTTLS"], {"starttls": "garbage"}, "garbage"),
        (["PIPELINING", "STARTTLS"], {"starttls": "220 go ahead\r\n250 and no TLS\r\n250 ok\r\n354 go"}, ""),
        (["PIPELINING", "STARTTLS"], {"starttls": [b"220 go ahead\r\n", b"250 plain text\r\n" * 9]}, ""),
    ],
    ids=["not offered", "454", "502", "hangs up", "garbage", "answers for TLS", "plain text instead of TLS"],
)
def test_where_tls_fails_nothing_goes_out_in_plain_text(
    make_app: Callable[..., App],
    sqlite_url: str,
    smtp: SmtpServer,
    extensions: list[str],
    script: dict[str, Reply],
    reason: str,
) -> None:
    smtp.extensions = [*extensions, "AUTH PLAIN LOGIN"]
    smtp.script = lambda step, _: script.get(step)
    app = make_app(sqlite_url, smtp_url=f"smtp://user:wrongsecret@127.0.0.1:{smtp.server_address[1]}?timeout=2")
    (found,) = delivered(app, "reader0@example.org")
    assert (found.state, found.attempts) == ("deferred", 0), "a reader is not to blame"
    assert found.reply, "no reason is given"
    assert reason in found.reply
    assert found.message_id is None, "it was marked as handed over"
    # What a client says in TLS is random bytes to this relay, so only the words of a session are looked for.
    assert not [each for each in smtp.heard if each[:4].upper() in {"AUTH", "MAIL", "RCPT", "DATA", "BDAT"}]
    assert not [each for each in smtp.heard if "wrongsecret" in each]
    assert not smtp.accepted


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_relay_that_never_shakes_hands_over_tls_is_waited_for_no_longer_than_the_timeout(
    scheme: str, make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    def go_ahead_and_nothing() -> Iterator[bytes]:
        yield b"220 go ahead\r\n"
        smtp.release.wait(30)

    smtp.extensions = ["STARTTLS"]
    step = "starttls" if scheme == "smtp" else "connect"
    smtp.script = lambda seen, _: None if seen != step else go_ahead_and_nothing() if scheme == "smtp" else "hang"
    app = make_app(sqlite_url, smtp_url=f"{scheme}://127.0.0.1:{smtp.server_address[1]}?timeout=1")
    began = the_clock.monotonic()
    (found,) = delivered(app, "reader0@example.org")
    assert the_clock.monotonic() - began < 20, "it hung"
    assert (found.state, found.attempts) == ("deferred", 0)
    assert found.reply, "no reason is given"


@pytest.mark.parametrize("url", ["smtp://no-such-relay.invalid?timeout=2", "smtp://127.0.0.1:1?timeout=2"])
def test_a_relay_that_cannot_be_reached_defers_and_says_why(
    make_app: Callable[..., App], database_url: str, url: str
) -> None:
    (found,) = delivered(make_app(database_url, smtp_url=url), "reader0@example.org")
    assert (found.state, found.attempts) == ("deferred", 0)
    assert found.reply, "no reason is given"


ODD = {
    "254 characters": "l" * 64 + "@" + ".".join(["d" * 60, "e" * 60, "f" * 59, "org"]),
    "a domain in another script": "ada@bücher.example",
    "all signs that need no quotes": "!#$%&'*+-/=?^_`{|}~@example.org",
    "encoded words": "a=?utf-8?q?b?=@example.org",
}


def test_valid_but_odd_addresses_are_delivered_and_broken_ones_cost_only_themselves(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    wanted = [parse_address(each) for each in ODD.values()]
    app = make_app(sqlite_url, smtp_url=smtp.url)
    # What an import from elsewhere, or an older version, may have left in the database.
    stored = ['"ada lovelace"@example.org', "jörg@example.org", "reader@example.org"]
    rows = {row.id: row for row in delivered(app, *wanted, *stored)}
    with app.db.snapshot() as session:
        states = {
            person.email: next(row for row in rows.values() if row.subscriber_id == person.id)
            for person in session.exec(select(Subscriber))
        }
    for address in (*wanted, "reader@example.org"):
        assert states[address].state == "sent", f"{address}: {states[address]}"
        assert smtp.recipients().count(address) == 1
    for address in stored[:2]:
        row = states[address]
        assert row.state == "sent" or row.reply or row.skip_reason, f"{address}: neither delivered nor refused: {row}"
        assert (address in smtp.recipients()) == (row.state == "sent")
    assert not [each for each in smtp.heard if each.startswith("RCPT") and not each.isascii()], "SMTPUTF8 not offered"


@pytest.mark.parametrize("address", ['"ada l"@example.org', "jörg@example.org", "l" * 65 + "@example.org", "a@b"])
def test_an_address_that_cannot_be_mailed_everywhere_is_refused_with_the_reason(address: str) -> None:
    with pytest.raises(InputError, match=r"is not a mail address: ."):
        parse_address(address)


def delivered(app: App, *addresses: str) -> list[Delivery]:
    """Deliver an issue to addresses as they stand; return what the ledger says."""
    add_papers(app, [record(1)])
    entries = [Entry(each, Preferences(), State.ACTIVE) for each in addresses]
    with app.db.session() as session:
        subscribers.write_entries(session, entries, app.now())
        session.execute(sa.update(Subscriber).values(created_at=Clock(app.now()).at))
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        return list(session.exec(select(Delivery).order_by(Delivery.id)))
