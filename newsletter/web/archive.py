"""``/archive``: past issues for everybody, as pages and for reference managers; what crawlers are told."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, cast
from xml.sax.saxutils import escape

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from newsletter.papers import citing
from newsletter.papers.models import Paper
from newsletter.papers.textclean import shorten
from newsletter.publishing import Archive, Leaf
from newsletter.web import fresh, shown
from newsletter.web.deps import AppDep, ShowDep

router = APIRouter()
_SLOT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PAGE = re.compile(r"[1-9][0-9]{0,4}")
_HTML = "text/html; charset=utf-8"
_SITEMAP_MOST = 5_000  # of the 50,000 that a sitemap may hold
_DESCRIPTION = 160
_PERSONAL = (
    "u", "back", "rejoin", "erase", "confirm", "address", "preferences", "f", "c", "o", "v", "feed", "link", "metrics",
)  # fmt: skip


def archive_of(request: Request) -> Archive:
    """Return past issues."""
    return cast("Archive", request.app.state.archive)


ArchiveDep = Annotated[Archive, Depends(archive_of)]


@router.api_route("/archive", methods=["GET", "HEAD"])
def issues(request: Request, past: ArchiveDep, app: AppDep, show: ShowDep, page: str = "1") -> Response:
    """Show past issues, newest first."""
    if not _PAGE.fullmatch(page):
        raise HTTPException(404)
    number = int(page)
    found, has_older = past.page(number)
    if not found and number > 1:
        raise HTTPException(404)
    path = "/archive" + (f"?page={number}" if number > 1 else "")
    body = show.text(
        "archive.html",
        issues=[shown.issue_line(each) for each in found],
        page=number,
        older=number + 1 if has_older else 0,
        canonical=f"{app.settings.base_url}{path}",
        path=path,
    )
    return fresh.answer(request, body, _HTML, vary="Accept-Language")


@router.api_route("/archive/{slot}.bib", methods=["GET", "HEAD"])
def bib(slot: str, request: Request, past: ArchiveDep) -> Response:
    """Return an issue's papers as BibTeX."""
    return _cited(slot, request, past, citing.bibtex, "bib", "application/x-bibtex; charset=utf-8")


@router.api_route("/archive/{slot}.ris", methods=["GET", "HEAD"])
def ris(slot: str, request: Request, past: ArchiveDep) -> Response:
    """Return an issue's papers as RIS."""
    return _cited(slot, request, past, citing.ris, "ris", "application/x-research-info-systems; charset=utf-8")


@router.api_route("/archive/{slot}", methods=["GET", "HEAD"])
def issue(slot: str, request: Request, past: ArchiveDep, app: AppDep, show: ShowDep) -> Response:
    """Show which of an issue's papers were talked about most, whoever was mailed which."""
    leaf = _leaf(past, slot)
    papers = [shown.trending(each) for each in leaf.issue.papers]
    body = show.text(
        "issue.html",
        slot=leaf.issue.slot,
        day=leaf.issue.day,
        opened_at=leaf.issue.opened_at,
        considered=leaf.issue.considered,
        papers=papers,
        description=shorten("; ".join(each.title for each in papers), _DESCRIPTION),
        older=leaf.older,
        newer=leaf.newer,
        canonical=f"{app.settings.base_url}/archive/{leaf.issue.slot}",
    )
    return fresh.answer(request, body, _HTML, vary="Accept-Language")


@router.api_route("/robots.txt", methods=["GET", "HEAD"], include_in_schema=False)
def robots(request: Request, app: AppDep) -> Response:
    """Tell crawlers where the archive is, and to leave alone what is a reader's own."""
    own = "".join(f"Disallow: /{room}{'' if room in {'link', 'metrics'} else '/'}\n" for room in _PERSONAL)
    said = f"User-agent: *\n{own}\nSitemap: {app.settings.base_url}/sitemap.xml\n"
    return fresh.answer(request, said, "text/plain; charset=utf-8")


@router.api_route("/sitemap.xml", methods=["GET", "HEAD"], include_in_schema=False)
def sitemap(request: Request, past: ArchiveDep, app: AppDep) -> Response:
    """List what is for everybody (sitemaps.org, protocol 0.9)."""
    base = app.settings.base_url
    pages = [(f"{base}/", ""), (f"{base}/archive", "")]
    pages += [(f"{base}/archive/{slot}", f"{at:%Y-%m-%d}") for slot, at in past.slots(_SITEMAP_MOST)]
    lines = [f"<url><loc>{escape(url)}</loc>{f'<lastmod>{day}</lastmod>' if day else ''}</url>\n" for url, day in pages]
    head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    return fresh.answer(request, f"{head}{''.join(lines)}</urlset>\n", "application/xml")


def _leaf(past: Archive, slot: str) -> Leaf:
    leaf = past.leaf(slot) if _SLOT.fullmatch(slot) else None
    if leaf is None:
        raise HTTPException(404)
    return leaf


def _cited(
    slot: str, request: Request, past: Archive, write: Callable[[Sequence[Paper]], str], ending: str, media_type: str
) -> Response:
    leaf = _leaf(past, slot)
    text = write([each.paper for each in leaf.issue.papers])
    name = f'attachment; filename="papers-{leaf.issue.slot}.{ending}"'
    return fresh.answer(request, text, media_type, content_disposition=name)
