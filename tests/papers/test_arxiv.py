"""arXiv: announcements, past days, details."""

import random
from datetime import UTC, date, datetime
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import ArxivServer, Preprint, atom, atom_error, rss, rss_error

from newsletter.errors import SourceError
from newsletter.papers.models import PaperRecord
from newsletter.papers.sources import Page
from newsletter.papers.sources.arxiv import Arxiv, ArxivDetails
from newsletter.papers.sources.arxiv_feed import parse
from newsletter.papers.sources.http import Validators, Web

DAY = date(2026, 8, 5)
NOON = datetime(2026, 8, 5, 12, tzinfo=UTC)


def source(server: ArxivServer) -> Arxiv:
    web = Web(timeout_seconds=5, backoff_seconds=0, named=[server.url])
    return Arxiv(web, server.url, server.url, ["cs.CL", "cs.LG"])


def fetch(server: ArxivServer, day: date = DAY, known: dict[str, Validators] | None = None) -> list[Page]:
    return list(source(server).fetch(day, now=NOON, known=known or {}))


def one(body: bytes, announced_on: date | None = None) -> PaperRecord:
    (record,) = parse(body, announced_on).records
    return record


def test_an_announcement_becomes_a_record() -> None:
    paper = Preprint(
        "2608.01234",
        r"Learning $\alpha$-stable maps",
        "We learn.\nCode: https://github.com/a/b.",
        categories=("cs.LG", "math.PR"),
    )
    assert one(rss([paper], DAY)) == PaperRecord(
        key="arxiv:2608.01234",
        title="Learning α-stable maps",
        listed_at=datetime(2026, 8, 5, tzinfo=UTC),
        source="arxiv",
        version=1,
        abstract="We learn. Code: https://github.com/a/b.",
        authors=("Ada Example", "Bo Sample"),
        categories=("cs.LG", "math.PR"),
        url="https://arxiv.org/abs/2608.01234",
        pdf_url="https://arxiv.org/pdf/2608.01234",
        code_url="https://github.com/a/b",
    )


@pytest.mark.parametrize(
    ("kind", "listed"), [("new", True), ("cross", True), ("replace", False), ("replace-cross", False)]
)
def test_only_what_is_new_is_listed(kind: str, listed: bool) -> None:
    record = one(rss([Preprint("2608.01234", "A title", kind=kind, version=2)], DAY))
    assert (record.listed_at is not None, record.version) == (listed, 2)


def test_the_api_tells_in_full() -> None:
    paper = Preprint(
        "2608.01234", "A title", categories=("stat.ML", "cs.LG"), comment="9 pages, https://github.com/a/b",
        doi="10.1038/X1", version=3, submitted=datetime(2026, 8, 3, 9, tzinfo=UTC),
    )  # fmt: skip
    record = one(atom([paper]))
    assert (record.version, record.related, record.code_url) == (3, ("doi:10.1038/x1",), "https://github.com/a/b")
    assert (record.categories, record.published_at) == (("stat.ML", "cs.LG"), datetime(2026, 8, 3, 9, tzinfo=UTC))
    assert record.listed_at is None
    assert one(atom([paper]), DAY).listed_at == datetime(2026, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("abstract", "comment", "withdrawn"),
    [
        ("This paper has been withdrawn by the author due to an error.", "", True),
        ("Withdrawn.", "This submission has been withdrawn", True),
        ("We prove it.", "withdrawn: the proof of Lemma 2 is wrong", True),
        ("This work shows why trust is withdrawn from agents.", "9 pages", False),
        ("This paper studies withdrawn drugs and their effects.", "", False),
        ("We prove it.", "Supersedes the withdrawn arXiv:2401.00001", False),
        ("We prove it.", "Funding statement withdrawn", False),
        ("We prove it.", "9 pages. This paper has been withdrawn by the author", True),
        ("This manuscript was retracted by its authors.", "", True),
        ("We study drugs that were withdrawn from the market.", "9 pages", False),
        ("This paper studies why drugs are tested. Many were withdrawn later.", "", False),
    ],
)
def test_papers_that_were_taken_back_are_known(abstract: str, comment: str, withdrawn: bool) -> None:
    assert one(atom([Preprint("2608.01234", "A title", abstract, comment=comment)])).withdrawn is withdrawn


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (("Ada Example", "Bo Sample"), ("Ada Example", "Bo Sample")),
        (("Ada Example (A Lab, A Town)", "Cy Other Jr."), ("Ada Example", "Cy Other Jr.")),
        (("Ada Example", "Cy Other", "III"), ("Ada Example", "Cy Other III")),
        (("Only One",), ("Only One",)),
    ],
)
def test_a_string_of_authors_is_taken_apart(said: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert one(rss([Preprint("2608.01234", "A title", authors=said)], DAY)).authors == names


def test_names_may_stand_far_apart() -> None:
    begun = process_time()
    names = "Ada Example, Bo" + "\n" * 60_000 + "and\nCy"
    assert one(rss([Preprint("2608.01234", "A title", authors=(names,))], DAY)).authors == ("Ada Example", "Bo", "Cy")
    assert process_time() - begun < 2


def test_an_old_id_is_an_id_and_a_broken_one_costs_only_itself() -> None:
    good, old = Preprint("2608.01234", "A title"), Preprint("math.GT/0309136", "An old title")
    parsed = parse(
        atom([good, Preprint("2503.0213", "Lost zero"), old, Preprint("x", "None"), Preprint("2608.00002", " ")]),
        None,
    )
    assert [record.key for record in parsed.records] == ["arxiv:2608.01234", "arxiv:math/0309136"]
    assert parsed.dropped == {"bad_id": 2, "no_title": 1}
    assert parsed.received == 5


@pytest.mark.parametrize("count", [1_999, 2_000])
def test_a_full_feed_says_that_there_may_be_more(count: int) -> None:
    papers = [Preprint(f"2608.{n:05d}", "A title") for n in range(count)]
    assert bool(parse(rss(papers, DAY), DAY).notes) == (count == 2_000)


def test_thousands_of_authors_are_bounded() -> None:
    assert len(one(rss([Preprint("2608.01234", "A title", authors=("A B",) * 5_000)], DAY)).authors) == 1_000


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;">' % ((c + 1,) + (c,) * 8) for c in range(97, 112))
    + b"]><rss>&p;</rss>"
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not XML"),
        (b"Rate exceeded.", "not XML"),
        (b"<html><body>Down for maintenance</body></html>", "not a feed"),
        (b'{"error": "no"}', "not XML"),
        (rss([Preprint("2608.01234", "A title")], DAY)[:-40], "not XML"),
        (BOMB, "document type"),
        (b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><rss>&f;</rss>', "document type"),
        ('<?xml version="1.0"?><!DOCTYPE r [<!ENTITY f "x">]><rss>&f;</rss>'.encode("utf-16"), "document type"),
        (b'<?xml version="1.0" encoding="utf-99"?><rss/>', "not XML"),
        (b"<rss>" * 100_000, "not XML"),
        (b"\x00" * 1_000, "not XML"),
        (rss_error("Bad archive 'cs'"), "Bad archive"),
        (atom_error("incorrect id format for abc"), "incorrect id format for abc"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_answer_that_is_no_feed_is_an_error_of_the_source(body: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse(body, DAY)


def test_an_empty_weekend_is_no_error() -> None:
    assert parse(rss([], DAY), DAY).received == 0


GOOD = [
    rss([Preprint("2608.01234", "A title"), Preprint("2608.01235", "Other", kind="replace")], DAY),
    atom([Preprint("2608.1", "T")]),
]


@given(st.sampled_from(GOOD), st.integers(0), st.integers(1, 12))
def test_no_bytes_raise_anything_but_source_error(body: bytes, seed: int, times: int) -> None:
    dice = random.Random(seed)
    broken = bytearray(body)
    for _ in range(times):
        at = dice.randrange(len(broken))
        broken[at : at + dice.choice([0, 0, 1, 9])] = dice.choice([b"", b"\x00", b"<", b"&#0;", b"\xff", b">", b"]]>"])
    try:
        parsed = parse(bytes(broken), DAY)
    except SourceError:
        return
    assert parsed.received <= 6


def test_todays_list_is_the_feed_and_is_asked_for_once(arxiv: ArxivServer) -> None:
    arxiv.announced = [Preprint("2608.01234", "A title")]
    (page,) = fetch(arxiv)
    assert source(arxiv).parse(page.body or b"", DAY).received == 1
    assert arxiv.asked == ["/rss/cs.CL+cs.LG"]
    (again,) = fetch(arxiv, known={page.url: page.validators})
    assert (again.body, arxiv.unmodified) == (None, 1)
    arxiv.announced.append(Preprint("2608.01235", "Another"))
    (changed,) = fetch(arxiv, known={page.url: page.validators})
    assert changed.body is not None


def test_a_past_day_is_what_was_submitted_for_its_announcement(arxiv: ArxivServer) -> None:
    inside = [
        Preprint(f"2608.{n:05d}", f"Title {n}", submitted=datetime(2026, 8, 3, 17, tzinfo=UTC)) for n in range(450)
    ]
    outside = [
        Preprint("2608.90001", "Too early", submitted=datetime(2026, 7, 31, 17, 59, tzinfo=UTC)),
        Preprint("2608.90002", "Too late", submitted=datetime(2026, 8, 3, 18, tzinfo=UTC)),
    ]
    arxiv.known = [*inside, *outside]
    tuesday = date(2026, 8, 4)
    pages = fetch(arxiv, tuesday)
    records = [record for page in pages for record in source(arxiv).parse(page.body or b"", tuesday).records]
    assert sorted(record.key for record in records) == sorted(f"arxiv:{each.id}" for each in inside)
    assert {record.listed_at for record in records} == {datetime(2026, 8, 4, tzinfo=UTC)}
    assert len(arxiv.asked) == 3
    assert "(cat:cs.CL+OR+cat:cs.LG)+AND+submittedDate:[202607311800+TO+202608031759]" in arxiv.asked[0]


def test_a_day_without_an_announcement_is_not_asked_for(arxiv: ArxivServer) -> None:
    assert fetch(arxiv, date(2026, 8, 1)) == []
    assert arxiv.asked == []


def test_an_empty_page_in_the_middle_is_an_error_and_what_came_before_it_is_kept(arxiv: ArxivServer) -> None:
    arxiv.known = [Preprint(f"2608.{n:05d}", "T", submitted=datetime(2026, 8, 3, 17, tzinfo=UTC)) for n in range(450)]
    pages = source(arxiv).fetch(date(2026, 8, 4), now=NOON, known={})
    next(pages)
    arxiv.troubles["/api/query"] = [(200, atom([], total=450))]
    with pytest.raises(SourceError, match="stopped at 200 of 450 papers for 2026-08-04"):
        next(pages)


def test_a_refused_query_says_why(arxiv: ArxivServer) -> None:
    arxiv.troubles["/rss/"] = [(400, rss_error("Bad archive 'cs'. Valid archives are: x"))]
    with pytest.raises(SourceError, match="answered 400: Bad archive 'cs'"):
        fetch(arxiv)
    details = ArxivDetails(Web(timeout_seconds=5, named=[arxiv.url]), arxiv.url)
    with pytest.raises(SourceError, match="answered 400: incorrect id format for abc"):
        details.fetch(["abc"])
    arxiv.troubles["/api/"] = [(200, b" \n")]
    with pytest.raises(SourceError, match="nothing at all"):
        details.fetch(["2608.00001"])


def test_ids_that_arxiv_does_not_know_are_missing(arxiv: ArxivServer) -> None:
    arxiv.known = [Preprint("2608.00001", "Known"), Preprint("math/0309136", "Old")]
    details = ArxivDetails(Web(timeout_seconds=5, named=[arxiv.url]), arxiv.url)
    parsed = details.parse(details.fetch(["2608.00001", "2608.99999", "math/0309136"]))
    assert [record.key for record in parsed.records] == ["arxiv:2608.00001", "arxiv:math/0309136"]
    assert "id_list=2608.00001,2608.99999,math/0309136&max_results=3" in arxiv.asked[0]


def test_rate_exceeded_without_a_hint_is_tried_again(arxiv: ArxivServer) -> None:
    arxiv.announced = [Preprint("2608.01234", "A title")]
    arxiv.troubles["/rss/"] = [(429, b"Rate exceeded.", {"Content-Type": "text/html"})]
    assert len(fetch(arxiv)) == 1
    assert len(arxiv.asked) == 2
