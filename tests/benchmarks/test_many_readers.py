"""What it costs to rank many readers who like papers: by itself, and with all that is read from a database for it.

``BENCH_RANKED`` (100,000) readers by itself, ``BENCH_READERS`` (3,000) with a database; 500 new papers, 29 likes and 3
keywords each. All on one processor.
"""

import os
import random
import resource
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from samples import add_papers, add_readers, record

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery.desk import Desk, Prepared
from newsletter.garbage import keep_what_is_loaded
from newsletter.issues import store as issues
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.statistics import statistics
from newsletter.ranking.terms import count
from newsletter.ranking.types import Document, Interest, Interests, Rated, Wish
from newsletter.subscribers.ratings.models import How, Rating, Said

pytestmark = pytest.mark.benchmark
RANKED = int(os.environ.get("BENCH_RANKED", "100000"))
READERS = int(os.environ.get("BENCH_READERS", "3000"))
NEW, OLD, LIKES, KEYWORDS, DIMENSIONS, BATCH = 500, 10_000, 29, 3, 128, 2_000
WORDS = [f"word{number}" for number in range(20_000)]
chance = random.Random(1)


def text(words: int) -> str:
    # as in a language: few words are common, most are rare
    return " ".join(WORDS[int(len(WORDS) * chance.random() ** 3)] for _ in range(words))


def directions(papers: int) -> np.ndarray:
    rows = np.random.default_rng(papers).normal(size=(papers, DIMENSIONS))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_hundred_thousand_readers_and_five_hundred_papers() -> None:
    keep_what_is_loaded()
    old = [(text(9), text(150)) for _ in range(OLD)]
    rated = [Rated(title, f"{title}\n{body}", 1.0, f"#{n}", row, shared=True)
             for n, ((title, body), row) in enumerate(zip(old, directions(OLD), strict=True))]  # fmt: skip
    archive = statistics(count(old))
    keywords = [Interest(word, (word,)) for word in WORDS[:2_000]]
    begun = clock.monotonic()
    documents = [Document(n, text(9), text(150), trend=chance.random(), factors=row)
                 for n, row in enumerate(directions(NEW), 1)]  # fmt: skip
    pool = Pool(documents, archive)
    print(f"\nthe day's pool: {clock.monotonic() - begun:.2f} s")
    seconds, chosen = 0.0, 0
    for _ in range(0, RANKED, BATCH):
        wishes = [
            Wish(Interests(tuple(chance.sample(keywords, KEYWORDS)), rated=tuple(chance.sample(rated, LIKES))), 10)
            for _ in range(BATCH)
        ]
        begun = clock.monotonic()
        chosen += sum(len(picks) for picks in select(pool, wishes))
        seconds += clock.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert chosen == 10 * RANKED
    print(f"{RANKED} readers: {seconds:.1f} s with reasons (<= 10 s at 100,000), peak {peak:.0f} MB (<= 1,500)")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_with_all_that_is_read_from_a_database(
    make_app: Callable[..., App], dialect: str, request: pytest.FixtureRequest
) -> None:
    app = make_app(request.getfixturevalue(f"{dialect}_url"), now=clock.now)
    long_ago, today = app.now() - timedelta(days=40), app.now() - timedelta(hours=3)
    add_papers(app, [record(n, text(9), abstract=text(150), listed_at=long_ago) for n in range(1, OLD + 1)])
    add_papers(app, [record(OLD + n, text(9), abstract=text(150), listed_at=today) for n in range(1, NEW + 1)])
    ids = [
        add_readers(app, 1, prefix=f"r{n}x", keywords=tuple(chance.sample(WORDS[:2_000], KEYWORDS)), max_papers=10)[0]
        for n in range(READERS)
    ]
    said = {"text": "", "said": Said.LIKED, "how": How.MAIL, "said_at": app.now()}
    with app.db.session() as session:
        for reader in ids:
            liked = chance.sample(range(1, OLD + 1), LIKES)
            rows = [said | {"subscriber_id": reader, "key": f"k{n}", "paper_id": n, "title": f"Old {n}"} for n in liked]
            session.execute(sa.insert(Rating), rows)
    issue = pipeline.open_issue(app, app.now().date())
    keep_what_is_loaded()
    took = []
    with app.db.snapshot() as session:
        drafted = issues.draft(session, issue.day, app.now(), app.settings.window)
        desk = Desk(session, drafted, app.identity, app.templates)
        for first in range(0, READERS, app.batch):
            begun = clock.monotonic()
            found = desk.prepare(session, ids[first : first + app.batch], {}, app.now())
            took.append((clock.monotonic() - begun) / len(found))
            assert all(isinstance(each, Prepared) and len(each.selection.picks) == 10 for each in found.values())
    last, mean = sorted(took[-5:])[2] * 1e6, sum(took) / len(took) * 1e6
    print(
        f"\n{dialect}: {last:.0f} µs a reader, chosen and printed, once most liked papers were met ({mean:.0f} before)"
    )
    print(f"  100,000 readers: {last / 10:.0f} s (<= 60)")
