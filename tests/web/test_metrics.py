"""``/metrics``, as Prometheus reads it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from samples import add_papers, add_readers, record

from newsletter.app import App
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.models import Pull
from newsletter.web import create_web

AT = datetime(2026, 8, 5, 8, 0, tzinfo=UTC)


def scrape(app: App) -> dict[tuple[str, str], float]:
    answer = TestClient(create_web(app)).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
    return {(each.name, "".join(each.labels.values())): each.value for each in samples}


def pulled(source: str, at: datetime, error: str = "", new: int = 0) -> Pull:
    return Pull(source=source, day=at.date(), started_at=at, finished_at=at, new=new, updated=2 * new, error=error)


def test_each_source_shows_how_it_is(make_app: Callable[..., App], database_url: str) -> None:
    app_on_both = make_app(database_url, sources="huggingface,arxiv:cs.LG")
    with app_on_both.db.session() as session:
        pulls.record(session, [pulled("huggingface", AT, new=7), pulled("huggingface", AT, new=2)])
        hours = range(1, 5)
        pulls.record(session, [pulled("arxiv:cs.LG", AT - timedelta(minutes=n), "down") for n in hours])
        pulls.record(session, [pulled("file", AT - timedelta(days=9), new=1)])
    found = scrape(app_on_both)
    assert found["newsletter_source_age_seconds", "huggingface"] == 3_600
    assert found["newsletter_source_last_success_timestamp_seconds", "huggingface"] == AT.timestamp()
    assert found["newsletter_source_new_papers_total", "huggingface"] == 9
    assert found["newsletter_source_updated_papers_total", "huggingface"] == 18
    assert found["newsletter_source_failures", "arxiv:cs.LG"] == 4
    assert found["newsletter_source_resting", "arxiv:cs.LG"] == 1
    assert ("newsletter_source_age_seconds", "arxiv:cs.LG") not in found
    assert ("newsletter_source_age_seconds", "file") not in found


def test_papers_readers_and_mails_are_counted_and_nobody_is_named(app: App) -> None:
    add_papers(app, [record(1), record(2)])
    add_readers(app, 3)
    found = scrape(app)
    assert found["newsletter_papers", ""] == 2
    assert found["newsletter_subscribers", "active"] == 3
    assert found["newsletter_oldest_due_seconds", ""] == 0
    assert "example.org" not in TestClient(create_web(app)).get("/metrics").text
