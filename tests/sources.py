"""A local server that answers as arXiv, bioRxiv and any feed do; the texts in its answers are made up."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import format_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]
_EASTERN = ZoneInfo("America/New_York")
_RSS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<rss xmlns:arxiv="http://arxiv.org/schemas/atom" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" version="2.0"><channel><title>{title}</title>'
    "<description>{said}</description><pubDate>{at}</pubDate>{items}</channel></rss>"
)
_ATOM = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" '
    'xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom"><id>https://arxiv.org/api/x</id>'
    "<title>arXiv Query</title><opensearch:totalResults>{total}</opensearch:totalResults>{entries}</feed>"
)


@dataclass(frozen=True)
class Preprint:
    """A paper as arXiv knows it."""

    id: str
    title: str
    abstract: str = "We show something. It works well."
    authors: tuple[str, ...] = ("Ada Example", "Bo Sample")
    categories: tuple[str, ...] = ("cs.LG",)
    version: int = 1
    kind: str = "new"
    comment: str = ""
    doi: str = ""
    submitted: datetime = datetime(2026, 8, 4, 15, tzinfo=UTC)


def rss(papers: Sequence[Preprint], day: date) -> bytes:
    """Return the feed of a day's announcement."""
    midnight = format_datetime(datetime(day.year, day.month, day.day, tzinfo=_EASTERN))
    items = "".join(
        f"<item><title>{escape(each.title)}</title><link>https://arxiv.org/abs/{each.id}</link><description>"
        f"arXiv:{each.id}v{each.version} Announce Type: {each.kind} \nAbstract: {escape(each.abstract)}</description>"
        f'<guid isPermaLink="false">oai:arXiv.org:{each.id}v{each.version}</guid>'
        + "".join(f"<category>{name}</category>" for name in each.categories)
        + f"<pubDate>{midnight}</pubDate><arxiv:announce_type>{each.kind}</arxiv:announce_type>"
        f"<dc:creator>{escape(', '.join(each.authors))}</dc:creator></item>"
        for each in papers
    )
    return _RSS.format(title="cs.LG updates on arXiv.org", said="", at=midnight, items=items).encode()


def rss_error(said: str) -> bytes:
    """Return the feed that comes with a 400."""
    return _RSS.format(title="Feed error for query: x", said=escape(said), at="", items="").encode()


def atom(papers: Sequence[Preprint], total: int | None = None) -> bytes:
    """Return an answer of the query API."""
    entries = "".join(
        f"<entry><id>http://arxiv.org/abs/{each.id}v{each.version}</id><title>{escape(each.title)}</title>"
        f"<updated>{each.submitted:%Y-%m-%dT%H:%M:%SZ}</updated><published>{each.submitted:%Y-%m-%dT%H:%M:%SZ}</published>"
        f"<summary>  {escape(each.abstract)}\n</summary>"
        + "".join(f'<category term="{name}"/>' for name in reversed(each.categories))
        + f'<arxiv:primary_category term="{each.categories[0]}"/>'
        + (f"<arxiv:comment>{escape(each.comment)}</arxiv:comment>" if each.comment else "")
        + (f"<arxiv:doi>{each.doi}</arxiv:doi>" if each.doi else "")
        + "".join(f"<author><name>{escape(name)}</name></author>" for name in each.authors)
        + "</entry>"
        for each in papers
    )
    return _ATOM.format(total=len(papers) if total is None else total, entries=entries).encode()


def atom_error(said: str) -> bytes:
    """Return the feed that comes with a 400."""
    entry = (
        f"<entry><id>https://arxiv.org/api/errors#x</id><title>Error</title><summary>{escape(said)}</summary></entry>"
    )
    return _ATOM.format(total=1, entries=entry).encode()


@dataclass
class SourceServer:
    """Answers by path, with an ETag, and remembers when it was asked for what.

    :ivar routes: by the beginning of a path: what answers, given the path and the query.
    :ivar troubles: by the beginning of a path: what to answer first instead.
    """

    routes: dict[str, Callable[[str, dict[str, str]], Reply]] = field(default_factory=dict)
    troubles: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    unmodified: int = 0
    url: str = ""

    def answer(self, path: str, query: dict[str, str]) -> Reply:
        """Return status, body and headers."""
        for start, waiting in self.troubles.items():
            if path.startswith(start) and waiting:
                return waiting.pop(0)
        for start, route in self.routes.items():
            if path.startswith(start):
                return route(path, query)
        return 404, b"nothing here"

    @contextmanager
    def serving(self) -> Iterator["SourceServer"]:
        """Serve on a free port."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(unquote(self.path))
                outer.asked_at.append(time.monotonic())
                parts = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                status, body, *more = outer.answer(parts.path, query)
                headers: dict[str, str] = more[0] if more else {}  # type: ignore[assignment]
                etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                if status == 200 and self.headers.get("If-None-Match") == etag:
                    outer.unmodified += 1
                    status, body = 304, b""
                self.send_response(status)
                if status in {200, 304}:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


@dataclass
class ArxivServer(SourceServer):
    """arXiv: the feed of one announcement, and an API that knows papers.

    :ivar announced: the papers of the feed, and `announced_on` its day.
    :ivar known: what the API knows.
    """

    announced: list[Preprint] = field(default_factory=list)
    announced_on: date = date(2026, 8, 5)
    known: list[Preprint] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.routes["/rss/"] = lambda *_: (200, rss(self.announced, self.announced_on))
        self.routes["/api/query"] = self._query

    def _query(self, _path: str, query: dict[str, str]) -> Reply:
        start, most = int(query.get("start", "0")), int(query.get("max_results", "10"))
        if wanted := query.get("id_list"):
            ids = wanted.split(",")
            if any("." not in each and "/" not in each for each in ids):
                return 400, atom_error("incorrect id format for " + ids[0])
            return 200, atom([each for each in self.known if each.id in ids][:most])
        window = query["search_query"].partition("submittedDate:[")[2].rstrip("]").split(" TO ")
        found = [each for each in self.known if window[0] <= f"{each.submitted:%Y%m%d%H%M}" <= window[1]]
        return 200, atom(found[start : start + most], total=len(found))


def biorxiv_page(number: int, count: int, total: int, day: str = "2026-08-04", **more: Any) -> dict[str, Any]:
    """Return a page of bioRxiv's answer, with the papers from `number` on."""
    collection = [
        {
            "title": f"How cells of kind {n} divide in the dark",
            "authors": "Example, A.; Sample, B. C.",
            "author_corresponding_institution": "A Town University",
            "doi": f"10.64898/2026.08.04.{700_000 + n}",
            "date": day,
            "version": "1",
            "type": "new results",
            "category": "cell biology",
            "abstract": "Cells divide. We watched them.",
            "published": "NA",
            "server": "bioRxiv",
            **more,
        }
        for n in range(number, number + count)
    ]
    return {
        "messages": [{"status": "ok", "cursor": number, "count": count, "total": str(total)}],
        "collection": collection,
    }
