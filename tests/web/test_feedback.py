"""What readers say of papers: by a link in the mail, on the preferences page, and what the next issue makes of it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import HOSTILE, add_papers, add_readers, mails_of, open_and_queue, paper_ids_in, paths_in, record
from sources import ArxivServer, Preprint
from sqlmodel import select

from newsletter import pulling, steering
from newsletter.app import App
from newsletter.papers.models import Paper
from newsletter.papers.pasted import PastedPaper, read_pasted
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes.models import PreferenceChange
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import Rating
from newsletter.tracking.models import Event
from newsletter.web import create_web

GRAPHS, PROTEINS = "Message passing on graphs, part", "Folding proteins by diffusion, part"
KINDS = ("like", "dislike", "more", "less", "mute")


@pytest.fixture
def both(app_on_both: App) -> TestClient:
    return TestClient(create_web(app_on_both), follow_redirects=False)


def day(app: App, first: int, count: int = 8) -> None:
    """Add a day's papers: as many on graphs as on proteins, equally much talked about."""
    at = app.now().replace(hour=0)
    records = []
    for number in range(first, first + count):
        graphs, proteins = record(number), record(number + 500)
        same: dict[str, Any] = {"listed_at": at, "upvotes": 5, "authors": [f"Author {number}"]}
        records += [
            record(number, f"{GRAPHS} {number}", abstract="Nodes pass messages to nodes.", keywords=["nodes"], **same),
            record(number + 500, f"{PROTEINS} {number}", abstract="Residues fold.", keywords=["residues"], **same),
        ]
        assert graphs.key != proteins.key
    add_papers(app, records)


def issue(app: App, reader: str = "reader0@example.org") -> Any:
    open_and_queue(app)
    return mails_of(app, reader)[-1]


def titles(app: App, mail: Any) -> list[str]:
    with app.db.snapshot() as session:
        known = dict(session.exec(select(Paper.id, Paper.title)).all())
    return [known[id_] for id_ in paper_ids_in(mail)]


def link(app: App, mail: Any, kind: str, about: str = "") -> str:
    """Return the link of that kind below the first paper whose title begins like that."""
    number = next(n for n, title in enumerate(titles(app, mail)) if title.startswith(about))
    return [path for path in paths_in(mail, "f") if path.endswith(f"/{kind}")][number]


def said(app: App) -> list[tuple[str, str, bool]]:
    with app.db.snapshot() as session:
        rows = session.exec(select(Rating).order_by(Rating.id)).all()  # type: ignore[arg-type]
    return [(each.title or each.key, each.said, each.taken_back_at is not None) for each in rows]


def everything(app: App) -> list[Any]:
    with app.db.snapshot() as session:
        return [each.model_dump() for table in (Rating, PreferenceChange, Event, subscribers.Subscriber)
                for each in session.exec(select(table))]  # type: ignore[attr-defined]  # fmt: skip


def preferences(app: App, id_: int) -> str:
    return f"/preferences/{app.signer.sign(Purpose.PREFERENCES, id_, now=app.now())}"


def test_looking_shows_one_button_and_changes_nothing(app_on_both: App, both: TestClient) -> None:
    add_readers(app_on_both, 1)
    day(app_on_both, 1)
    mail = issue(app_on_both)
    before = everything(app_on_both)
    for kind in KINDS:
        page = both.get(link(app_on_both, mail, kind))
        assert (page.status_code, page.text.count("<button"), page.text.count("<form")) == (200, 1, 1)
        assert both.head(link(app_on_both, mail, kind)).status_code == 200
        assert page.headers["cache-control"] == "no-store"
    assert both.get(link(app_on_both, mail, "like").replace("/like", "/undo")).status_code == 404
    assert everything(app_on_both) == before


@pytest.mark.parametrize(
    ("kind", "word"), [("like", "liked"), ("dislike", "disliked"), ("more", "more"), ("less", "less")]
)
def test_a_press_says_it_once_and_it_can_be_taken_back(
    app_on_both: App, both: TestClient, kind: str, word: str
) -> None:
    [id_] = add_readers(app_on_both, 1)
    day(app_on_both, 1)
    mail = issue(app_on_both)
    path, title = link(app_on_both, mail, kind), titles(app_on_both, mail)[0]
    first = both.post(path)
    assert first.status_code == 200
    second = both.post(path)
    assert said(app_on_both) == [(title, word, False)]
    with app_on_both.db.snapshot() as session:
        assert list(session.exec(select(Event.kind, Event.times))) == [(word, 1)]
    assert title in both.get(preferences(app_on_both, id_)).text
    fields = dict(re.findall(r'name="(rating|change|was)" value="(\w*)"', second.text))
    undone = both.post(path.replace(f"/{kind}", "/undo"), data=fields)
    assert (undone.status_code, title in undone.text) == (200, True)
    assert said(app_on_both) == [(title, word, True)]
    assert both.post(path).status_code == 200
    assert said(app_on_both) == [(title, word, False)], "said again after it was taken back"


def test_the_last_word_counts(app_on_both: App, both: TestClient) -> None:
    add_readers(app_on_both, 1)
    day(app_on_both, 1)
    mail = issue(app_on_both)
    for kind, word in (("like", "liked"), ("less", "less"), ("more", "more"), ("dislike", "disliked")):
        both.post(link(app_on_both, mail, kind))
        assert [each[1:] for each in said(app_on_both)] == [(word, False)]


def test_what_was_said_is_dropped_and_put_back_on_the_preferences_page(app_on_both: App, both: TestClient) -> None:
    ada, bob = add_readers(app_on_both, 2)
    day(app_on_both, 1)
    both.post(link(app_on_both, issue(app_on_both), "like"))
    path = f"{preferences(app_on_both, ada)}/papers"
    page = both.get(preferences(app_on_both, ada)).text
    [rating] = re.findall(r'name="drop" value="(\d+)"', page)
    other = f"{preferences(app_on_both, bob)}/papers"
    for name in ("drop", "restore"):
        assert both.post(other, data={name: rating}).status_code == 200
        assert said(app_on_both)[0][2] is False, "nobody else's word is theirs to take back"
    dropped = both.post(path, data={"drop": rating}).text
    assert said(app_on_both)[0][2] is True
    assert dropped.count(f'name="restore" value="{rating}"') == 2
    assert "restore" not in both.get(preferences(app_on_both, ada)).text, "gone when the page is opened anew"
    assert f'name="drop" value="{rating}"' in both.post(path, data={"restore": rating}).text
    assert said(app_on_both)[0][2] is False


def test_only_papers_of_that_mail_can_be_spoken_of_and_only_with_its_own_link(
    app_on_both: App, both: TestClient
) -> None:
    ids = add_readers(app_on_both, 2, max_papers=2)
    day(app_on_both, 1)
    mail = issue(app_on_both)
    good = link(app_on_both, mail, "like")
    _, _, token, paper, _ = good.split("/")
    now = app_on_both.now()
    bad = [f"/f/{token}/{each}/like" for each in ("999", "0", "-1", "1e3", str(2**63), str(10**40), "x", "%00")]
    bad += [f"/f/{token}/{next(n for n in range(1, 17) if n not in paper_ids_in(mail))}/like"]
    bad += [f"/f/{token}/{paper}/{kind}" for kind in ("liked", "LIKE", "hug", "%2e%2e", "like/")]
    others = (Purpose.READ, Purpose.UNSUBSCRIBE, Purpose.PREFERENCES, Purpose.CONFIRM)
    bad += [f"/f/{app_on_both.signer.sign(each, ids[0], now=now)}/{paper}/like" for each in others]
    bad += [f"/f/{app_on_both.signer.sign(Purpose.FEEDBACK, 999, now=now)}/{paper}/like", f"/f/x/{paper}/like"]
    for path in bad:
        assert both.get(path).status_code == 404, path
        assert both.post(path).status_code == 404, path
    assert said(app_on_both) == []
    assert both.post(good, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert said(app_on_both) == []


def test_a_link_ends_with_its_reader(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    day(app_on_both, 1)
    mail = issue(app_on_both)
    both.post(f"/u/{app_on_both.signer.sign(Purpose.UNSUBSCRIBE, id_, now=app_on_both.now())}")
    for kind in KINDS:
        assert both.get(link(app_on_both, mail, kind)).status_code == 404
        assert both.post(link(app_on_both, mail, kind)).status_code == 404
    assert said(app_on_both) == []


@pytest.mark.parametrize(("kind", "sign"), [("like", 1), ("more", 1), ("dislike", -1), ("less", -1)])
def test_the_next_issue_goes_by_what_was_said(
    app_on_both: App, both: TestClient, clock: Clock, kind: str, sign: int
) -> None:
    add_readers(app_on_both, 1, max_papers=8)
    day(app_on_both, 1, count=4)
    about = PROTEINS if sign > 0 else GRAPHS  # graphs would come first: of equals, the paper we knew first
    page = both.post(link(app_on_both, issue(app_on_both), kind, about))
    assert page.status_code == 200
    clock.forward(days=1)
    day(app_on_both, 101)
    mail = issue(app_on_both)
    assert {title.startswith(PROTEINS) for title in titles(app_on_both, mail)} == {True}


def test_what_is_muted_never_comes_again_until_that_is_undone(app_on_both: App, both: TestClient, clock: Clock) -> None:
    [id_] = add_readers(app_on_both, 1, max_papers=50)
    day(app_on_both, 1)
    path = link(app_on_both, issue(app_on_both), "mute", GRAPHS)
    assert 'value="nodes"' in both.get(path).text
    nothing = both.post(path, data={"mutes": ["", "cs.AI", "not offered", "x" * 500]})
    assert nothing.status_code == 400
    done = both.post(path, data={"mutes": ["nodes", "not offered"]})
    assert done.status_code == 200
    assert both.post(path, data={"mutes": ["nodes"]}).status_code == 200, "twice is the same as once"
    with app_on_both.db.snapshot() as session:
        assert subscribers.get(session, id_).mutes == ["nodes"]
    clock.forward(days=1)
    day(app_on_both, 101)
    assert {each.startswith(PROTEINS) for each in titles(app_on_both, issue(app_on_both))} == {True}
    fields = dict(re.findall(r'name="(rating|change)" value="(\d+)"', done.text))
    assert both.post(path.replace("/mute", "/undo"), data=fields).status_code == 200
    clock.forward(days=1)
    day(app_on_both, 201)
    assert {each.startswith(PROTEINS) for each in titles(app_on_both, issue(app_on_both))} == {True, False}


def test_a_full_list_of_mutes_is_said_and_nothing_is_lost(app_on_both: App, both: TestClient) -> None:
    mutes = tuple(f"muted word {number}" for number in range(100))
    [id_] = add_readers(app_on_both, 1, mutes=mutes)
    day(app_on_both, 1)
    path = link(app_on_both, issue(app_on_both), "mute", GRAPHS)
    answer = both.post(path, data={"mutes": ["nodes"]})
    assert (answer.status_code, "more than 100 entries" in answer.text) == (400, True)
    with app_on_both.db.snapshot() as session:
        assert tuple(subscribers.get(session, id_).mutes) == mutes
        assert session.exec(select(Event)).all() == []


def test_what_is_muted_already_offers_no_undo(app_on_both: App, both: TestClient) -> None:
    add_readers(app_on_both, 1)
    day(app_on_both, 1)
    path = link(app_on_both, issue(app_on_both), "mute", GRAPHS)
    pages = [both.post(path, data={"mutes": ["nodes"]}).text for _ in range(2)]
    assert ["/undo" in page for page in pages] == [True, False]


def test_an_undo_that_was_not_possible_does_not_say_taken_back(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    day(app_on_both, 1)
    path = link(app_on_both, issue(app_on_both), "mute", GRAPHS)
    done = both.post(path, data={"mutes": ["nodes"]})
    fields = dict(re.findall(r'name="(rating|change)" value="(\d+)"', done.text))
    steering.save(app_on_both, id_, Preferences(mutes=("nodes",), hour=9))
    undone = both.post(path.replace("/mute", "/undo"), data=fields)
    with app_on_both.db.snapshot() as session:
        assert subscribers.get(session, id_).mutes == ["nodes"]
    assert "as if you had said nothing" not in undone.text


def test_an_undo_of_nonsense_is_harmless(app_on_both: App, both: TestClient) -> None:
    add_readers(app_on_both, 2)
    day(app_on_both, 1)
    both.post(link(app_on_both, issue(app_on_both), "like"))
    mine = link(app_on_both, mails_of(app_on_both, "reader1@example.org")[-1], "undo".replace("undo", "like"))
    for value in ("x", "-1", "0", str(2**31), str(10**17), str(10**40), "٣", "1 OR 1", "\x00"):
        answer = both.post(mine.replace("/like", "/undo"), data={"rating": value, "change": value})
        assert answer.status_code < 500, value
    assert [each[2] for each in said(app_on_both)] == [False]


def test_hostile_titles_and_words_stay_texts_on_every_page(app_on_both: App, both: TestClient) -> None:
    add_readers(app_on_both, 1, max_papers=50)
    texts = [text.replace("\x00", "") for text in HOSTILE]  # which no source's adapter lets through
    hostile = [
        record(number, text, keywords=[text[:90]], authors=[text], upvotes=5) for number, text in enumerate(texts, 1)
    ]
    add_papers(app_on_both, hostile)
    mail = issue(app_on_both)
    paths = paths_in(mail, "f")
    assert len(paths) >= 5 * 10
    for path in paths:
        page = both.get(path)
        assert page.status_code == 200
        done = both.post(path, data={"mutes": re.findall(r'name="mutes" value="([^"]*)"', page.text)})
        assert done.status_code in {200, 400}
        for text in (page.text, done.text):
            assert "<script>alert" not in text
            assert "<img" not in text


def pasted(app: App, id_: int, text: str) -> int:
    return steering.like(app, id_, read_pasted(text).papers)


BIBTEX = """@article{x, title={Proteins that are folded by diffusion}, author={Ada Example},
  abstract={Residues fold.}, doi={10.1000/xyz.123}}"""


def test_pasted_papers_bring_their_like_and_are_never_sent_themselves(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1, max_papers=7)
    day(app_on_both, 1)
    path = f"{preferences(app_on_both, id_)}/papers"
    text = "https://arxiv.org/abs/2608.00503v2\n10.1000/unknown\n" + BIBTEX + "\n?!\nhm"
    page = both.post(path, data={"papers": text})
    assert page.status_code == 200
    assert "Papers added: 3." in page.text
    assert "no id, no address and no title" in page.text
    assert f"{PROTEINS} 3" in page.text
    assert sorted(said(app_on_both)) == [
        (f"{PROTEINS} 3", "liked", False),
        ("Proteins that are folded by diffusion", "liked", False),
        ("doi:10.1000/unknown", "liked", False),
    ]
    assert pasted(app_on_both, id_, "arXiv:2608.00503\n" + BIBTEX) == 0
    sent = titles(app_on_both, issue(app_on_both))
    assert len(sent) == 7
    assert {each.startswith(PROTEINS) for each in sent} == {True}
    assert f"{PROTEINS} 3" not in sent


def test_bibtex_that_comes_after_the_bare_id_brings_its_text(app_on_both: App) -> None:
    [id_] = add_readers(app_on_both, 1, max_papers=8)
    day(app_on_both, 1)
    assert pasted(app_on_both, id_, "10.1000/xyz.123") == 1
    assert pasted(app_on_both, id_, BIBTEX) == 0
    assert {each.startswith(PROTEINS) for each in titles(app_on_both, issue(app_on_both))} == {True}


def test_an_unknown_arxiv_paper_is_looked_up_by_the_next_pull_and_then_works_by_its_text(
    make_app: Callable[..., App], database_url: str, arxiv: ArxivServer
) -> None:
    urls = {"arxiv_rss_url": arxiv.url, "arxiv_api_url": arxiv.url, "arxiv_interval_seconds": 0}
    app = make_app(database_url, sources="arxiv", **urls)
    arxiv.known = [Preprint("2401.01234", "Residues that fold", "Residues of proteins fold by diffusion.")]
    [id_] = add_readers(app, 1, max_papers=8)
    day(app, 1)
    assert pasted(app, id_, "2401.01234\n2401.09999") == 2
    pulling.pull(app, pulling.plan(app))
    with app.db.snapshot() as session:
        found = {each.key: each for each in ratings.all_of(session, id_)}
    assert found["arxiv:2401.01234"].paper_id
    assert found["arxiv:2401.09999"].paper_id is None
    asked = len(arxiv.asked)
    pulling.pull(app, pulling.plan(app))
    assert len([each for each in arxiv.asked[asked:] if "2401.09999" in str(each)]) == 0, "not again within a week"
    mail = issue(app)
    assert {each.startswith(PROTEINS) for each in titles(app, mail)} == {True}
    assert "Residues that fold" in TestClient(create_web(app)).get(preferences(app, id_)).text


def test_a_word_from_the_mail_beats_what_was_pasted_under_another_id(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    assert pasted(app_on_both, id_, "10.1000/g1") == 1
    at = datetime(2026, 8, 5, tzinfo=UTC)
    add_papers(app_on_both, [record(1, f"{GRAPHS} 1", listed_at=at)])
    mail = issue(app_on_both)
    add_papers(app_on_both, [record(1, f"{GRAPHS} 1", listed_at=at, also=("doi:10.1000/g1",))])
    with app_on_both.db.session() as session:
        ratings.link_known(session)
    both.post(link(app_on_both, mail, "dislike"))
    assert [each[1] for each in said(app_on_both)] == ["disliked"]


def test_a_reader_can_paste_a_thousand_papers_and_no_more(app: App) -> None:
    ada, bob = add_readers(app, 2)
    many = [PastedPaper(f"arxiv:2401.{n:05}") for n in range(1_400)]
    assert [steering.like(app, ada, part) for part in (many[:700], many[700:], many[1_300:])] == [700, 300, 0]
    assert len(said(app)) == 1_000
    assert steering.like(app, bob, many[:1]) == 1


def test_pages_speak_the_readers_language(app: App) -> None:
    client = TestClient(create_web(app), follow_redirects=False)
    add_readers(app, 1, language="de")
    day(app, 1)
    mail = issue(app)
    for kind in KINDS:
        for accepted in ("en", "de"):
            header = {"accept-language": accepted}
            page = client.get(link(app, mail, kind), headers=header)
            assert '<html lang="de"' in page.text
            data = {"mutes": re.findall(r'name="mutes" value="([^"]*)"', page.text)[:1]}
            assert '<html lang="de"' in client.post(link(app, mail, kind), headers=header, data=data).text
            assert "Yes, " not in page.text
