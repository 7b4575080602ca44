"""Pulling from every source: all at once, politely, each paper once with its best text, whatever the order."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fakes import Clock, HuggingFaceServer, free_port, listed
from samples import add_readers, open_and_queue, pull_days, record
from sources import ArxivServer, Preprint, SourceServer, biorxiv_page, rss_error
from sqlmodel import select

from newsletter import pipeline, pulling
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.papers import ledger
from newsletter.papers import store as papers
from newsletter.papers.models import Paper, PaperRecord, StoredRecord
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.models import Pull
from newsletter.papers.sources.huggingface import HuggingFace

DAY = date(2026, 8, 5)
MIDNIGHT = datetime(2026, 8, 5, tzinfo=UTC)
Make = Callable[..., App]


@pytest.fixture
def make(make_app: Make, database_url: str, huggingface: HuggingFaceServer, arxiv: ArxivServer) -> Make:
    """Build an app that asks local servers for Hugging Face's list and arXiv's announcements."""
    huggingface.today = DAY

    def build(sources: str = "huggingface,arxiv:cs.LG", **settings: Any) -> App:
        urls = {"huggingface_url": huggingface.url, "arxiv_rss_url": arxiv.url, "arxiv_api_url": arxiv.url}
        return make_app(database_url, **(urls | {"sources": sources, "arxiv_interval_seconds": 0} | settings))

    return build


def kept(app: App) -> dict[str, Paper]:
    with app.db.snapshot() as session:
        return {paper.key: paper for paper in session.exec(select(Paper))}


def candidates(app: App) -> set[str]:
    with app.db.snapshot() as session:
        return {paper.key for paper in papers.listed_between(session, MIDNIGHT - timedelta(days=7), app.now())}


def rows(app: App) -> list[Pull]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Pull).order_by(Pull.id)))  # type: ignore[arg-type]


def test_every_source_brings_its_papers_and_each_paper_has_its_best_text(
    make: Make, huggingface: HuggingFaceServer, arxiv: ArxivServer, web_server: SourceServer
) -> None:
    both, only_there = listed(1, "Lossy x2 maps", DAY, upvotes=40), listed(2, "Only on the list", DAY, upvotes=3)
    huggingface.days["2026-08-05"] = [both, only_there]
    arxiv.announced = [Preprint("2608.00001", "Real $x^2$ maps"), Preprint("2608.00003", "Only announced")]
    arxiv.known = [
        Preprint("2608.00001", "Real $x^2$ maps", r"We map $\alpha$ to $\beta$.", comment="9 pages"),
        Preprint("2608.00002", "Only on the list, in full", r"It\^o maps."),
    ]
    page = biorxiv_page(1, 1, 1, "2026-08-05")
    web_server.routes["/details/biorxiv/2026-08-05/"] = lambda *_: (200, json.dumps(page).encode())
    web_server.routes["/details/"] = lambda *_: (200, b'{"messages": [{"status": "no posts found"}]}')
    web_server.routes["/feed"] = lambda *_: (200, FEED)
    app = make(f"huggingface,arxiv:cs.LG,biorxiv,feed:{web_server.url}/feed", biorxiv_url=web_server.url)
    reports = pulling.pull(app, pulling.plan(app))
    assert [each.error for each in reports] == [""] * len(reports)
    found = kept(app)
    assert set(found) == {
        "arxiv:2608.00001", "arxiv:2608.00002", "arxiv:2608.00003", "doi:10.64898/2026.08.04.700001", "doi:10.1038/x1",
    }  # fmt: skip
    first, second = found["arxiv:2608.00001"], found["arxiv:2608.00002"]
    assert (first.title, first.abstract, first.upvotes, first.version) == ("Real x² maps", "We map α to β.", 40, 1)
    assert (second.title, second.abstract, second.listed_at) == ("Only on the list, in full", "Itô maps.", MIDNIGHT)
    assert candidates(app) == set(found)
    totals = {each.source: each.received for each in reports if each.day in (DAY, None)}
    assert totals == {
        "huggingface": 2, "arxiv:cs.LG": 2, "biorxiv": 1, f"feed:{web_server.url}/feed": 1, "arxiv-api": 2,
    }  # fmt: skip


FEED = b"""<rss version="2.0"><channel><title>J</title><item><title>Another way to fish</title><guid>1</guid>
<link>https://doi.org/10.1038/X1</link><pubDate>Wed, 05 Aug 2026 01:00:00 GMT</pubDate></item></channel></rss>"""


def told_by_all() -> list[list[PaperRecord]]:
    """Return what three sources tell, in pulls, of papers that belong together in several ways."""
    long = "A long enough title for two"
    return [
        [record(1, "Lossy", source="huggingface", listed_at=MIDNIGHT, upvotes=7), record(2, source="huggingface")],
        [record(1, "Real", source="arxiv-api", listed_at=None, version=1, upvotes=None, related=("doi:10.1038/x9",))],
        [record(8, long, key="doi:10.1038/x9", source="feed:a", listed_at=MIDNIGHT - timedelta(days=2), upvotes=None)],
        [record(9, long, key="feed:1", source="feed:b", listed_at=MIDNIGHT - timedelta(days=1), upvotes=None)],
        [record(2, "Second", source="arxiv", listed_at=None, version=2, upvotes=None), record(3, source="arxiv")],
        [record(7, key="feed:2", source="feed:b", also=("arxiv:2608.00003",), upvotes=None, abstract="")],
    ]


def told(app: App) -> set[tuple[object, ...]]:
    found = kept(app)
    keys = {paper.id: paper.key for paper in found.values()}
    return {
        (paper.key, paper.title, paper.abstract, paper.upvotes, paper.version, paper.listed, paper.listed_at,
         paper.source, keys.get(paper.same_as))
        for paper in found.values() if not paper.key.startswith("merged:")
    }  # fmt: skip


def test_any_order_of_pulls_gives_the_same_papers(make_app: Make, database_url: str, tmp_path: Any) -> None:
    app = make_app(database_url)
    results = []
    for number, order in enumerate(itertools.permutations(told_by_all())):
        if number % 48 and number != 719:  # sixteen of the 720, the first and the last among them
            continue
        _empty(app)
        for pulled in order:
            with app.db.session() as session:
                ledger.upsert(session, pulled, app.now())
        results.append(told(app))
    assert len(results) == 16
    assert all(each == results[0] for each in results)
    assert {(row[0], row[-1]) for row in results[0]} == {
        ("arxiv:2608.00001", "doi:10.1038/x9"), ("arxiv:2608.00002", None), ("arxiv:2608.00003", None),
        ("doi:10.1038/x9", None),
    }  # fmt: skip


def _empty(app: App) -> None:
    with app.db.engine.begin() as connection:
        for table in ("paper_votes", "paper_keys", "paper_records", "papers"):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def test_a_paper_known_by_two_ids_becomes_one_and_who_was_sent_either_is_sent_neither_again(
    make: Make, clock: Clock
) -> None:
    app = make()
    title = "A long enough title for two"
    bare = record(1, title, key="title:1", authors=("Ada Example",), listed_at=MIDNIGHT)
    with app.db.session() as session:
        ledger.upsert(session, [record(9, "Another", upvotes=1)], clock())
        ledger.upsert(session, [bare], clock())
    add_readers(app, 1)
    issue = open_and_queue(app)
    assert pipeline.deliver(app, issue.id) == 1
    clock.forward(days=1)
    with app.db.session() as session:
        # the same paper, from elsewhere, before anybody knows that it is the same: then a third tells
        ledger.upsert(session, [record(5, "Other words for it", key="doi:10.1038/x5", listed_at=clock())], clock())
        ledger.upsert(session, [record(5, title, key="feed:5", source="feed:a", authors=("Ada Example",),
                                       also=("doi:10.1038/x5",), listed_at=clock())], clock())  # fmt: skip
    found = kept(app)
    assert found["doi:10.1038/x5"].first_listed_at == MIDNIGHT
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert accounting.skipped == {"nothing_new": 1}


def test_new_versions_of_unknown_papers_are_kept_but_no_candidates_until_listed(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    arxiv.announced = [Preprint("2608.00001", "Old paper, new text", kind="replace", version=4)]
    app = make()
    (report,) = (each for each in pull_days(app, [DAY]) if each.source == "arxiv:cs.LG")
    assert (report.stored.unlisted, report.stored.new) == (1, 0)
    assert candidates(app) == set()
    clock.forward(hours=1)
    huggingface.days["2026-08-05"] = [listed(1, "Old paper", DAY)]
    assert sum(each.stored.new for each in pull_days(app, [DAY])) == 1
    assert candidates(app) == {"arxiv:2608.00001"}
    assert kept(app)["arxiv:2608.00001"].title == "Old paper, new text"


def test_withdrawn_papers_are_no_candidates(make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer) -> None:
    huggingface.days["2026-08-05"] = [listed(1, "Too good", DAY), listed(2, "Good", DAY)]
    arxiv.known = [Preprint("2608.00001", "Too good", comment="withdrawn: Lemma 2 is wrong", version=2)]
    app = make("huggingface,arxiv")
    pull_days(app, [DAY])
    assert candidates(app) == {"arxiv:2608.00002"}


def test_what_has_not_changed_is_neither_sent_nor_read_again(make: Make, arxiv: ArxivServer, clock: Clock) -> None:
    arxiv.announced = [Preprint("2608.00001", "A title")]
    app = make("arxiv:cs.LG")
    pull_days(app, [DAY])
    clock.forward(hours=1)
    report = pull_days(app, [DAY])[0]
    assert (report.unmodified, report.received, arxiv.unmodified) == (True, 0, 1)
    arxiv.announced.append(Preprint("2608.00002", "Another"))
    assert pull_days(app, [DAY])[0].stored.new == 1


def test_an_answer_that_was_not_kept_is_not_known(make: Make, arxiv: ArxivServer, clock: Clock) -> None:
    arxiv.announced = [Preprint("2608.00001", "A title")]
    app = make("arxiv:cs.LG")
    (name,) = app.sources

    class Broken:
        def __init__(self) -> None:
            self.__dict__ |= {"fetch": app.sources[name].fetch, "name": name, "dated": True}
            self.calendar, self.address = app.sources[name].calendar, app.sources[name].address

        def parse(self, body: bytes, day: date) -> Any:
            raise ZeroDivisionError

    broken = replace(app, sources={name: Broken()})
    assert "do not understand (ZeroDivisionError, see the log)" in pull_days(broken, [DAY])[0].error
    assert pull_days(app, [DAY])[0].stored.new == 1


def test_details_are_asked_for_once_and_again_for_a_new_version(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    huggingface.days["2026-08-05"] = [listed(n, f"Paper {n}", DAY) for n in range(1, 99)]
    huggingface.days["2026-08-04"] = [listed(n, f"Paper {n}", DAY) for n in range(99, 151)]
    arxiv.known = [Preprint(f"2608.{n:05d}", f"Paper {n}") for n in range(1, 150)]
    app = make("huggingface,arxiv")

    def asked() -> list[str]:
        before = len(arxiv.asked)
        pulling.pull(app, pulling.plan(app))
        return arxiv.asked[before:]

    assert len(asked()) == 2
    assert asked() == []  # 2608.00150 is not known there; it is asked for again in six hours
    clock.forward(hours=7)
    (again,) = asked()
    assert "id_list=2608.00150&" in again
    newer = record(5, source="arxiv", version=2, listed_at=None, upvotes=None)
    with app.db.session() as session:
        ledger.upsert(session, [newer], clock())
    clock.forward(hours=7)
    assert "2608.00005" in asked()[0]


def test_a_list_of_several_pages_is_read_to_its_end(make: Make, huggingface: HuggingFaceServer) -> None:
    huggingface.days["2026-08-05"] = [listed(n, f"Paper {n}", DAY, upvotes=n) for n in range(1, 251)]
    app = make("huggingface")
    (report,) = pull_days(app, [DAY])
    assert (report.received, report.stored.new, report.notes) == (250, 250, ())
    assert len(huggingface.asked) == 3


def test_a_source_that_keeps_failing_is_left_alone_and_shown_and_never_blocks_the_others(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    app = make()
    arxiv.routes = dict.fromkeys(("/rss/", "/api/"), lambda *_: (400, rss_error("Bad archive")))
    huggingface.days["2026-08-05"] = [listed(1, "A title", DAY)]
    asked = []
    for _ in range(14):
        arxiv.asked.clear()
        pipeline.pull(app)
        asked.append("/rss/cs.LG" in arxiv.asked)
        clock.forward(hours=1)
    # three failures, then rests of 1, 2, 4 and 8 hours
    assert asked == [True, True, True, True, False, True, False, False, False, True, False, False, False, False]
    with app.db.snapshot() as session:
        health = {each.source: each for each in pulls.health(session)}
    assert (health["arxiv:cs.LG"].failures, health["arxiv:cs.LG"].last_success_at) == (6, None)
    assert health["huggingface"].failures == 0
    assert health["huggingface"].last_success_at == clock.at - timedelta(hours=1)
    arxiv.routes = {"/rss/": lambda *_: (200, b"<rss><channel/></rss>")}
    pull_days(app, [clock.at.date()])
    with app.db.snapshot() as session:
        assert {each.source: each.failures for each in pulls.health(session)}["arxiv:cs.LG"] == 0


def test_days_that_were_missed_are_made_up_for(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    app = make()
    pipeline.pull(app)
    huggingface.asked.clear()
    clock.forward(days=5)  # to Monday the 10th
    huggingface.today = date(2026, 8, 10)
    arxiv.announced_on = date(2026, 8, 10)
    assert {name: [day.day for day in days] for name, days in pulling.plan(app).items()} == {
        "huggingface": [10, 7, 6], "arxiv:cs.LG": [10, 7, 6, 5],
    }  # fmt: skip
    pipeline.pull(app)
    assert {name: [day.day for day in days] for name, days in pulling.plan(app).items()} == {
        "huggingface": [10, 7], "arxiv:cs.LG": [10, 7],
    }  # fmt: skip


def test_the_schedule_asks_for_a_settled_list_once_an_hour(
    make: Make, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    app = make("huggingface")
    huggingface.days["2026-08-05"] = [listed(1, "A title", DAY)]
    for _ in range(8):  # two hours from nine o'clock, in quarters
        pipeline.pull(app)
        clock.forward(minutes=15)
    assert huggingface.asked.count("2026-08-05") == 2
    huggingface.asked.clear()
    clock.at = datetime(2026, 8, 6, 0, 5, tzinfo=UTC)
    huggingface.today = clock.at.date()
    for _ in range(8):  # a list that grows is asked for each time
        pipeline.pull(app)
        clock.forward(minutes=15)
    assert huggingface.asked.count("2026-08-06") == 8


def test_a_pull_that_is_stopped_keeps_what_it_has_and_another_goes_on(
    make: Make, huggingface: HuggingFaceServer
) -> None:
    days = [DAY - timedelta(days=n) for n in (2, 1, 0)]
    for day in days:
        huggingface.days[day.isoformat()] = [listed(day.day, f"Paper of {day}", day)]
    app = make("huggingface")

    def stop(_number: int) -> None:
        app.stopping.set()

    assert len(pulling.pull(app, pulling.plan(app, days), stop)) == 1
    assert len(kept(app)) == 1
    app.stopping.clear()
    pull_days(app, days)
    assert len(kept(app)) == 3


def test_old_reports_are_forgotten_but_never_the_last_success(
    make: Make, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    app = make("huggingface")
    pipeline.pull(app)
    clock.forward(days=200)
    down = replace(
        app, sources={"huggingface": HuggingFace(app.sources["huggingface"]._web, f"http://127.0.0.1:{free_port()}")}
    )  # type: ignore[attr-defined]
    pipeline.pull(down)
    with app.db.snapshot() as session:
        (health,) = pulls.health(session)
    assert health.last_success_at == clock.at - timedelta(days=200)
    assert len(rows(app)) <= 3


def test_records_of_a_paper_are_one_row_for_each_source(make: Make, arxiv: ArxivServer, clock: Clock) -> None:
    app = make("arxiv:cs.LG")
    for version in (1, 2, 3):
        arxiv.announced = [
            Preprint("2608.00001", f"Title {version}", version=version, kind="new" if version == 1 else "replace")
        ]
        pull_days(app, [DAY])
        clock.forward(hours=1)
    with app.db.snapshot() as session:
        (row,) = session.exec(select(StoredRecord))
    assert (row.version, kept(app)["arxiv:2608.00001"].title) == (3, "Title 3")


def test_a_past_announcement_comes_in_full_and_is_not_asked_for_again(make: Make, arxiv: ArxivServer) -> None:
    arxiv.known = [Preprint("2608.00001", "A title", submitted=datetime(2026, 8, 3, 17, tzinfo=UTC), comment="9 pages")]
    app = make("arxiv:cs.LG")
    pull_days(app, [date(2026, 8, 4)])
    assert kept(app)["arxiv:2608.00001"].listed_at == MIDNIGHT - timedelta(days=1)
    assert [path.split("?")[0] for path in arxiv.asked] == ["/api/query"]


def test_what_cannot_be_kept_of_one_source_costs_the_others_nothing(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer
) -> None:
    huggingface.days["2026-08-05"] = [listed(1, "A title", DAY)]
    app = make()
    name = "arxiv:cs.LG"

    class Overlong:
        def __init__(self) -> None:
            source = app.sources[name]
            self.name, self.address, self.calendar, self.dated = name, source.address, source.calendar, True
            self.fetch = source.fetch

        def parse(self, body: bytes, day: date) -> Any:
            return replace(app.sources[name].parse(body, day), records=("not a record",))

    reports = pull_days(replace(app, sources=app.sources | {name: Overlong()}), [DAY])
    errors = {each.source: each.error for each in reports}
    assert errors[name] == "arxiv:cs.LG answered, but it could not be kept (AttributeError)"
    assert errors["huggingface"] == ""
    assert not app.stopping.is_set()
    with app.db.snapshot() as session:
        assert {each.source: bool(each.last_error) for each in pulls.health(session)}[name]


def test_an_id_that_arxiv_refuses_costs_only_itself(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer
) -> None:
    huggingface.days["2026-08-05"] = [listed(n, f"Paper {n}", DAY) for n in range(1, 21)]
    arxiv.known = [Preprint(f"2608.{n:05d}", f"Paper {n}, in full") for n in range(1, 21)]
    bad = arxiv.routes["/api/query"]

    def refuse(path: str, query: dict[str, str]) -> Any:
        return (400, b"<x/>") if "2608.00013" in query["id_list"] else bad(path, query)

    arxiv.routes["/api/query"] = refuse
    app = make("huggingface,arxiv")
    (_, details) = pull_days(app, [DAY])
    assert (details.error, details.stored.updated) == ("", 19)
    assert pulling.pull(app, {}) == []  # and it is not asked for again at once


def test_weekends_of_preprint_servers_are_asked_for_and_a_day_is_seen_only_when_it_is_over(
    make: Make, web_server: SourceServer, clock: Clock
) -> None:
    web_server.routes["/details/"] = lambda *_: (200, b'{"messages": [{"status": "no posts found"}]}')
    app = make("biorxiv", biorxiv_url=web_server.url)
    clock.at = datetime(2026, 8, 10, 0, 20, tzinfo=UTC)  # Monday
    assert [day.day for day in pulling.plan(app)["biorxiv"]] == [10, 9, 8]
    pipeline.pull(app)
    clock.at = datetime(2026, 8, 13, 9, tzinfo=UTC)
    assert [day.day for day in pulling.plan(app)["biorxiv"]] == [13, 12, 11, 10]


def test_a_day_that_is_gone_for_good_does_not_slow_todays_list(
    make: Make, huggingface: HuggingFaceServer, clock: Clock
) -> None:
    huggingface.troubles["2026-08-04"] = [404] * 99
    huggingface.days["2026-08-05"] = [listed(1, "A title", DAY)]
    app = make("huggingface")
    for _ in range(6):
        pipeline.pull(app)
        clock.forward(hours=1)
    assert huggingface.asked.count("2026-08-05") == 6
    with app.db.snapshot() as session:
        assert [each.failures for each in pulls.health(session)] == [0]


def test_many_papers_of_one_title_neither_take_for_ever_nor_keep_others_from_the_database(
    make: Make, arxiv: ArxivServer
) -> None:
    arxiv.announced = [
        Preprint(f"2608.{n:05d}", "One title that they all bear", authors=(f"A{n} B",)) for n in range(2_000)
    ]
    app = make("arxiv:cs.LG")
    (report, *_) = pull_days(app, [DAY])
    assert report.stored.new == 2_000


def test_who_stops_a_pull_is_no_failure_of_the_source(make: Make, arxiv: ArxivServer) -> None:
    arxiv.announced = [Preprint("2608.00001", "A title")]
    app = make("arxiv:cs.LG")
    app.stopping.set()
    assert pulling.pull(app, pulling.plan(app, [DAY])) == []
    assert rows(app) == []


def test_a_feed_without_news_is_no_reason_to_wait_and_is_named_by_its_host(
    make: Make, web_server: SourceServer, clock: Clock
) -> None:
    web_server.routes["/feed"] = lambda *_: (200, FEED)
    app = make(f"feed:{web_server.url}/feed?key=secret")
    pipeline.pull(app)
    clock.forward(hours=22)
    pipeline.pull(app)
    with app.db.snapshot() as session:
        (told_of,) = pulling.news(app, session, clock(), clock().date())
    assert (told_of.waited_for, told_of.said) == (False, "")
    web_server.routes["/feed"] = lambda *_: (404, b"")
    clock.forward(hours=2)
    pipeline.pull(app)
    with app.db.snapshot() as session:
        (told_of,) = pulling.news(app, session, clock(), clock().date())
    assert not told_of.waited_for
    assert told_of.said.startswith("127.0.0.1 has not answered since 07:00 UTC")


def test_a_paper_that_is_picked_days_after_it_was_announced_is_a_candidate_for_who_was_not_sent_it(
    make: Make, clock: Clock
) -> None:
    app = make("huggingface")
    announced = record(1, "A title", source="arxiv", listed_at=MIDNIGHT, upvotes=None)
    with app.db.session() as session:
        ledger.upsert(session, [announced], clock())
    add_readers(app, 1, prefix="early")
    issue = open_and_queue(app)
    assert pipeline.deliver(app, issue.id) == 1
    clock.forward(days=12)
    add_readers(app, 1, prefix="late")
    picked = replace(announced, source="huggingface", listed_at=clock() - timedelta(hours=9), upvotes=150)
    with app.db.session() as session:
        ledger.upsert(session, [picked], clock())
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    with app.db.snapshot() as session:
        accounting = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert (accounting.sent, accounting.skipped) == (1, {"nothing_new": 1})


def test_the_end_of_a_chain_of_twins_is_found(make: Make, clock: Clock) -> None:
    app = make("huggingface")
    with app.db.session() as session:
        ledger.upsert(session, [record(n) for n in range(1, 5)], clock())
        session.execute(sa.text("UPDATE papers SET same_as = id - 1 WHERE id > 1"))
    with app.db.snapshot() as session:
        assert papers.twins(session, [4, 2]) == {4: 1, 3: 1, 2: 1}


def test_an_announcement_that_comes_late_is_not_lost(make: Make, arxiv: ArxivServer, clock: Clock) -> None:
    app = make("arxiv:cs.LG")
    arxiv.announced_on = date(2026, 8, 6)
    late = [Preprint("2608.00001", "Late", submitted=datetime(2026, 8, 5, 17, tzinfo=UTC))]
    clock.at = datetime(2026, 8, 6, 4, 20, tzinfo=UTC)
    pipeline.pull(app)  # of today, and empty
    with app.db.snapshot() as session:
        (told_of,) = pulling.news(app, session, clock(), clock().date())
    assert not told_of.waited_for
    clock.at = datetime(2026, 8, 6, 7, 50, tzinfo=UTC)
    arxiv.announced = late
    pipeline.pull(app)
    assert candidates(app) == {"arxiv:2608.00001"}
    searched = [path for path in arxiv.asked if "submittedDate" in path]
    arxiv.asked.clear()
    clock.forward(hours=2)
    pipeline.pull(app)
    assert "/rss/cs.LG" not in arxiv.asked
    assert len(searched) <= 2


def test_an_announcement_that_was_never_seen_is_searched_on_the_next_day(
    make: Make, arxiv: ArxivServer, clock: Clock
) -> None:
    app = make("arxiv:cs.LG")
    arxiv.announced_on = date(2026, 8, 6)
    clock.at = datetime(2026, 8, 6, 4, 20, tzinfo=UTC)
    pipeline.pull(app)
    arxiv.known = [Preprint("2608.00001", "Late", submitted=datetime(2026, 8, 5, 17, tzinfo=UTC))]
    clock.at = datetime(2026, 8, 7, 4, 20, tzinfo=UTC)
    arxiv.announced_on = date(2026, 8, 7)
    pipeline.pull(app)
    assert "arxiv:2608.00001" in candidates(app)


def test_who_refuses_whatever_is_asked_is_asked_a_few_times_and_then_rests(
    make: Make, arxiv: ArxivServer, huggingface: HuggingFaceServer
) -> None:
    huggingface.days["2026-08-05"] = [listed(n, f"Paper {n}", DAY) for n in range(1, 99)]
    arxiv.routes["/api/query"] = lambda *_: (400, b"<x/>")
    app = make("huggingface,arxiv")
    details = pull_days(app, [DAY])[-1]
    assert details.error == "arxiv-api answered 400, whatever it is asked"
    assert len(arxiv.asked) <= 25


def test_todays_list_is_asked_for_first(make: Make, huggingface: HuggingFaceServer) -> None:
    huggingface.days["2026-08-05"] = [listed(1, "A title", DAY)]
    app = make("huggingface")
    pulling.pull(app, pulling.plan(app))
    assert huggingface.asked[0] == "2026-08-05"


def test_what_is_dated_later_today_is_in_todays_issue(make: Make, web_server: SourceServer) -> None:
    evening = FEED.replace(b"01:00:00 GMT", b"20:00:00 GMT")
    web_server.routes["/feed"] = lambda *_: (200, evening)
    app = make(f"feed:{web_server.url}/feed")
    pull_days(app, [DAY])
    assert kept(app)["doi:10.1038/x1"].listed_at == app.now()


def test_arxiv_itself_is_never_asked_at_a_mirrors_pace(make: Make) -> None:
    web = make("arxiv:cs.LG").sources["arxiv:cs.LG"]._web  # type: ignore[attr-defined]
    assert {web._paces[host].interval_seconds for host in ("arxiv.org", "rss.arxiv.org", "export.arxiv.org")} == {3.0}
