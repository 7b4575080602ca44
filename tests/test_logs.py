"""Logs: events with fields, and never an address, a token or a secret."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from fakes import SmtpServer
from fastapi.testclient import TestClient
from samples import add_papers, joined, open_and_queue, record, sign_up

from newsletter import logs, pipeline
from newsletter.app import App
from newsletter.papers.pasted import read_pasted
from newsletter.signing import Purpose, Signer
from newsletter.subscribers.models import State
from newsletter.web import create_web

NOW = datetime(2026, 8, 5, 9, 0, tzinfo=UTC)
TOKEN = Signer(["k"]).sign(Purpose.READ, 1, now=NOW)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged at DEBUG, as JSON lines."""
    root, ours = logging.getLogger(), logging.getLogger("newsletter")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    logs.configure("DEBUG", json=True, stream=stream)
    yield stream
    root.handlers[:], level, ours.level = before  # type: ignore[misc]
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def walk_the_whole_way(app: App) -> list[str]:
    """Sign up, confirm, read, click, steer, move, leave and come back; return every secret that was used on the way."""
    client = TestClient(create_web(app), follow_redirects=False, raise_server_exceptions=False)
    ways = (Purpose.CONFIRM, Purpose.PREFERENCES, Purpose.NEW_ADDRESS, Purpose.UNSUBSCRIBE, Purpose.RETURN)
    tokens = {purpose: app.signer.sign(purpose, 1, now=app.now()) for purpose in ways}
    confirm, preferences, move, leave, back = tokens.values()
    add_papers(app, [record(1)])
    assert client.post("/subscribe", data={"email": "Ada.Secret@example.org"}).status_code == 200
    pipeline.deliver(app, None)
    assert client.post(f"/confirm/{confirm}").status_code == 200
    pipeline.deliver(app, None)
    pipeline.deliver(app, open_and_queue(app).id)
    read = [app.signer.sign(Purpose.READ, id_, now=app.now()) for id_ in range(1, 4)]
    for token in (*read, "bad"):
        client.get(f"/o/{token}.gif")
        client.get(f"/c/{token}/1/page")
    feedback = app.signer.sign(Purpose.FEEDBACK, 3, now=app.now())
    assert client.post(f"/f/{feedback}/1/like").status_code == 200
    assert client.get(f"/v/{feedback}").status_code == 200
    feed = app.signer.sign(Purpose.FEED, 1, now=app.now())
    assert client.get(f"/feed/{feed}.atom").status_code == 200
    assert client.post(f"/preferences/{preferences}", data={"about": "my secret work"}).status_code == 303
    assert client.get(f"/preferences/{preferences}/export").status_code == 200
    assert client.post(f"/preferences/{preferences}/address", data={"email": "new.secret@example.org"}).is_success
    pipeline.deliver(app, None)
    assert client.post(f"/address/{move}").status_code == 200
    pipeline.deliver(app, None)
    assert client.post("/link", data={"email": "new.secret@example.org"}).status_code == 200
    pipeline.deliver(app, None)
    assert client.post(f"/u/{leave}").status_code == 200
    assert client.post(f"/back/{back}").status_code == 200
    assert client.post(f"/u/{leave}").status_code == 200
    assert client.get("/readyz").status_code == 200
    return [*tokens.values(), *read, feedback, feed, "Secret", "secret", "a key for tests", "hunter2"]


def test_the_whole_way_at_debug_logs_no_address_token_or_secret(
    make_app: Callable[..., App], database_url: str, written: io.StringIO
) -> None:
    app = make_app(database_url)
    secrets = walk_the_whole_way(app)
    assert joined(app, "new.secret@example.org") == State.UNSUBSCRIBED
    assert "delivery settled" in {line["event"] for line in lines(written)}
    assert [secret for secret in secrets if secret in written.getvalue()] == []
    assert "@" not in written.getvalue()


def test_a_relay_that_repeats_the_address_does_not_bring_it_into_the_log(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, written: io.StringIO
) -> None:
    smtp.script = lambda step, session: (
        f"550 5.1.1 <{session.recipient}>: {session.recipient} unknown" if step == "rcpt" else None
    )
    app = make_app(sqlite_url, smtp_url=smtp.url)
    sign_up(app, "ada.secret@example.org")
    assert smtp.connections
    assert written.getvalue()
    assert "secret" not in written.getvalue()


def test_a_failure_while_signing_up_logs_its_route_and_not_what_was_typed(
    make_app: Callable[..., App], tmp_path: Path, written: io.StringIO
) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'without-tables.db'}")
    client = TestClient(create_web(app), raise_server_exceptions=False)
    leave = app.signer.sign(Purpose.UNSUBSCRIBE, 1, now=app.now())
    assert client.post("/subscribe", data={"email": "ada.secret@example.org"}).status_code == 500
    assert client.post(f"/u/{leave}").status_code == 500
    assert client.get("/readyz").status_code == 503
    found = [(line["event"], line.get("route")) for line in lines(written)]
    assert found == [("request failed", "/subscribe"), ("request failed", "/u/{token}"), ("not ready", None)]
    assert "secret" not in written.getvalue()
    assert leave not in written.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        "to ada.secret@example.org",
        "<ada.secret@example.org>",
        "email=ada.secret%40example.org",
        ["ada.secret@example.org"],
        {"who": ("ada.secret@example.org",)},
        {"ada.secret@example.org"},
        b"ada.secret@example.org",
        ValueError("no such reader: ada.secret@example.org"),
        Path("/var/ada.secret@example.org.eml"),
        "smtp://mailer:secret@relay.example.org:587",
        "redis://:secret@127.0.0.1/0",
        f"GET /u/{TOKEN} 200",
        f"mailto:news@example.org?subject=unsubscribe%20{TOKEN}",
        (TOKEN, 1),
    ],
)
def test_whatever_a_field_holds_is_redacted(value: Any, written: io.StringIO) -> None:
    logs.get("newsletter.test").info("something", thing=value)
    assert "secret" not in written.getvalue()
    assert TOKEN not in written.getvalue()
    assert "…" in lines(written)[0]["thing"]


@pytest.mark.parametrize(
    "name", ["email", "mail", "email_key", "address", "token", "secret_key", "password", "authorization", "recipient"]
)
def test_a_field_that_names_a_secret_is_blank_whatever_it_holds(name: str, written: io.StringIO) -> None:
    logs.get("newsletter.test").info("something", **{name: "plain"})
    assert lines(written)[0][name] == "…"


def test_every_token_is_known_as_one() -> None:
    """Also the few that hold no digit, and those next to a sign that tokens are made of."""
    signer = Signer(["k"])
    made = [signer.sign(purpose, id_, now=NOW) for purpose in Purpose for id_ in range(1, 3_000)]
    assert any(not re.search(r"[0-9_-]", token) for token in made)
    assert [token for token in made if token in logs.scrub(f"https://e.org/u/{token}, {token}/1/page")] == []


@pytest.mark.parametrize(
    "text",
    ["pulled 20 papers", "2026-08-05", "arxiv:2608.17253", "https://arxiv.org/abs/2608.17253", "-" * 38, "1" * 38],
)
def test_ordinary_texts_stay_as_they_are(text: str, written: io.StringIO) -> None:
    assert logs.scrub(text) == text
    logs.get("newsletter.test").info(text, number=3, share=0.5, good=True, nothing=None)
    [line] = lines(written)
    assert (line["event"], line["number"], line["share"], line["good"], line["nothing"]) == (text, 3, 0.5, True, None)


def test_an_exception_is_logged_with_its_trace_and_without_whom_it_names(written: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError(f"ada.secret@example.org has {TOKEN}")

    for logger in (logs.get("newsletter.test"), logging.getLogger("some.library")):
        try:
            fail()
        except ValueError:
            logger.exception("went wrong")
    for line in lines(written):
        assert "ValueError" in line["exception"]
    assert len(lines(written)) == 2
    assert "secret" not in written.getvalue()
    assert TOKEN not in written.getvalue()


def test_libraries_are_heard_from_warning_on_and_without_passwords(written: io.StringIO) -> None:
    library = logging.getLogger("some.library")
    library.debug("sent to %s", "ada.secret@example.org")
    library.warning("cannot reach %s", "redis://:secret@127.0.0.1/0")
    assert [line["event"] for line in lines(written)] == ["cannot reach redis://…@127.0.0.1/0"]


def test_nothing_of_what_strangers_paste_is_logged(written: io.StringIO) -> None:
    assert read_pasted("@article{secret, title={\n" * 3).notes
    assert written.getvalue() == ""


def test_for_people_each_record_is_one_line(written: io.StringIO) -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream=stream)
    logs.get("newsletter.test").debug("not at this level")
    logs.get("newsletter.test").info("pulled", source="huggingface", new=3)
    [line] = stream.getvalue().splitlines()
    assert re.search(r"pulled\s+new=3 source=huggingface", line)
    assert "\x1b" not in line
