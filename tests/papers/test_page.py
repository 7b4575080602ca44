"""The page of daily papers, copied as text."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from newsletter.errors import InputError
from newsletter.papers.models import Parsed
from newsletter.papers.sources.page import is_page, parse_page

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HEAD = "new\n\nGet trending papers in your email inbox!\n\nSubscribe\n\nby somebody and the research community\n\n"
PAGE = HEAD + (
    "Mar 11\n\nThe Superposition of Nets\n\nNets add up. The It\\^o density says so.~Always.\n\n"
    "Fishing at Scale\n\nWe fish with 230times speedup.\n\nTrailing newline\n\nAn abstract\n"
)
SEED = Path(__file__).parents[3] / "shared" / "data" / "seed_page.txt"


def parse(text: str, now: datetime = NOW) -> Parsed:
    return parse_page(text.encode(), None, now, "file")


def test_titles_and_abstracts_are_read_in_turn() -> None:
    parsed = parse(PAGE)
    assert [(each.title, each.abstract) for each in parsed.records] == [
        ("The Superposition of Nets", "Nets add up. The Itô density says so. Always."),
        ("Fishing at Scale", "We fish with 230× speedup."),
        ("Trailing newline", "An abstract"),
    ]
    assert parsed.notes == ()


@pytest.mark.parametrize(
    ("date", "now", "listed_at"),
    [
        ("Mar 11", "2026-11-23", "2026-03-11"),
        ("Dec 24", "2026-11-23", "2025-12-24"),
        ("Feb 29", "2026-11-23", "2024-02-29"),
        ("March 11, 2024", "2026-11-23", "2024-03-11"),
        ("Jan 1, 0001", "2026-11-23", "2026-11-23"),
    ],
)
def test_the_pages_date_is_the_last_one_there_was(date: str, now: str, listed_at: str) -> None:
    parsed = parse(PAGE.replace("Mar 11", date), datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert {each.listed_at for each in parsed.records} == {datetime.fromisoformat(listed_at).replace(tzinfo=UTC)}


def test_a_page_without_a_date_is_of_now() -> None:
    assert {each.listed_at for each in parse(PAGE.replace("Mar 11\n\n", "")).records} == {NOW}


def test_windows_line_ends_and_a_byte_order_mark_are_fine() -> None:
    assert len(parse("\ufeff" + PAGE.replace("\n", "\r\n")).records) == 3


def test_a_last_title_without_an_abstract_is_kept_and_said() -> None:
    parsed = parse(PAGE + "\n\nAll alone\n")
    assert (parsed.records[-1].title, parsed.records[-1].abstract) == ("All alone", "")
    assert parsed.notes == ("the last title has no abstract",)


def test_a_page_that_is_none_is_said() -> None:
    with pytest.raises(InputError, match="holds no paper"):
        parse(HEAD)
    with pytest.raises(InputError, match="holds no paper"):
        parse(" \n\n ")
    with pytest.raises(InputError, match="not UTF-8"):
        parse_page(PAGE.encode("utf-16"), None, NOW, "file")
    assert not is_page(b'{"title": "One"}')
    assert is_page(PAGE.encode()[:200])


@pytest.mark.skipif(not SEED.exists(), reason="the recorded page is not part of the project")
def test_the_page_this_began_with_holds_73_papers() -> None:
    parsed = parse_page(SEED.read_bytes(), None, NOW, "file")
    assert (len(parsed.records), parsed.dropped.total(), parsed.notes) == (73, 0, ())
    assert all(100 < len(each.abstract) < 5_000 and len(each.title) < 200 for each in parsed.records)
