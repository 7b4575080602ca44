"""Opens and clicks: counted without naming anybody, and led only to our own papers."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline, steering
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.papers import store as papers
from newsletter.signing import Purpose
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import How, Said
from newsletter.tracking import store as events
from newsletter.tracking.models import Event
from newsletter.web import create_web

GIF = b"GIF89a"
PAPER = record(1, code_url="https://example.org/code?a=1&b=ü#top")


def send(app: App, readers: int = 1) -> list[str]:
    """Send the day's issue, and return the token of each reader's mail."""
    add_papers(app, [PAPER])
    add_readers(app, readers)
    pipeline.deliver(app, open_and_queue(app).id)
    with app.db.snapshot() as session:
        sent = session.exec(select(Delivery).order_by(Delivery.subscriber_id))
        return [app.signer.sign(Purpose.READ, delivery.id or 0, now=app.now()) for delivery in sent]


def kept(app: App) -> list[Event]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Event).order_by(Event.id)))


def seen(app: App) -> list[tuple[str, int, str, int]]:
    return [(event.kind, event.subscriber_id, event.link, event.times) for event in kept(app)]


def browse(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def test_a_click_leads_to_the_paper_and_is_counted(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    [token] = send(app)
    answer = browse(app).get(f"/c/{token}/1/page")
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://arxiv.org/abs/2608.00001"
    assert "set-cookie" not in answer.headers
    assert seen(app) == [("clicked", 0, "page", 1)]


@pytest.mark.parametrize(
    ("kind", "target"),
    [("pdf", "https://arxiv.org/pdf/2608.00001"), ("code", "https://example.org/code?a=1&b=%C3%BC#top")],
)
def test_each_kind_of_link_has_its_own_target(app: App, kind: str, target: str) -> None:
    [token] = send(app)
    assert browse(app).get(f"/c/{token}/1/{kind}").headers["location"] == target


def test_an_open_answers_with_a_picture_that_is_not_kept(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    [token] = send(app)
    answer = browse(app).get(f"/o/{token}.gif")
    assert answer.status_code == 200
    assert answer.content.startswith(GIF)
    assert answer.headers["content-type"] == "image/gif"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert seen(app) == [("opened", 0, "", 1)]


def test_aggregate_tracking_names_nobody_and_cannot_flood_the_table(app: App, clock: Clock) -> None:
    tokens = send(app, readers=3)
    client = browse(app)
    for token in tokens * 2:
        client.get(f"/o/{token}.gif")
        client.get(f"/c/{token}/1/page")
        clock.forward(minutes=1)
    assert seen(app) == [("opened", 0, "", 6), ("clicked", 0, "page", 6)]
    [opened, _] = kept(app)
    assert opened.last_at - opened.first_at == timedelta(minutes=5)
    with app.db.snapshot() as session:
        assert events.totals(session, 1) == {"opened": 6, "clicked": 6}


def test_personal_tracking_tells_readers_apart(make_app: Callable[..., App], sqlite_url: str) -> None:
    app = make_app(sqlite_url, tracking="personal")
    first, second = send(app, readers=2)
    client = browse(app)
    client.get(f"/c/{first}/1/page")
    client.get(f"/c/{second}/1/page")
    assert {event.subscriber_id for event in kept(app)} == {1, 2}


def test_tracking_that_is_off_counts_nothing_and_old_links_still_lead_on(
    make_app: Callable[..., App], sqlite_url: str
) -> None:
    [token] = send(make_app(sqlite_url))
    client = browse(app := make_app(sqlite_url, tracking="off"))
    assert client.get(f"/o/{token}.gif").content.startswith(GIF)
    assert client.get(f"/c/{token}/1/page").status_code == 302
    assert kept(app) == []


@pytest.mark.parametrize("asked", [{"dnt": "1"}, {"sec-gpc": "1"}])
def test_asking_not_to_be_tracked_is_heard(app: App, asked: dict[str, str]) -> None:
    [token] = send(app)
    client = browse(app)
    assert client.get(f"/c/{token}/1/page", headers=asked).status_code == 302
    assert client.get(f"/o/{token}.gif", headers=asked).content.startswith(GIF)
    assert kept(app) == []


def test_a_scanner_that_only_looks_is_not_counted(app: App) -> None:
    [token] = send(app)
    client = browse(app)
    assert client.head(f"/c/{token}/1/page").status_code == 302
    assert client.head(f"/o/{token}.gif").status_code == 200
    assert kept(app) == []


def test_no_other_target_can_be_had(app: App) -> None:
    [token] = send(app)
    client = browse(app)
    papers = ("2/page", "0/page", "-1/page", "9" * 20 + "/page", "9" * 5_000 + "/page", "x/page", "%31%00/page")
    kinds = ("1/", "1/project", "1/PAGE", "1/https:%2F%2Fevil.example", "1/page/more", "1/__class__")
    for rest in (*papers, *kinds):
        answer = client.get(f"/c/{token}/{rest}")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "location" not in answer.headers
    assert kept(app) == []
    answer = client.get(f"/c/{token}/1/page?to=https://evil.example/&kind=code")
    assert answer.headers["location"] == PAPER.url


def test_a_forged_open_gets_the_picture_and_counts_nothing(app: App) -> None:
    [token] = send(app)
    client = browse(app)
    foreign = app.signer.sign(Purpose.UNSUBSCRIBE, 1, now=app.now())
    for forged in (token[:-1], token[::-1], "x", foreign, "%00", "ü" * 38):
        answer = client.get(f"/o/{forged}.gif")
        assert (answer.status_code, answer.content[:6]) == (200, GIF)
    assert kept(app) == []


def test_a_click_on_a_mail_that_is_gone_still_leads_to_the_paper(app: App) -> None:
    send(app)
    token = app.signer.sign(Purpose.READ, 4_711, now=app.now())
    client = browse(app)
    assert client.get(f"/c/{token}/1/page").status_code == 302
    assert client.get(f"/o/{token}.gif").status_code == 200
    assert kept(app) == []


def said_of_papers(app: App, reader: int = 1) -> list[tuple[str, int | None, bool]]:
    with app.db.snapshot() as session:
        return [(each.said, each.paper_id, each.taken_back_at is None) for each in ratings.all_of(session, reader)]


def test_a_readers_click_is_half_a_like_that_they_can_see_and_take_back(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    app = make_app(database_url, tracking="personal")
    [token] = send(app)
    client = browse(app)
    clock.forward(minutes=1)
    client.get(f"/c/{token}/1/page")
    client.get(f"/c/{token}/1/pdf")
    assert said_of_papers(app) == [("clicked", 1, True)]
    page = f"/preferences/{app.signer.sign(Purpose.PREFERENCES, 1, now=app.now())}"
    shown = client.get(page).text
    assert "You followed its link" in shown
    [rating] = re.findall(r'name="drop" value="(\d+)"', shown)
    assert client.post(f"{page}/papers", data={"drop": rating}).status_code == 200
    clock.forward(minutes=1)
    client.get(f"/c/{token}/1/code")
    assert said_of_papers(app) == [("clicked", 1, False)], "what was taken back stays so"


def test_what_a_reader_said_in_words_outweighs_their_click(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_url, tracking="personal")
    [token] = send(app)
    clock.forward(minutes=1)
    with app.db.snapshot() as session:
        paper = papers.by_ids(session, [1])[1]
    steering.speak(app, 1, 1, paper, Said.DISLIKED)
    browse(app).get(f"/c/{token}/1/page")
    assert said_of_papers(app) == [("disliked", 1, True)]
    steering.speak(app, 1, 1, paper, Said.LIKED)
    assert said_of_papers(app) == [("liked", 1, True)]


@pytest.mark.parametrize("tracking", ["aggregate", "off"])
def test_nobody_is_learnt_from_who_is_not_told_apart(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock, tracking: str
) -> None:
    app = make_app(sqlite_url, tracking=tracking)
    [token] = send(app)
    clock.forward(minutes=1)
    assert browse(app).get(f"/c/{token}/1/page").status_code == 302
    assert said_of_papers(app) == []


def test_who_asked_not_to_be_counted_is_not_learnt_from(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_url, tracking="personal")
    [token] = send(app)
    steering.save(app, 1, Preferences(tracking=False))
    clock.forward(minutes=1)
    browse(app).get(f"/c/{token}/1/page")
    assert said_of_papers(app) == []


def test_a_scanner_that_follows_links_is_no_reader(make_app: Callable[..., App], sqlite_url: str, clock: Clock) -> None:
    app = make_app(sqlite_url, tracking="personal")
    first, second = send(app, readers=2)
    client = browse(app)
    client.get(f"/c/{first}/1/page")
    assert said_of_papers(app) == [], "right after the mail"
    clock.forward(minutes=1)
    for link in ("page", "pdf", "code"):
        client.get(f"/c/{second}/1/{link}")
    assert said_of_papers(app, 2) == [], "three links at once"


def test_clicks_are_forgotten_with_the_events_they_came_from(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_url, tracking="personal")
    [token] = send(app)
    clock.forward(minutes=1)
    browse(app).get(f"/c/{token}/1/page")
    clock.forward(days=89)
    pipeline.tidy(app)
    assert said_of_papers(app) == [("clicked", 1, True)]
    clock.forward(days=2)
    pipeline.tidy(app)
    assert said_of_papers(app) == []


def test_a_scanner_that_comes_back_is_no_reader_either(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_url, tracking="personal")
    [token] = send(app)
    client = browse(app)
    for _ in range(2):
        clock.forward(minutes=5)
        for link in ("page", "pdf", "code"):
            client.get(f"/c/{token}/1/{link}")
        assert said_of_papers(app) == []


def test_a_click_says_nothing_against_what_was_pasted_before_the_paper_was_known(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    app = make_app(database_url, tracking="personal")
    [token] = send(app)
    clock.forward(minutes=1)
    with app.db.session() as session:
        ratings.rate(session, 1, PAPER.key, Said.DISLIKED, How.PASTED, app.now(), title="Pasted")
    browse(app).get(f"/c/{token}/1/page")
    assert said_of_papers(app) == [("disliked", None, True)]
