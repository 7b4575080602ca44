"""A mail as a page is the mail that was sent, shown to its reader alone."""

import re
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage

import pytest
from fakes import Clock, SmtpServer
from fastapi.testclient import TestClient
from people import heading, link, mails, publish
from playwright.sync_api import Page
from samples import HOSTILE, add_papers, add_readers, mails_of, open_and_queue, paths_in, record, text_of
from sqlmodel import select
from visitors import dump

from newsletter import membership, pipeline, privacy, retention, steering
from newsletter.app import App
from newsletter.delivery.kept import store as kept_mails
from newsletter.delivery.models import Delivery
from newsletter.papers.textclean import clean
from newsletter.signing import Purpose, Signer
from newsletter.subscribers.preferences import Preferences
from newsletter.web import create_web


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def send(app: App, **wishes: object) -> tuple[int, EmailMessage]:
    """Send somebody a mail; return their id and the mail."""
    [id_] = add_readers(app, 1, **wishes)
    fields = {"code_url": "https://example.org/code", "authors": ["Ada Example"]}
    add_papers(app, [record(number, clean(text, 500), **fields) for number, text in enumerate(HOSTILE, start=1)])
    open_and_queue(app)
    return id_, mails_of(app)[-1]


def html_of(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def path_of(mail: EmailMessage) -> str:
    [path] = paths_in(mail, "v")
    assert f'href="https://news.example.org{path}"' in html_of(mail)
    return path


@pytest.mark.parametrize("wishes", [{}, {"tracking": False}, {"cadence": "weekly"}, {"keywords": ("paper",)}])
def test_the_page_is_the_mail_to_the_letter(
    make_app: Callable[..., App], database_url: str, clock: Clock, wishes: dict[str, object]
) -> None:
    clock.forward(days=5)  # a Monday
    app = make_app(database_url)
    _, mail = send(app, **wishes)
    client = TestClient(create_web(app))
    clock.forward(days=3, seconds=7)
    answer = client.get(path_of(mail))
    assert answer.status_code == 200
    assert answer.text == html_of(mail)
    assert ("/o/" in answer.text) is (wishes.get("tracking", True))


def test_it_stays_the_mail_when_wishes_change(app: App, client: TestClient, clock: Clock) -> None:
    id_, mail = send(app, keywords=("paper",))
    clock.forward(hours=1)
    steering.save(app, id_, Preferences(topics=("graphs",), max_papers=3, cadence="weekly", hour=3))
    assert client.get(path_of(mail)).text == html_of(mail)


def test_who_wants_no_counting_any_more_is_not_counted_by_an_old_mail(app: App, client: TestClient) -> None:
    id_, mail = send(app)
    assert "/o/" in html_of(mail)
    steering.save(app, id_, Preferences(tracking=False))
    page = client.get(path_of(mail)).text
    assert "/o/" not in page
    assert "/c/" not in page


def test_a_mail_with_news_of_sources_alone_is_shown_as_it_was(app: App, client: TestClient) -> None:
    [_] = add_readers(app, 1, source_news=True)
    issue = pipeline.open_issue(app, app.now().date())
    with app.db.session() as session:
        kept = session.get(type(issue), issue.id)
        assert kept
        kept.news = ["arXiv did not answer"]
    open_and_queue(app)
    [mail] = mails_of(app)
    assert "arXiv did not answer" in html_of(mail)
    assert client.get(path_of(mail)).text == html_of(mail)


def test_the_page_may_do_what_a_mail_may_and_stays_with_its_reader(app: App, client: TestClient) -> None:
    _, mail = send(app)
    for method in ("GET", "HEAD"):
        headers = client.request(method, path_of(mail)).headers
        assert headers["cache-control"] == "private, no-store"
        assert headers["x-robots-tag"] == "noindex"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        [policy] = headers.get_list("content-security-policy")
        allowed = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert allowed.pop("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
        assert allowed.pop("style-src") == "'unsafe-inline'"
        assert allowed.pop("img-src") == "'self'"
        assert set(allowed.values()) == {"'none'"}
        assert "script-src" not in allowed, "the default: none"


def test_the_page_has_the_papers_that_the_mail_had_no_room_for(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1, max_papers=50)
    long = {"abstract": "A sentence of some length about something. " * 60, "authors": ["Ada Example"] * 9}
    add_papers(app, [record(number, f"Work {number} " + "word " * 40, **long) for number in range(1, 61)])
    open_and_queue(app)
    [mail] = mails_of(app)
    html, page = html_of(mail), client.get(path_of(mail)).text
    left_out = 50 - html.count("<h3")
    assert 5 < left_out < 30
    assert re.search(rf'<a [^>]*href="https://news.example.org{path_of(mail)}"[^>]*>and {left_out} more</a>', html)
    assert f"... and {left_out} more, on this mail's page:\r\n" in text_of(mail)
    assert page.count("<h3") == 50
    assert " more</a>" not in page
    with app.db.snapshot() as session:
        [sent] = kept_mails.sent(session, [id_], app.now() - timedelta(days=1)).values()
    assert len(sent.papers) == 50, "what is on the page was shown: it never comes again"


def test_pictures_are_loaded_where_the_operator_shows_any(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url, pictures=True)
    add_readers(app, 1, prefix="counted")
    add_readers(app, 1, prefix="not", tracking=False)
    add_papers(app, [record(1, picture_url="https://pictures.example.org/1.png"), record(2)])
    open_and_queue(app)
    pictures = {str(mail["to"]): html_of(mail).count('src="https://pictures') for mail in mails_of(app)}
    assert pictures == {"counted0@example.org": 1, "not0@example.org": 0}
    mail = next(each for each in mails_of(app) if "counted" in str(each["to"]))
    answer = TestClient(create_web(app)).get(path_of(mail))
    assert answer.text == html_of(mail)
    assert "img-src 'self' https:;" in answer.headers["content-security-policy"]


def test_looking_changes_nothing(app: App, client: TestClient) -> None:
    _, mail = send(app)
    before = dump(app)
    for method in ("GET", "HEAD"):
        assert client.request(method, path_of(mail)).status_code == 200
    assert dump(app) == before


@pytest.mark.parametrize("days", [91, 120, 500])
def test_a_mail_that_is_no_longer_kept_says_so(app: App, client: TestClient, clock: Clock, days: int) -> None:
    _, mail = send(app)
    clock.forward(days=days)
    retention.archive(app)
    answer = client.get(path_of(mail))
    assert answer.status_code == 410
    assert "<h1>This mail is no longer kept</h1>" in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "kept",
    [
        {"picks": "x", "considered": 1},
        {},
        *({"picks": [[id_, 0.5, "new"]], "considered": 1} for id_ in (99, 2**70, -1)),
    ],
)
def test_what_was_kept_and_cannot_be_read_is_not_shown(app: App, client: TestClient, kept: dict[str, object]) -> None:
    _, mail = send(app)
    with app.db.session() as session:
        session.exec(select(Delivery)).one().selection = kept
    assert client.get(path_of(mail)).status_code == 410


def test_a_mail_of_an_earlier_version_is_shown_by_the_wishes_of_today(app: App, client: TestClient) -> None:
    _, mail = send(app)
    with app.db.session() as session:
        row = session.exec(select(Delivery)).one()
        row.selection = {name: value for name, value in (row.selection or {}).items() if name != "said"}
    assert client.get(path_of(mail)).text == html_of(mail)


def test_the_page_ends_with_its_readers_links_and_when_they_leave(app: App, client: TestClient, clock: Clock) -> None:
    id_, mail = send(app)
    clock.forward(hours=1)
    for end in (steering.end_links, lambda app, id_: membership.unsubscribe(app, [id_]), privacy.erase):
        end(app, id_)
        answer = client.get(path_of(mail))
        assert answer.status_code == 404
        assert "This link does not work" in answer.text


def test_no_other_token_opens_a_mail(app: App, client: TestClient, clock: Clock) -> None:
    _, mail = send(app)
    good = path_of(mail).rpartition("/")[2]
    others = [app.signer.sign(each, 1, now=app.now()) for each in Purpose if each is not Purpose.FEEDBACK]
    others += [Signer(["another key"]).sign(Purpose.FEEDBACK, 1, now=app.now()), good[:-1], f"{good}A", "x", "%00"]
    for token in others:
        assert client.get(f"/v/{token}").status_code == 404
    assert client.post(f"/v/{good}").status_code == 405
    nobody = app.signer.sign(Purpose.FEEDBACK, 12_345, now=app.now())
    assert client.get(f"/v/{nobody}").status_code == 410


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
def test_a_browser_shows_it_with_its_styles_and_follows_its_links(
    site: App, smtp: SmtpServer, visit: Callable[..., Page]
) -> None:
    publish(site)
    add_readers(site, 1)
    open_and_queue(site)
    mail = mails(site, smtp)[-1]
    for scheme, behind in (("light", "rgb(243, 241, 236)"), ("dark", "rgb(20, 21, 24)")):
        page = visit(link(mail, "v"), viewport={"width": 360, "height": 740}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == behind
        assert page.evaluate("document.images[0].naturalWidth") == 1
        page.get_by_role("link", name="Change what you read about").click()
        heading(page, "Your subscription")


def test_it_is_known_by_its_token_in_the_mail_alone(app: App) -> None:
    _, mail = send(app)
    assert not re.search(r"/v/", mail["List-Unsubscribe"])
    assert path_of(mail).rpartition("/")[2] == paths_in(mail, "f")[0].split("/")[2], "no signature more for each mail"
