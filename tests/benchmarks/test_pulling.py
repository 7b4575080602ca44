"""How long pulling takes: one announcement of 2,000 papers, with its memory, and 10,000 papers into the database."""

import resource
import time as real_clock
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random

import pytest
from fakes import Clock
from samples import pull_days, record
from sources import ArxivServer, Preprint

from newsletter.app import App
from newsletter.papers import ledger
from newsletter.papers import store as papers
from newsletter.papers.models import PaperRecord

pytestmark = pytest.mark.benchmark
DAY = date(2026, 8, 5)
WORDS = [
    "net",
    "fish",
    "rope",
    "knot",
    "mesh",
    "$\\alpha$",
    "boat",
    "harbour",
    "tide",
    "current",
    "buoy",
    "\\emph{catch}",
    "anchor",
    "sail",
    "keel",
    "rudder",
]


def text(dice: Random, words: int) -> str:
    return " ".join(dice.choices(WORDS, k=words)).capitalize() + "."


def preprints(count: int) -> list[Preprint]:
    dice = Random(1)
    return [
        Preprint(
            f"2608.{number:05d}",
            text(dice, 9)[:-1],
            " ".join(text(dice, 22) for _ in range(8)),
            tuple(f"Ada{n} Example{number}" for n in range(dice.randint(1, 9))),
        )
        for number in range(1, count + 1)
    ]


def measured(job: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of a job, and by how many MiB the process' peak of resident memory grew."""
    started, before = real_clock.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job()
    return real_clock.monotonic() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def test_one_announcement_of_2000_papers(
    make_app: Callable[..., App], database_url: str, arxiv: ArxivServer, clock: Clock
) -> None:
    arxiv.announced, arxiv.known = preprints(2_000), preprints(2_000)
    urls = {"arxiv_rss_url": arxiv.url, "arxiv_api_url": arxiv.url, "arxiv_interval_seconds": 0}
    app = make_app(database_url, sources="arxiv:cs.LG", **urls)
    size = len(arxiv.answer("/rss/", {})[1]) / 2**20
    seconds, grown = measured(lambda: pull_days(app, [DAY]))
    clock.forward(hours=1)
    again, _ = measured(lambda: pull_days(app, [DAY]))
    with app.db.snapshot() as session:
        assert papers.count(session) == 2_000
    print(
        f"\n{app.db.engine.dialect.name}: 2,000 papers ({size:.1f} MiB, 10 answers with details): {seconds:.1f} s; "
        f"the peak of memory grew by {grown:.0f} MiB; again, unmodified, and the other 10: {again:.2f} s"
    )


def test_10000_papers_into_the_database(make_app: Callable[..., App], database_url: str, clock: Clock) -> None:
    app = make_app(database_url)
    dice = Random(2)
    records = [
        record(
            number,
            text(dice, 9),
            key=f"arxiv:26{1 + number % 12:02d}.{number:05d}",
            abstract=" ".join(text(dice, 22) for _ in range(8)),
            authors=tuple(f"Ada{n} Example" for n in range(5)),
            listed_at=datetime(2026, 8, 5, tzinfo=UTC),
        )
        for number in range(1, 10_001)
    ]

    def upsert(changed: bool) -> None:
        with app.db.session() as session:
            rows = [each if not changed else _voted(each) for each in records]
            ledger.upsert(session, rows, clock())

    said = []
    for name, changed in (("new", False), ("unchanged", False), ("new votes", True)):
        seconds, _ = measured(lambda changed=changed: upsert(changed))  # type: ignore[misc]
        said.append(f"{name} {seconds:.1f} s")
        clock.forward(hours=1)
    print(f"\n{app.db.engine.dialect.name}: 10,000 papers: {', '.join(said)}")


def _voted(each: PaperRecord) -> PaperRecord:
    return replace(each, upvotes=(each.upvotes or 0) + 7)
