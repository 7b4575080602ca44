"""The account of every recorded answer through its source: records in, papers out, merged, left out and why.

The answers are not part of the project: without them beside the checkout this is left out, and says so.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from newsletter.app import App
from newsletter.errors import SourceError
from newsletter.papers import ledger
from newsletter.papers.models import Parsed
from newsletter.papers.sources.arxiv_feed import parse as parse_arxiv
from newsletter.papers.sources.biorxiv import Biorxiv
from newsletter.papers.sources.feeds import Feed
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.huggingface import HuggingFace
from newsletter.papers.sources.page import parse_page

DATA = Path(__file__).parents[3] / "shared" / "data"
NOW = datetime(2026, 8, 21, tzinfo=UTC)
DAY = date(2026, 8, 20)
WEB = Web()

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not DATA.exists(), reason="the recorded answers are not part of the project"),
]


def answers() -> Iterator[tuple[str, Callable[[], Parsed]]]:
    """Yield each recorded answer's kind with how it is read."""
    daily = HuggingFace(WEB, "")
    for path in sorted(DATA.glob("hf_daily/wire_days/*.json")):
        yield "huggingface, 20 days", lambda path=path: daily.parse(path.read_bytes(), date.fromisoformat(path.stem))
    for case in json.loads((DATA / "hf_daily/edge_cases.json").read_bytes()):
        body, day = json.dumps([case["item"]]).encode(), date.fromisoformat(case["list_date"])
        yield "huggingface, 13 edge cases", lambda body=body, day=day: daily.parse(body, day)
    for path in sorted(DATA.glob("arxiv/api/*.json")):
        body = json.loads(path.read_bytes())["body"].encode("latin-1")
        yield "arxiv API, 20 answers", lambda body=body: parse_arxiv(body, None)
    for path in sorted(DATA.glob("synthetic/arxiv_*.xml")):
        yield "arxiv, made after its documents", lambda path=path: parse_arxiv(path.read_bytes(), DAY)
    for path in sorted(DATA.glob("other/biorxiv/details*.json")):
        yield "biorxiv", lambda path=path: Biorxiv(WEB, "").parse(path.read_bytes(), date(2026, 8, 1))
    for path in sorted(DATA.glob("other/rss_community/*.xml")):
        yield "feeds", lambda path=path: Feed(WEB, "https://feed.example.org/").parse(path.read_bytes(), DAY)
    yield "page", lambda: parse_page((DATA / "seed_page.txt").read_bytes(), None, NOW, "file")


def test_every_record_is_accounted_for(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url)
    rows: dict[str, Counter[str]] = {}
    for kind, read in answers():
        row = rows.setdefault(kind, Counter())
        row["answers"] += 1
        try:
            parsed = read()
        except SourceError as exc:
            row[f"refused ({str(exc)[:40]})"] += 1
            continue
        with app.db.session() as session:
            stored = ledger.upsert(session, parsed.records, NOW)
        row["records"] += parsed.received
        row.update({f"left out: {reason}": number for reason, number in parsed.dropped.items()})
        row["merged with one of the same answer"] += len(parsed.records) - stored.papers
        row["new"] += stored.new
        row["known or told more of"] += stored.updated + stored.unchanged
        row["unlisted"] += stored.unlisted
        assert parsed.received == len(parsed.records) + parsed.dropped.total()
    print(f"\n{app.db.engine.dialect.name}")
    for kind, row in rows.items():
        print(f"  {kind}: " + ", ".join(f"{number} {name}" for name, number in row.items() if number))
