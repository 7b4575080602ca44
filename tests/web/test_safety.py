"""What holds for every page: safe headers, no deed on GET or HEAD, and a clean answer to any nonsense."""

import base64
import email
import re
from collections.abc import Callable
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import HOSTILE, add_papers, add_readers, membership, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.signing import Purpose, Signer
from newsletter.tables import TABLES
from newsletter.tracking.models import Event
from newsletter.web import create_web

FORM = {"content-type": "application/x-www-form-urlencoded"}
PAGES = (
    "/",
    "/subscribe",
    "/healthz",
    "/readyz",
    "/static/site.css",
    "/static/zone.js",
    "/nowhere",
    "/u/x",
    "/confirm/x",
)
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False, raise_server_exceptions=False)


def dump(app: App, *, events: bool = False) -> str:
    with app.db.snapshot() as session:
        tables = [table for table in TABLES if events or table is not Event]
        return repr([[row.model_dump() for row in session.exec(select(table))] for table in tables])


def tokens(app: App, signer: Signer | None = None) -> dict[Purpose, str]:
    return {purpose: (signer or app.signer).sign(purpose, 1, now=app.now()) for purpose in Purpose}


def paths(made: dict[Purpose, str]) -> list[tuple[str, str]]:
    """Return all that a reader's tokens can do, with the method that does it."""
    return [
        ("GET", f"/confirm/{made[Purpose.CONFIRM]}"),
        ("POST", f"/confirm/{made[Purpose.CONFIRM]}"),
        ("GET", f"/u/{made[Purpose.UNSUBSCRIBE]}"),
        ("POST", f"/u/{made[Purpose.UNSUBSCRIBE]}"),
        ("GET", f"/c/{made[Purpose.READ]}/1/page"),
    ]


def crawl(app: App) -> set[str]:
    """Send a digest and both notices, and return every link on our site that they hold."""
    add_papers(app, [record(number, code_url="https://example.org/code") for number in range(1, 4)])
    add_readers(app, 2)
    membership.sign_up(app, "pending@example.org", membership.Preferences())
    membership.sign_up(app, "joined@example.org", membership.Preferences())
    membership.confirm(app, 4)
    for issue_id in (open_and_queue(app).id, None):
        pipeline.deliver(app, issue_id)
    links: set[str] = set()
    for file in app.settings.outbox_dir.glob("*/*.eml"):
        mail = email.message_from_bytes(file.read_bytes(), policy=policy.default)
        assert isinstance(mail, EmailMessage)
        bodies = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
        for text in (mail["List-Unsubscribe"], *bodies):
            links |= set(re.findall(r"https://news\.example\.org(/[^\s\"'<>]*)", text))
    return links


def test_following_every_link_of_every_mail_changes_nothing(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    links = crawl(app)
    assert {link.split("/")[1] for link in links} == {"", "u", "c", "o", "confirm"}
    client, before = TestClient(create_web(app), follow_redirects=False), dump(app)
    for link in sorted(links):
        assert client.head(link).status_code in {200, 302}
    with app.db.snapshot() as session:
        assert session.exec(select(Event)).all() == [], "HEAD counts nothing"
    for link in sorted(links):
        assert client.get(link).status_code in {200, 302}
    assert dump(app) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_every_answer_carries_the_same_safe_headers(client: TestClient, method: str) -> None:
    for path in PAGES:
        headers = client.request(method, path).headers
        assert headers.get_list("content-security-policy") == [POLICY]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert path.startswith("/static/") or headers["cache-control"] == "no-store"
        assert "set-cookie" not in headers


def test_a_failure_of_ours_is_a_page_with_the_safe_headers_too(make_app: Callable[..., App], tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'without-tables.db'}")
    client = TestClient(create_web(app), raise_server_exceptions=False)
    answer = client.post("/subscribe", data={"email": "ada@example.org"})
    assert answer.status_code == 500
    assert answer.headers.get_list("content-security-policy") == [POLICY]
    assert answer.headers["cache-control"] == "no-store"
    assert "Something went wrong on our side" in answer.text
    assert "ada@example.org" not in answer.text
    assert "sql" not in answer.text.lower()


def test_no_page_holds_script_or_style_of_its_own(app: App, client: TestClient) -> None:
    membership.sign_up(app, "ada@example.org", membership.Preferences())
    answers = [client.request(method, path) for method, path in paths(tokens(app))[:4]]
    answers += [client.get(path) for path in PAGES if not path.startswith("/static")]
    answers += [client.post("/subscribe", data={"email": typed}) for typed in ("", "bob@example.org")]
    for answer in answers:
        assert not re.search(r"<style|<script(?! src=\"/static/)|\sstyle=|\son\w+=", answer.text)
        assert not re.search(r"(?:src|href|action)=\"(?!/|#|data:,)", answer.text)


def test_every_kind_of_bad_link_gives_the_same_page(app: App, client: TestClient, clock: Any) -> None:
    membership.sign_up(app, "ada@example.org", membership.Preferences())
    good = tokens(app)
    before = dump(app, events=True)
    wrong = [
        tokens(app, Signer(["a key of somebody else"])),
        {purpose: token[:-1] for purpose, token in good.items()},
        {purpose: token + "A" for purpose, token in good.items()},
        {purpose: token.swapcase() for purpose, token in good.items()},
        *(dict.fromkeys(Purpose, good[other]) for other in Purpose),
        *(dict.fromkeys(Purpose, text) for text in ("x", "A" * 38, "%00", "%ff%fe", "é" * 38, ".." * 19, "x" * 5_000)),
    ]
    answers = [
        client.request(method, path)
        for made in wrong
        for method, path in paths(made)
        if not any(token in path and f"/{room}" in path for room, token in _own(good).items())
    ]
    clock.forward(seconds=timedelta(days=7, seconds=1).total_seconds())
    answers += [client.request(method, path) for method, path in paths(good)[:2]]
    clock.forward(days=-8)
    answers += [client.request(method, path) for method, path in paths(good)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert dump(app, events=True) == before


def _own(good: dict[Purpose, str]) -> dict[str, str]:
    return {"confirm/": good[Purpose.CONFIRM], "u/": good[Purpose.UNSUBSCRIBE], "c/": good[Purpose.READ]}


def test_every_flipped_byte_of_a_token_is_refused(app: App, client: TestClient) -> None:
    membership.sign_up(app, "ada@example.org", membership.Preferences())
    before = dump(app, events=True)
    raw = base64.urlsafe_b64decode(tokens(app)[Purpose.UNSUBSCRIBE] + "==")
    for place in range(len(raw)):
        flipped = raw[:place] + bytes([raw[place] ^ 0x01]) + raw[place + 1 :]
        token = base64.urlsafe_b64encode(flipped).decode().rstrip("=")
        assert client.post(f"/u/{token}").status_code == 404
    assert dump(app, events=True) == before


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (413, {"content": b"email=" + b"a" * 70_000, "headers": FORM}),
        (413, {"content": iter([b"email=" + b"a" * 40_000] * 2), "headers": FORM}),
        (413, {"content": b"", "headers": FORM | {"content-length": "9" * 400}}),
        (413, {"files": {"email": ("a.txt", b"a" * 70_000)}}),
        (400, {"files": {"email": ("a.txt", b"ada@example.org")}}),
        (400, {"content": b"email=" + b"a" * 60_000, "headers": FORM}),
        (400, {"content": bytes(range(256)) * 10, "headers": FORM}),
        (400, {"content": b"&".join([b"a=1"] * 5_000), "headers": FORM}),
        (400, {"data": {"email": "ada@example.org", "topics": [f"topic {number}" for number in range(150)]}}),
        (400, {"content": b"email=a@example.org&email=b", "headers": FORM}),
        (400, {"content": b"email=%ED%A0%80@example.org&topics=%ED%A0%80", "headers": FORM}),
        (400, {"json": {"email": "ada@example.org"}}),
        (400, {"content": b"email=ada@example.org", "headers": {"content-type": "text/plain"}}),
        (400, {"content": b"\xff\xfe", "headers": {"content-type": "multipart/form-data; boundary=x"}}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (400, {}),
    ],
)  # fmt: skip
def test_a_form_that_makes_no_sense_is_refused_and_writes_nothing(
    app: App, client: TestClient, status: int, sent: dict[str, Any]
) -> None:
    before = dump(app, events=True)
    answer = client.post("/subscribe", **sent)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert dump(app, events=True) == before


def test_no_charset_breaks_the_form(client: TestClient) -> None:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n\\ud800+2AA-\r\n' for name in ("email", "topics")
    )
    for charset in ("undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "hex", "idna", "no", ""):
        kind = {"content-type": f"multipart/form-data; charset={charset}; boundary=b"}
        assert client.post("/subscribe", content=f"{parts}--b--\r\n".encode(), headers=kind).status_code == 400


def test_a_wrong_method_is_refused(client: TestClient) -> None:
    act = {"/subscribe", "/confirm/x", "/u/x"}
    for path in (*act, "/", "/o/x.gif", "/c/x/1/page", "/healthz", "/readyz", "/static/site.css"):
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", *(() if path in act else ("POST",))):
            assert client.request(method, path).status_code == 405


def test_an_unknown_address_is_a_plain_404(client: TestClient) -> None:
    rooms = ("/docs", "/openapi.json", "/redoc", "/subscribe/", "/u", "/u/", "/confirm", "/o/x", "/c/x/1", "/static")
    files = ("/static/", "/static/..%2fserver.py", "/static/%00", "/static/" + "a" * 5_000, "/favicon.ico", "/.env")
    for path in (*rooms, *files, "/nowhere", "/%ff", "/" + "x" * 9_000, "//evil.example.net"):
        for method in ("GET", "HEAD", "POST"):
            answer = client.request(method, f"http://testserver{path}", headers={"host": "evil.example.net"})
            assert answer.status_code == (405 if method == "POST" and path.startswith("/static/") else 404)
            assert "location" not in answer.headers
            assert "evil.example.net" not in answer.text


def test_hostile_texts_in_the_address_line_are_never_echoed(client: TestClient) -> None:
    for text in HOSTILE:
        quoted = "".join(f"%{byte:02x}" for byte in text.encode())
        for path in (f"/{quoted}", f"/u/{quoted}", f"/c/{quoted}/{quoted}/{quoted}", f"/subscribe?email={quoted}"):
            answer = client.get(path)
            assert answer.status_code in {200, 404}
            assert "alert(1)" not in answer.text
            assert "Bcc" not in answer.text
