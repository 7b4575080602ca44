"""The form, and what becomes of what is typed into it."""

import email
from collections.abc import Callable
from email import policy
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import HOSTILE, add_readers
from sqlmodel import select

from newsletter import membership, pipeline
from newsletter.app import App
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.intake.models import Outcome, SignUp
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
    """Let a worker look at what was asked for, and return all subscribers."""
    pipeline.deliver(app, None)
    with app.db.snapshot() as session:
        return list(subscribers.every(session))


def asked(app: App) -> list[SignUp]:
    with app.db.snapshot() as session:
        return list(session.exec(select(SignUp).order_by(SignUp.id)))


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
    [sign_up] = asked(app)
    assert (sign_up.email, sign_up.outcome, sign_up.subscriber_id) == ("ada@example.org", Outcome.NEW, None)
    with app.db.snapshot() as session:
        assert list(subscribers.every(session)) == [], "nobody is a subscriber before a worker has looked"
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
    [person] = everybody(app)
    assert (person.state, person.hour, person.timezone, person.max_papers) == (State.PENDING, 7, "Europe/Berlin", 5)


def test_the_answer_does_not_tell_whether_an_address_is_known(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    app = make_app(database_url, signups_per_hour_client=100)
    client = TestClient(create_web(app), follow_redirects=False)
    add_readers(app, 1)
    membership.unsubscribe(app, add_readers(app, 1, prefix="left"))
    with app.db.session() as session:
        subscribers.suppress(session, "barred@example.org", "bounced", clock())
    client.post("/subscribe", data={"email": "pending@example.org"})
    assert [to for to, _ in mailed(app)] == ["pending@example.org"]
    names = ("reader0", "left0", "pending", "barred", "new")
    answers = [client.post("/subscribe", data={"email": f"{name}@example.org", "hour": "3"}) for name in names]
    texts = {answer.text.replace(name, "…") for name, answer in zip(names, answers, strict=True)}
    assert len(texts) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len({tuple(answer.headers) for answer in answers}) == 1
    alike = {(each.outcome, each.subscriber_id, each.client, str(each.wishes)) for each in asked(app)[1:]}
    assert len(alike) == 1, "what is written down tells nobody apart either"
    # ... and yet each of them gets what is right for them, and only that.
    people = {person.email.partition("@")[0]: person for person in everybody(app)}
    found = {name: (person.state, person.hour) for name, person in people.items()}
    assert found == {
        "reader0": (State.ACTIVE, 8),
        "left0": (State.PENDING, 8),
        "pending": (State.PENDING, 8),
        "new": (State.PENDING, 3),
    }
    outcomes = [(each.outcome, each.why) for each in asked(app)[1:]]
    done = (Outcome.MAILED, "")
    assert outcomes == [done, done, (Outcome.REFUSED, "address"), (Outcome.REFUSED, "suppressed"), done]
    confirm, link = "Please confirm your subscription to Daily Papers", "Your link to Daily Papers"
    assert sorted(mailed(app)) == [
        ("left0@example.org", confirm),
        ("new@example.org", confirm),
        ("pending@example.org", confirm),
        ("reader0@example.org", link),
    ]


def test_a_stranger_cannot_change_an_active_subscriber(app: App, client: TestClient) -> None:
    add_readers(app, 1, keywords=("robots",))
    client.post("/subscribe", data=GOOD | {"email": "READER0@example.org", "keywords": "spam"})
    [person] = everybody(app)
    assert (person.state, person.keywords, person.hour) == (State.ACTIVE, ["robots"], 8)
    assert mailed(app) == [("reader0@example.org", "Your link to Daily Papers")]


def test_signing_up_again_and_again_mails_one_confirmation_a_day(app: App, client: TestClient, clock: Clock) -> None:
    for _ in range(3):
        client.post("/subscribe", data=GOOD)
        client.post("/subscribe", data=GOOD | {"email": "ADA@example.org"})
    assert len(mailed(app)) == 1
    clock.forward(days=1)
    client.post("/subscribe", data=GOOD)
    assert len(mailed(app)) == 2


@pytest.mark.parametrize("looked_between", [True, False])
def test_a_second_sign_up_replaces_the_wishes_of_the_first(app: App, client: TestClient, looked_between: bool) -> None:
    client.post("/subscribe", data=GOOD | {"keywords": "robots"})
    if looked_between:
        assert len(everybody(app)) == 1
    client.post("/subscribe", data=GOOD | {"keywords": "proteins", "hour": "21"})
    assert len(mailed(app)) == 1
    done = membership.confirm(app, 1)
    assert done is not None
    assert (done.subscriber.keywords, done.subscriber.hour) == (["proteins"], 21)


def test_a_second_sign_up_from_somewhere_else_replaces_nothing(app: App) -> None:
    for host, keywords in (("203.0.113.7", "robots"), ("198.51.100.9", "spam")):
        client = TestClient(create_web(app), client=(host, 50_000))
        client.post("/subscribe", data=GOOD | {"keywords": keywords})
    assert len(mailed(app)) == 1
    done = membership.confirm(app, 1)
    assert done is not None
    assert done.subscriber.keywords == ["robots"]


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
        ("about", "a" * 1_001, "longer than 1000 characters"),
        ("about", "a" * 4_001, "too long"),
        ("papers", "a" * 400_001, "too long"),
        ("cadence", "hourly", "not one of daily, weekdays, days, weekly, above_bar"),
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
    assert (asked(app), everybody(app)) == ([], [])


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
    assert (asked(app), everybody(app)) == ([], [])


def test_hostile_wishes_are_kept_and_shown_as_text(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app), follow_redirects=False)
    short = [text for text in HOSTILE if len(text) <= 100]
    wishes = dict.fromkeys(LISTS, ",".join(short)) | {"topics": short}
    assert client.post("/subscribe", data=GOOD | wishes).status_code == 200
    [person] = everybody(app)
    assert all(text.isprintable() for name in LISTS for text in getattr(person, name))
    assert [to for to, _ in mailed(app)] == ["ada@example.org"]
    page = client.get(f"/confirm/{app.signer.sign(Purpose.CONFIRM, 1, now=app.now())}").text
    assert "{{7*7}}" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
