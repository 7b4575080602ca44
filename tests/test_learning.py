"""What is learnt by night, kept under numbers that issues freeze; a reader's own likes act at once."""

import random
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from fakes import Clock
from samples import add_papers, add_readers, mails_of, open_and_queue, paper_ids_in, record
from sqlmodel import select

from newsletter import learning, pipeline
from newsletter.app import App
from newsletter.delivery.desk import Desk, Prepared
from newsletter.issues import store as issues
from newsletter.issues.learned import store as learned
from newsletter.issues.learned.models import CoreadModel, PaperFactors, TextStatistics
from newsletter.issues.models import Issue
from newsletter.papers.models import Paper
from newsletter.ranking.coread import LEAST_READERS
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import How, Rating, Said

FIELDS = (("proteins", "enzymes fold in water"), ("agents", "tools on the web help"))


def archive(app: App, clock: Clock, papers: int = 240) -> list[int]:
    """Put papers of two fields, listed weeks ago, into the database; return their ids."""
    old = clock.at - timedelta(days=60)
    add_papers(
        app,
        [
            record(n, f"On {FIELDS[n % 2][0]} {n}", abstract=FIELDS[n % 2][1], listed_at=old)
            for n in range(1, papers + 1)
        ],
    )
    with app.db.snapshot() as session:
        return list(session.scalars(sa.select(Paper.id).order_by(Paper.id)))  # type: ignore[call-overload]


def like(app: App, reader: int, paper_ids: list[int], said: Said = Said.LIKED) -> None:
    with app.db.session() as session:
        for paper_id in paper_ids:
            ratings.rate(
                session,
                reader,
                f"key:{paper_id}",
                said,
                How.MAIL,
                app.now(),
                paper_id=paper_id,
                title=f"Paper {paper_id}",
            )


def crowd(app: App, paper_ids: list[int]) -> list[int]:
    """Let as many readers as are needed like papers, each of one field."""
    chance, readers = random.Random(3), add_readers(app, LEAST_READERS, prefix="crowd", cadence="weekly")
    said = {"said": Said.LIKED, "how": How.MAIL, "said_at": app.now(), "text": ""}
    rows = [
        said | {"subscriber_id": reader, "key": f"key:{paper_id}", "paper_id": paper_id, "title": f"Paper {paper_id}"}
        for reader in readers
        for paper_id in chance.sample(paper_ids[reader % 2 :: 2], 5)
    ]
    with app.db.session() as session:
        session.execute(sa.insert(Rating), rows)
    return readers


def kept(app: App) -> tuple[int, int, int]:
    with app.db.snapshot() as session:
        return tuple(session.scalar(sa.select(sa.func.count()).select_from(each)) or 0
                     for each in (TextStatistics, CoreadModel, PaperFactors))  # type: ignore[return-value]  # fmt: skip


def test_without_an_archive_or_a_crowd_nothing_is_made_up(app_on_both: App, clock: Clock) -> None:
    learning.learn(app_on_both)
    assert kept(app_on_both) == (0, 0, 0)
    archive(app_on_both, clock)
    learning.learn(app_on_both)
    learning.place_new(app_on_both)
    assert kept(app_on_both) == (1, 0, 0)


def test_what_a_crowd_likes_together_reaches_a_reader_whose_words_say_nothing(app_on_both: App, clock: Clock) -> None:
    app = app_on_both
    papers = archive(app, clock)
    crowd(app, papers)
    learning.learn(app)
    assert kept(app) == (1, 1, len(papers))
    add_papers(app, [record(1_001, "Peptides", abstract="enzymes fold", upvotes=0),
                     record(1_002, "Browsers", abstract="the web helps", upvotes=99),
                     record(1_003, "Knots", abstract="in four dimensions", upvotes=50)])  # fmt: skip
    learning.place_new(app)
    assert kept(app)[2] == len(papers) + 3
    learning.place_new(app)  # a second time changes nothing
    assert kept(app)[2] == len(papers) + 3
    [reader] = add_readers(app, 1, prefix="quiet")
    like(app, reader, papers[:1] if "proteins" in _title(app, papers[0]) else papers[1:2])
    issue = open_and_queue(app)
    assert (issue.statistics_id, issue.model_id) == (1, 1)
    [mail] = mails_of(app, "quiet0@example.org")
    assert _title(app, paper_ids_in(mail)[0]) == "Peptides"


def _title(app: App, paper_id: int) -> str:
    with app.db.snapshot() as session:
        return session.exec(select(Paper.title).where(Paper.id == paper_id)).one()


def test_a_paper_takes_less_than_a_kilobyte(app_on_both: App, clock: Clock) -> None:
    crowd(app_on_both, archive(app_on_both, clock))
    learning.learn(app_on_both)
    with app_on_both.db.snapshot() as session:
        assert max(len(each) for each in session.exec(select(PaperFactors.packed))) <= 512


def test_it_is_learnt_once_a_night_and_an_issue_keeps_what_it_was_ranked_by(app: App, clock: Clock) -> None:
    crowd(app, archive(app, clock))
    learning.learn(app)
    learning.learn(app)
    assert kept(app)[:2] == (1, 1)
    add_papers(app, [record(2_001, listed_at=clock.at)])
    first = pipeline.open_issue(app, clock.at.date())
    for hours, made in ((8, 1), (10, 2), (12, 2), (12, 3), (31, 4)):  # 17:00, 03:00, 15:00, 03:00 and 10:00
        clock.forward(hours=hours)
        learning.learn(app)
        with app.db.snapshot() as session:
            assert learned.newest(session) == (made, made, None)
    assert _by(app, first) == (1, 1)
    clock.forward(days=30)
    learning.learn(app)
    assert kept(app)[:2] == (2, 2), "the newest two"
    assert _by(app, first) == (None, None), "what is over is not ranked again"


def test_what_is_placed_later_does_not_change_an_issue_that_is_under_way(app: App, clock: Clock) -> None:
    papers = archive(app, clock)
    crowd(app, papers)
    learning.learn(app)
    add_papers(app, [record(2_001, abstract="enzymes fold"), record(2_002, abstract="the web helps")])
    [reader] = add_readers(app, 1, prefix="quiet")
    like(app, reader, papers[:3])
    clock.forward(hours=1)
    issue = open_and_queue(app)
    before = _chosen(app, issue, reader)
    clock.forward(minutes=1)
    learning.place_new(app)
    assert kept(app)[2] == len(papers) + 2
    assert _chosen(app, issue, reader) == before


def _chosen(app: App, issue: Issue, reader: int) -> object:
    with app.db.snapshot() as session:
        desk = Desk(
            session, issues.draft(session, issue.day, app.now(), timedelta(days=1)), app.identity, app.templates
        )
        found = desk.prepare(session, [reader], {}, app.now())[reader]
    assert isinstance(found, Prepared)
    return found.selection


def test_a_model_does_not_outlive_its_crowd(app: App, clock: Clock) -> None:
    readers = crowd(app, archive(app, clock))
    learning.learn(app)
    with app.db.session() as session:
        subscribers.leave(session, readers, app.now())
    clock.forward(days=2)
    learning.learn(app)
    with app.db.snapshot() as session:
        assert learned.newest(session) == (2, None, None)


def test_who_places_papers_in_a_model_that_is_gone_by_then_fails_nobody(app_on_both: App, clock: Clock) -> None:
    papers = archive(app_on_both, clock)
    crowd(app_on_both, papers)
    learning.learn(app_on_both)
    with app_on_both.db.session() as session:
        session.execute(sa.delete(PaperFactors))
        session.execute(sa.delete(CoreadModel))
    with app_on_both.db.session() as session:
        learned.keep_factors(session, 1, {papers[0]: np.ones(3, np.float32)}, app_on_both.now(), liked=False)
    assert kept(app_on_both)[1:] == (0, 0)


def _by(app: App, issue: Issue) -> tuple[int | None, int | None]:
    with app.db.snapshot() as session:
        found = issues.find(session, issue.slot)
    assert found is not None
    return found.statistics_id, found.model_id


@pytest.mark.parametrize("said", [Said.DISLIKED, Said.LESS])
def test_only_likes_of_those_who_get_our_mails_are_learnt_from(app: App, clock: Clock, said: Said) -> None:
    papers = archive(app, clock)
    here, gone = add_readers(app, 2)
    like(app, here, papers[:2])
    like(app, here, papers[2:4], said)
    like(app, gone, papers[:9])
    with app.db.session() as session:
        subscribers.leave(session, [gone], app.now())
    with app.db.snapshot() as session:
        assert learned.likes(session).tolist() == [[here, papers[0]], [here, papers[1]]]
        assert learned.likes(session, readers=0).tolist() == []


def test_a_like_acts_from_the_next_mail_on_and_so_does_taking_it_back(app: App, clock: Clock) -> None:
    papers = archive(app, clock)
    [reader] = add_readers(app, 1, max_papers=1)

    def first(number: int) -> str:
        at = clock.at.replace(hour=0)
        add_papers(app, [record(number, "Peptides", abstract="enzymes fold", upvotes=0, listed_at=at),
                         record(number + 1, "Browsers", abstract="on the web", upvotes=99, listed_at=at)])  # fmt: skip
        open_and_queue(app)
        return _title(app, paper_ids_in(mails_of(app, "reader0@example.org")[-1])[0])

    assert first(3_001) == "Browsers"
    proteins = next(each for each in papers if "proteins" in _title(app, each))
    like(app, reader, [proteins])
    clock.forward(days=1)
    assert first(3_011) == "Peptides"
    with app.db.session() as session:
        [said] = ratings.all_of(session, reader)
        ratings.take_back(session, reader, said.id or 0, app.now())
    clock.forward(days=1)
    assert first(3_021) == "Browsers"
