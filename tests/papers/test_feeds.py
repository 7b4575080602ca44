"""Any RSS, Atom or JSON Feed."""

import json
import random
from datetime import UTC, date, datetime
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import SourceServer

from newsletter.errors import SourceError
from newsletter.papers.models import PaperRecord, Parsed
from newsletter.papers.sources.feeds import Feed
from newsletter.papers.sources.http import Web

DAY = date(2026, 8, 5)
URL = "https://journal.example.org/feed"
SOURCE = Feed(Web(), URL)
RSS = """<?xml version="1.0" encoding="{charset}"?>
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel><title>A journal</title>{items}</channel></rss>"""
ITEM = """<item><title>Große Fische &amp; kleine Netze</title><link>https://journal.example.org/a1</link>
<guid>a1</guid><pubDate>Tue, 04 Aug 2026 09:00:00 +0200</pubDate><dc:creator>Ada Example</dc:creator>
<category>ecology</category><description>&lt;p&gt;We fish. &lt;b&gt;Gently&lt;/b&gt;.&lt;/p&gt;
&lt;script&gt;alert(1)&lt;/script&gt;</description></item>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>A list</title><id>x</id>
<entry><title>On the shape of nets</title><id>tag:example.org,2026:1</id><link href="https://arxiv.org/abs/2608.00007v2"/>
<author><name>Ada Example</name></author><author><name>Bo Sample</name></author>
<published>2026-08-03T10:00:00Z</published>
<summary>Nets have shapes.</summary></entry></feed>"""
JSON_FEED: dict[str, Any] = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "A list",
    "items": [
        {
            "id": "1", "url": "https://doi.org/10.1038/X1", "title": "On nets", "content_text": "Nets < ropes.",
            "authors": [{"name": "Ada Example"}], "tags": ["nets"], "date_published": "2026-08-04T09:00:00+02:00",
        }
    ],
}  # fmt: skip


def rss(*items: str, charset: str = "utf-8") -> bytes:
    return RSS.format(items="".join(items), charset=charset).encode(charset)


def one(body: bytes) -> PaperRecord:
    (record,) = SOURCE.parse(body, DAY).records
    return record


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-8-sig", "iso-8859-1", "windows-1252", "utf-16", "utf-16-le", "utf-32"]
)
def test_rss_in_any_charset_becomes_a_record(charset: str) -> None:
    record = one(rss(ITEM, charset=charset))
    assert (record.title, record.abstract) == ("Große Fische & kleine Netze", "We fish. Gently.")
    assert (record.authors, record.categories, record.url) == (
        ("Ada Example",),
        ("ecology",),
        "https://journal.example.org/a1",
    )
    assert record.listed_at == record.published_at == datetime(2026, 8, 4, 7, tzinfo=UTC)
    assert (record.source, record.key[:5]) == (f"feed:{URL}", "feed:")


def test_atom_names_the_paper_by_its_arxiv_id() -> None:
    record = one(ATOM.encode())
    assert (record.key, record.authors) == ("arxiv:2608.00007", ("Ada Example", "Bo Sample"))
    assert record.also[0].startswith("feed:")


def test_a_json_feed_names_the_paper_by_its_doi() -> None:
    record = one(json.dumps(JSON_FEED).encode())
    assert (record.key, record.title, record.abstract) == ("doi:10.1038/x1", "On nets", "Nets < ropes.")
    assert (record.listed_at, record.categories) == (datetime(2026, 8, 4, 7, tzinfo=UTC), ("nets",))


def test_an_entry_may_have_a_picture() -> None:
    media = '<media:thumbnail xmlns:media="http://search.yahoo.com/mrss/" url="{}" /></item>'
    for url, kept in (("https://journal.example.org/a1.png", True), ("http://journal.example.org/a1.png", False)):
        record = one(rss(ITEM.replace("</item>", media.format(url))))
        assert record.picture_url == (url if kept else "")
    told = JSON_FEED | {"items": [each | {"image": "https://x.example.org/1.png"} for each in JSON_FEED["items"]]}
    assert one(json.dumps(told).encode()).picture_url == "https://x.example.org/1.png"


@pytest.mark.parametrize("said", ["utf-16", "no-charset", "punycode", "hex"])
def test_a_declared_charset_that_is_wrong_does_not_matter(said: str) -> None:
    assert one(RSS.format(items=ITEM, charset=said).encode()).title == "Große Fische & kleine Netze"


def test_an_entry_without_an_id_of_all_the_world_has_one_key() -> None:
    record = one(rss(ITEM))
    assert (record.key[:5], record.also) == ("feed:", ())


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Nets < ropes & 5 > 4", "Nets < ropes & 5 > 4"),
        ("<p class='a>b'>One<br/>two</p><!-- three -->", "One two"),
        ("Nets<script>if (a<b) c()</script><style>p>a {}</style> and <b title=it's>ropes</b>", "Nets and ropes"),
        ("&lt;b&gt; &amp;amp; <i>&eacute;</i>", "<b> &amp; é"),
        ("<i>Nets</i> &#" + "9" * 5_000 + ";", "Nets &#" + "9" * 5_000 + ";"),
        ("<3 nets <", "<3 nets <"),
    ],
    ids=lambda value: value[:20],
)
def test_html_becomes_what_a_person_reads(html: str, text: str) -> None:
    feed = {"items": [{"id": "1", "title": "A title", "content_html": html}]}
    assert one(json.dumps(feed).encode()).abstract == text


@pytest.mark.parametrize(
    "piece", ["<a ", "<a b='", "<!--", "<!-- >", "<!", "&#", "&'", "<script>", "</", "<a 'b\"", "<"]
)
def test_html_without_end_is_read_in_one_go(piece: str) -> None:
    begun = process_time()
    feed = {"items": [{"id": "1", "title": "A title", "content_html": "<p>" + piece * (70_000 // len(piece))}]}
    assert one(json.dumps(feed).encode()).title == "A title"
    assert process_time() - begun < 2


@pytest.mark.parametrize(
    "body",
    [
        b"\n" * 60_000 + rss(ITEM),
        rss(ITEM.replace("Ada Example", "a" * 60_000)),
        b"<?xml " + b"encoding='' " * 5_000 + b"?>" + rss(ITEM),
        rss("<!-- " + " \n" * 30_000 + "-->", ITEM),
    ],
    ids=["lines", "author", "declaration", "comment"],
)
def test_a_feed_with_words_or_lines_without_end_is_read_in_one_go(body: bytes) -> None:
    begun = process_time()
    assert one(body).title
    assert process_time() - begun < 2


def test_an_entry_keeps_its_key_when_its_title_is_edited() -> None:
    assert one(rss(ITEM)).key == one(rss(ITEM.replace("kleine", "feine"))).key
    assert one(rss(ITEM)).key != one(rss(ITEM.replace(">a1<", ">a2<"))).key


@pytest.mark.parametrize("when", ["Tue, 04 Aug 2199 09:00:00 GMT", "yesterday", "", "Tue, 04 Aug 99999 09:00:00 GMT"])
def test_an_entry_with_a_date_to_come_or_none_is_listed_on_the_day_of_the_pull(when: str) -> None:
    record = one(rss(ITEM.replace("Tue, 04 Aug 2026 09:00:00 +0200", when)))
    assert (record.listed_at, record.published_at) == (datetime(2026, 8, 5, tzinfo=UTC), None)


def test_an_entry_without_a_title_costs_only_itself() -> None:
    parsed = SOURCE.parse(rss("<item><link>https://a.example.org/</link></item>", ITEM), DAY)
    assert (len(parsed.records), parsed.dropped, parsed.notes) == (1, {"no_title": 1}, ("entry 1: no title",))


def test_a_feed_without_end_is_read_to_a_bound_and_says_so() -> None:
    parsed = SOURCE.parse(rss(*(f"<item><title>T {n}</title></item>" for n in range(2_005))), DAY)
    assert (len(parsed.records), parsed.dropped) == (2_000, {"beyond_2000": 5})
    assert parsed.received == 2_005


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not a feed"),
        (b"<html><body>404</body></html>", "not a feed"),
        (b"not found", "not a feed"),
        (b'{"items": 1}', "not a JSON Feed"),
        (b'{"items": [', "not JSON"),
        (b"{" * 100_000, "not JSON"),
        (b"\x00" * 1_000, "not a feed"),
        (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><rss><channel/></rss>', "declares entities"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><rss><channel/></rss>'.encode("utf-16"), "declares entities"),
        (b"<!--" + b" " * 70_000 + b'--><!DOCTYPE x [<!ENTITY a "b">]><rss><channel/></rss>', "declares entities"),
        (b'<!-- <a --><!DOCTYPE x [<!ATTLIST a b CDATA "c">]><rss><channel/></rss>', "declares entities"),
        (b"<rss>" + b" " * (8 * 2**20), "more than 8 MiB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_answer_that_is_no_feed_is_an_error_of_the_source(body: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        SOURCE.parse(body, DAY)


def test_a_feed_never_opens_a_file_or_an_address() -> None:
    with pytest.raises(SourceError):
        SOURCE.parse(b"/etc/passwd", DAY)


def test_half_a_feed_gives_the_entries_that_are_whole() -> None:
    assert len(SOURCE.parse(rss(ITEM, ITEM.replace("a1", "a2"))[:-200], DAY).records) >= 1


@settings(max_examples=40)
@given(st.sampled_from([rss(ITEM), ATOM.encode(), json.dumps(JSON_FEED).encode()]), st.integers(0), st.integers(1, 12))
def test_no_bytes_raise_anything_but_source_error(body: bytes, seed: int, times: int) -> None:
    dice = random.Random(seed)
    broken = bytearray(body)
    for _ in range(times):
        at = dice.randrange(len(broken))
        broken[at : at + dice.choice([0, 0, 1, 9])] = dice.choice(
            [b"", b"\x00", b"<", b"&#0;", b"\xff", b"]]>", b'"', b"9"]
        )
    try:
        parsed = SOURCE.parse(bytes(broken), DAY)
    except SourceError:
        return
    assert isinstance(parsed, Parsed)


def test_a_feed_is_asked_for_conditionally(web_server: SourceServer) -> None:
    web_server.routes["/feed"] = lambda *_: (200, rss(ITEM))
    source = Feed(Web(timeout_seconds=5, named=[web_server.url]), f"{web_server.url}/feed")
    now = datetime(2026, 8, 5, tzinfo=UTC)
    (page,) = source.fetch(DAY, now=now, known={})
    (again,) = source.fetch(DAY, now=now, known={page.url: page.validators})
    assert (again.body, web_server.unmodified) == (None, 1)
    web_server.routes["/feed"] = lambda *_: (404, b"gone")
    with pytest.raises(SourceError, match="answered 404"):
        list(source.fetch(DAY, now=now, known={}))


def test_half_a_feed_says_so_and_is_not_taken_for_the_whole() -> None:
    parsed = SOURCE.parse(rss(ITEM, ITEM.replace("a1", "a2"))[:-200], DAY)
    assert not parsed.whole
    assert parsed.notes == (f"the feed breaks off, or is no proper XML; {len(parsed.records)} entries could be read",)
    assert SOURCE.parse(rss(ITEM), DAY).whole


@pytest.mark.parametrize("when", ["2026", "2026-08"])
def test_a_journal_that_only_says_the_year_lists_on_the_day_of_the_pull(when: str) -> None:
    record = one(rss(ITEM.replace("Tue, 04 Aug 2026 09:00:00 +0200", when)))
    assert record.listed_at == datetime(2026, 8, 5, tzinfo=UTC)


def test_a_bomb_behind_a_long_comment_is_a_bomb() -> None:
    bomb = b'<?xml version="1.0"?><!--' + b"x" * 2**20 + b'--><!DOCTYPE rss [<!ENTITY x "' + b"A" * 50_000 + b'">]>'
    with pytest.raises(SourceError, match="declares entities"):
        SOURCE.parse(
            bomb + b"<rss><channel><item><title>t</title><description>" + b"&x;" * 1_000 + b"</description>", DAY
        )
