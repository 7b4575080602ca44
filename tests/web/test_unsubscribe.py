"""Leaving: by hand and by one click (RFC 8058)."""

import email
import re
from collections.abc import Callable
from email import policy
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, joined, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.signing import Purpose
from newsletter.subscribers.models import State
from newsletter.tracking.models import Event
from newsletter.web import create_web

READER = "reader0@example.org"
ONE_CLICK: dict[str, dict[str, Any]] = {
    "urlencoded": {"data": {"List-Unsubscribe": "One-Click"}},
    "multipart": {"files": {"List-Unsubscribe": (None, "One-Click")}},
    "empty": {},
    "binary": {"content": bytes(range(256)), "headers": {"content-type": "application/octet-stream"}},
    "broken multipart": {"content": b"\xff--", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    "wrong type": {"content": b"{", "headers": {"content-type": "application/json"}},
    "unknown charset": {"content": b"a=b", "headers": {"content-type": "text/plain; charset=undefined"}},
    "a file": {"files": {"file": ("a.bin", b"\x00" * 9_000)}},
}


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def path(app: App, id_: int) -> str:
    return f"/u/{app.signer.sign(Purpose.UNSUBSCRIBE, id_, now=app.now())}"


def left(app: App) -> list[Event]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Event).where(Event.kind == "unsubscribed")))


@pytest.mark.parametrize("body", ONE_CLICK.values(), ids=list(ONE_CLICK))
def test_one_click_post_answers_200_without_redirect_or_cookie(
    app: App, client: TestClient, body: dict[str, Any]
) -> None:
    [id_] = add_readers(app, 1)
    for _ in range(2):
        answer = client.post(path(app, id_), **body)
        assert answer.status_code == 200
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert joined(app, READER) == State.UNSUBSCRIBED
    assert [event.times for event in left(app)] == [1]


def test_the_header_of_a_real_mail_is_the_way_out(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app), follow_redirects=False)
    add_papers(app, [record(1)])
    add_readers(app, 2)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    found = {}
    for file in app.settings.outbox_dir.glob("*/*.eml"):
        head = email.message_from_bytes(file.read_bytes(), policy=policy.default)
        assert head["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        match = re.search(r"<https://news\.example\.org(/u/[\w-]+)>", head["List-Unsubscribe"])
        assert match
        found[head["to"]] = match[1]
    assert client.post(found[READER], data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert joined(app, READER) == State.UNSUBSCRIBED
    assert joined(app, "reader1@example.org") == State.ACTIVE


def test_the_page_asks_with_one_button_and_changes_nothing(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    page = client.get(path(app, id_))
    assert page.status_code == 200
    assert page.text.count("<button") == 1
    assert '<form method="post">' in page.text
    assert READER not in page.text, "a forwarded mail must not tell whose it was"
    assert client.head(path(app, id_)).status_code == 200
    assert joined(app, READER) == State.ACTIVE


def test_the_page_still_opens_for_somebody_who_has_left(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    client.post(path(app, id_))
    assert client.get(path(app, id_)).status_code == 200
    assert "You are unsubscribed" in client.post(path(app, id_)).text


@pytest.mark.parametrize("how", ["undo", "weekly", "pause"])
def test_a_link_to_leave_opens_nobodys_preferences_not_even_by_coming_back(
    app: App, client: TestClient, how: str
) -> None:
    """It never ends, and stands in the mail that tells an old address of a new one."""
    [id_] = add_readers(app, 1)
    pages = [client.get(path(app, id_)), client.post(path(app, id_))]
    [back] = set(re.findall(r'action="(/back/[\w-]{38})"', pages[-1].text))
    pages.append(client.post(back, data={"how": how}))
    assert joined(app, READER) == State.ACTIVE
    pages += [client.post(back, data={"how": how}), client.get(path(app, id_))]
    assert [page.status_code for page in pages] == [200, 200, 200, 404, 200]
    assert not any("/preferences/" in page.text or READER in page.text for page in pages)


def test_a_link_from_years_ago_still_works(app: App, client: TestClient, clock: Any) -> None:
    [id_] = add_readers(app, 1)
    old = path(app, id_)
    clock.forward(days=3_650)
    assert client.post(old).status_code == 200
    assert joined(app, READER) == State.UNSUBSCRIBED


def test_a_link_still_works_after_the_key_was_changed(make_app: Callable[..., App], sqlite_url: str) -> None:
    before = make_app(sqlite_url, secret_key="the old one")
    [id_] = add_readers(before, 1)
    after = make_app(sqlite_url, secret_key="the new one,the old one")
    assert TestClient(create_web(after)).post(path(before, id_)).status_code == 200
    assert joined(after, READER) == State.UNSUBSCRIBED


def test_no_mail_is_handed_over_to_a_reader_who_left_mid_issue(app: App, client: TestClient) -> None:
    add_papers(app, [record(1)])
    ids = add_readers(app, 3)
    issue = open_and_queue(app)
    client.post(path(app, ids[1]))
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert (accounting.eligible, accounting.sent) == (3, 2)
    assert accounting.skipped == {"not_active": 1}


def test_nobody_else_leaves_with_a_reader(app: App, client: TestClient) -> None:
    ids = add_readers(app, 5)
    client.post(path(app, ids[2]))
    states = [joined(app, f"reader{number}@example.org") for number in range(5)]
    assert states == [State.ACTIVE, State.ACTIVE, State.UNSUBSCRIBED, State.ACTIVE, State.ACTIVE]


def test_a_slash_at_the_end_is_not_redirected_to_wherever_the_host_header_says(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    answer = client.post(path(app, id_) + "/", headers={"host": "evil.example.net"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_a_body_that_says_it_is_too_long_is_turned_away_before_anything_is_done(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    answer = client.post(path(app, id_), content=b"x" * (512 * 1024 + 1))
    assert answer.status_code == 413
    assert joined(app, READER) == State.ACTIVE, "an answer must not deny what was done"
