"""Every recorded day of the real feed: as many papers come out as went in, and nothing of them is lost."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from samples import pull_days

from newsletter.app import App
from newsletter.papers.models import PaperRecord
from newsletter.papers.sources import Known, Page
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.huggingface import HuggingFace
from newsletter.papers.tex import readable

# Not part of the project: the texts in these answers are not ours to pass on.
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "hf_daily"
DAYS = sorted(RECORDED.glob("wire_days/*.json"))
EDGE_CASES = RECORDED / "edge_cases.json"
SOURCE = HuggingFace(Web(), "http://127.0.0.1:9")

pytestmark = pytest.mark.skipif(
    not (DAYS and EDGE_CASES.exists()), reason="the recorded days of the feed are not part of the project"
)


class Recorded(HuggingFace):
    """The source, answering from the recorded days."""

    def fetch(self, day: date, *, now: datetime, known: Known) -> Iterator[Page]:
        yield Page(str(day), (RECORDED / "wire_days" / f"{day}.json").read_bytes())


def told(item: dict[str, Any]) -> dict[str, Any]:
    """Return what an item says, read without the source's code, in the record's words."""
    paper = item["paper"]
    code, project = paper.get("githubRepo") or "", paper.get("projectPage") or ""
    if not code and re.match(r"https://github\.com/[^/]+/[^/]+/?$", project):
        code, project = project, ""
    organization = paper.get("organization") or item.get("organization") or {}
    return {
        "key": f"arxiv:{paper['id']}",
        "title": readable(" ".join(paper["title"].split())),
        "abstract": readable(" ".join(paper["summary"].split())),
        "summary": readable(" ".join(paper.get("ai_summary", "").split())),
        "authors": tuple(" ".join(each["name"].split()) for each in paper["authors"] if not each.get("hidden")),
        "keywords": tuple(dict.fromkeys(paper.get("ai_keywords", []))),
        "organization": " ".join((organization.get("fullname") or organization.get("name") or "").split()),
        "code_url": code,
        "project_url": project,
        "published_at": datetime.fromisoformat(paper["publishedAt"]),
        "upvotes": paper["upvotes"],
        "comments": item.get("numComments"),
        "stars": paper.get("githubStars"),
    }


def kept(record: PaperRecord, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


@pytest.mark.parametrize("path", DAYS, ids=lambda path: path.stem)
def test_every_recorded_day_comes_in_whole(path: Path) -> None:
    day = date.fromisoformat(path.stem)
    items = json.loads(path.read_bytes())
    parsed = SOURCE.parse(path.read_bytes(), day)
    assert (parsed.received, len(parsed.records), parsed.dropped) == (len(items), len(items), Counter())
    for item, record in zip(items, parsed.records, strict=True):
        expected = told(item)
        assert kept(record, expected) == expected
        assert record.listed_at == datetime.combine(day, time(), UTC)
        assert record.url.endswith(item["paper"]["id"])


def test_every_edge_case_comes_in() -> None:
    cases = json.loads(EDGE_CASES.read_text(encoding="utf-8"))
    assert len(cases) == 13
    for case in cases:
        parsed = SOURCE.parse(json.dumps([case["item"]]).encode(), date.fromisoformat(case["list_date"]))
        assert (len(parsed.records), parsed.dropped.total()) == (1, 0), case["case"]
        expected = told(case["item"])
        assert kept(parsed.records[0], expected) == expected


def test_all_recorded_days_are_stored_once_and_again_without_a_change(
    make_app: Callable[..., App], database_url: str
) -> None:
    source = Recorded(Web(), "")
    app = replace(make_app(database_url), sources={source.name: source})
    received = sum(len(json.loads(path.read_bytes())) for path in DAYS)
    for new in (received, 0):
        reports = pull_days(app, [date.fromisoformat(path.stem) for path in DAYS])
        assert sum(each.received for each in reports) == received
        assert sum(each.stored.new for each in reports) == new
        assert sum(each.stored.unchanged for each in reports) == received - new
        assert not any(each.error or each.notes for each in reports)
