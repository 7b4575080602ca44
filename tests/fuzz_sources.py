r"""Feeds broken answers to every source's `parse` until one raises anything but what it may: a `SourceError`.

    python tests/fuzz_sources.py --inputs 1000000
    python tests/fuzz_sources.py --only arxiv --seed 7
    python tests/fuzz_sources.py --only arxiv --seed 7 --first 4711 --inputs 1     # one input once more

Answers of each shape, in words of our own, are broken in their bytes (bits, slices, halves of two, charsets), in
their structure (any value of a JSON tree, any element of XML, any paragraph of a page becomes something nasty), and
in length: a few characters, again and again, show where time grows with the square. Answers of real sources join
them where they are at hand; they are not part of the project.

What `parse` returns is held to what ``papers/models.py`` promises of a record, titles are read twice, `teaser` and
`merge` must take it, and where an answer can be counted in another way, no record may be missing. An answer below
64 KiB may take two seconds of CPU time.

Each parse gets `inputs` answers; feedparser is slow, so feeds get a fifth. Prints a line for each parse, and for a
failure where it is and the shortest answer that still fails. Exits with 1 if there was one. An input depends on the
name of its parse, the seed, its number, and whether recorded answers are at hand, and on nothing else.
"""

import argparse
import codecs
import io
import json
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, lru_cache, partial
from html import escape
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any
from unicodedata import is_normalized

from fakes import listed
from sources import Preprint, atom, atom_error, biorxiv_page, rss, rss_error

from newsletter.errors import InputError, SourceError
from newsletter.papers.merge import merge
from newsletter.papers.models import MAX_ABSTRACT, MAX_AUTHORS, MAX_COUNT, MAX_TITLE, PaperRecord, Parsed, Sighting
from newsletter.papers.sources import arxiv_feed
from newsletter.papers.sources.arxiv import Arxiv
from newsletter.papers.sources.biorxiv import Biorxiv
from newsletter.papers.sources.feeds import Feed
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.huggingface import HuggingFace
from newsletter.papers.sources.jsonl import parse_lines
from newsletter.papers.sources.page import HEAD_BYTES, is_page, parse_page
from newsletter.papers.tex import readable
from newsletter.papers.textclean import plain, teaser, web_address

DAY = date(2026, 8, 5)
NOW = datetime(2026, 8, 5, 9, tzinfo=UTC)
MAX_BYTES = 64 * 2**10
MAX_SECONDS = 2.0
CHUNK = 1_000
RECORDED = Path(__file__).parents[2] / "shared" / "data"

_TEX = (
    *"\\${}[]()_^~`'\"*%&#|", "$$", "``", "''", "---", "--", "**", "\\\\", "{}", "_{", "^{", "_2", "^2", "^\\circ",
    "\\href{", "\\url{", "\\footnote{", "\\cite[", "\\cite{a}", "\\emph{", "{\\em ", "\\textbf{", "\\frac{",
    "\\frac12", "\\sqrt{", "\\'e", "\\^", '\\"{', "\\c c", "\\alpha", "\\times", "\\hat", "\\mathbb R",
    "\\color{red}", "\\left", "\\(", "\\[", "\\,", "2times 3", "sim5", " pm .1", "leq", "infty", "theta_",
    "boldsymbol", "url{", "textit{", "https://a.example.org/b_c", "http://", "](", "[label](", "{label}", "C:\\a",
    ". % A", " ,", "e.g.", "...", ". A", "! ", "。",
)  # fmt: skip
_MARKUP = (
    "<", ">", "</", "/>", "<a ", '<a b="', "<a b='", "<!", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<p>",
    "<br/>", "<script>", "</script>", "<item>", "</item>", "<entry>", "<!DOCTYPE a [", '<!ENTITY a "b">', "&", "&#",
    "&#x", "&amp;", "&lt;", "&#0;", "&#1;", "&#xD800;", "&#x110000;", "&#99999999999999999999;", "&#128;", "&nbsp;",
    "&bomb;", "=", "encoding='", ' xmlns="x"', ' xml:base="http://["', ' type="xhtml"',
    ' type="application/octet-stream"', ' mode="base64"',
)  # fmt: skip
_JSON = (
    '"', ":", ",", "[", "]", "[[", '{"a":', "\\u0000", "\\ud800", "\\u202e", "\\", "null", "true", "NaN",
    "-Infinity", "1e999", "-1", "-0", "1.5", "1E-400", "0x10", "9" * 20, '{"a": 1, "a": 2}', "// no",
)  # fmt: skip
_UNICODE = (
    "\0", "\x01", "\x1b[31m", "\x1c", "\x7f", "\x85", "\xad", "\u0301", "\u0316", "e\u0301", "\u0345", "\u034f",
    "\u1fef", "\u1100\u1161", "\u200b", "\u200d", "\u2028", "\u202e", "\u2066", "\ufeff", "\ufffe", "\uffff",
    "\U0010ffff", "\U000e0041", "\ufdfa", "\ufb2c", "ß", "ı", "İ", "ǆ", "٣", "½", "²", "°", "\u3000", "𝒜", "拡散",
    "א", "\ud800", "\udfff",
)  # fmt: skip
_VALUES = (
    "arXiv:", "2608.01234", "2608.01235v2", "math.GT/0309136", "10.48550/arXiv.2608.01234", "10.1038/x1", "http",
    "10.1101/2026.08.04.700001v2", "https://doi.org/10.1038/X1", "oai:arXiv.org:", "http://arxiv.org/abs/", "//",
    "?", "https://a.example.org/?", "http://[", "https://a.example.org:99999/", "javascript:", "@", "a@b.",
    "+99:99", "Tue, 04 Aug 2026 09:00:00 +0200", "Tue, 04 Aug 99999 09:00:00 +9999", "2026-08-04T09:00:00Z",
    "2026-08-04", "0001-01-01", "9999-12-31T23:59:59-12:00", "24:00:00", "Mar 11", "Feb 29, 0001", "Jan 1, 0001",
    "Jan 1, 9999", "by ", "Ada Example", " and ", ", ", ";", "Jr.", "III", "withdrawn", "This paper was withdrawn",
    "Announce Type: new", "replace", "Feed error", "/api/errors", "no posts found", "NA", "ok", "word ",
    *"aA01.-+_",
)  # fmt: skip
PIECES = (*_TEX, *_MARKUP, *_JSON, *_UNICODE, *_VALUES, " ", "  ", "\n", "\r\n", "\n\n", "\n \n", "\t", "\r")
_RAW = (
    b"\0", b"\xff", b"\x80", b"\xc0\x80", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3",
    b"\x1f\x8b\x08", b"\xfe\xff", b"\xff\xfe\0\0", codecs.BOM_UTF8,
    *(piece.encode("utf-8", "surrogatepass") for piece in PIECES),
)  # fmt: skip
_AROUND = (
    (b"[", b"]"), (b"{", b"}"), (b"(", b")"), (b"$", b"$"), (b'{"a":', b"}"), (b"<a>", b"</a>"), (b"\\emph{", b"}"),
)  # fmt: skip
_CHARSETS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis", "koi8-r", "utf-7", "cp037")
_DECLARED = re.compile(rb"encoding=[\"'][\w.-]*[\"']")
_LEAF = re.compile(rb"<([\w:]+)[^<>]*>([^<]*)</\1>|<[\w:]+ [^<>]*/>")
_CUTS: tuple[Callable[[Random, bytes, bytes, bytes, bytes], bytes], ...] = (
    lambda dice, head, cut, tail, _: head + bytes([dice.randrange(256)]) + cut[1:] + tail,
    lambda dice, head, cut, tail, _: head + bytes([cut[0] ^ 1 << dice.randrange(8)]) + cut[1:] + tail if cut else head,
    lambda dice, head, cut, tail, _: head + dice.choice(_RAW) + cut + tail,
    lambda dice, head, _, tail, __: head + dice.choice(_RAW) + tail,
    lambda _, head, __, tail, ___: head + tail,
    lambda _, head, *__: head,
    lambda dice, head, cut, tail, _: head + cut * dice.choice((2, 2, 9)) + tail,
    lambda dice, head, _, __, other: head + other[dice.randrange(len(other)) :],
    lambda dice, head, _, tail, __: head + dice.randbytes(dice.randrange(9)) + tail,
    lambda dice, head, cut, tail, _: _wrapped(dice, head, cut, tail),
)
# What no text may hold: controls, halves of characters, what turns a line around or cannot be seen.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_KEY = re.compile(r"arxiv:[a-z\d./-]{9,2000}|doi:10\.[!-~]{6,512}|(?:feed|title):[0-9a-f]{32}")
_ABSTRACT = r"Nets in $R^{d}$ are 2times as fast~\cite{a}. See https://github.com/example/nets."


class _TooSlowError(BaseException):
    """The time is over; no ``except Exception`` may swallow it."""


@dataclass(frozen=True)
class Target:
    """A parse to feed.

    :ivar parse: returns what an answer holds, maybe in parts.
    :ivar seeds: good answers.
    :ivar engine: breaks the structure of one.
    :ivar may: what it may raise.
    :ivar counted: how many records an answer holds, counted in another way.
    :ivar every: gets one in so many of the inputs.
    """

    name: str
    parse: Callable[[bytes], Iterable[Parsed]]
    seeds: Sequence[bytes]
    engine: Callable[[Random, bytes, Sequence[bytes], bool], bytes]
    may: type[Exception] = SourceError
    counted: Callable[[bytes], int] | None = None
    every: int = 1


@dataclass
class Outcome:
    """What some inputs of a target came to.

    :ivar slowest: CPU seconds, number and size of the input that took longest.
    :ivar failures: by where they happened: the number and the first input.
    """

    inputs: int = 0
    refused: int = 0
    records: int = 0
    seconds: float = 0
    slowest: tuple[float, int, int] = (0, 0, 0)
    failures: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def add(self, other: "Outcome") -> None:
        """Take the outcome of more inputs in."""
        self.inputs += other.inputs
        self.refused += other.refused
        self.records += other.records
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.failures = other.failures | self.failures


# Something nasty.


def text(dice: Random, endless: bool) -> str:
    """Return a few pieces in a row, or, if `endless`, again and again."""
    if endless:
        unit = "".join(dice.choices(PIECES, k=dice.choice((1, 1, 2, 2, 3))))
        written = max(len(json.dumps(unit)) - 2, len(escape(unit).encode("utf-8", "replace")))
        return dice.choice(PIECES) + unit * (dice.choice((6_000, 60_000, 60_000)) // written) + dice.choice(PIECES)
    if dice.random() < 0.1:
        most = dice.choice((0x7F, 0x2FF, 0xFFFF, 0x10FFFF))
        return "".join(chr(dice.randint(0, most)) for _ in range(dice.randrange(1, 12)))
    return "".join(dice.choices(PIECES, k=dice.choice((1, 1, 2, 2, 3, 4, 6, 9))))


def value(dice: Random, endless: bool) -> Any:
    """Return any JSON value."""
    if endless or dice.random() < 0.5:
        return text(dice, endless)
    few = [text(dice, endless=False) for _ in range(3)]
    deep: Any = few[0]
    for _ in range(dice.choice((1, 2, 400))):
        deep = [deep]
    return dice.choice(
        (
            None, True, False, 0, -1, 1.5, 2.0, 2**31 - 1, 2**31, 2**63, 10**400, float("inf"), float("nan"), "", [],
            {}, [[]], [None, 1, {}, "a"], {"name": 1}, [{"name": "Ada"}, {"name": None, "hidden": True}], {"": ""},
            few, deep, dict.fromkeys(few, "a"),
        )
    )  # fmt: skip


# Three ways to break a structure, and one for bytes.


def broken_tree(dice: Random, seed: bytes, pool: Sequence[bytes], endless: bool) -> bytes:
    """Change a JSON tree; of several lines, one."""
    lines = seed.split(b"\n")
    number = dice.randrange(len(lines))
    tree = [json.loads(lines[number])]
    for _ in range(1 if endless else dice.choice((1, 1, 2, 4))):
        holder, key = _somewhere(dice, tree)
        what = dice.random()
        if what < 0.65 or endless:
            holder[key] = value(dice, endless)
        elif what < 0.75:
            other, there = _somewhere(dice, [json.loads(dice.choice(pool).split(b"\n")[0])])
            holder[key] = other[there]
        elif what < 0.85 and holder is not tree:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(dice.randrange(len(holder) + 1), holder[key])
        else:
            holder[text(dice, endless=False)] = holder[key]
    written = json.dumps(tree[0], ensure_ascii=dice.random() < 0.8)
    lines[number] = written.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _somewhere(dice: Random, tree: Any) -> tuple[Any, Any]:
    """Return a container in a tree, and a key in it."""
    while True:
        key = dice.choice(list(tree)) if isinstance(tree, dict) else dice.randrange(len(tree))
        if not isinstance(tree[key], (dict, list)) or not tree[key] or dice.random() < 0.15:
            return tree, key
        tree = tree[key]


def broken_elements(dice: Random, seed: bytes, pool: Sequence[bytes], endless: bool) -> bytes:
    """Change what elements hold, leave them out, double them, or put others in their place."""
    some = dice.choices(_leaves(seed), k=1 if endless else dice.choice((1, 1, 2, 3)))
    for start, inner, stop, end in sorted(some, reverse=True):
        what = dice.random()
        if what < 0.65 or endless:
            put = text(dice, endless)
            put = put if dice.random() < 0.2 else escape(put)
            seed = seed[:inner] + put.encode("utf-8", dice.choice(("replace", "xmlcharrefreplace"))) + seed[stop:]
        elif what < 0.75:
            seed = seed[:start] + seed[end:]
        elif what < 0.85:
            seed = seed[:end] + seed[start:end] * dice.choice((1, 1, 1, 40)) + seed[end:]
        else:
            other = dice.choice(pool)
            first, _, _, last = dice.choice(_leaves(other))
            seed = seed[:start] + other[first:last] + seed[end:]
    return seed


@cache
def _leaves(seed: bytes) -> Sequence[tuple[int, int, int, int]]:
    """Return where each element without elements inside begins, where its text does, and where both end."""
    found = [(m.start(), m.start(2), m.end(2), m.end()) for m in _LEAF.finditer(seed)]
    return [(a, b if b >= 0 else d, c if c >= 0 else d, d) for a, b, c, d in found] or [(0, 0, 0, len(seed))]


def broken_blocks(dice: Random, seed: bytes, pool: Sequence[bytes], endless: bool) -> bytes:
    """Change the paragraphs of a text."""
    blocks = seed.split(b"\n\n")
    for _ in range(1 if endless else dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(blocks) + 1)
        what = dice.random()
        if what < 0.7 or endless:
            blocks[at : at + 1] = [text(dice, endless).encode("utf-8", "replace")]
        elif what < 0.85:
            del blocks[at : at + 1]
        else:
            blocks[at:at] = [dice.choice(dice.choice(pool).split(b"\n\n"))] * dice.choice((1, 1, 2, 20))
    return dice.choice((b"\n\n", b"\n\n", b"\r\n\r\n", b"\n \n")).join(blocks)


def broken_bytes(dice: Random, seed: bytes, pool: Sequence[bytes], endless: bool) -> bytes:
    """Change bytes anywhere."""
    if endless:
        at = dice.choice((0, len(seed), dice.randrange(len(seed) + 1)))
        return seed[:at] + text(dice, endless).encode("utf-8", "surrogatepass") + seed[at:]
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        at = dice.randrange(len(seed) + 1)
        end = at + int(dice.expovariate(0.05)) + 1
        seed = dice.choice(_CUTS)(dice, seed[:at], seed[at:end], seed[end:], dice.choice(pool))
    return seed


def _wrapped(dice: Random, head: bytes, cut: bytes, tail: bytes) -> bytes:
    before, after = dice.choice(_AROUND)
    times = dice.choice((1, 1, 3, 50, 2_000))
    return head + before * times + cut + after * times + tail


def broken(target: Target, seed: int, number: int) -> bytes:
    """Return an input by its number."""
    dice = Random(f"{target.name} {seed} {number}")
    # Most are short, so that there are many; what real sources sent comes now and then.
    good = dice.choice(target.seeds if dice.random() < 0.95 else (*target.seeds, *_recorded(target.name)))
    endless = dice.random() < 0.01
    engine = target.engine if dice.random() < 0.75 else broken_bytes
    body = engine(dice, good, target.seeds, endless)
    if dice.random() < 0.05:
        body = broken_bytes(dice, body, target.seeds, endless=False)
    if dice.random() < 0.03:
        charset = dice.choice(_CHARSETS)
        body = _DECLARED.sub(b'encoding="%s"' % charset.encode(), body)
        body = body if dice.random() < 0.2 else body.decode("utf-8", "replace").encode(charset, "replace")
    return body[:MAX_BYTES]


# What is expected.


def check(parsed: Parsed) -> None:
    """Hold what was parsed to what is promised of it."""
    assert parsed.received == len(parsed.records) + parsed.dropped.total(), "a record is not counted"
    assert all(number > 0 for number in parsed.dropped.values()), "a count of none"
    assert all(not _FORBIDDEN.search(note) and len(note) < 1_000 for note in parsed.notes), "a note that is no line"
    for record in parsed.records:
        _check_record(record)
    _check_merged(parsed.records[:9])


@lru_cache(1_000)  # most records are as they were
def _check_merged(records: tuple[PaperRecord, ...]) -> None:
    sightings = [Sighting(record, NOW) for record in records]
    papers = merge(sightings)
    assert len(sightings) < 2 or papers == merge(reversed(sightings)), "the order of sightings matters"
    kept = {key for paper in papers for key in paper.ids}
    assert all(record.key in kept for record in records), "a paper is lost"


@lru_cache(1_000)
def _check_record(record: PaperRecord) -> None:
    _check_texts(record)
    _check_values(record)
    assert len(plain(teaser(record.summary, record.abstract, 300))) < 2_000, "a teaser that is too long"


def _check_texts(record: PaperRecord) -> None:
    assert 0 < len(record.title) <= MAX_TITLE, "a title of no size"
    assert len(record.abstract) <= MAX_ABSTRACT, "an abstract without end"
    assert len(record.summary) <= MAX_TITLE, "a summary without end"
    assert len(record.organization) <= 200, "an organization without end"
    lists = (record.authors, record.categories, record.keywords)
    assert all(len(each) <= MAX_AUTHORS for each in lists), "a list without end"
    names = [name for each in lists for name in each]
    assert all(0 < len(name) <= 200 for name in names), "a name of no size"
    for each in (record.title, record.abstract, record.summary, record.organization, *names):
        assert not _FORBIDDEN.search(each), "a character that no text may hold"
        assert is_normalized("NFC", each), "a text that is not normalised"
        assert each == " ".join(each.split()), "a text of more than one line"
    assert record.title.endswith("…") or readable(record.title) == record.title, "a title that changes when read again"


def _check_values(record: PaperRecord) -> None:
    for url in (record.url, record.pdf_url, record.code_url, record.project_url):
        assert url == web_address(url), "an address that is none"
    keys = (record.key, *record.also, *record.related)
    assert all(_KEY.fullmatch(key) for key in keys), "a key that is none"
    assert len(set(keys)) == len(keys), "a key twice"
    for at in (record.listed_at, record.published_at):
        assert at is None or (at.tzinfo is UTC and 1599 <= at.year <= 2200), "an instant that cannot be kept"
    assert 0 <= record.version <= MAX_COUNT, "a version that is none"
    for count in (record.upvotes, record.comments, record.stars):
        assert count is None or (type(count) is int and 0 <= count <= MAX_COUNT), "a count that is none"


def feed(target: Target, body: bytes) -> tuple[int, float]:
    """Parse an answer and check what it held; return how many records that were, -1 if refused, and the CPU time."""
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        pages = list(target.parse(body))
        seconds = time.process_time() - begun
        signal.setitimer(signal.ITIMER_PROF, 2 * MAX_SECONDS)
        for parsed in pages:
            check(parsed)
        number = sum(parsed.received for parsed in pages)
        assert target.counted is None or number == target.counted(body), "a record is missing"
    except target.may as error:
        said = str(error)
        assert not _FORBIDDEN.search(said), "a reason that is no line"
        return -1, time.process_time() - begun
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return number, seconds


def _ring(*_: object) -> None:
    raise _TooSlowError


def failure(target: Target, body: bytes) -> tuple[str, str, tuple[int, float]]:
    """Return where an input fails, or an empty string; the traceback; and what `feed` returned."""
    try:
        fed = feed(target, body)
    except (Exception, _TooSlowError) as error:  # noqa: BLE001  these are what we are here for
        frames = traceback.extract_tb(error.__traceback__)
        place = ([each for each in frames if "newsletter" in Path(each.filename).parts] or frames)[-1]
        said = f"{type(error).__name__} {error if isinstance(error, AssertionError) else ''}".strip()
        return f"{said} in {Path(place.filename).name}, {place.name}", traceback.format_exc(), (0, 0)
    return "", "", fed


def shortest(body: bytes, fails: Callable[[bytes], bool], seconds: float = 30) -> bytes:
    """Return a part of `body` that still fails, with nothing left out that could be, as far as time allows."""
    end = time.process_time() + seconds
    size = len(body) // 2
    while size:
        at = 0
        while at < len(body):
            if time.process_time() > end:
                return body
            part = body[:at] + body[at + size :]
            body, at = (part, at) if fails(part) else (body, at + size)
        size //= 2
    return body


# Good answers.


def _huggingface() -> Sequence[bytes]:
    full = listed(
        7, r"Nets of $\alpha$-stable maps", DAY, abstract=_ABSTRACT, ai_summary="Nets, 2times as fast.",
        ai_keywords=["nets", "maps"], githubRepo="https://github.com/example/nets", githubStars=41,
        projectPage="https://nets.example.org/", organization={"name": "lab", "fullname": "The Lab"},
    )  # fmt: skip
    days = ([full], [listed(1, "Short", DAY), full], [listed(n, f"Paper {n}", DAY) for n in range(3)], [])
    return [json.dumps(day).encode() for day in days]


def _arxiv() -> Sequence[bytes]:
    one = Preprint("2608.01234", r"Nets of $\alpha$-stable maps", _ABSTRACT, categories=("cs.LG", "math.PR"))
    two = Preprint(
        "math/0309136", "Old & new nets", "This paper has been withdrawn.", ("Ada Example (A Lab)", "Bo Sample Jr."),
        version=3, kind="replace", comment="9 pages, https://github.com/example/nets", doi="10.1038/X1",
    )  # fmt: skip
    lab = b"<arxiv:affiliation>A Town University</arxiv:affiliation></author>"
    return [
        rss([one], DAY), rss([one, two], DAY), rss([], DAY), rss_error("Bad archive 'x'"), atom([one]),
        atom([one, two], total=300), atom([two]).replace(b"</author>", lab), atom_error("incorrect id format for x"),
    ]  # fmt: skip


def _biorxiv() -> Sequence[bytes]:
    pages = [
        biorxiv_page(1, 1, 1, abstract=_ABSTRACT),
        biorxiv_page(1, 2, 109),
        biorxiv_page(30, 2, 32, version="2", type="Withdrawn", published="10.1038/X1", title="<i>Nets</i> &amp; cells"),
        {"messages": [{"status": "no posts found"}], "collection": []},
    ]
    return [json.dumps(page).encode() for page in pages]


def _json_feeds() -> Sequence[bytes]:
    one = {
        "id": "https://doi.org/10.1038/X1", "url": "https://nets.example.org/1", "title": "On nets", "tags": ["nets"],
        "content_html": "<p>Nets &lt; ropes.</p>", "authors": [{"name": "Ada Example"}],
        "date_published": "2026-08-04T09:00:00+02:00",
    }  # fmt: skip
    two = {
        "id": "2", "external_url": "https://arxiv.org/abs/2608.00007v2", "title": "<b>B</b>", "summary": _ABSTRACT,
        "author": {"name": "Bo"},
    }  # fmt: skip
    head = {"version": "https://jsonfeed.org/version/1.1", "title": "A list"}
    return [json.dumps(head | {"items": items}).encode() for items in ([one], [one, two])]


def _feeds() -> Sequence[bytes]:
    spaces = 'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:prism="http://prismstandard.org/namespaces/basic/2.0/"'
    html = f"<p>{_ABSTRACT}</p><script>alert(1)</script><img alt='a > b' src='x'/><br>Ends."
    item = (
        "<item><title>Große Netze &amp; kleine</title><link>https://nets.example.org/1</link><guid>a1</guid>"
        "<pubDate>Tue, 04 Aug 2026 09:00:00 +0200</pubDate><dc:creator>Ada Example, Bo Sample</dc:creator>"
        "<category>nets</category><prism:doi>10.1038/X1</prism:doi>"
        f"<description>{escape(html)}</description></item>"
    )
    channels = [
        f'<rss version="2.0" {spaces}><channel><title>A journal</title>{items}</channel></rss>'
        for items in (item, item * 2)
    ]
    entries = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>A list</title><id>x</id><entry>'
        '<title type="html">On &lt;i>nets&lt;/i></title><id>tag:example.org,2026:1</id>'
        '<link href="https://arxiv.org/abs/2608.00007v2"/><author><name>Ada Example</name></author>'
        "<author><name>Bo</name><email>bo@example.org</email></author><published>2026-08-03T10:00:00Z</published>"
        '<category term="nets"/><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Nets.</p></div>'
        "</content></entry></feed>"
    )
    rdf = (
        f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" {spaces}>'
        '<channel rdf:about="x"><title>A</title></channel><item rdf:about="https://nets.example.org/2">'
        "<title>On ropes</title><link>https://nets.example.org/2</link><dc:identifier>doi:10.1038/x2</dc:identifier>"
        "<dc:date>2026-08-04</dc:date><description><![CDATA[<b>Ropes</b> are no nets.]]></description></item></rdf:RDF>"
    )
    return [b'<?xml version="1.0" encoding="utf-8"?>\n' + each.encode() for each in (*channels, entries, rdf)]


def _lines() -> Sequence[bytes]:
    full = {
        "id": "https://arxiv.org/abs/2608.00007v2", "title": r"Nets of $\alpha$-stable maps", "abstract": _ABSTRACT,
        "summary": "Nets.", "authors": ["Ada Example", "Bo"], "categories": ["cs.LG"], "keywords": ["nets"],
        "organization": "A Lab", "published_at": "2026-08-01T10:00:00+02:00", "url": "https://nets.example.org/1",
        "pdf_url": "https://nets.example.org/1.pdf", "code_url": "https://github.com/example/nets",
        "project_url": "https://nets.example.org", "upvotes": 3, "comments": 0, "stars": 1,
    }  # fmt: skip
    short = [{"title": "Only a title"}, {"title": "Of a journal", "id": "10.1038/X1"}, {"title": "A", "authors": ["B"]}]
    return [b"\n".join(json.dumps(line).encode() for line in lines) for lines in ([full], [full, *short], short[2:])]


def _pages() -> Sequence[bytes]:
    head = "new\n\nGet trending papers in your email inbox!\n\nSubscribe\n\nby somebody and the community\n\n"
    one, two = f"Nets of Maps\n\n{_ABSTRACT}\n\n", "Fishing at Scale\n\nIt is 230times as fast.~Always.\n\n"
    return [f"{head}{each}".encode() for each in (f"Mar 11\n\n{one}", f"March 11, 2024\n\n{one}Alone", one + two)]


@cache
def _recorded(name: str) -> Sequence[bytes]:
    """Return short answers of real sources, if they are at hand."""
    kinds = {
        "huggingface": "hf_daily/wire_days/*.json", "arxiv": "synthetic/arxiv_rss2*.xml", "page": "seed_page.txt",
        "biorxiv": "other/biorxiv/details*.json", "feed": "other/rss_community/*.xml",
    }  # fmt: skip
    found = []
    for path in sorted(RECORDED.glob(kinds[name])) if name in kinds else []:
        body = path.read_bytes()
        if name == "huggingface":
            found += [json.dumps([item]).encode() for item in json.loads(body)[:2]]
        elif b"<item>" in body:
            head, *items = re.split(rb"(?=<item>)", body)
            found += [b"%s%s</item></channel></rss>" % (head, item.partition(b"</item>")[0]) for item in items[:5]]
        else:
            found.append(json.dumps(json.loads(body)).encode() if path.suffix == ".json" else body[:4_000])
    return [body for body in found if len(body) < 16 * 2**10]


# What is fed.


def _one(parse: Callable[[bytes, date], Parsed], body: bytes) -> list[Parsed]:
    return [parse(body, DAY)]


def _count_items(body: bytes) -> int:
    return len(json.loads(body))


def _count_arxiv(body: bytes) -> int:
    assert not arxiv_feed.error_in(body), "papers and an error at once"
    assert arxiv_feed.total(body) >= 0, "a number that is none"
    return arxiv_feed.count(body)


def _parse_lines(body: bytes) -> Iterable[Parsed]:
    return parse_lines(io.BytesIO(body), None, NOW, chunk=2)


def _count_lines(body: bytes) -> int:
    return sum(1 for line in io.BytesIO(body) if line.removeprefix(codecs.BOM_UTF8).strip())


def _parse_page(body: bytes) -> list[Parsed]:
    is_page(body[:HEAD_BYTES])
    return [parse_page(body, None, NOW, "file")]


def targets() -> Sequence[Target]:
    """Return every parse there is."""
    web, nowhere = Web(), "http://127.0.0.1:9"
    huggingface, arxiv, biorxiv, feeds = (
        partial(_one, source.parse)
        for source in (
            HuggingFace(web, nowhere),
            Arxiv(web, nowhere, nowhere, ["cs.LG"]),
            Biorxiv(web, nowhere),
            Feed(web, "https://nets.example.org/feed"),
        )
    )
    return (
        Target("huggingface", huggingface, _huggingface(), broken_tree, counted=_count_items),
        Target("arxiv", arxiv, _arxiv(), broken_elements, counted=_count_arxiv),
        Target("biorxiv", biorxiv, _biorxiv(), broken_tree),
        Target("feed", feeds, _feeds(), broken_elements, every=5),
        Target("json-feed", feeds, _json_feeds(), broken_tree, every=5),
        Target("jsonl", _parse_lines, _lines(), broken_tree, counted=_count_lines),
        Target("page", _parse_page, _pages(), broken_blocks, may=InputError),
    )


def work(name: str, seed: int, numbers: range) -> Outcome:
    """Feed a target some inputs."""
    target = next(each for each in targets() if each.name == name)
    outcome = Outcome()
    begun = time.process_time()
    for number in numbers:
        body = broken(target, seed, number)
        where, _, (records, seconds) = failure(target, body)
        outcome.inputs += 1
        outcome.refused += records < 0
        outcome.records += max(records, 0)
        outcome.slowest = max(outcome.slowest, (seconds, number, len(body)))
        if where:
            outcome.failures.setdefault(where, (number, body))
    outcome.seconds = time.process_time() - begun
    return outcome


def report(name: str, total: Outcome) -> str:
    """Return a line about a target."""
    seconds, number, size = total.slowest
    refused, each = total.refused / total.inputs, 1e6 * total.seconds / total.inputs
    return (
        f"{name:11} {total.inputs:>9,} inputs, {refused:4.0%} refused, {total.records:>9,} records, {each:5.0f} µs each"
        f", the slowest {seconds:.2f} s: number {number}, {size} bytes"
    )


def explain(target: Target, where: str, seed: int, number: int, body: bytes) -> str:
    """Return what to know of a failure."""
    small = shortest(body, lambda part: failure(target, part)[0] == where)
    said = repr(small) if len(small) <= 4_000 else f"{small[:1_000]!r} … {small[-1_000:]!r}, {len(small)} bytes"
    again = f"--only {target.name} --seed {seed} --first {number} --inputs 1"
    return f"\n{where}\n{again}\n{said}\n{failure(target, small)[1]}"


@contextmanager
def workers(processes: int) -> Iterator[Callable[..., Iterable[Outcome]]]:
    """Give a `map` over some processes; the only one is this one."""
    signal.signal(signal.SIGPROF, _ring)
    if processes == 1:
        yield map
        return
    with get_context("spawn").Pool(processes, signal.signal, (signal.SIGPROF, _ring)) as pool:
        yield pool.imap


def main() -> int:
    """Return 1 if something failed."""
    known = {target.name: target for target in targets()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="for each parse (default: %(default)s)")
    parser.add_argument("--only", choices=sorted(known), help="one parse, with all of the inputs")
    parser.add_argument("--seed", type=int, default=0, help="others give other inputs")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="begin with this input")
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    args = parser.parse_args()
    found = 0
    with workers(args.processes) as each:
        for target in [known[args.only]] if args.only else known.values():
            last = args.first + (args.inputs if args.only else -(-args.inputs // target.every))
            chunks = [range(start, min(start + CHUNK, last)) for start in range(args.first, last, CHUNK)]
            total = Outcome()
            for outcome in each(partial(work, target.name, args.seed), chunks):
                total.add(outcome)
            print(report(target.name, total), flush=True)
            for where, (number, body) in total.failures.items():
                print(explain(target, where, args.seed, number, body), flush=True)
            found += len(total.failures)
    print(f"{found} kinds of failures" if found else "nothing failed")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
