"""How many titles and abstracts a second are made readable: plain ones, and ones full of TeX."""

import gzip
import json
from pathlib import Path

import pytest

from newsletter import clock
from newsletter.papers.tex import readable

pytestmark = pytest.mark.benchmark
# Not part of the project: the texts in it are not ours to pass on.
ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "hf_daily" / "daily_papers_to_2026-08-07.jsonl.gz"
PLAIN = "We present a method that does what it says, and measure it on five benchmarks. " * 15
TEX = "An $\\mathcal{O}(n^2)$ method~\\cite{a} is {\\em 2.3\\times} faster at \\url{https://example.org/a_b}. " * 15


def per_second(texts: list[str]) -> float:
    """Return the most texts a second, of three rounds."""
    best = 0.0
    for _ in range(3):
        started = clock.monotonic()
        for text in texts:
            readable(text)
        best = max(best, len(texts) / (clock.monotonic() - started))
    return best


def test_reading_plain_text_and_tex() -> None:
    plain, tex = per_second([PLAIN] * 500), per_second([TEX] * 500)
    print(f"\nof {len(PLAIN)} plain characters {plain:.0f} a second; of {len(TEX)} with TeX {tex:.0f}")
    assert readable(PLAIN) == PLAIN.strip()


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the recorded archive is not part of the project")
def test_reading_the_archive() -> None:
    papers = [json.loads(line) for line in gzip.decompress(ARCHIVE.read_bytes()).splitlines()]
    texts = [paper[name] for paper in papers for name in ("title", "summary")]
    print(f"\n{len(texts)} titles and abstracts: {per_second(texts):.0f} a second")
