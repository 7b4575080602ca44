"""Feeds: valid by their specifications, the same papers in both formats, and a reader's own is theirs alone."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import feedparser
import pytest
import sqlalchemy as sa
from fakes import Clock
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE, add_papers, add_readers, open_and_queue, record
from sqlmodel import col, select
from visitors import dump

from newsletter import membership, pipeline, privacy, retention, steering
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.papers.models import Paper
from newsletter.subscribers import store as subscribers
from newsletter.web import create_web
from newsletter.web.syndication import Entry, Feed, atom, json_feed, lasting_id

SITE = "https://news.example.org"
SPACE = {"a": "http://www.w3.org/2005/Atom"}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
AT = datetime(2026, 8, 5, 9, tzinfo=UTC)


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def publish(app: App, *texts: str) -> None:
    fields = {"authors": ["Ada Example", "Bela <b>Muster</b>"], "categories": ["cs.LG"]}
    add_papers(app, [record(number, text, **fields) for number, text in enumerate(texts, start=1)])
    pipeline.open_issue(app, app.now().date())


def mailed(app: App, **wishes: object) -> int:
    """Send somebody three papers; return their id."""
    [id_] = add_readers(app, 1, **wishes)
    add_papers(app, [record(number, f"The title of {number}") for number in range(1, 4)])
    pipeline.deliver(app, open_and_queue(app).id)
    return id_


def own_feed(app: App, client: TestClient, id_: int) -> str:
    """Return the path of a reader's feed, as their preferences show it."""
    with app.db.snapshot() as session:
        person = subscribers.get(session, id_)
    assert person is not None
    page = client.get(urlsplit(app.identity.preferences_url(person, app.now())).path).text
    [path] = re.findall(r'href="(/feed/[\w-]{38}\.atom)"', page)
    return path


def must_be_atom(raw: bytes) -> ET.Element:
    """Check what RFC 4287 demands of a feed; return its root."""
    root = ET.fromstring(raw)
    assert root.tag == f"{{{SPACE['a']}}}feed"
    for node in (root, *root.iterfind("a:entry", SPACE)):  # sections 4.1.1 and 4.1.2
        for name in ("id", "title", "updated"):
            [found] = node.findall(f"a:{name}", SPACE)
            assert found.text
        assert re.match(r"(https:|urn:uuid:)", node.findtext("a:id", "", SPACE))
        assert RFC_3339.fullmatch(node.findtext("a:updated", "", SPACE))
        links = node.findall("a:link", SPACE)
        assert [each.get("rel") for each in links].count("alternate") == 1
        assert all(re.match("https?://", each.get("href") or "") for each in links)
    assert root.find("a:author/a:name", SPACE) is not None, "so that an entry need not have one"
    assert root.find("a:link[@rel='self']", SPACE) is not None
    ids = [each.text for each in root.iterfind("a:entry/a:id", SPACE)]
    assert len(set(ids)) == len(ids)
    assert not feedparser.parse(raw).bozo
    return root


def must_be_json_feed(said: dict[str, Any]) -> None:
    """Check what JSON Feed 1.1 demands."""
    assert said["version"] == "https://jsonfeed.org/version/1.1"
    assert isinstance(said["title"], str)
    for item in said["items"]:
        assert isinstance(item["id"], str)
        assert item["content_html"] or item.get("content_text")
        assert RFC_3339.fullmatch(item["date_published"])
        assert all(author["name"] for author in item["authors"])
        assert all(isinstance(tag, str) for tag in item["tags"])


def test_the_feeds_of_everybody_hold_the_hottest_papers(app: App, client: TestClient) -> None:
    publish(app, "One", "Two & <more>")
    answer = client.get("/feed.atom")
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    root = must_be_atom(answer.content)
    assert root.findtext("a:title", "", SPACE) == "Daily Papers"
    assert root.findtext("a:updated", "", SPACE) == "2026-08-05T09:00:00Z"
    two, one = feedparser.parse(answer.content).entries
    assert (two.title, one.title) == ("Two & <more>", "One")
    assert one.link == "https://arxiv.org/abs/2608.00001"
    assert [each.name for each in one.authors] == ["Ada Example", "Bela <b>Muster</b>"]
    assert [each.term for each in one.tags] == ["cs.LG"]
    assert one.published == one.updated == "2026-08-05T09:00:00Z"
    assert "This is what paper 1 says." in one.content[0].value
    assert "&lt;b&gt;Muster" in one.content[0].value
    assert "https://arxiv.org/pdf/2608.00001" in one.content[0].value


def test_both_formats_hold_the_same(app: App, client: TestClient) -> None:
    publish(app, "One", "Two")
    answer = client.get("/feed.json")
    assert answer.headers["content-type"] == "application/feed+json"
    said = answer.json()
    must_be_json_feed(said)
    assert (said["home_page_url"], said["feed_url"]) == (f"{SITE}/archive", f"{SITE}/feed.json")
    root = must_be_atom(client.get("/feed.atom").content)
    entries = root.findall("a:entry", SPACE)
    for name, key in (("id", "id"), ("title", "title"), ("content", "content_html"), ("updated", "date_published")):
        assert [each.findtext(f"a:{name}", "", SPACE) for each in entries] == [item[key] for item in said["items"]]


def test_an_empty_feed_is_a_feed(app: App, client: TestClient) -> None:
    root = must_be_atom(client.get("/feed.atom").content)
    assert root.findall("a:entry", SPACE) == []
    assert client.get("/feed.atom").content == client.get("/feed.atom").content
    must_be_json_feed(client.get("/feed.json").json())


def test_an_entry_keeps_its_id_and_its_time_whatever_comes_later(app: App, client: TestClient, clock: Clock) -> None:
    publish(app, "One", "Two")

    def entries() -> dict[str, str]:
        root = must_be_atom(client.get("/feed.atom").content)
        pairs = ((each.findtext("a:id", "", SPACE), each.findtext("a:updated", "", SPACE)) for each in root[6:])
        return {id_: at for id_, at in pairs if id_}

    before = entries()
    clock.forward(days=1)
    add_papers(app, [record(1, "One, renamed", version=2), record(3, listed_at=app.now() - timedelta(hours=1))])
    pipeline.open_issue(app, app.now().date())
    after = entries()
    assert before.items() <= after.items()
    assert len(after) == 3
    assert max(after.values()) == "2026-08-06T09:00:00Z"


TEXTS = (
    st.text(max_size=60)
    | st.sampled_from(HOSTILE)
    | st.text(alphabet="\x00\x08\x1f\ufffe\ufdd0]>&<'\"\ud800é", max_size=20)
)


@given(title=TEXTS, author=TEXTS, term=TEXTS, content=TEXTS)
def test_whatever_is_written_in_a_paper_is_text_in_a_feed(title: str, author: str, term: str, content: str) -> None:
    entry = Entry(lasting_id(SITE, "x"), f"x{title}", f"{SITE}/", AT, [author], [term], content, f"x{content}")
    paths = {kind: f"{SITE}/feed.{kind}" for kind in ("atom", "json")}
    feed = Feed(f"{SITE}/f", "Papers", "All", f"{SITE}/", paths, "Us", "en", AT, [entry])
    root = must_be_atom(atom(feed))
    assert [each.tag.partition("}")[2] for each in root.iter() if each.tag.endswith(("script", "img", "b"))] == []
    assert len(root.findall("a:entry", SPACE)) == 1
    json_feed(feed).decode("ascii")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_text_in_what_a_feed_reader_shows(app: App, client: TestClient, text: str) -> None:
    add_papers(app, [record(1, text, abstract=f"{text}. More.", authors=[text, "\0"], organization=text)])
    pipeline.open_issue(app, app.now().date())
    content = client.get("/feed.json").json()["items"][0]["content_html"]
    assert re.sub(r"</?p>|<a href=\"https://[^\"<>]*\">|</a>", "", content).count("<") == 0
    must_be_atom(client.get("/feed.atom").content)


def test_a_reader_has_a_feed_of_what_they_were_sent(app: App, client: TestClient, clock: Clock) -> None:
    id_ = mailed(app, keywords=("title",))
    clock.forward(days=1)
    add_papers(app, [record(4, "The title of 4", listed_at=app.now() - timedelta(hours=1))])
    pipeline.deliver(app, open_and_queue(app).id)
    path = own_feed(app, client, id_)
    answer = client.get(path)
    assert answer.headers["cache-control"] == "private, max-age=300"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["referrer-policy"] == "no-referrer"
    root = must_be_atom(answer.content)
    assert path.rpartition(".")[0] not in root.findtext("a:id", "", SPACE), "an id may be passed on"
    told = feedparser.parse(answer.content)
    assert told.feed.title == "Daily Papers for you"
    assert told.entries[0].title == "The title of 4"
    assert sorted(each.title for each in told.entries) == [f"The title of {number}" for number in range(1, 5)]
    assert all("Why: matches “title”" in each.content[0].value for each in told.entries)
    assert all(each.link.startswith("https://arxiv.org/abs/") for each in told.entries), "nothing is counted"
    said = client.get(path.replace(".atom", ".json")).json()
    must_be_json_feed(said)
    assert [item["title"] for item in said["items"]] == [each.title for each in told.entries]
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "private, max-age=300"


def test_a_readers_feed_speaks_their_language(app: App, client: TestClient) -> None:
    id_ = mailed(app, language="de", keywords=("title",))
    told = feedparser.parse(client.get(own_feed(app, client, id_)).content)
    assert told.feed.title == "Daily Papers für dich"
    assert "Warum: matches “title”" in told.entries[0].content[0].value


def test_looking_at_a_readers_feed_changes_nothing_and_counts_nothing(app: App, client: TestClient) -> None:
    path = own_feed(app, client, mailed(app))
    before = dump(app)
    for kind in ("atom", "json"):
        for method in ("GET", "HEAD"):
            assert client.request(method, path.replace("atom", kind)).status_code == 200
    assert client.get(path.replace("atom", "xml")).status_code == 404
    assert dump(app) == before


def test_the_link_to_a_feed_stays_the_same_until_its_reader_ends_it(app: App, client: TestClient, clock: Clock) -> None:
    id_ = mailed(app)
    path = own_feed(app, client, id_)
    clock.forward(days=400)
    assert own_feed(app, client, id_) == path
    assert client.get(path).status_code == 200
    steering.end_links(app, id_)
    assert client.get(path).status_code == 404
    fresh = own_feed(app, client, id_)
    assert client.get(fresh).status_code == 200


@pytest.mark.parametrize("leave", [lambda app, id_: membership.unsubscribe(app, [id_]), privacy.erase])
def test_a_feed_ends_when_its_reader_leaves(app: App, client: TestClient, leave: Any) -> None:
    id_ = mailed(app)
    path = own_feed(app, client, id_)
    leave(app, id_)
    answer = client.get(path)
    assert answer.status_code == 404
    assert "The title of" not in answer.text


def test_a_readers_feed_holds_no_more_than_the_ledger_keeps(app: App, client: TestClient, clock: Clock) -> None:
    id_ = mailed(app)
    path = own_feed(app, client, id_)
    clock.forward(days=120)
    retention.archive(app)
    assert must_be_atom(client.get(path).content).findall("a:entry", SPACE) == []


@pytest.mark.parametrize(
    "kept",
    [
        {},
        [],
        {"picks": 7, "considered": 1},
        *({"picks": [[id_, 0.5, "new"]], "considered": 1} for id_ in (99, 2**70, 1e308)),
    ],
)
def test_a_mail_that_cannot_be_read_costs_a_feed_no_other(
    app: App, client: TestClient, clock: Clock, kept: Any
) -> None:
    id_ = mailed(app)
    with app.db.session() as session:
        session.exec(select(Delivery)).one().selection = kept
    clock.forward(days=1)
    add_papers(app, [record(4, "The title of 4", listed_at=app.now() - timedelta(hours=1))])
    pipeline.deliver(app, open_and_queue(app).id)
    told = feedparser.parse(client.get(own_feed(app, client, id_)).content)
    assert "The title of 4" in {each.title for each in told.entries}


def test_a_paper_that_was_taken_back_leaves_a_readers_feed(app: App, client: TestClient) -> None:
    id_ = mailed(app)
    path = own_feed(app, client, id_)
    assert "The title of 1" in client.get(path).text
    with app.db.session() as session:
        session.execute(sa.update(Paper).where(col(Paper.title) == "The title of 1").values(withdrawn=True))
    told = client.get(path).text
    assert "The title of 1" not in told
    assert "The title of 2" in told


def test_nobody_reads_another_ones_feed(app: App, client: TestClient) -> None:
    mailed(app, keywords=("title",))
    [other] = add_readers(app, 1, prefix="other")
    assert must_be_atom(client.get(own_feed(app, client, other)).content).findall("a:entry", SPACE) == []
