"""Sign-up bombing: whatever way it comes in, and whoever it comes from, a stranger sets off few mails."""

import ipaddress
import re
import threading
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from httpx2 import Response
from samples import HOSTILE, add_readers, mails_of, open_and_queue
from visitors import ADA, AWAY, HOME, WAYS, ask, confirm_path, dump, person, recipients, sign_ups, statements, visitor

from newsletter import membership, privacy
from newsletter.app import App
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State
from newsletter.subscribers.preferences import LISTS, Preferences
from newsletter.web import create_web

SPELLINGS = (ADA, "ADA@example.org", "Ada@EXAMPLE.org", " ada@example.org ")
ABOUT_30 = ("new", "pending", "active", "suppressed", "erased", "unsubscribed", "impossible")


def test_fifty_posts_for_one_address_in_any_spelling_by_any_way_are_one_mail(app_on_both: App) -> None:
    client = visitor(app_on_both)
    for number in range(50):
        answer = ask(client, SPELLINGS[number % 4], WAYS[number % 3])
        assert answer.status_code in {200, 202}
    assert [each.casefold() for each in recipients(app_on_both)] == [ADA]
    assert [each.why for each in sign_ups(app_on_both)].count("address") == 49


def test_fifty_requests_for_an_active_readers_link_are_one_mail(app_on_both: App) -> None:
    add_readers(app_on_both, 1)
    client = visitor(app_on_both)
    for number in range(50):
        ask(client, "Reader0@example.org" if number % 2 else "reader0@EXAMPLE.org", WAYS[number % 4])
    assert recipients(app_on_both) == ["reader0@example.org"]


@pytest.mark.parametrize("ways", [("form",), ("json",), ("link",), WAYS])
def test_a_hundred_addresses_from_one_client_are_five_mails_at_most(app: App, ways: tuple[str, ...]) -> None:
    add_readers(app, 100, prefix="p") if ways == ("link",) else None
    client = visitor(app)
    answers = [ask(client, f"p{n}@example.org", ways[n % len(ways)]) for n in range(100)]
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert 4 <= len(recipients(app)) <= 5


def test_the_hundredth_answer_is_the_first_ones(app: App) -> None:
    client = visitor(app)
    for way in WAYS:
        answers = [ask(client, f"p{n}@example.org", way) for n in range(10, 50)]
        assert len({_bytes(answer, f"p{n}@example.org") for n, answer in enumerate(answers, 10)}) == 1
    assert len(sign_ups(app)) == 100, "the others are a flood"


def test_many_clients_at_the_same_time_get_an_address_one_mail(app_on_both: App) -> None:
    web, gate = create_web(app_on_both), threading.Barrier(8)

    def hammer(number: int) -> None:
        client = visitor(app_on_both, f"203.0.113.{number}", web)
        gate.wait(20)
        for way in WAYS:
            assert ask(client, ADA, way).status_code in {200, 202}
            membership.admit(app_on_both)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert recipients(app_on_both) == [ADA]
    assert len(sign_ups(app_on_both)) == 32


def test_a_reader_cannot_have_a_strangers_address_mailed_again_and_again(app_on_both: App, clock: Clock) -> None:
    """A change of address asks a stranger's address, too, and is under the same limits."""
    mine = add_readers(app_on_both, 4)
    clients = [visitor(app_on_both, f"203.0.113.{number}") for number in range(4)]
    for _ in range(4):
        for client, id_ in zip(clients, mine, strict=True):
            reader = person(app_on_both, f"reader{mine.index(id_)}@example.org")
            url = app_on_both.identity.preferences_url(reader, app_on_both.now())
            for _ in range(3):
                assert client.post(f"{url}/address", data={"email": "victim@example.org"}).status_code in {200, 400}
        assert recipients(app_on_both).count("victim@example.org") <= 3
        clock.forward(days=1)


def count_clients(app: App, *hosts: str, **headers: str) -> int:
    """Return how many different clients there are among who comes from these addresses."""
    web = create_web(app)
    for number, host in enumerate(hosts):
        visitor(app, host, web).post("/subscribe", data={"email": f"p{number}@example.org"}, headers=headers)
    return len({each.client for each in sign_ups(app)})


@pytest.mark.parametrize(
    ("hosts", "clients"),
    [
        (("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:0DB8:0001:0002::7"), 1),
        (("2001:db8:1:2::1", "2001:db8:1:3::1"), 2),
        (("203.0.113.7", "::ffff:203.0.113.7", "::FFFF:cb00:7107"), 1),
        (("203.0.113.7", "203.0.113.8"), 2),
        (("fe80::1%eth0", "fe80::1%eth1"), 1),
        (("not an address", "", "testclient"), 3),
    ],
)
def test_a_household_is_one_client_however_many_addresses_it_has(
    app: App, hosts: tuple[str, ...], clients: int
) -> None:
    assert count_clients(app, *hosts) == clients


def test_who_forwards_is_believed_only_when_the_operator_says_so(make_app: Callable[..., App], sqlite_url: str) -> None:
    app = make_app(sqlite_url, trusted_proxies="192.0.2.1, 2001:db8:ffff::/48")
    web = create_web(app)
    for number, (host, forwarded) in enumerate(
        [
            (HOME, "198.51.100.1"),  # no proxy of ours: what it says of others counts for nothing
            (HOME, "198.51.100.2"),
            (HOME, "192.0.2.1"),
            ("192.0.2.1", HOME),
            ("192.0.2.1", f"198.51.100.3, {HOME}"),  # what a client itself put in front of it
            ("192.0.2.1", f"192.0.2.1, {HOME}, 192.0.2.1"),
            ("2001:db8:ffff::5", f"{HOME}, 192.0.2.1"),
            ("192.0.2.1", f"{HOME}:4711"),
        ]
    ):
        client = visitor(app, host, web)
        client.post("/subscribe", data={"email": f"p{number}@example.org"}, headers={"x-forwarded-for": forwarded})
    assert len({each.client for each in sign_ups(app)}) == 1
    other = visitor(app, "192.0.2.1", web)
    other.post("/subscribe", data={"email": ADA}, headers={"x-forwarded-for": "198.51.100.3"})
    assert len({each.client for each in sign_ups(app)}) == 2


@pytest.mark.parametrize("trusted", ["10.0.0.7/8", "10.0.0.0/8", "10.1.2.3,", " 10.1.2.3 "])
def test_a_proxy_is_trusted_however_the_operator_writes_it(
    make_app: Callable[..., App], sqlite_url: str, trusted: str
) -> None:
    app = make_app(sqlite_url, trusted_proxies=trusted)
    for forwarded in ("198.51.100.1", "198.51.100.2"):
        client = visitor(app, "10.1.2.3")
        client.post("/subscribe", data={"email": ADA}, headers={"x-forwarded-for": forwarded})
    assert len({each.client for each in sign_ups(app)}) == 2


def test_no_other_header_makes_a_client_somebody_else(app: App) -> None:
    client = visitor(app)
    for number, name in enumerate(("x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip", "x-client-ip")):
        headers = {name: f"198.51.100.{number}", "user-agent": f"agent {number}", "cookie": f"a={number}"}
        client.post("/subscribe", data={"email": ADA}, headers=headers)
    assert len({each.client for each in sign_ups(app)}) == 1


def test_nothing_of_an_ip_address_is_kept(app_on_both: App, tmp_path: Path) -> None:
    hosts = (HOME, "2001:db8:1:2::1")
    for host in hosts:
        client = visitor(app_on_both, host)
        for way in WAYS:
            ask(client, ADA, way)
        client.post(confirm_path(app_on_both)) if host == HOME else None
    kept = dump(app_on_both)
    for path in tmp_path.glob("newsletter.db*"):
        kept += path.read_bytes().decode("latin-1")
    for host in hosts:
        address = ipaddress.ip_address(host)
        for spelled in (host, address.exploded, address.packed.hex(), str(int(address)), host[:10]):
            assert spelled not in kept
    assert all(re.fullmatch("[0-9a-f]{16}", each.client) for each in sign_ups(app_on_both))


def test_a_client_is_somebody_else_every_day_and_to_every_installation(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock
) -> None:
    first = make_app(sqlite_url)
    ask(visitor(first), ADA)
    clock.forward(hours=14)
    ask(visitor(first), ADA)
    clock.forward(hours=2)
    ask(visitor(first), ADA)
    ask(visitor(make_app(sqlite_url, secret_key="another key")), ADA)
    clients = [each.client for each in sign_ups(first)]
    assert clients[0] == clients[1]
    assert len(set(clients)) == 3


@pytest.mark.parametrize("way", ["form", "json"])
def test_mails_hold_nothing_that_a_stranger_typed(app_on_both: App, clock: Clock, way: str) -> None:
    app, client = app_on_both, visitor(app_on_both)
    marks = [f"SPAM{number} https://spam{number}.example/buy {text[:60]}" for number, text in enumerate(HOSTILE)]
    lists = {name: marks if way == "json" or name == "topics" else "; ".join(marks) for name in LISTS}
    typed = lists | {"about": " ".join(marks)[:900], "papers": "\n".join(marks), "language": "de", "hour": 23}
    answer = ask(client, "ada@example.org", way, **typed, timezone="Asia/Tokyo")
    assert answer.status_code in {200, 202}, answer.text
    ask(client, "bob@example.org")
    assert len(recipients(app)) == 2
    clock.forward(days=1)
    membership.remind(app)
    hostile, plain = (mails_of(app, f"{name}@example.org") for name in ("ada", "bob"))
    assert [str(mail["subject"]).partition(" ")[0] for mail in hostile] == ["Please", "Still"]
    for one, other in zip(hostile, plain, strict=True):
        assert _neutral(one) == _neutral(other)
        assert "spam" not in one.as_string().casefold()


def _neutral(mail: EmailMessage) -> list[object]:
    """Return a mail without what only tells one recipient from another."""
    parts = [str(part.get_content()) for part in mail.walk() if part.get_content_maintype() == "text"]
    heads = [f"{name}: {value}" for name, value in mail.items() if name not in {"Message-ID", "Content-Type"}]
    return [re.sub(r"(?:%20)?[\w-]{38}|(?:ada|bob)@example\.org", "…", text) for text in (*heads, *parts)]


def _bytes(answer: Response, email: str) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    """Return all an answer tells whoever typed an address."""
    return answer.status_code, answer.text.replace(email, "…"), tuple(sorted(answer.headers.multi_items()))


def people(app: App) -> list[str]:
    """Return an address of 30 characters for each standing somebody may have with us."""
    entries = {name: f"{name:x<18}@example.org" for name in ABOUT_30}
    entries["impossible"] = "nobody@no-such-place.example.q"
    states = {"pending": State.PENDING, "unsubscribed": State.UNSUBSCRIBED}
    known = [name for name in ABOUT_30 if name not in {"new", "impossible"}]
    membership.import_subscribers(
        app, [membership.Entry(entries[name], Preferences(), states.get(name, State.ACTIVE)) for name in known]
    )
    privacy.erase(app, person(app, entries["erased"]).id or 0)
    with app.db.session() as session:
        subscribers.suppress(session, entries["suppressed"], "complained", app.now())
    assert {len(each) for each in entries.values()} == {30}
    return list(entries.values())


@pytest.mark.parametrize("way", WAYS)
def test_no_answer_tells_who_is_known_nor_does_the_work_it_takes(app_on_both: App, clock: Clock, way: str) -> None:
    everybody, client = people(app_on_both), visitor(app_on_both)
    ask(client, "warm@example.org", way)
    for _ in range(2):
        said, done = [], []
        for email in everybody:
            with statements(app_on_both) as seen:
                said.append(_bytes(ask(client, email, way), email))
            done.append(seen)
        assert len(set(said)) == 1
        assert all(each == done[0] for each in done), "the same statements, in the same order"
        membership.admit(app_on_both)
        clock.forward(days=2)


def test_no_answer_tells_who_is_known_while_an_issue_is_under_way(app: App) -> None:
    everybody, client = people(app), visitor(app)
    open_and_queue(app)
    for way in WAYS:
        answers = [_bytes(ask(client, email, way), email) for email in everybody]
        assert len(set(answers)) == 1


def test_a_reader_cannot_find_out_by_a_change_of_address_who_else_is_known(app: App) -> None:
    everybody, answers = people(app), set()
    for number, email in enumerate(everybody):
        [id_] = add_readers(app, 1, prefix=f"me{number}-")
        reader = person(app, f"me{number}-0@example.org")
        assert reader.id == id_
        url = app.identity.preferences_url(reader, app.now())
        page = visitor(app, AWAY).post(f"{url}/address", data={"email": email})
        text = page.text.replace(email, "…").replace(reader.email, "me").replace(url.rpartition("/")[2], "link")
        answers.add((page.status_code, re.sub(r"/(u|feed)/[\w-]+", "/…", text)))
    assert len(answers) == 1


def test_the_door_stays_open_for_others_while_one_client_floods_it(app: App) -> None:
    web = create_web(app)
    flooding: TestClient = visitor(app, AWAY, web)
    for number in range(120):
        ask(flooding, f"p{number}@example.org")
    ask(visitor(app, HOME, web), ADA)
    assert ADA in recipients(app)
