"""The sample: what somebody would have got, and then does get, of the latest issue."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Semaphore
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from samples import HOSTILE, add_papers, add_readers, mails_of, open_and_queue, paper_ids_in, paths_in, record
from sqlmodel import select

from newsletter import membership, pipeline, sampling, steering
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.errors import BusyError
from newsletter.issues import store as issues
from newsletter.membership import Asking
from newsletter.papers.models import Paper
from newsletter.papers.pasted import PastedPaper, read_pasted
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.ratings.models import Said
from newsletter.tables import TABLES
from newsletter.web import create_web

ADA = "ada@example.org"
FAMILIES = ("Message passing on graphs", "Folding proteins by diffusion", "Robots that walk", "Reading old papyri")
WISHES: dict[str, Any] = {
    "topics": {"topics": ("proteins", "robotics")},
    "own topic": {"topics": ("papyri",)},
    "about": {"about": "I work on message passing and on graphs."},
    "all kinds": {"keywords": ("walk",), "authors": ("Author 7",), "categories": ("cs.GR",), "mutes": ("papyri",)},
    "weekly": {"cadence": "weekly", "topics": ("papyri",)},
    "above a bar": {"cadence": "above_bar", "bar": 70, "topics": ("papyri",)},
    "nothing": {},
}


def fill(app: App, first: int = 1, *, days: int = 7) -> None:
    """Add some papers of each family for each of the last days; the older, the more votes."""
    midnight = app.now().replace(hour=0, minute=0)
    records = []
    for number in range(first, first + 4 * 3 * days):
        day, kind = divmod(number - first, 12)
        records.append(
            record(
                number,
                f"{FAMILIES[kind % 4]}, part {number}",
                abstract=f"{FAMILIES[kind % 4]}: what is to be said of it. It is said at length.",
                authors=[f"Author {number}"],
                categories=["cs.GR" if kind % 4 == 0 else "cs.LG"],
                listed_at=midnight - timedelta(days=day),
                upvotes=day * 20 + kind,
            )
        )
    add_papers(app, records)


def taken(app: App, wishes: dict[str, Any], pasted: str = "") -> list[int]:
    found = sampling.sample(app, Preferences(**wishes), read_pasted(pasted).papers)
    assert found
    assert all(reason for _, reason, _ in found.picks)
    return [paper.id or 0 for paper, _, _ in found.picks]


def got(app: App, wishes: dict[str, Any], pasted: str = "") -> list[int]:
    """Sign up with these wishes, confirm, and return the papers of the first mail, best first."""
    membership.ask(app, Asking(ADA, Preferences(**wishes), read_pasted(pasted).papers, "c"))
    [mail] = mails_of(app, ADA)
    token = paths_in(mail, "confirm")[0]
    assert TestClient(create_web(app)).post(token).status_code == 200
    mail = mails_of(app, ADA)[-1]
    with app.db.snapshot() as session:
        [kept] = [each for each in session.exec(select(Delivery.selection)) if each]
    picks = [pick[0] for pick in kept["picks"]]
    assert sorted(picks) == sorted(paper_ids_in(mail))
    return picks


def person(app: App, id_: int) -> Subscriber:
    with app.db.snapshot() as session:
        found = subscribers.get(session, id_)
    assert found
    return found


def titles(app: App, ids: list[int]) -> list[str]:
    with app.db.snapshot() as session:
        known = dict(session.exec(select(Paper.id, Paper.title)).all())
    return [known[each] for each in ids]


@pytest.mark.parametrize("kind", WISHES)
def test_who_signs_up_is_sent_as_their_best_what_the_sample_showed(app_on_both: App, kind: str) -> None:
    fill(app_on_both)
    open_and_queue(app_on_both)
    shown, sent = taken(app_on_both, WISHES[kind]), got(app_on_both, WISHES[kind])
    assert len(shown) == 5 or kind == "above a bar"
    assert sent[:5] == shown
    assert len(sent) > 5 or kind == "above a bar"


PASTED = """arXiv:2608.00002
@article{x, title={Folding more proteins by diffusion}, abstract={Folding proteins by diffusion.}, doi={10.1000/x}}
"""


def test_pasted_papers_bring_their_like_and_are_not_shown_themselves(app_on_both: App) -> None:
    fill(app_on_both)
    open_and_queue(app_on_both)
    shown = taken(app_on_both, {}, PASTED)
    assert {title.startswith(FAMILIES[1]) for title in titles(app_on_both, shown)} == {True}
    assert got(app_on_both, {}, PASTED)[:5] == shown


def test_a_reason_says_what_each_paper_is_there_for(app: App) -> None:
    fill(app)
    for wish, pasted, word in (({"topics": ("papyri",)}, "", "“papyri”"), ({}, PASTED, "which you liked")):
        found = sampling.sample(app, Preferences(**wish), read_pasted(pasted).papers)
        assert found
        assert [word in reason for _, reason, _ in found.picks] == [True] * 5


def test_there_is_no_sample_without_papers_and_one_with_the_first_of_them_before_any_issue(app_on_both: App) -> None:
    assert sampling.sample(app_on_both, Preferences()) is None
    client = TestClient(create_web(app_on_both))
    for answer in (client.post("/subscribe/sample"), client.post("/subscribe", data={"show": "sample"})):
        assert answer.status_code == 200
        assert "No papers yet" in answer.text
    fill(app_on_both)
    before = taken(app_on_both, {"topics": ("papyri",)})
    with app_on_both.db.snapshot() as session:
        assert not issues.latest(session, 1), "a look opens no issue"
    open_and_queue(app_on_both)
    assert taken(app_on_both, {"topics": ("papyri",)}) == before


def test_an_issue_that_is_open_stays_as_it_was_frozen(app_on_both: App, clock: Clock) -> None:
    fill(app_on_both)
    open_and_queue(app_on_both)
    before = taken(app_on_both, {"topics": ("papyri",)})
    late = {"abstract": "Reading old papyri: what is to be said of it. It is said at length.", "upvotes": 900}
    add_papers(app_on_both, [record(n, f"Reading old papyri anew {n}", **late) for n in range(500, 520)])
    clock.forward(hours=1)
    assert taken(app_on_both, {"topics": ("papyri",)}) == before
    clock.forward(days=1)
    open_and_queue(app_on_both)
    assert "anew" in titles(app_on_both, taken(app_on_both, {"topics": ("papyri",)}))[0]


def test_looking_writes_nothing(app_on_both: App) -> None:
    fill(app_on_both, days=1)
    client = TestClient(create_web(app_on_both))

    def rows() -> list[Any]:
        with app_on_both.db.snapshot() as session:
            return [each.model_dump() for table in TABLES for each in session.exec(select(table))]  # type: ignore[attr-defined]

    before = rows()
    client.post("/subscribe/sample", data={"topics": ["papyri"], "papers": PASTED, "email": ADA})
    client.post("/subscribe", data={"show": "sample", "topics": ["papyri"], "papers": PASTED, "email": ADA})
    assert client.post("/api/v1/sample", json={"topics": ["papyri"], "papers": PASTED}).status_code == 200
    assert rows() == before


def test_more_wishes_than_are_looked_at_still_give_a_sample(app: App) -> None:
    fill(app)
    many = tuple(f"wish number {n}" for n in range(99))
    wishes = Preferences(topics=("papyri", *many), keywords=many, authors=many, categories=many, mutes=many)
    liked = [PastedPaper(f"arxiv:2401.{n:05}", f"Liked paper number {n}", "Some text.") for n in range(200)]
    found = sampling.sample(app, wishes, liked)
    assert found
    assert len(found.picks) == 5
    assert found.picks[0][0].title.startswith(FAMILIES[3])


def test_the_last_of_many_mutes_shows_at_once(app: App) -> None:
    fill(app)
    mutes = tuple(f"nobody writes this {n}" for n in range(30))
    [id_] = add_readers(app, 1, topics=("papyri",), mutes=mutes)
    before = sampling.situation(app, person(app, id_))
    steering.save(app, id_, Preferences(topics=("papyri",), mutes=(*mutes, "papyri")))
    found = sampling.compare(app, before, sampling.situation(app, person(app, id_)))
    assert found
    assert not [paper for paper, _, _ in found.picks if "papyri" in paper.title]


def test_hostile_wishes_are_no_failure(app: App) -> None:
    fill(app, days=1)
    client = TestClient(create_web(app))
    for hostile in HOSTILE:
        for name in ("topics", "about", "keywords", "mutes", "papers"):
            answer = client.post("/subscribe/sample", data={name: hostile})
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text
            assert client.post("/api/v1/sample", json={name: hostile}).status_code in {200, 422}


class Impatient(Semaphore):
    """Turns for which nobody waits."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return super().acquire(blocking, timeout and 0.01)


def test_who_finds_no_turn_is_told_so(app: App) -> None:
    fill(app, days=1)
    client = TestClient(create_web(app))
    app.shelf.turns = Impatient(2)
    with app.shelf.turns, app.shelf.turns:
        with pytest.raises(BusyError):
            sampling.sample(app, Preferences())
        assert client.post("/api/v1/sample", json={}).status_code == 503
        assert client.post("/subscribe/sample").status_code < 500
    assert sampling.sample(app, Preferences())


def test_many_who_look_at_once_see_the_same(app_on_both: App) -> None:
    fill(app_on_both)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: taken(app_on_both, {"topics": ("papyri",)}), range(16)))
    assert len({tuple(each) for each in found}) == 1


def test_what_a_reader_says_shows_at_once_what_the_next_issue_would_hold(app_on_both: App, clock: Clock) -> None:
    fill(app_on_both)
    [id_] = add_readers(app_on_both, 1, max_papers=3)
    open_and_queue(app_on_both)
    [mail] = mails_of(app_on_both)
    with app_on_both.db.snapshot() as session:
        papers = {each.id: each for each in session.exec(select(Paper)).all()}
    before = sampling.situation(app_on_both, person(app_on_both, id_))
    liked = next(each for each in papers.values() if each.title.startswith(FAMILIES[3]))
    steering.speak(app_on_both, id_, 1, liked, Said.LIKED)
    found = sampling.compare(app_on_both, before, sampling.situation(app_on_both, person(app_on_both, id_)))
    assert found
    shown = [paper.id for paper, _, _ in found.picks]
    assert liked.id not in shown
    assert set(shown).isdisjoint(paper_ids_in(mail))
    assert {paper.title.startswith(FAMILIES[3]) for paper, _, _ in found.picks} == {True}
    assert {paper.title for paper in found.gone}.isdisjoint({papers[each].title for each in shown})


def test_the_weekly_sample_and_the_first_weekly_mail_cover_the_week_whatever_the_window(
    make_app: Callable[..., App], sqlite_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_url, window_days=1)
    clock.at = datetime(2026, 8, 10, 9, tzinfo=UTC)
    fill(app)
    pipeline.open_issue(app, clock.at.date())
    shown = titles(app, taken(app, {"cadence": "weekly"}))
    assert {int(each.rpartition(" ")[2]) > 48 for each in shown} == {True}, "the hottest are four days old and older"
