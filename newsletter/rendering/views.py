"""The values that templates are given: each a plain value, none can query. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from newsletter.issues.digest import Digest
from newsletter.papers.models import Paper, link_targets
from newsletter.papers.textclean import Span, bare, plain, shorten, spans, teaser
from newsletter.rendering.filters import author_line
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links

_TITLE = 240  # characters of a title on a card
TEASER = 320  # of its teaser, where there is room
_ORGANIZATION = 80


_LABELS = {"page": "Page", "pdf": "PDF", "code": "Code", "project": "Project page"}
_HOSTS = {"arxiv.org": "arXiv", "www.biorxiv.org": "bioRxiv", "www.medrxiv.org": "medRxiv"}


@dataclass(frozen=True, slots=True)
class Link:
    """An address and what to call it."""

    label: str
    url: str


class Teased:
    """What shows a paper: with a teaser, in which a link with a label stands as ``[label](address)``."""

    __slots__ = ()
    teaser: str

    @property
    def teaser_spans(self) -> tuple[Span, ...]:
        """The teaser as runs of text and links, for HTML."""
        return spans(self.teaser)

    @property
    def teaser_text(self) -> str:
        """The teaser with its addresses written out."""
        return plain(self.teaser)


@dataclass(frozen=True, slots=True)
class Card(Teased):
    """A paper in a mail.

    :ivar teaser: readable text, a link with a label in it as ``[label](address)``.
    :ivar links: addresses by kind: page, pdf, code, project.
    :ivar page: what its page is called.
    :ivar picture: the address of a small picture of it, or empty.
    :ivar feedback: addresses by what the reader says: like, dislike, more, less, mute.
    """

    title: str
    authors: str
    organization: str
    teaser: str
    links: Mapping[str, str]
    feedback: Mapping[str, str]
    reason: str
    page: str = _LABELS["page"]
    picture: str = ""

    @property
    def named_links(self) -> list[Link]:
        """The links with what to call them."""
        labels = _LABELS | {"page": self.page}
        return [Link(labels[kind], url) for kind, url in self.links.items()]


@dataclass(frozen=True, slots=True)
class Part:
    """Cards that belong together."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Line:
    """A paper that a mail only names, and what the world says about it.

    :ivar url: empty where the paper has no page.
    """

    title: str
    url: str
    said: str


def card(paper: Paper, links: Links, tokens: "Tokens", reason: str, room: int = TEASER) -> Card:
    """Return the card of a paper for the holder of `tokens`.

    :param room: characters of its teaser.
    """
    return Card(
        title=shorten(bare(paper.title), _TITLE),
        authors=author_line(paper.authors),
        organization=shorten(paper.organization, _ORGANIZATION),
        teaser=teaser(paper.summary, paper.abstract, room) if room else "",
        links=links.paper(tokens.read, paper.id or 0, link_targets(paper)),
        feedback=links.feedback(tokens.feedback, paper.id or 0),
        reason=reason,
        picture=links.picture(paper.picture_url),
        page=_HOSTS.get(urlsplit(paper.url).hostname or "", _LABELS["page"]),
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a mail: for reading it, for leaving, for saying something of a paper, and for the preferences."""

    read: str
    unsubscribe: str
    feedback: str
    preferences: str


def line(paper: Paper, links: Links, tokens: Tokens, said: str) -> Line:
    """Return the line of a paper for the holder of `tokens`."""
    targets = links.paper(tokens.read, paper.id or 0, link_targets(paper))
    return Line(shorten(bare(paper.title), _TITLE), targets.get("page", ""), said)


def whole_digest(
    digest: Digest,
    papers: Mapping[int, Paper],
    letterhead: Letterhead,
    links: Links,
    tokens: Tokens,
    room: int = TEASER,
) -> dict[str, Any]:
    """Return what the digest's templates see, all of it.

    :param papers: those of the digest.
    :param room: characters of a teaser.
    """
    parts = [
        Part(each.title, [card(papers[pick.paper_id], links, tokens, pick.reason, room) for pick in each.picks])
        for each in digest.sections
    ]
    lines = [line(papers[each.paper_id], links, tokens, each.said) for each in digest.trending]
    return digest_values(digest, parts, lines, letterhead, links, tokens)


def digest_values(
    digest: Digest, parts: Sequence[Part], lines: Sequence[Line], letterhead: Letterhead, links: Links, tokens: Tokens
) -> dict[str, Any]:
    """Return what the digest's templates see."""
    return {
        "digest": digest,
        "subject": digest.subject,
        "sections": parts,
        "trending": lines,
        "more": more_words(digest.more),
        "site": letterhead,
        "unsubscribe_url": links.unsubscribe(tokens.unsubscribe),
        "preferences_url": links.preferences(tokens.preferences),
        "view_url": links.view(tokens.feedback),
        "pixel_url": links.pixel(tokens.read),
    }


def more_words(number: int) -> str:
    """Return how many papers there was no room for; nothing where there was room for all."""
    return f"and {number} more" if number else ""
