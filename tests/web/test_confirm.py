"""A pending subscriber confirms: a page on GET, the deed on POST."""

import email
import re
from collections.abc import Callable
from email import policy
from email.message import EmailMessage

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_readers, joined, membership, sign_up

from newsletter import pipeline, steering
from newsletter.app import App
from newsletter.signing import Purpose
from newsletter.subscribers.models import State
from newsletter.web import create_web

ADA = "ada@example.org"
GOOD = {"email": ADA, "keywords": "protein design", "mutes": "crypto", "hour": "7", "timezone": "America/New_York"}


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def mails(app: App) -> list[EmailMessage]:
    """Deliver what is due, and return the notices in the outbox."""
    pipeline.deliver(app, None)
    found = []
    for path in sorted(app.settings.outbox_dir.glob("notices/*.eml")):
        parsed = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        found.append(parsed)
    return found


def link(mail: EmailMessage, room: str) -> str:
    """Return the path of a link in both parts of a mail."""
    paths = set()
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        paths |= set(re.findall(rf"https://news\.example\.org(/{room}/[\w-]+)", part.get_content()))
    [path] = paths
    return str(path)


def ask(app: App, client: TestClient) -> str:
    """Sign Ada up, and return the path of the link she is mailed."""
    assert client.post("/subscribe", data=GOOD).status_code == 200
    return link(mails(app)[-1], "confirm")


def test_sign_up_confirmation_and_welcome_make_an_active_subscriber(
    make_app: Callable[..., App], database_url: str
) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app), follow_redirects=False)
    path = ask(app, client)
    page = client.get(path)
    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert joined(app, ADA) == State.PENDING
    done = client.post(path)
    assert done.status_code == 200
    assert "You are subscribed" in done.text
    assert joined(app, ADA) == State.ACTIVE
    subjects = [mail["subject"] for mail in mails(app)]
    assert subjects == ["Please confirm your subscription to Daily Papers", "Welcome to Daily Papers"]


def test_the_page_shows_what_is_about_to_be_confirmed_and_no_address(app: App, client: TestClient) -> None:
    page = client.get(ask(app, client)).text
    for shown in ("protein design", "crypto", "07:00", "America/New York time", "Up to 10 papers", "Every day"):
        assert shown in page
    assert ADA not in page


def test_pressing_twice_is_the_same_as_once(app: App, client: TestClient) -> None:
    path = ask(app, client)
    assert [client.post(path).status_code for _ in range(3)] == [200, 200, 200]
    assert len(mails(app)) == 2
    assert joined(app, ADA) == State.ACTIVE


def test_opening_the_link_after_confirming_shows_that_it_is_done(app: App, client: TestClient) -> None:
    path = ask(app, client)
    client.post(path)
    page = client.get(path)
    assert "You are subscribed" in page.text
    assert "<button" not in page.text


@pytest.mark.parametrize("ended", [True, False])
def test_an_old_link_opens_the_preferences_no_longer_than_any_other_link(
    app: App, client: TestClient, clock: Clock, ended: bool
) -> None:
    path = ask(app, client)
    assert re.search(r'href="/preferences/[\w-]{38}"', client.post(path).text)
    clock.forward(hours=1)
    if ended:
        steering.end_links(app, 1)
    for answer in (client.get(path), client.post(path)):
        assert "You are subscribed" in answer.text
        assert ("/preferences/" in answer.text) is not ended


def test_a_link_is_good_for_seven_days_and_no_longer(app: App, client: TestClient, clock: Clock) -> None:
    path = ask(app, client)
    clock.forward(days=7)
    assert client.get(path).status_code == 200
    clock.forward(seconds=1)
    assert client.get(path).status_code == client.post(path).status_code == 404
    assert joined(app, ADA) == State.PENDING


def test_a_link_from_the_future_is_refused(app: App, client: TestClient, clock: Clock) -> None:
    path = ask(app, client)
    clock.forward(hours=-1)
    assert client.post(path).status_code == 404


def test_withdrawing_the_request_ends_the_link(app: App, client: TestClient) -> None:
    path = ask(app, client)
    assert client.post(link(mails(app)[-1], "u")).status_code == 200
    assert joined(app, ADA) == State.UNSUBSCRIBED
    assert client.get(path).status_code == client.post(path).status_code == 404
    assert joined(app, ADA) == State.UNSUBSCRIBED
    assert len(mails(app)) == 1, "somebody who withdrew is not welcomed"


def test_leaving_before_the_confirmation_goes_out_holds_it_back(app: App, client: TestClient) -> None:
    client.post("/subscribe", data=GOOD)
    assert membership.admit(app) == 1
    token = app.signer.sign(Purpose.UNSUBSCRIBE, 1, now=app.now())
    client.post(f"/u/{token}")
    assert mails(app) == []


def test_confirming_one_subscriber_leaves_the_others_alone(app: App, client: TestClient) -> None:
    path = ask(app, client)
    sign_up(app, "bob@example.org")
    client.post(path)
    assert (joined(app, ADA), joined(app, "bob@example.org")) == (State.ACTIVE, State.PENDING)


def test_somebody_who_left_may_come_back_by_confirming_anew(app: App, client: TestClient, clock: Clock) -> None:
    [id_] = add_readers(app, 1, prefix="ada")
    client.post(f"/u/{app.signer.sign(Purpose.UNSUBSCRIBE, id_, now=app.now())}")
    clock.forward(days=1)
    client.post("/subscribe", data=GOOD | {"email": "ada0@example.org"})
    assert joined(app, "ada0@example.org") == State.UNSUBSCRIBED, "nobody has looked at it yet"
    path = link(mails(app)[-1], "confirm")
    assert joined(app, "ada0@example.org") == State.PENDING
    assert client.post(path).status_code == 200
    assert joined(app, "ada0@example.org") == State.ACTIVE


def test_the_confirmation_holds_nothing_that_was_typed(app: App, client: TestClient) -> None:
    typed = "BUY-NOW https://spam.example/"
    typed_fields = ("keywords", "authors", "categories", "mutes", "about", "papers")
    client.post("/subscribe", data=GOOD | dict.fromkeys(typed_fields, typed) | {"topics": [typed]})
    [mail] = mails(app)
    assert "spam.example" not in str(mail)
    assert "BUY-NOW" not in str(mail)
    page = client.get(link(mail, "confirm"))
    assert 'href="https://spam' not in page.text


def test_confirming_sets_no_cookie_and_redirects_nowhere(app: App, client: TestClient) -> None:
    path = ask(app, client)
    for answer in (client.get(path), client.head(path), client.post(path)):
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert "location" not in answer.headers


def test_the_body_of_the_press_does_not_matter(app: App, client: TestClient) -> None:
    path = ask(app, client)
    assert client.post(path, content=b"\xff\x00{}", headers={"content-type": "application/json"}).status_code == 200
    assert joined(app, ADA) == State.ACTIVE
