"""Past issues for everybody: what is shown, what is not, and what looking at them costs."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from bibtexparser import parse_string
from fakes import Clock
from fastapi.testclient import TestClient
from samples import HOSTILE, add_papers, add_readers, open_and_queue, record
from sqlmodel import select
from visitors import statements

from newsletter import pipeline
from newsletter.app import App
from newsletter.issues import store as issues
from newsletter.issues.models import Issue
from newsletter.papers.models import Paper
from newsletter.papers.textclean import clean
from newsletter.publishing import A_PAGE, SHOWN, Archive
from newsletter.web import create_web

SITE = "https://news.example.org"
DAY = "/archive/2026-08-05"
KINDS = ("", ".bib", ".ris")
PUBLIC = ("/archive", DAY, f"{DAY}.bib", f"{DAY}.ris", "/feed.atom", "/feed.json", "/sitemap.xml", "/robots.txt")


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def publish(app: App, count: int = 3) -> Issue:
    add_papers(app, [record(number, f"The title of {number}") for number in range(1, count + 1)])
    return pipeline.open_issue(app, app.now().date())


def publish_days(app: App, clock: Clock, days: int) -> None:
    """Open an issue on each of some days."""
    for _ in range(days):
        issue = pipeline.open_issue(app, app.now().date())
        assert issue.state == "open"
        clock.forward(days=1)


def titles(page: str) -> list[str]:
    return re.findall(r"The title of \d+", page.partition("</head>")[2])


def test_an_issue_shows_its_hottest_papers_with_their_links_and_what_was_said_of_them(
    make_app: Callable[..., App], database_url: str
) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app))
    fields = {"code_url": "https://example.org/code", "authors": ["Ada Example"], "organization": "A Lab"}
    add_papers(app, [record(number, f"The title of {number}", **fields) for number in range(1, SHOWN + 6)])
    pipeline.open_issue(app, app.now().date())
    page = client.get(DAY).text
    assert titles(page) == [f"The title of {number}" for number in range(SHOWN + 5, 5, -1)]
    assert "Of 25 papers" in page
    assert "Ada Example · A Lab" in page
    assert "25 upvotes" in page
    for address in ("https://arxiv.org/abs/2608.00025", "https://arxiv.org/pdf/2608.00025", "https://example.org/code"):
        assert f'href="{address}"' in page


def test_what_an_issue_shows_is_frozen_with_it(app: App, client: TestClient, clock: Clock) -> None:
    publish(app)
    before = titles(client.get(DAY).text)
    add_papers(app, [record(1, "The title of 1", upvotes=1_000), record(9, "The title of 9", upvotes=2_000)])
    assert titles(client.get(DAY).text) == before
    assert titles(TestClient(create_web(app)).get(DAY).text) == before


def test_a_paper_that_was_taken_back_is_no_longer_shown(app: App, client: TestClient) -> None:
    publish(app)
    with app.db.session() as session:
        for paper in session.exec(select(Paper).where(Paper.title == "The title of 2")):
            paper.withdrawn = True
    assert titles(client.get(DAY).text) == ["The title of 3", "The title of 1"]
    assert all("title of 2" not in client.get(f"{DAY}{kind}").text for kind in KINDS)
    assert "title of 2" not in client.get("/feed.atom").text


def test_issues_are_listed_newest_first_and_lead_to_each_other(
    make_app: Callable[..., App], database_url: str, clock: Clock
) -> None:
    app = make_app(database_url)
    client = TestClient(create_web(app))
    publish(app)
    publish_days(app, clock, 3)
    listed = re.findall(r'<a href="/archive/([\d-]+)">', client.get("/archive").text)
    assert listed == ["2026-08-07", "2026-08-06", "2026-08-05"]
    page = client.get("/archive/2026-08-06").text
    assert re.findall(r'<link rel="(prev|next)" href="([^"]+)">', page) == [
        ("prev", "/archive/2026-08-05"),
        ("next", "/archive/2026-08-07"),
    ]
    assert 'rel="prev"' not in client.get(DAY).text
    assert 'rel="next"' not in client.get("/archive/2026-08-07").text


def test_pages_of_issues_follow_each_other(app: App, client: TestClient, clock: Clock) -> None:
    day = app.now().date()
    with app.db.session() as session:  # a paper that is listed anew each day would do the same
        add = [record(1)]
    add_papers(app, add)
    first = pipeline.open_issue(app, day)
    with app.db.session() as session:
        candidate = issues.candidates(session, first.id or 0)[0]
        for back in range(1, A_PAGE + 2):
            when = day - timedelta(days=back)
            fields = {"day": when, "slot": when.isoformat()} | dict.fromkeys(
                ("window_start", "window_end", "opened_at"), app.now() - timedelta(days=back)
            )
            kept = Issue(**fields)
            session.add(kept)
            session.flush()
            session.add(type(candidate)(**candidate.model_dump() | {"issue_id": kept.id}))
    first_page, second_page = (client.get(f"/archive{query}").text for query in ("", "?page=2"))
    assert len(re.findall(r'<a href="/archive/\d', first_page)) == A_PAGE
    assert len(re.findall(r'<a href="/archive/\d', second_page)) == 2
    assert '<a rel="prev" href="/archive?page=2">' in first_page
    assert '<a rel="next" href="/archive">' in second_page
    assert 'rel="prev"' not in second_page
    assert f'<link rel="canonical" href="{SITE}/archive?page=2">' in second_page
    assert client.get("/archive?page=3").status_code == 404


@pytest.mark.parametrize(("hold", "status"), [("pause", 404), ("cancel", 404), ("stop", 200)])
def test_what_the_operator_holds_back_is_not_shown(app: App, client: TestClient, hold: str, status: int) -> None:
    issue = publish(app)
    assert client.get(DAY).status_code == 200
    with app.db.session() as session:
        act = {"pause": issues.pause, "cancel": issues.cancel, "stop": lambda s, id_: issues.stop(s, id_, "refused")}
        assert act[hold](session, issue.id or 0)
    for path in (DAY, f"{DAY}.bib", f"{DAY}.ris"):
        assert client.get(path).status_code == status
    for path in ("/archive", "/feed.atom", "/feed.json", "/sitemap.xml"):
        assert ("2026-08-05" in client.get(path).text) is (status == 200)


def test_an_issue_without_papers_and_a_day_to_come_are_not_shown(app: App, client: TestClient) -> None:
    pipeline.open_issue(app, app.now().date())
    assert client.get(DAY).status_code == 404
    assert "There is no issue yet." in client.get("/archive").text
    assert client.get("/archive/2026-08-06").status_code == 404
    assert client.get("/sitemap.xml").text.count("<loc>") == 2


NONSENSE = [
    *(f"/archive/{slot}" for slot in ("x", "2026-8-5", "2026-08-05x", "20260805", "٢٠٢٦-٠٨-٠٥", "2026-08-05%00")),
    *(f"/archive/{slot}" for slot in ("%00", "%ff", "..%2f..%2fetc%2fpasswd", "2026-08-05.txt", "x" * 5_000, "1'--")),
    *(f"/archive?page={number}" for number in ("0", "-1", "x", "1e3", "99999", "9" * 400, "²", "%00", "", "1.0")),
    *(f"/archive/{slot}.{kind}" for slot in ("x", "%00", "2099-01-01") for kind in ("bib", "ris")),
]


def test_nonsense_in_the_address_is_a_plain_404(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    publish(app)
    client = TestClient(create_web(app), follow_redirects=False)
    for path in NONSENSE:
        for method in ("GET", "HEAD"):
            answer = client.request(method, path)
            assert answer.status_code == 404, path
            assert answer.headers["cache-control"] == "no-store", path
        assert client.post(path).status_code in {404, 405}, path


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_may_be_kept_and_is_sent_once(app: App, client: TestClient, path: str) -> None:
    publish(app)
    first = client.get(path)
    tag = first.headers["etag"]
    assert first.status_code == 200
    assert first.headers["cache-control"] == "public, max-age=300"
    assert "set-cookie" not in first.headers
    for asked in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        for method in ("GET", "HEAD"):
            again = client.request(method, path, headers={"if-none-match": asked})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert again.headers["cache-control"] == "public, max-age=300"
    for asked in ('"other"', tag[:-2] + '"', "nonsense", ""):
        assert client.get(path, headers={"if-none-match": asked}).content == first.content
    assert client.head(path).headers["etag"] == tag


def test_a_new_issue_gives_a_new_etag(app: App, client: TestClient, clock: Clock) -> None:
    publish(app)
    before = {path: client.get(path).headers["etag"] for path in ("/archive", DAY, "/feed.atom", "/sitemap.xml")}
    clock.forward(days=1)
    add_papers(app, [record(7, "The title of 7", listed_at=app.now() - timedelta(hours=1))])
    pipeline.open_issue(app, app.now().date())
    assert all(client.get(path).headers["etag"] != tag for path, tag in before.items())


def test_a_page_speaks_the_language_that_is_asked_for_and_says_so_to_caches(app: App, client: TestClient) -> None:
    publish(app)
    for path, german in (("/archive", "Frühere Ausgaben"), (DAY, "Paper vom 5. August 2026")):
        answer = client.get(path, headers={"accept-language": "de"})
        assert f"<h1>{german}</h1>" in answer.text
        assert answer.headers["vary"] == "Accept-Language"
        assert answer.headers["etag"] != client.get(path).headers["etag"]


def test_a_page_says_what_it_is_to_who_shares_it(app: App, client: TestClient) -> None:
    add_papers(app, [record(1, 'A "quoted" <title> & more')])
    pipeline.open_issue(app, app.now().date())
    page = client.get(DAY).text
    said = {
        name: unescape(text) for name, text in re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', page)
    }
    assert said["description"] == said["og:description"] == 'A "quoted" <title> & more'
    assert said["og:title"] == "Papers of 5 August 2026"
    assert said["og:url"] == f"{SITE}{DAY}"
    assert (said["og:type"], said["og:site_name"]) == ("article", "Daily Papers")
    assert f'<link rel="canonical" href="{SITE}{DAY}">' in page
    assert '<link rel="alternate" type="application/atom+xml" title="Daily Papers" href="/feed.atom">' in page
    assert '<link rel="alternate" type="application/feed+json" title="Daily Papers" href="/feed.json">' in page


def test_no_page_of_everybody_knows_a_reader(app: App, client: TestClient) -> None:
    add_readers(app, 3, keywords=("a secret wish",))
    add_papers(app, [record(number) for number in range(1, 4)])
    pipeline.deliver(app, open_and_queue(app).id)
    with statements(app) as seen:
        text = "".join(client.get(path).text for path in PUBLIC)
    assert "reader" not in text.replace("feed reader", "")
    assert "secret wish" not in text
    assert not [each for each in seen if re.search(r"\b(subscribers|deliveries|ratings|events)\b", each)]


@pytest.mark.parametrize(("path", "most"), [("/archive", 4), (DAY, 6), ("/feed.atom", 4), ("/sitemap.xml", 1)])
def test_looking_takes_few_queries_and_fewer_the_second_time(
    app: App, client: TestClient, clock: Clock, path: str, most: int
) -> None:
    publish(app, 40)
    publish_days(app, clock, 6)
    for queries in (most, max(most - 2, 1)):
        with statements(app) as seen:
            assert client.get(path).status_code == 200
        assert len([each for each in seen if each.startswith("SELECT")]) <= queries


def test_rankings_in_memory_stay_few(app: App, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    from newsletter import publishing

    monkeypatch.setattr(publishing, "_KEPT", 2)
    publish(app)
    publish_days(app, clock, 4)
    past = Archive(app)
    assert len(past.page(1)[0]) == 4
    assert len(past._known) == 2
    assert len(past.page(1)[0]) == 4


class Tags(HTMLParser):
    """Collects the tags of a page, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_text_on_every_page_and_in_every_file(app: App, client: TestClient, text: str) -> None:
    with app.db.session() as session:
        at = app.now() - timedelta(hours=2)
        fields = dict.fromkeys(("url", "pdf_url", "code_url", "project_url"), text) | {"organization": text}
        fields |= {"authors": [text], "categories": [text], "keywords": [text], "abstract": text, "title": text}
        ats = dict.fromkeys(("listed_at", "first_seen_at", "updated_at"), at)
        session.add(Paper(key=f"feed:{text}".replace("\0", ""), source="file", **without_nul(fields), **ats))
    pipeline.open_issue(app, app.now().date())
    wanted = clean(text, 200)[:30]
    for path in ("/archive", DAY):
        seen = Tags()
        seen.feed(client.get(path).text)
        assert not {"script", "img", "b", "style"} & set(seen.tags)
        assert all(re.match(r"/|https://news\.example\.org/|data:,", each) for each in seen.links), seen.links
        assert wanted in seen.said
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", client.get(path).text)
    [entry] = parse_string(client.get(f"{DAY}.bib").text).entries
    assert set(entry.fields_dict) == {"title", "author", "year"}
    assert client.get(f"{DAY}.ris").text.count("\r\nER  - \r\n") == 1
    for path in ("/feed.atom", "/feed.json"):
        assert client.get(path).status_code == 200


def without_nul(fields: dict[str, object]) -> dict[str, object]:
    """Return values as a database takes them."""

    def bare(value: object) -> object:
        return [bare(each) for each in value] if isinstance(value, list) else str(value).replace("\0", "")

    return {name: bare(value) for name, value in fields.items()}


def test_files_for_reference_managers_have_a_name_and_a_kind(app: App, client: TestClient) -> None:
    publish(app)
    bib, ris = (client.get(f"{DAY}.{kind}") for kind in ("bib", "ris"))
    assert bib.headers["content-disposition"] == 'attachment; filename="papers-2026-08-05.bib"'
    assert bib.headers["content-type"] == "application/x-bibtex; charset=utf-8"
    assert ris.headers["content-type"] == "application/x-research-info-systems; charset=utf-8"
    assert [entry["title"].strip("{}") for entry in parse_string(bib.text).entries] == [
        f"The title of {number}" for number in (3, 2, 1)
    ]
    assert re.findall(r"TI  - (.*)\r", ris.text) == [f"The title of {number}" for number in (3, 2, 1)]


def test_the_sitemap_names_what_is_for_everybody(app: App, client: TestClient) -> None:
    publish(app)
    answer = client.get("/sitemap.xml")
    assert answer.headers["content-type"] == "application/xml"
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    root = ET.fromstring(answer.content)
    assert [each.text for each in root.iterfind("s:url/s:loc", space)] == [
        f"{SITE}/",
        f"{SITE}/archive",
        f"{SITE}{DAY}",
    ]
    assert [each.text for each in root.iterfind("s:url/s:lastmod", space)] == ["2026-08-05"]


def test_crawlers_are_kept_from_what_is_a_readers_own(app: App, client: TestClient) -> None:
    from urllib.robotparser import RobotFileParser

    rules = RobotFileParser()
    rules.parse(client.get("/robots.txt").text.splitlines())
    assert rules.site_maps() == [f"{SITE}/sitemap.xml"]
    for path in ("/", "/archive", DAY, f"{DAY}.bib", "/feed.atom", "/feed.json", "/sitemap.xml", "/subscribe"):
        assert rules.can_fetch("anybot", f"{SITE}{path}"), path
    rooms = ("u/x", "v/x", "f/x/1/like", "c/x/1/page", "o/x.gif", "feed/x.atom", "preferences/x", "confirm/x", "link")
    for room in (*rooms, "address/x", "back/x", "rejoin/x", "erase/x", "metrics"):
        assert not rules.can_fetch("anybot", f"{SITE}/{room}"), room


def test_a_paper_is_news_once_with_the_date_it_came_with(app: App, clock: Clock) -> None:
    publish(app, 2)
    publish_days(app, clock, 2)
    add_papers(app, [record(9, "The title of 9", listed_at=app.now() - timedelta(hours=1))])
    publish_days(app, clock, 1)
    told = [(each.paper.title, issue.day) for issue, each in Archive(app).news()]
    assert told[0] == ("The title of 9", date(2026, 8, 7))
    assert sorted(told[1:]) == [(f"The title of {number}", date(2026, 8, 5)) for number in (1, 2)]


def test_what_was_told_keeps_its_date_while_old_issues_fall_out_of_sight(
    app: App, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from newsletter import publishing

    monkeypatch.setattr(publishing, "_LOOK_BACK", 10)
    told: dict[str, date] = {}
    for day in range(14):
        at = app.now() - timedelta(hours=1)
        add_papers(app, [record(10 * day + n, f"The title of {10 * day + n}", listed_at=at) for n in range(3)])
        publish_days(app, clock, 1)
        news = {each.paper.title: issue.day for issue, each in Archive(app).news()}
        assert all(told.get(title, when) == when for title, when in news.items())
        assert len(news) == (3 * (day + 1) if day < 9 else 3 * 3), "a week of issues vouches for the others"
        told |= news
