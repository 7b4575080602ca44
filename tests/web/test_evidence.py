"""What a form says of who filled it in: the field nobody sees, the time it took, the work that was done."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_readers
from visitors import ADA, ask, dump, is_work, recipients, sign_ups, stamp_in, visitor, worked

from newsletter.app import App
from newsletter.signing import Purpose, Signer

BITS = 8
TYPED = {
    "email": ADA,
    "topics": ["robotics"],
    "about": "I fold proteins & <knots>",
    "keywords": "origami",
    "papers": "arXiv:2608.00001",
    "hour": "17",
    "timezone": "Asia/Tokyo",
    "cadence": "weekly",
}
TRAP = {"website": "https://spam.example"}


@pytest.fixture
def hard(make_app: Callable[..., App], sqlite_url: str) -> App:
    """An app that asks for work."""
    return make_app(sqlite_url, signup_work_bits=BITS)


def fresh(app: App, client: TestClient, clock: Clock, path: str = "/subscribe") -> str:
    """Look at a form for a while, and return its stamp."""
    stamp = stamp_in(client.get(path).text)
    clock.forward(seconds=10)
    return stamp


def wants_another_press(client: TestClient, **typed: Any) -> str:
    """Post, and return the page that asks for one more press, with all that was typed."""
    answer = client.post("/subscribe", data=TYPED | typed)
    assert answer.status_code == 200
    assert "One more press" in answer.text
    page = html.unescape(answer.text)
    for kept in (
        f'value="{ADA}"',
        'value="robotics" checked',
        "I fold proteins & <knots>",
        'value="origami"',
        "arXiv:2608.00001",
        '<option value="17" selected>',
        '<option value="Asia/Tokyo" selected>',
    ):
        assert kept in page
    assert "<knots>" not in answer.text
    return answer.text


@pytest.mark.parametrize("way", ["form", "multipart", "json", "link"])
def test_who_fills_in_what_nobody_sees_is_answered_as_everybody_and_written_down_nowhere(
    app_on_both: App, way: str
) -> None:
    add_readers(app_on_both, 1)
    client = visitor(app_on_both)
    honest = ask(client, "reader0@example.org", way)
    before = dump(app_on_both)
    for trap in ("x", "https://spam.example", "0"):
        caught = ask(client, "reader0@example.org", way, website=trap)
        assert (caught.status_code, caught.content) == (honest.status_code, honest.content)
        assert caught.headers == honest.headers
    assert dump(app_on_both) == before


def test_the_field_that_nobody_sees_is_hidden_from_everybody(app: App) -> None:
    page = visitor(app).get("/subscribe").text
    assert '<div class="trap" aria-hidden="true">' in page
    assert 'name="website" tabindex="-1" autocomplete="off"' in page
    assert ".trap" in visitor(app).get("/static/site.css").text


def test_a_machine_is_not_even_asked_for_work(hard: App) -> None:
    answer = visitor(hard).post("/subscribe", data=TYPED | TRAP)
    assert "One more press" not in answer.text
    assert ask(visitor(hard), ADA, "json", **TRAP).status_code == 202
    assert sign_ups(hard) == []


def test_a_form_on_another_site_needs_no_stamp(app: App) -> None:
    for way in ("form", "json", "link"):
        assert "One more press" not in ask(visitor(app), ADA, way).text
    assert len(sign_ups(app)) == 3


def test_who_is_faster_than_anybody_can_be_presses_once_more(app: App, clock: Clock) -> None:
    client = visitor(app)
    stamp = stamp_in(client.get("/subscribe").text)
    for seconds in (0, 1, 0.9):
        clock.forward(seconds=seconds)
        page = wants_another_press(client, stamp=stamp)
    assert sign_ups(app) == []
    clock.forward(seconds=2)
    answer = client.post("/subscribe", data=TYPED | {"stamp": stamp_in(page)})
    assert "Check your inbox" in answer.text
    [row] = sign_ups(app)
    assert row.wishes is not None
    assert (row.wishes["keywords"], row.wishes["hour"]) == (["origami"], 17)
    assert recipients(app) == [ADA]


def forged(app: App) -> list[str]:
    """Return stamps that are none."""
    good, now = app.signer.sign(Purpose.FORM, 0, now=app.now()), app.now()
    foreign = Signer(["somebody else's key"]).sign(Purpose.FORM, 0, now=now)
    others = [app.signer.sign(purpose, 1, now=now) for purpose in Purpose if purpose is not Purpose.FORM]
    return [
        foreign,
        *others,
        good[:-1],
        good + "A",
        good.swapcase(),
        "x",
        "é" * 38,
        "0" * 5_000,
        "\ud7ff",
        "a b\r\nc: d",
    ]


def test_a_forged_stamp_is_one_press_more_and_no_failure(app: App, clock: Clock) -> None:
    client, made = visitor(app), forged(app)
    clock.forward(minutes=1)
    for stamp in made:
        wants_another_press(client, stamp=stamp)
        assert 'name="stamp"' in ask(client, ADA, "link", stamp=stamp).text
        assert ask(client, ADA, "json", stamp=stamp[:200]).status_code == 428
    assert sign_ups(app) == []


def test_a_stamp_from_the_future_is_forged(app: App, clock: Clock) -> None:
    stamp = stamp_in(visitor(app).get("/subscribe").text)
    for minutes in (-1, -60):
        clock.forward(minutes=minutes)
        wants_another_press(visitor(app), stamp=stamp)
    assert sign_ups(app) == []


def test_a_stamp_of_the_key_before_is_still_good(make_app: Callable[..., App], sqlite_url: str, clock: Clock) -> None:
    stamp = stamp_in(visitor(make_app(sqlite_url, secret_key="old")).get("/subscribe").text)
    clock.forward(minutes=1)
    renewed = make_app(sqlite_url, secret_key="new,old")
    visitor(renewed).post("/subscribe", data=TYPED | {"stamp": stamp})
    assert len(sign_ups(renewed)) == 1
    wants_another_press(visitor(make_app(sqlite_url, secret_key="new")), stamp=stamp)


def test_a_page_that_lay_open_overnight_still_works(app: App, clock: Clock) -> None:
    client = visitor(app)
    stamp = fresh(app, client, clock)
    clock.forward(days=3)
    client.post("/subscribe", data=TYPED | {"stamp": stamp})
    assert len(sign_ups(app)) == 1


@pytest.mark.parametrize("way", ["form", "json", "link"])
def test_work_that_was_done_lets_in(hard: App, clock: Clock, way: str) -> None:
    client = visitor(hard)
    stamp = fresh(hard, client, clock, "/link" if way == "link" else "/subscribe")
    answer = ask(client, "Ada@EXAMPLE.org", way, stamp=stamp, work=worked(stamp, ADA, BITS))
    assert answer.status_code in {200, 202}
    assert len(sign_ups(hard)) == 1


def test_work_for_an_international_domain_is_done_on_its_ascii_spelling(hard: App, clock: Clock) -> None:
    client = visitor(hard)
    stamp = fresh(hard, client, clock)
    work = worked(stamp, "ada@xn--bcher-kva.example", BITS)
    ask(client, "ada@bücher.example", stamp=stamp, work=work)
    assert [each.email for each in sign_ups(hard)] == ["ada@xn--bcher-kva.example"]


@pytest.mark.parametrize("way", ["form", "json", "link"])
def test_work_that_was_not_done_or_for_somebody_else_or_long_ago_does_not(hard: App, clock: Clock, way: str) -> None:
    client = visitor(hard)
    stamp = fresh(hard, client, clock)
    good, other = worked(stamp, ADA, BITS), fresh(hard, client, clock)
    tries: list[tuple[str, dict[str, str]]] = [
        (ADA, {}),
        (ADA, {"work": good}),
        (ADA, {"stamp": "", "work": good}),
        *((ADA, {"stamp": stamp, "work": work}) for work in ("", "0", "1", "x" + good, good + "0", "é" * 40)),
        *((f"{n}@example.org", {"stamp": stamp, "work": good}) for n in range(3)),
        (ADA, {"stamp": other, "work": good}),
    ]
    for email, said in tries:
        if is_work(said.get("stamp", ""), email, said.get("work", ""), BITS):
            continue
        answer = ask(client, email, way, **said)
        assert answer.status_code == (428 if way == "json" else 200)
        assert 'name="stamp"' in answer.text or "get a fresh stamp" in answer.text
    clock.forward(hours=12)
    assert ask(client, ADA, way, stamp=stamp, work=good).status_code == (428 if way == "json" else 200)
    assert sign_ups(hard) == []


def test_work_that_is_sent_again_sets_off_nothing_new(hard: App, clock: Clock) -> None:
    client = visitor(hard)
    stamp = fresh(hard, client, clock)
    for _ in range(5):
        ask(client, ADA, stamp=stamp, work=worked(stamp, ADA, BITS))
    assert recipients(hard) == [ADA]


@pytest.mark.parametrize("path", ["/subscribe", "/link"])
def test_a_form_that_asks_for_work_says_so_and_brings_what_does_it(hard: App, app: App, path: str) -> None:
    page = visitor(hard).get(path).text
    assert f'name="work" value="" data-bits="{BITS}"' in page
    assert 'src="/static/work.js"' in page
    assert "<noscript>" in page
    assert "work.js" not in visitor(app).get(path).text


def test_who_asks_for_a_link_too_fast_is_told_what_to_do(app: App) -> None:
    client = visitor(app)
    stamp = stamp_in(client.get("/link").text)
    page = ask(client, ADA, "link", stamp=stamp).text
    assert f'value="{ADA}"' in page
    assert re.search('role="(?:status|alert)"', page), "a form that comes back without a word looks broken"


def test_the_api_says_what_is_needed(hard: App, clock: Clock) -> None:
    client = visitor(hard)
    refused = ask(client, ADA, "json")
    assert refused.status_code == 428
    assert set(refused.json()["errors"]) == {"stamp"}
    facts = client.get("/api/v1/form").json()
    assert facts["work_bits"] == BITS
    clock.forward(seconds=2)
    work = worked(facts["stamp"], ADA, facts["work_bits"])
    assert ask(client, ADA, "json", stamp=facts["stamp"], work=work).status_code == 202
    assert recipients(hard) == [ADA]
