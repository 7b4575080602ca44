"""What a batch of readers costs who rated papers, and who wrote about their work."""

import gzip
import json
import random
import tracemalloc
from pathlib import Path

import pytest

from newsletter import clock
from newsletter.ranking.phrases import key_phrases
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interest, Interests, Rated, Wish

# Not part of the project: the texts in it are not ours to pass on.
ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "hf_daily" / "daily_papers_to_2026-08-07.jsonl.gz"
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not ARCHIVE.exists(), reason="the recorded archive is not part of the project"),
]
POOL, READERS, RATED = 2_000, 200, 100


@pytest.fixture(scope="module")
def archive() -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in gzip.decompress(ARCHIVE.read_bytes()).splitlines()]
    return [(row["title"], row["summary"]) for row in rows]


def report(name: str, pool: Pool, wishes: list[Wish]) -> None:
    seconds = []
    for _ in range(3):
        started = clock.monotonic()
        select(pool, wishes)
        seconds.append(clock.monotonic() - started)
    tracemalloc.start()
    select(pool, wishes)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"\n{name}: {seconds[0]:.2f} s at first, then {min(seconds):.2f} s, {peak:.0f} MB")
    assert peak < 200


def test_ranking_two_hundred_readers(archive: list[tuple[str, str]]) -> None:
    rng, old = random.Random(0), archive[:-POOL]
    started = clock.monotonic()
    pool = Pool([Document(n, *paper, trend=rng.random()) for n, paper in enumerate(archive[-POOL:], 1)])
    print(f"\na pool of {POOL}: {clock.monotonic() - started:.2f} s")

    def rated(*, own: bool) -> tuple[Rated, ...]:
        papers = [(f"{title} {rng.random()}" if own else title, body) for title, body in rng.sample(old, RATED)]
        return tuple(Rated(title, f"{title}\n{body}", rng.choice((1.0, -1.0))) for title, body in papers)

    for name, own in (("of the same archive", False), ("that nobody else rated", True)):
        wishes = [Wish(Interests(rated=rated(own=own)), 10) for _ in range(READERS)]
        report(f"{READERS} readers with {RATED} rated papers each {name}", pool, wishes)
    about = [key_phrases(body) for _, body in old[:READERS]]
    wishes = [Wish(Interests(tuple(Interest(each, (each,)) for each in phrases)), 10) for phrases in about]
    report(f"{READERS} readers with {sum(map(len, about))} phrases", pool, wishes)
