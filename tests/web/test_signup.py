"""The form, and what becomes of what is typed into it."""

import email
from collections.abc import Callable
from email import policy
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import HOSTILE, add_readers, joined

from newsletter import pipeline
from newsletter.app import App
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State, Subscriber
from newsletter.subscribers.preferences import LISTS, Cadence
from newsletter.web import create_web

GOOD = {"email": "ada@example.org", "hour": "7", "timezone": "Europe/Berlin", "cadence": "weekdays", "max_papers": "5"}


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False, raise_server_exceptions=False)


def mailed(app: App) -> list[tuple[str, str]]:
    """Deliver what is due, and return recipient and subject of each notice in the outbox."""
    pipeline.deliver(app, None)
    heads = [
        email.message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in sorted(app.settings.outbox_dir.glob("notices/*.eml"))
    ]
    return [(head["to"], head["subject"]) for head in heads]


def everybody(app: App) -> list[Subscriber]:
    with app.db.snapshot() as session:
        return list(subscribers.every(session))


@pytest.mark.parametrize("path", ["/", "/subscribe"])
def test_the_form_is_shown_with_the_defaults_chosen(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert '<option value="8" selected>08:00</option>' in answer.text
    assert '<option value="UTC" selected>UTC</option>' in answer.text
    assert 'name="max_papers" min="1" max="50" value="10"' in answer.text
    assert client.head(path).status_code == 200


def test_a_sign_up_writes_down_a_pending_subscriber_and_mails_a_confirmation(
    make_app: Callable[..., App], database_url: str
) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app), follow_redirects=False)
    typed = GOOD | {
        "topics": ["reasoning", "proteins"],
        "keywords": " protein  design, flow matching\r\nRAG;;",
        "x": "y",
    }
    answer = client.post("/subscribe", data=typed)
    assert answer.status_code == 200
    assert "ada@example.org" in answer.text
    assert "set-cookie" not in answer.headers
    [person] = everybody(app)
    assert person.state == State.PENDING
    assert person.topics == ["reasoning", "proteins"]
    assert person.keywords == ["protein design", "flow matching", "RAG"]
    assert (person.hour, person.timezone, person.cadence, person.max_papers) == (7, "Europe/Berlin", "weekdays", 5)
    assert mailed(app) == [("ada@example.org", "Please confirm your subscription to Daily Papers")]


def test_an_address_alone_is_enough(app: App, client: TestClient) -> None:
    assert client.post("/subscribe", data={"email": " ada@EXAMPLE.org "}).status_code == 200
    [person] = everybody(app)
    assert person.email == "ada@example.org"
    assert (person.hour, person.timezone, person.cadence) == (8, "UTC", Cadence.DAILY)


def test_a_form_sent_as_multipart_is_taken_as_well(app: App, client: TestClient) -> None:
    parts: Any = {name: (None, value) for name, value in GOOD.items()}
    assert client.post("/subscribe", files=parts).status_code == 200
    assert joined(app, "ada@example.org") == State.PENDING


def test_the_answer_does_not_tell_whether_an_address_is_known(app: App, client: TestClient, clock: Clock) -> None:
    add_readers(app, 1)
    client.post("/subscribe", data={"email": "pending@example.org"})
    with app.db.session() as session:
        subscribers.suppress(session, "barred@example.org", "bounced", clock())
    names = ("reader0", "pending", "barred", "new")
    answers = [client.post("/subscribe", data={"email": f"{name}@example.org"}) for name in names]
    texts = {answer.text.replace(name, "…") for name, answer in zip(names, answers, strict=True)}
    assert len(texts) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len({tuple(answer.headers) for answer in answers}) == 1


def test_a_stranger_cannot_change_an_active_subscriber(app: App, client: TestClient) -> None:
    add_readers(app, 1, keywords=("robots",))
    client.post("/subscribe", data=GOOD | {"email": "READER0@example.org", "keywords": "spam"})
    [person] = everybody(app)
    assert (person.state, person.keywords, person.hour) == (State.ACTIVE, ["robots"], 8)
    assert mailed(app) == []


def test_signing_up_again_and_again_mails_one_confirmation_a_day(app: App, client: TestClient, clock: Clock) -> None:
    for _ in range(3):
        client.post("/subscribe", data=GOOD)
        client.post("/subscribe", data=GOOD | {"email": "ADA@example.org"})
    assert len(mailed(app)) == 1
    clock.forward(days=1)
    client.post("/subscribe", data=GOOD)
    assert len(mailed(app)) == 2


def test_a_second_sign_up_replaces_the_wishes_of_the_first(app: App, client: TestClient) -> None:
    client.post("/subscribe", data=GOOD | {"keywords": "robots"})
    client.post("/subscribe", data=GOOD | {"keywords": "proteins", "hour": "21"})
    [person] = everybody(app)
    assert (person.keywords, person.hour) == (["proteins"], 21)


def test_a_suppressed_address_is_mailed_nothing(app: App, client: TestClient, clock: Clock) -> None:
    with app.db.session() as session:
        subscribers.suppress(session, "ada@example.org", "complained", clock())
    assert client.post("/subscribe", data=GOOD).status_code == 200
    assert mailed(app) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("email", "", "Please give your mail address."),
        ("email", "ada", "not a mail address"),
        ("email", "ada@", "not a mail address"),
        ("email", "a@b@example.org", "not a mail address"),
        ("email", "ada@example.org, bob@example.org", "not a mail address"),
        ("email", "ada@example.org\r\nBcc: bob@example.org", "not a mail address"),
        ("hour", "24", "not between 0 and 23"),
        ("hour", "noon", "not a whole number"),
        ("max_papers", "0", "not between 1 and 50"),
        ("max_papers", "1.5", "not a whole number"),
        ("cadence", "hourly", "not one of daily, weekdays, weekly"),
        ("timezone", "Mars/Olympus", "not a time zone"),
        ("timezone", "../../etc/passwd", "not a time zone"),
        ("keywords", "k" * 101, "longer than 100 characters"),
        ("keywords", ",".join(f"k{n}" for n in range(101)), "more than 100 entries"),
        ("topics", "t" * 101, "longer than 100 characters"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_written(
    app: App, client: TestClient, field: str, value: str, said: str
) -> None:
    answer = client.post("/subscribe", data=GOOD | {field: value})
    assert answer.status_code == 400
    _, _, rest = answer.text.partition(f'<p class="wrong" id="{field}-wrong">')
    assert said in rest.partition("</p>")[0]
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    assert answer.text.count('class="wrong"') == 1
    assert everybody(app) == []


def test_what_was_typed_comes_back_with_the_errors(client: TestClient) -> None:
    typed = GOOD | {"email": "ada@", "topics": ["reasoning"], "keywords": "protein design", "mutes": "crypto"}
    page = client.post("/subscribe", data=typed).text
    for kept in (
        'value="ada@"',
        'value="reasoning" checked',
        'value="protein design"',
        'value="crypto"',
        '<option value="7" selected>',
        '<option value="Europe/Berlin" selected>',
        '<option value="weekdays" selected>',
        "<details open>",
    ):
        assert kept in page
    assert "data-guess" not in page, "the zone they chose must not be guessed over"


@pytest.mark.parametrize("field", [*GOOD, *LISTS])
def test_hostile_texts_come_back_as_text_in_every_field(app: App, client: TestClient, field: str) -> None:
    for text in HOSTILE:
        answer = client.post("/subscribe", data=GOOD | {"email": "ada@"} | {field: text})
        assert answer.status_code == 400
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "{{7*7}}" in answer.text or "7*7" not in text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert everybody(app) == []


def test_hostile_wishes_are_kept_and_shown_as_text(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app), follow_redirects=False)
    short = [text for text in HOSTILE if len(text) <= 100]
    wishes = dict.fromkeys(LISTS, ",".join(short)) | {"topics": short}
    assert client.post("/subscribe", data=GOOD | wishes).status_code == 200
    [person] = everybody(app)
    assert all(text.isprintable() for name in LISTS for text in getattr(person, name))
    assert [to for to, _ in mailed(app)] == ["ada@example.org"]
