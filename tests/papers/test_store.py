"""Papers and pulls, kept on both databases."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from fakes import Clock
from samples import HOSTILE, record
from sqlmodel import select

from newsletter.app import App
from newsletter.papers import ledger
from newsletter.papers import store as papers
from newsletter.papers.ledger import Upserted
from newsletter.papers.models import MAX_COUNT, Paper, PaperRecord, link_targets
from newsletter.papers.sources import fields

DAY = datetime(2026, 8, 5, tzinfo=UTC)


def upsert(app: App, records: Iterable[PaperRecord]) -> Upserted:
    with app.db.session() as session:
        return ledger.upsert(session, list(records), app.now())


def kept(app: App) -> dict[str, Paper]:
    with app.db.snapshot() as session:
        return {paper.key: paper for paper in session.exec(select(Paper))}


def full(number: int = 1) -> PaperRecord:
    return record(
        number, authors=("Ada", "Bob"), categories=("cs.LG",), keywords=("x",), summary="Short.", organization="Lab",
        code_url="https://github.com/a/b", project_url="https://a.github.io", published_at=DAY, comments=2, stars=3,
    )  # fmt: skip


def test_a_record_comes_back_as_it_went_in(app_on_both: App) -> None:
    assert upsert(app_on_both, [full()]) == Upserted(new=1)
    (paper,) = kept(app_on_both).values()
    same = {name: getattr(paper, name) for name in PaperRecord.__slots__ if name not in {"also", "related"}}
    assert PaperRecord(**same | {name: tuple(same[name]) for name in ("authors", "categories", "keywords")}) == full()
    assert paper.first_seen_at == paper.updated_at == app_on_both.now()
    assert link_targets(paper) == link_targets(full())


def test_the_same_records_again_change_nothing(app_on_both: App, clock: Clock) -> None:
    records = [full(number) for number in range(1_203)]
    assert upsert(app_on_both, records) == Upserted(new=1_203)
    before = kept(app_on_both)
    clock.forward(hours=1)
    assert upsert(app_on_both, reversed(records)) == Upserted(unchanged=1_203)
    assert {key: paper.model_dump() for key, paper in kept(app_on_both).items()} == {
        key: paper.model_dump() for key, paper in before.items()
    }


def test_new_updated_and_unchanged_are_all_that_came_in(app_on_both: App, clock: Clock) -> None:
    upsert(app_on_both, [record(number) for number in range(600)])
    clock.forward(minutes=1)
    changed = [record(number, upvotes=9_000) for number in range(300)]
    same = [record(number) for number in range(300, 600)]
    fresh = [record(number) for number in range(600, 1_100)]
    assert upsert(app_on_both, [*changed, *same, *fresh]) == Upserted(new=500, updated=300, unchanged=300)
    assert sum(paper.upvotes == 9_000 for paper in kept(app_on_both).values()) == 300


def test_later_votes_are_kept_up_and_down(app_on_both: App, clock: Clock) -> None:
    upsert(app_on_both, [full()])
    clock.forward(hours=1)
    for votes in (50, 4, 0):
        clock.forward(minutes=1)
        assert upsert(app_on_both, [replace(full(), upvotes=votes)]) == Upserted(updated=1)
        (paper,) = kept(app_on_both).values()
        assert paper.upvotes == votes
    assert paper.updated_at == clock.at
    assert paper.first_seen_at == clock.at - timedelta(hours=1, minutes=3)


def test_what_a_record_lacks_stays_known(app_on_both: App) -> None:
    upsert(app_on_both, [full()])
    bare = PaperRecord(full().key, full().title, DAY, "file")
    assert upsert(app_on_both, [bare]) == Upserted(unchanged=1)
    (paper,) = kept(app_on_both).values()
    assert (paper.authors, paper.upvotes, paper.code_url) == (["Ada", "Bob"], 1, "https://github.com/a/b")


def test_a_paper_that_is_listed_again_is_not_new_again(app_on_both: App) -> None:
    for days, listed_at in ((0, DAY), (6, DAY), (-2, DAY - timedelta(days=2))):
        upsert(app_on_both, [replace(full(), listed_at=DAY + timedelta(days=days))])
        assert next(iter(kept(app_on_both).values())).listed_at == listed_at


def test_nothing_is_nothing(app_on_both: App) -> None:
    assert upsert(app_on_both, []) == Upserted()


def test_whatever_the_cleaner_lets_through_can_be_kept(app_on_both: App) -> None:
    hostile = [fields.text(text, 1_000) for text in (*HOSTILE, "a\x00b", "\ud83d cut", "\U0010ffff\ufffe", "é" * 1_000)]
    records = [
        record(
            number,
            text,
            abstract=text,
            authors=(text,),
            organization=text,
            upvotes=MAX_COUNT,
            comments=MAX_COUNT,
            stars=MAX_COUNT,
            published_at=fields.instant("1600-01-01" if number % 2 else "2199-12-31T23:59:59Z"),
        )
        for number, text in enumerate(hostile)
    ]
    assert upsert(app_on_both, records) == Upserted(new=len(hostile))
    assert [paper.title for _, paper in sorted(kept(app_on_both).items())] == hostile
    assert upsert(app_on_both, records) == Upserted(unchanged=len(hostile))


def test_the_oldest_and_latest_dates_are_readable_in_every_zone(
    make_app: Callable[..., App], postgresql_url: str
) -> None:
    for zone in ("America/New_York", "Pacific/Kiritimati"):
        app = make_app(f"{postgresql_url}&options=-c%20timezone%3D{zone}")
        for number, text in enumerate(("0001-01-01", "1600-01-01", "2199-12-31T23:59:59Z", "9999-12-31T23:59:59Z")):
            upsert(app, [record(number, published_at=fields.instant(text))])
        years = [paper.published_at.year for _, paper in sorted(kept(app).items()) if paper.published_at]
        assert years == [1600, 2199]


def test_pullers_at_the_same_time_neither_fail_nor_count_twice(app_on_both: App) -> None:
    records = [record(number) for number in range(120)]
    reports: list[Upserted] = []
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def puller(mine: list[PaperRecord], first_vote: int) -> None:
        try:
            start.wait(30)
            reports.append(upsert(app_on_both, mine))
            for vote in range(first_vote, first_vote + 5):
                upsert(app_on_both, [replace(each, upvotes=vote) for each in mine])
        except BaseException as exc:  # noqa: BLE001  whatever it is, the test must see it
            failures.append(exc)

    threads = [
        threading.Thread(target=puller, args=(records[::step], 1_000 * number))
        for number, step in enumerate((1, -1, 1, -1), 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sum(report.new for report in reports) == len(records) == len(kept(app_on_both))


def test_a_window_holds_its_start_and_not_its_end(app_on_both: App) -> None:
    upsert(app_on_both, [record(number, listed_at=DAY + timedelta(days=number)) for number in range(4)])
    with app_on_both.db.snapshot() as session:
        found = papers.listed_between(session, DAY + timedelta(days=1), DAY + timedelta(days=3))
        nothing = papers.listed_between(session, DAY + timedelta(days=3), DAY + timedelta(days=1))
    assert [paper.key for paper in found] == ["arxiv:2608.00001", "arxiv:2608.00002"]
    assert nothing == []


def test_papers_are_found_by_id_and_an_id_that_is_gone_is_missing(app_on_both: App) -> None:
    upsert(app_on_both, [record(number) for number in range(700)])
    with app_on_both.db.snapshot() as session:
        ids = [paper.id or 0 for paper in session.exec(select(Paper))]
        found = papers.by_ids(session, [*ids, *ids, -1, 10**9])
        assert papers.by_ids(session, []) == {}
        assert papers.count(session) == 700
    assert sorted(found) == sorted(ids)


def test_many_records_take_few_statements(app_on_both: App) -> None:
    statements: list[str] = []
    sa.event.listen(app_on_both.db.engine, "before_cursor_execute", lambda *args: statements.append(str(args[2])[:30]))
    records = [record(number) for number in range(500)]
    for _ in range(2):
        upsert(app_on_both, records)
    upsert(app_on_both, [replace(each, upvotes=9_999) for each in records])
    assert len([each for each in statements if not each.startswith(("PRAGMA", "BEGIN"))]) <= 24
