"""The API for forms on other sites: the same as the form, for whoever calls it, and nonsense gets a clean answer."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
import schemathesis
from fakes import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from samples import HOSTILE, add_papers, add_readers, mails_of, record
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from visitors import ADA, ask, confirm_path, dump, person, sign_ups, visitor

from newsletter.app import App
from newsletter.subscribers.preferences import LISTS
from newsletter.subscribers.topics import TOPICS
from newsletter.web import create_web

SIGN_UP, SAMPLE, FACTS = "/api/v1/signups", "/api/v1/sample", "/api/v1/form"
JSON = {"content-type": "application/json"}
THEIRS = {"origin": "https://lab.example"}
WISHES = {
    "topics": ["graphs"],
    "keywords": ["knots"],
    "authors": ["Ada Example"],
    "categories": ["cs.LG"],
    "mutes": ["crypto"],
    "about": "I tie knots",
    "hour": 5,
    "timezone": "Europe/Berlin",
    "cadence": "days",
    "weekdays": ["mon", "wed"],
    "max_papers": 3,
    "language": "de",
    "tracking": False,
}


def test_a_call_asks_for_all_that_the_form_can(app_on_both: App) -> None:
    client = visitor(app_on_both)
    answer = ask(client, "Ada@EXAMPLE.org", "json", **WISHES, papers="arXiv:2608.00001")
    assert answer.status_code == 202
    assert "mail" in answer.json()["message"]
    assert client.post(confirm_path(app_on_both, "Ada@example.org")).status_code == 200
    found = person(app_on_both, ADA).preferences.model_dump(mode="json")
    assert {name: found[name] for name in WISHES} == WISHES
    assert "arxiv:2608.00001" in dump(app_on_both)


def test_the_facts_of_the_form_are_all_that_a_form_elsewhere_needs(app: App) -> None:
    facts = visitor(app).get(FACTS).json()
    assert facts["topics"] == list(TOPICS)
    assert facts["work_bits"] == 0
    assert ask(visitor(app), ADA, "json", stamp="").status_code == 202


def test_the_sample_is_the_same_as_on_the_page_and_writes_nothing(app: App, clock: Clock) -> None:
    client = visitor(app)
    assert client.post(SAMPLE, json={}).json()["picks"] == []
    clock.forward(minutes=11)
    add_papers(app, [record(n, f"Graph learning number {n}", authors=("Ada Example",)) for n in range(1, 9)])
    before = dump(app)
    found = client.post(SAMPLE, json={"topics": ["graph learning"], "papers": "arXiv:2608.00002\n???a"}).json()
    assert len(found["picks"]) == 5
    assert {"title", "url", "authors", "reason", "teaser"} == set(found["picks"][0])
    assert len(found["notes"]) == 1
    page = client.post("/subscribe/sample", data={"topics": ["graph learning"], "papers": "arXiv:2608.00002"}).text
    assert all(pick["title"] in page for pick in found["picks"])
    assert dump(app) == before


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_taken_as_texts_or_refused_at_their_field(app_on_both: App, text: str) -> None:
    client = visitor(app_on_both)
    for field in ("email", "about", "papers", "timezone", "cadence", "language", "website", "stamp", *LISTS):
        for path in (SIGN_UP, SAMPLE):
            body = {"email": ADA, field: [text] if field in LISTS else text}
            answer = client.post(
                path, json=body if path == SIGN_UP else {k: v for k, v in body.items() if k != "email"}
            )
            assert answer.status_code in {200, 202, 422, 428}
            assert answer.headers["content-type"] == "application/json"
            if answer.status_code == 422:
                assert set(answer.json()["errors"]) <= {field, "email"}
    mails_of(app_on_both)


def bodies() -> list[tuple[set[int], bytes]]:
    """Return bodies that are no sign-up, and how they are answered."""
    good = '{"email": "ada@example.org", '
    whole = [b"", b"[]", b"3", b"null", b"true", b'"text"', b"NaN", b"[{}]", b"{", b"{]", b"\xff\xfe", b"\0", b"{}{}"]
    deep = [f'{good}"about": {"[" * n}{"]" * n}}}' for n in (100, 900, 20_000)]
    deep += [f'{good}"about": ' + '{"a": ' * n for n in (100, 20_000)]
    numbers = ("NaN", "1e999", "-1", "24", "7.5", '"noon"', "9" * 4_000, "9" * 5_000, "[7]")
    addresses = ("null", '""', '"ada"', '["ada@example.org"]', '"a@b@example.org"', f'"{"a" * 100_000}"')
    addresses += ('"ada@example.org\\r\\nBcc: b@example.org"', '"a\\u0000@example.org"', '"\\ud800@example.org"')
    values = [*(f'"hour": {number}' for number in numbers), *(f'"email": {address}' for address in addresses)]
    values += ['"about": 1', '"about": null', '"about": ["a"]', f'"about": "{"x" * 100_000}"', '"topics": "graphs"',
               '"topics": [1]', '"topics": [["a"]]', '"topics": {"a": 1}', '"topics": [null]', '"cadence": "hourly"',
               '"cadence": "days"', '"cadence": "days", "weekdays": ["no day"]', '"weekdays": 5', '"language": "xx"',
               '"timezone": "Mars/Olympus"', '"timezone": "../../etc/passwd"', '"tracking": "perhaps"', '"id": 1',
               '"nothing_we_know": 1', '"state": "active"', '"": ""', '"papers": "\\ud800"', '"\\ud800": 1',
               '"timezone": "\\ud800"', '"cadence": "\\udfff"', '"website": 5', f'"stamp": "{"x" * 201}"',
               f'"topics": {json.dumps([str(n) for n in range(101)])}', f'"papers": "{"x" * 400_001}"']  # fmt: skip
    made = [({400, 422}, body) for body in whole] + [({400, 422}, f"{good}{value}}}".encode()) for value in values]
    return [
        *made,
        *(({400, 422}, text.encode()) for text in deep),
        ({413}, f'{good}"about": "{"x" * 600_000}"}}'.encode()),
    ]


@pytest.mark.parametrize(("status", "body"), bodies(), ids=lambda value: repr(value)[:50])
def test_a_body_that_is_no_sign_up_is_refused_as_json_and_writes_nothing(
    app: App, status: set[int], body: bytes
) -> None:
    client, before = visitor(app), dump(app)
    answer = client.post(SIGN_UP, content=body, headers=JSON | THEIRS)
    assert answer.status_code in status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    errors = answer.json()["errors"]
    assert errors
    assert all(text and text.isprintable() and len(text) < 300 for text in errors.values())
    assert dump(app) == before


def test_what_is_wrong_with_the_whole_is_said_of_no_field(app: App) -> None:
    for body in (b"", b"[]", b"3", b"null", b"{", b"[" * 20_000):
        answer = visitor(app).post(SIGN_UP, content=body, headers=JSON)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [""])
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""):
        answer = visitor(app).post(SIGN_UP, content=b'{"email": "ada@example.org"}', headers={"content-type": kind})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [""])
    without = visitor(app).post(SIGN_UP, json={})
    assert (without.status_code, without.json()) == (422, {"errors": {"email": "Field required"}})
    days = visitor(app).post(SIGN_UP, json={"email": ADA, "cadence": "days"})
    assert days.json() == {"errors": {"weekdays": "choose at least one day"}}


def test_a_text_that_is_too_long_is_said_to_be_a_text(app: App) -> None:
    for field, most in (("about", 1_000), ("email", 320)):
        said = visitor(app).post(SIGN_UP, json={"email": ADA} | {field: "x" * 2_000}).json()["errors"]
        assert list(said) == [field]
        assert f"longer than {most} characters" in said[field]


def test_a_body_that_comes_in_pieces_is_cut_off_as_well(app: App) -> None:
    before = dump(app)
    pieces = iter([b'{"email": "ada@example.org", "about": "', b"x" * 300_000, b"x" * 300_000, b'"}'])
    answer = visitor(app).post(SIGN_UP, content=pieces, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert dump(app) == before


def test_of_a_name_that_comes_twice_the_last_one_counts_as_in_a_form(app: App) -> None:
    body = b'{"email": "first@example.org", "email": "last@example.org"}'
    assert visitor(app).post(SIGN_UP, content=body, headers=JSON).status_code == 202
    assert [each.email for each in sign_ups(app)] == ["last@example.org"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_comes_in_any_of_its_encodings_or_is_refused(app: App, encoding: str) -> None:
    body = json.dumps({"email": ADA, "about": "Übersicht 拡散"}, ensure_ascii=False).encode(encoding)
    answer = visitor(app).post(SIGN_UP, content=body, headers=JSON)
    assert answer.status_code in {202, 400}
    assert all(each.wishes and each.wishes["about"] == "Übersicht 拡散" for each in sign_ups(app))


@pytest.mark.parametrize(("path", "method"), [(SIGN_UP, "POST"), (SAMPLE, "POST"), (FACTS, "GET")])
def test_any_site_may_call_the_api_without_anybodys_cookies(app: App, path: str, method: str) -> None:
    client = visitor(app)
    asking = {"access-control-request-method": method, "access-control-request-headers": "content-type"}
    preflight = client.options(path, headers=THEIRS | asking)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert method in preflight.headers["access-control-allow-methods"]
    assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
    body = {"email": ADA} if path == SIGN_UP else {}
    sent = {"json": body} if method == "POST" else {}
    done = client.request(method, path, headers=THEIRS | {"cookie": "a=b", "sec-fetch-site": "cross-site"}, **sent)
    assert done.status_code in {200, 202}
    for answer in (preflight, done, client.request(method, path, headers=THEIRS, content=b"[", params={"x": "1"})):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers


def test_no_site_may_read_our_pages(app: App) -> None:
    client = visitor(app)
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    for path in (
        "/",
        "/subscribe",
        "/link",
        "/preferences/x",
        "/confirm/x",
        "/u/x",
        "/f/x/1/like",
        "/api/docs",
        "/back/x",
    ):
        for answer in (client.options(path, headers=THEIRS | asking), client.get(path, headers=THEIRS)):
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_description_names_what_is_public_and_no_host(app: App) -> None:
    client = visitor(app)
    described = client.get("/api/openapi.json").json()
    assert {FACTS, SIGN_UP, SAMPLE} <= set(described["paths"])
    assert "servers" not in described
    page = client.get("/api/docs").text
    assert all(path in page for path in (FACTS, SIGN_UP, SAMPLE))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_call_of_what_is_described_is_a_failure_of_ours(
    make_app: Callable[..., App], sqlite_url: str, mode: GenerationMode
) -> None:
    """Schemathesis makes calls of each kind that is described, and what is like them but wrong."""
    app = make_app(sqlite_url, signups_per_hour=1_000_000)
    add_papers(app, [record(n) for n in range(1, 4)])
    add_readers(app, 1)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", create_web(app))
    calls: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=3, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: schemathesis.Case) -> None:
            checks = [not_a_server_error]
            if case.path.startswith("/api/"):
                checks += [content_type_conformance, status_code_conformance, response_schema_conformance]
            case.call_and_validate(checks=checks)
            calls[case.path] += 1

        with suppress(Unsatisfiable):  # what takes nothing cannot be given anything wrong
            call()
    assert {SIGN_UP, SAMPLE, "/subscribe", "/link", "/preferences/{token}", "/f/{token}/{paper_id}/{kind}"} <= set(
        calls
    )
