"""What holds for every answer of the readers' pages: safe headers, HEAD beside GET, and a clean end of any nonsense."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from httpx2 import Response
from samples import HOSTILE, add_papers, mails_of, open_and_queue, paths_in, record
from test_logs import written  # noqa: F401  a fixture
from visitors import ADA, ask, confirm_path, consents, dump, person, sign_ups, stamp_in, subscribed, visitor

from newsletter import pipeline, steering
from newsletter.app import App
from newsletter.signing import Purpose
from newsletter.subscribers.changes.models import Act
from newsletter.web import create_web

FORM = {"content-type": "application/x-www-form-urlencoded"}
PAGES = ("/", "/subscribe", "/link", "/api/docs", "/api/openapi.json", "/api/v1/form", "/nowhere", "/preferences/x")
POSTS = (
    *("/subscribe", "/subscribe/sample", "/link", "/back/{b}", "/preferences/{p}"),
    *(f"/preferences/{{p}}/{room}" for room in ("undo", "papers", "pause", "address", "erase")),
    *(f"/f/{{f}}/1/{kind}" for kind in ("like", "mute", "undo")),
)
LOOKS = (
    "/preferences/{p}",
    "/preferences/{p}/export",
    "/f/{f}/1/like",
    "/f/{f}/1/mute",
    "/u/{u}",
    "/confirm/{c}",
    "/address/{a}",
)


@pytest.fixture
def site(app: App) -> tuple[App, TestClient, dict[str, str]]:
    """An app with a reader, a client, and the reader's tokens by the letters that stand for them above."""
    client = visitor(app)
    add_papers(app, [record(1, keywords=("knots",))])
    id_ = subscribed(app, client, topics=["graphs"])
    pipeline.deliver(app, open_and_queue(app).id)
    steering.ask_address(app, id_, "moved@example.org")
    digest = next(mail for mail in mails_of(app, ADA) if paths_in(mail, "f"))
    letters = {"p": Purpose.PREFERENCES, "u": Purpose.UNSUBSCRIBE, "b": Purpose.RETURN, "c": Purpose.CONFIRM,
               "a": Purpose.NEW_ADDRESS}  # fmt: skip
    tokens = {letter: app.signer.sign(purpose, 1, now=app.now()) for letter, purpose in letters.items()}
    return app, client, tokens | {"f": paths_in(digest, "f")[0].split("/")[2]}


def nonsense() -> Iterator[tuple[set[int], dict[str, Any]]]:
    """Yield what may be posted to a form, and the statuses that answer it cleanly."""
    large = {"content": b"email=" + b"a" * 600_000, "headers": FORM}
    yield {413}, large
    yield {413}, {"content": iter([b"email=" + b"a" * 300_000] * 2), "headers": FORM}
    yield {413}, {"files": {"email": (None, "a" * 600_000)}}
    yield {413}, {"content": b"", "headers": FORM | {"content-length": "9" * 400}}
    yield {400}, {"content": "&".join(f"f{n}=1" for n in range(401)).encode(), "headers": FORM}
    yield {400}, {"files": [(f"f{n}", (None, "1")) for n in range(401)]}
    yield {400}, {"files": {"email": ("a.txt", b"ada@example.org")}}
    yield {400}, {"content": b"\xff\xfe", "headers": {"content-type": "multipart/form-data; boundary=x"}}
    yield {400}, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}
    yield {400}, {"content": b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "headers":
                  {"content-type": "multipart/form-data; charset=undefined; boundary=b"}}  # fmt: skip
    for name in ("email", "about", "papers", "until", "change", "mutes", "how", "website", "stamp", "lang", "show"):
        yield {200, 400, 404}, {"content": f"{name}={'a' * 300_000}".encode(), "headers": FORM}
        yield {200, 400, 404}, {"content": f"{name}=".encode() + bytes(range(256)) * 9, "headers": FORM}
        yield {200, 400, 404}, {"content": f"{name}=%ED%A0%80%00&{name}=%FF".encode(), "headers": FORM}
    yield {200, 400, 404}, {"content": b"email=a@example.org&" * 3 + b"email=" + b"x" * 9, "headers": FORM}
    yield {200, 400, 404}, {"data": {"email": "", "topics": [f"topic {number}" for number in range(380)]}}
    for kind in ("application/json", "text/plain", "image/png", "", "multipart/form-data; boundary="):
        yield {200, 303, 400, 404}, {"content": b'{"email": "a@example.org"}', "headers": {"content-type": kind}}


@pytest.mark.parametrize("room", POSTS)
def test_nonsense_is_answered_with_a_page_and_writes_nothing(
    site: tuple[App, TestClient, dict[str, str]], room: str
) -> None:
    app, client, tokens = site
    path = room.format(**tokens)
    writes = "/preferences/{p}", "/f/{f}/1/like"  # to save no wishes at all, or to like, needs no field
    before = dump(app)
    for allowed, sent in nonsense():
        answer = client.post(path, **sent)
        more = {303, 200} if room in writes or room.endswith("undo") else set[int]()
        assert answer.status_code in allowed | (more if allowed != {413} else set()), (
            room,
            str(sent)[:200],
            answer.status_code,
        )
        assert answer.status_code == 303 or answer.headers["content-type"] == "text/html; charset=utf-8"
        assert len(answer.content) < 1_300_000
    assert room in writes or dump(app) == before


def test_a_button_without_fields_takes_no_megabytes_either(site: tuple[App, TestClient, dict[str, str]]) -> None:
    app, client, tokens = site
    before = dump(app)
    for room in ("/confirm/{c}", "/u/{u}", "/preferences/{p}/links", "/address/{a}"):
        assert client.post(room.format(**tokens), content=b"a" * 600_000).status_code == 413, room
    assert dump(app) == before


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_in_a_readers_forms_come_back_as_text(
    site: tuple[App, TestClient, dict[str, str]], text: str
) -> None:
    _, client, tokens = site
    names = ("email", "about", "papers", "until", "keywords", "topics", "hour", "timezone", "cadence", "change", "drop")
    for room in (
        "/preferences/{p}",
        "/preferences/{p}/papers",
        "/preferences/{p}/address",
        "/preferences/{p}/pause",
        "/link",
    ):
        answer = client.post(room.format(**tokens), data=dict.fromkeys(names, text[:3_000]))
        assert answer.status_code in {200, 303, 400}
        pages = answer.text + client.get("/preferences/{p}".format(**tokens)).text
        assert "<script>alert" not in pages
        assert "<img" not in pages
        assert 'href="javascript' not in pages
        assert not {name.lower() for name in answer.headers} & {"bcc", "set-cookie"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_every_answer_carries_the_safe_headers(site: tuple[App, TestClient, dict[str, str]], method: str) -> None:
    _, client, tokens = site
    paths = [path.format(**tokens) for path in (*LOOKS, *POSTS)] + [*PAGES, "/api/v1/signups", "/api/v1/sample"]
    for path in paths:
        headers = client.request(method, path).headers
        [policy] = headers.get_list("content-security-policy")
        assert "default-src 'none'" in policy
        assert not re.search(r"unsafe|\*|http:", policy)
        assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= set(policy.split("; "))
        assert headers.get_list("cache-control") == ["no-store"]
        assert headers.get_list("referrer-policy") == ["no-referrer"]
        assert headers.get_list("x-content-type-options") == ["nosniff"]
        assert not {"set-cookie", "access-control-allow-credentials"} & set(headers)
        assert path.startswith("/api/v1/") or "access-control-allow-origin" not in headers


def test_head_is_get_without_its_body(site: tuple[App, TestClient, dict[str, str]]) -> None:
    app, client, tokens = site
    before = dump(app)
    for path in (each.format(**tokens) for each in (*PAGES, *LOOKS)):
        get, head = client.get(path), client.head(path)
        assert head.status_code == get.status_code, path
        assert head.headers == get.headers, path
        assert head.content == b"", path
    assert dump(app) == before


def test_no_page_holds_script_of_its_own_or_anything_from_elsewhere(
    site: tuple[App, TestClient, dict[str, str]],
) -> None:
    _, client, tokens = site
    answers = [client.get(path.format(**tokens)) for path in (*PAGES, *LOOKS)]
    for answer in answers:
        if answer.headers["content-type"].startswith("text/html"):
            check_page(client, answer)


def check_page(client: TestClient, answer: Response) -> None:
    assert not re.search(r"<style|<script(?![^>]* src=\"/static/)|\sstyle=|\son\w+=", answer.text)
    assert not re.search(r"(?:src|action)=\"(?!/|#|data:,)", answer.text)
    for link in set(re.findall(r'href="(/[^"#]*)', answer.text)):
        assert client.get(link.replace("&amp;", "&")).status_code == 200, f"{link} leads nowhere"


def test_the_way_of_a_reader_leaves_neither_address_nor_link_nor_secret_in_the_log(
    make_app: Callable[..., App],
    database_url: str,
    written: io.StringIO,  # noqa: F811
) -> None:
    app = make_app(database_url, signup_work_bits=0)
    client, secrets = visitor(app, "203.0.113.77"), [ADA, "ada", "a key for tests", "203.0.113", "a rare illness"]
    add_papers(app, [record(1, keywords=("knots",))])
    stamp = stamp_in(client.get("/subscribe").text)
    for way in ("form", "json", "link"):
        ask(client, ADA, way, **({"about": "a rare illness"} if way != "link" else {}))
    ask(client, "Ada.Other@example.org", stamp=stamp, website="x")
    path = confirm_path(app)
    assert client.get(path).status_code == client.post(path).status_code == 200
    pipeline.deliver(app, open_and_queue(app).id)
    digest = next(mail for mail in mails_of(app, ADA) if paths_in(mail, "f"))
    said = paths_in(digest, "f")[0]
    assert client.get(said).status_code == client.post(said).status_code == 200
    [preferences] = paths_in(digest, "preferences")
    assert client.post(preferences, data={"topics": "knots"}).status_code == 303
    assert client.post(f"{preferences}/address", data={"email": "ada.new@example.org"}).status_code == 200
    assert client.get(f"{preferences}/export").status_code == 200
    mails_of(app)
    [leave] = paths_in(digest, "u")
    page = client.post(leave).text
    back = re.findall(r"/back/[\w-]+", page)[0]
    assert client.post(back, data={"how": "pause"}).status_code == 200
    for bad in (path, said, preferences, leave, back):
        client.post(bad.swapcase())
    assert client.post(f"{preferences}/erase", data={"sure": "yes"}).status_code == 200
    secrets += [part for each in (path, said, preferences, leave, back) for part in each.split("/") if len(part) == 38]
    secrets += [stamp, *(each.client for each in sign_ups(app) if each.client)]
    log = written.getvalue()
    assert "delivery settled" in log
    assert [secret for secret in secrets if secret in log] == []
    assert "@" not in log


@pytest.mark.parametrize("way", ["form", "json"])
def test_the_log_of_consent_keeps_our_words_and_no_more_than_a_fingerprint_of_the_link(
    app_on_both: App, clock: Clock, way: str
) -> None:
    client = visitor(app_on_both)
    stamp = stamp_in(client.get("/subscribe").text)
    clock.forward(minutes=1)
    ask(client, ADA, way, stamp=stamp)
    path = confirm_path(app_on_both)
    client.post(path, headers={"accept-language": "de"})
    token = path.rpartition("/")[2]
    id_ = person(app_on_both).id or 0
    client.post(f"/u/{app_on_both.signer.sign(Purpose.UNSUBSCRIBE, id_, now=app_on_both.now())}")
    asked, confirmed, left = consents(app_on_both)
    assert [each.act for each in (asked, confirmed, left)] == [Act.ASKED, Act.CONFIRMED, Act.LEFT]
    assert [each.entry for each in (asked, confirmed, left)] == [way.replace("json", "api")] * 2 + ["form"]
    assert asked.said.startswith("First comes one mail") or way == "json", "what another site said is not known"
    assert re.fullmatch("[0-9a-f]{16}", confirmed.token)
    assert confirmed.said
    assert token not in dump(app_on_both)
    assert "ada" not in repr([each.model_dump() for each in (asked, confirmed, left)])


def test_a_failure_of_ours_tells_nothing_and_says_so_as_json_to_programs(
    make_app: Callable[..., App], tmp_path: Any
) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'without-tables.db'}")
    client = visitor(app, web=create_web(app))
    for path, sent in (("/link", {"data": {"email": ADA}}), ("/api/v1/signups", {"json": {"email": ADA}})):
        answer = client.post(path, **sent)
        assert answer.status_code == 500
        assert not re.search(r"(?i)sql|ada@|traceback|operational", answer.text)
        assert answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.text)["errors"]
