"""Pull after pull, the database holds what merging everything at once gives."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from papers.test_merge import sightings
from sqlmodel import select

from newsletter.app import App
from newsletter.papers import ledger
from newsletter.papers.merge import merge
from newsletter.papers.models import Paper, PaperRecord, Sighting, StoredRecord

START = datetime(2026, 8, 5, tzinfo=UTC)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(sightings().map(lambda each: each.record), min_size=1, max_size=4), max_size=4))
def test_pull_after_pull_gives_what_merging_at_once_gives(app: App, pulls: list[list[PaperRecord]]) -> None:
    _empty(app)
    seen: list[Sighting] = []
    for number, pulled in enumerate(pulls):
        now = START + timedelta(hours=number)
        with app.db.session() as session:
            before = ledger.upsert(session, pulled, now)
        assert before.papers <= len(pulled)
        seen += [Sighting(each, now) for each in pulled]
    assert _kept(app) == _wanted(seen)


def _empty(app: App) -> None:
    with app.db.engine.begin() as connection:
        for table in ("paper_votes", "paper_keys", "paper_records", "papers"):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def _kept(app: App) -> set[tuple[object, ...]]:
    with app.db.snapshot() as session:
        found = {paper.id: paper for paper in session.exec(select(Paper))}
        records = list(session.exec(select(StoredRecord)))
    sources = {key: {(each.source, each.key) for each in records if each.paper_id == key} for key in found}
    return {
        (
            paper.key,
            paper.title,
            paper.abstract,
            tuple(paper.authors),
            paper.upvotes,
            paper.stars,
            paper.version,
            paper.withdrawn,
            paper.listed_at if paper.listed else None,
            found[paper.same_as].key if paper.same_as else None,
            frozenset(sources[paper.id]),
        )
        for paper in found.values()
        if not paper.key.startswith("merged:")
    }


def _wanted(seen: list[Sighting]) -> set[tuple[object, ...]]:
    return {
        (
            paper.record.key,
            paper.record.title,
            paper.record.abstract,
            paper.record.authors,
            paper.record.upvotes,
            paper.record.stars,
            paper.record.version,
            paper.record.withdrawn,
            paper.record.listed_at,
            paper.same_as,
            frozenset((each.record.source, each.record.key) for each in paper.sightings),
        )
        for paper in merge(seen)
    }
