"""What holds for every page: safe headers, no deed on GET or HEAD, and a clean answer to any nonsense."""

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import HOSTILE, add_papers, add_readers, join, mails_of, membership, open_and_queue, record, sign_up
from sqlmodel import select

from newsletter import pipeline, privacy, steering
from newsletter.app import App
from newsletter.delivery.desk import MAILS
from newsletter.delivery.models import Delivery, Mail
from newsletter.rendering.links import FEEDBACK
from newsletter.signing import Purpose, Signer
from newsletter.subscribers.changes.models import AddressChange
from newsletter.subscribers.intake.models import EntryPoint
from newsletter.tables import TABLES
from newsletter.tracking.models import Event
from newsletter.web import create_web
from newsletter.web.readers import LINKS_LAST

FORM = {"content-type": "application/x-www-form-urlencoded"}
PAGES = (
    "/",
    "/subscribe",
    "/healthz",
    "/readyz",
    "/static/site.css",
    *(f"/static/{name}.js" for name in ("zone", "topics", "sample", "work")),
    "/nowhere",
    "/link",
    "/u/x",
    "/confirm/x",
    "/preferences/x",
    "/address/x",
    "/f/x/1/like",
    "/api/docs",
    "/api/openapi.json",
    "/api/v1/form",
    "/archive/x",
    "/archive?page=x",
    "/feed/x.atom",
    "/v/x",
)
GOES_TO = re.compile(r'<(?:a|link|form)(?![^>]* method="post")[^>]* (?:href|action)="(/[^"]*)"')
LAST = {
    Purpose.RETURN: membership.RETURN_WITHIN,
    Purpose.ERASE: membership.RETURN_WITHIN,
    Purpose.REJOIN: membership.REJOIN_WITHIN,
    Purpose.NEW_ADDRESS: steering.MOVE_WITHIN,
    Purpose.CONFIRM: membership.CONFIRM_WITHIN,
    Purpose.PREFERENCES: LINKS_LAST,
    Purpose.FEEDBACK: LINKS_LAST,
}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False, raise_server_exceptions=False)


def dump(app: App, *, events: bool = True) -> str:
    """Return every row of every table."""
    with app.db.snapshot() as session:
        tables = [table for table in TABLES if events or table is not Event]
        return repr([sorted(repr(row.model_dump()) for row in session.exec(select(table))) for table in tables])


def paths(made: dict[Purpose, str]) -> list[tuple[Purpose, str, str]]:
    """Return all that a reader's tokens can do, with the purpose that it takes and the method that does it."""
    both = {
        Purpose.CONFIRM: [f"/confirm/{made[Purpose.CONFIRM]}"],
        Purpose.UNSUBSCRIBE: [f"/u/{made[Purpose.UNSUBSCRIBE]}"],
        Purpose.PREFERENCES: [f"/preferences/{made[Purpose.PREFERENCES]}"],
        Purpose.NEW_ADDRESS: [f"/address/{made[Purpose.NEW_ADDRESS]}"],
        Purpose.FEEDBACK: [f"/f/{made[Purpose.FEEDBACK]}/1/{kind}" for kind in FEEDBACK],
    }
    found = [(purpose, method, path) for purpose, some in both.items() for path in some for method in ("GET", "POST")]
    steps = ("undo", "papers", "pause", "address", "links", "erase")
    preferences = f"/preferences/{made[Purpose.PREFERENCES]}"
    return [
        *found,
        (Purpose.PREFERENCES, "GET", f"{preferences}/export"),
        *((Purpose.PREFERENCES, "POST", f"{preferences}/{step}") for step in steps),
        (Purpose.FEEDBACK, "POST", f"/f/{made[Purpose.FEEDBACK]}/1/undo"),
        (Purpose.ERASE, "POST", f"/erase/{made[Purpose.ERASE]}"),
        (Purpose.RETURN, "POST", f"/back/{made[Purpose.RETURN]}"),
        *((Purpose.REJOIN, method, f"/rejoin/{made[Purpose.REJOIN]}") for method in ("GET", "POST")),
        *((Purpose.FEED, "GET", f"/feed/{made[Purpose.FEED]}.{kind}") for kind in ("atom", "json")),
        (Purpose.READ, "GET", f"/c/{made[Purpose.READ]}/1/page"),
    ]


def prepared(app: App) -> dict[Purpose, str]:
    """Make somebody pending, a reader who moves, and one who left; return a good token of each purpose."""
    add_papers(app, [record(1)])
    asked = sign_up(app, "pending@example.org")
    [reader] = add_readers(app, 1)
    gone = add_readers(app, 2, prefix="gone")
    membership.unsubscribe(app, gone)
    steering.ask_address(app, reader, "moved@example.org")
    pipeline.deliver(app, open_and_queue(app).id)
    with app.db.snapshot() as session:
        [move] = session.exec(select(AddressChange.id))
        [digest] = session.exec(select(Delivery.id).where(Delivery.state == "sent", Delivery.mail == Mail.DIGEST))
    ids = {
        Purpose.CONFIRM: asked,
        Purpose.UNSUBSCRIBE: reader,
        Purpose.RETURN: gone[0],
        Purpose.ERASE: gone[0],
        Purpose.REJOIN: gone[1],
        Purpose.PREFERENCES: reader,
        Purpose.FEED: reader,
        Purpose.READ: digest,
        Purpose.FEEDBACK: digest,
        Purpose.NEW_ADDRESS: move,
        Purpose.FORM: 0,
    }
    assert set(ids) == set(Purpose)
    return {purpose: app.signer.sign(purpose, id_ or 0, now=app.now()) for purpose, id_ in ids.items()}


def crawl(app: App, clock: Clock) -> set[str]:
    """Send a digest and each kind of notice, and return every link on our site that they hold."""
    add_papers(app, [record(number, code_url="https://example.org/code") for number in range(1, 4)])
    sign_up(app, "pending@example.org")
    clock.forward(days=1)
    assert membership.remind(app) == 1
    join(app, "joined@example.org")
    moving, moved, _ = add_readers(app, 3)
    for number, reader in enumerate((moved, moving), start=1):
        steering.ask_address(app, reader, f"new{number}@example.org")
    steering.move(app, 1)
    sign_up(app, "reader2@example.org")
    membership.unsubscribe(app, add_readers(app, 1, prefix="gone"), EntryPoint.OPERATOR)
    broken = {"mail": Mail.WELCOME, "subscriber_id": moved, "state": "skipped", "skip_reason": "unprintable"}
    with app.db.session() as session:  # what needs the operator
        at = dict.fromkeys(("queued_at", "not_before", "expires_at", "done_at"), app.now())
        session.add(Delivery(**broken, **at))
    open_and_queue(app)
    mails = mails_of(app)
    with app.db.snapshot() as session:
        assert set(session.exec(select(Delivery.mail).where(Delivery.state == "sent"))) == {
            Mail.DIGEST,  # whose other forms are the same in the ledger
            *(set(Mail) - set(MAILS.values())),
        }
    links: set[str] = set()
    for mail in mails:
        bodies = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
        for text in (mail["List-Unsubscribe"] or "", *bodies):
            links |= set(re.findall(r"https://news\.example\.org(/[^\s\"'<>]*)", text))
    return links


def test_following_every_link_of_every_mail_and_of_every_page_behind_it_changes_nothing(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    app = make_app(database_url, admin_email="admin@example.org")
    links = crawl(app, clock)
    rooms = {"", "u", "c", "o", "v", "confirm", "preferences", "address", "f", "rejoin"}
    assert {link.split("/")[1] for link in links} == rooms
    client, before, lasting = TestClient(create_web(app), follow_redirects=False), dump(app), dump(app, events=False)
    seen: set[str] = set()
    while links:
        for link in sorted(links):
            assert client.head(link).status_code in {200, 302}, link
        assert dump(app) == before, "HEAD changes nothing and counts nothing"
        pages = [client.get(link) for link in sorted(links) if link[:3] not in {"/c/", "/o/"}]
        assert {page.status_code for page in pages} == {200}
        seen |= links
        links = {unescape(link) for page in pages for link in GOES_TO.findall(page.text)} - seen
    behind = {"link", "api", "static", "subscribe", "archive", "feed", "feed.atom", "feed.json"}
    assert {urlsplit(link).path.split("/")[1] for link in seen} == rooms | behind
    assert any(link.endswith("/export") for link in seen)
    assert dump(app) == before
    for link in sorted(seen):
        assert client.get(link).status_code in {200, 302}
    assert dump(app, events=False) == lasting


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


def test_no_page_holds_script_or_style_of_its_own_nor_loads_anything_from_elsewhere(
    app: App, client: TestClient
) -> None:
    good = prepared(app)
    ends = (Purpose.NEW_ADDRESS, Purpose.UNSUBSCRIBE)  # in this order, for they end the other links
    ways = [way for way in paths(good) if way[2].rpartition("/")[2] not in {"links", "erase"}]
    ways = [way for way in ways if way[0] is not Purpose.FEED]  # that is no page
    ways.sort(key=lambda way: ends.index(way[0]) if way[0] in ends else -1)
    answers = [client.request(method, path) for _, method, path in ways]
    assert {answer.status_code for answer in answers} <= {200, 302, 303, 400, 409}
    for step, typed in (("links", {}), ("erase", {}), ("erase", {"sure": "yes"})):
        [id_] = add_readers(app, 1, prefix=f"{step}{len(typed)}-")
        token = app.signer.sign(Purpose.PREFERENCES, id_, now=app.now())
        answers.append(client.post(f"/preferences/{token}/{step}", data=typed))
        assert answers[-1].status_code in {200, 400}
    answers += [client.get(path) for path in PAGES if not path.startswith("/static")]
    answers += [client.get(path) for path in ("/archive", "/archive/2026-08-05")]
    answers += [client.post("/subscribe", data={"email": typed}) for typed in ("", "bob@example.org")]
    answers += [client.post(path, data={"topics": "x"}) for path in ("/subscribe/sample", "/link")]
    answers.append(client.post("/subscribe", data={"topics": "proteins", "show": "sample"}))
    assert sum("https://arxiv.org/abs/2608.00001" in answer.text for answer in answers) > 5
    for answer in answers:
        text = re.sub(r'<link rel="canonical" href="https://news\.example\.org/archive[^"]*">', "", answer.text)
        assert not re.search(r"<style|<script(?! src=\"/static/)|\sstyle=|\son\w+=", text)
        assert not re.search(r"(?:src|action)=\"(?!/)|<link [^>]*href=\"(?!/|data:,)", text)
        assert not re.search(r"href=\"(?!/|#|data:,|https://arxiv\.org/(?:abs|pdf)/2608\.00001\")", text)


def test_every_kind_of_bad_link_gives_the_same_page(app: App, client: TestClient, clock: Clock) -> None:
    good = prepared(app)
    before = dump(app)
    nobody = {purpose: app.signer.sign(purpose, 12_345, now=app.now()) for purpose in Purpose}
    wrong = [
        {purpose: Signer(["a key of somebody else"]).sign(purpose, 1, now=app.now()) for purpose in Purpose},
        # A click on a mail that is gone still leads to its paper, and who is erased is told so once more.
        nobody | {Purpose.READ: "x", Purpose.ERASE: "x"},
        {purpose: token[:-1] for purpose, token in good.items()},
        {purpose: token + "A" for purpose, token in good.items()},
        {purpose: token.swapcase() for purpose, token in good.items()},
        *(dict.fromkeys(Purpose, good[other]) for other in Purpose),
        *(dict.fromkeys(Purpose, text) for text in ("x", "A" * 38, "%00", "%ff%fe", "é" * 38, ".." * 19, "x" * 5_000)),
    ]
    answers = [
        client.request(method, path)
        for made in wrong
        for purpose, method, path in paths(made)
        if made[purpose] != good[purpose]
    ]
    start = clock()
    for purpose, limit in sorted(LAST.items(), key=lambda last: last[1]):
        clock.at = start + limit + timedelta(seconds=1)
        answers += [client.request(method, path) for needs, method, path in paths(good) if needs is purpose]
    clock.at = start - timedelta(minutes=6)
    answers += [client.request(method, path) for _, method, path in paths(good)]
    clock.at = start
    assert {answer.status_code for answer in answers} == {404}
    assert len({without_stamp(answer.text) for answer in answers}) == 1
    assert dump(app) == before
    ways = [way for way in paths(good) if way[0] in {Purpose.PREFERENCES, Purpose.FEEDBACK, Purpose.FEED}]
    for end in (steering.end_links, privacy.erase):  # what a reader ends is as bad as what never was good
        end(app, app.signer.unsign(Purpose.PREFERENCES, good[Purpose.PREFERENCES], now=app.now()))
        ended = [client.request(method, path) for _, method, path in ways]
        assert {(each.status_code, without_stamp(each.text)) for each in ended} == {
            (404, without_stamp(answers[0].text))
        }


def without_stamp(page: str) -> str:
    """Return a page without when it was made; a bad link's page holds a form to ask for a good one."""
    assert page.count('name="stamp"') == 1
    return re.sub(r'name="stamp" value="[\w-]{38}"', "", page)


def test_every_flipped_byte_of_a_token_is_refused(app: App, client: TestClient) -> None:
    good = prepared(app)
    before = dump(app)
    first = {purpose: (method, path) for purpose, method, path in reversed(paths(good))}
    assert set(first) == set(Purpose) - {Purpose.FORM}
    for purpose, (method, path) in first.items():
        raw = base64.urlsafe_b64decode(good[purpose] + "==")
        for place in range(len(raw)):
            flipped = raw[:place] + bytes([raw[place] ^ 0x01]) + raw[place + 1 :]
            token = base64.urlsafe_b64encode(flipped).decode().rstrip("=")
            assert client.request(method, path.replace(good[purpose], token)).status_code == 404
    assert dump(app) == before


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (413, {"content": b"email=" + b"a" * 600_000, "headers": FORM}),
        (413, {"content": iter([b"email=" + b"a" * 300_000] * 2), "headers": FORM}),
        (413, {"content": b"", "headers": FORM | {"content-length": "9" * 400}}),
        (413, {"files": {"email": ("a.txt", b"a" * 600_000)}}),
        (400, {"files": {"email": ("a.txt", b"ada@example.org")}}),
        (400, {"content": b"email=" + b"a" * 500_000, "headers": FORM}),
        (400, {"content": b"email=ada@example.org&papers=" + b"a" * 450_000, "headers": FORM}),
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
    before = dump(app)
    answer = client.post("/subscribe", **sent)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert dump(app) == before


def test_no_charset_breaks_the_form(client: TestClient) -> None:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n\\ud800+2AA-\r\n' for name in ("email", "topics")
    )
    for charset in ("undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "hex", "idna", "no", ""):
        kind = {"content-type": f"multipart/form-data; charset={charset}; boundary=b"}
        assert client.post("/subscribe", content=f"{parts}--b--\r\n".encode(), headers=kind).status_code == 400


def test_a_wrong_method_is_refused(client: TestClient) -> None:
    act = {"/subscribe", "/link", "/confirm/x", "/address/x", "/preferences/x", "/f/x/1/like", "/u/x"}
    press = {"/subscribe/sample", "/back/x", *(f"/preferences/x/{step}" for step in ("undo", "papers", "pause"))}
    press |= {f"/preferences/x/{step}" for step in ("address", "links", "erase")}
    look = {"/", "/o/x.gif", "/c/x/1/page", "/healthz", "/readyz", "/static/site.css", "/preferences/x/export"}
    for path in act | press | look | {"/api/docs", "/api/openapi.json"}:
        never = ("GET", "HEAD") if path == "/subscribe/sample" else () if path in act | press else ("POST",)
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", *never):
            assert client.request(method, path).status_code == 405


def test_an_unknown_address_is_a_plain_404(client: TestClient) -> None:
    rooms = ("/docs", "/openapi.json", "/redoc", "/subscribe/", "/u", "/u/", "/confirm", "/o/x", "/c/x/1", "/static")
    rooms += ("/preferences", "/preferences/x/nowhere", "/f/x", "/f/x/1", "/back", "/address", "/link/", "/api/")
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
        rooms = (f"/{room}/{quoted}" for room in ("u", "confirm", "address", "preferences", "api/v1"))
        asked = (f"/subscribe?email={quoted}&lang={quoted}", f"/link?lang={quoted}", f"/f/x/1/{quoted}")
        three = (f"/{room}/{quoted}/{quoted}/{quoted}" for room in ("c", "f"))
        for path in (f"/{quoted}", *rooms, *asked, *three):
            answer = client.get(path)
            assert answer.status_code in {200, 404}
            assert "alert(1)" not in answer.text
            assert "Bcc" not in answer.text
