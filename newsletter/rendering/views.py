"""The values that templates are given: each a plain value, none can query. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from newsletter.issues.compose import Digest
from newsletter.papers.models import Paper, link_targets
from newsletter.papers.textclean import Span, bare, plain, shorten, spans, teaser
from newsletter.rendering.filters import author_line
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links

_TITLE = 240  # characters of a title on a card
_TEASER = 320
_ORGANIZATION = 80


_LABELS = {"pdf": "PDF", "code": "Code", "project": "Project page"}


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
    :ivar feedback: addresses by what the reader says: like, dislike, more, less, mute.
    """

    title: str
    authors: str
    organization: str
    teaser: str
    links: Mapping[str, str]
    feedback: Mapping[str, str]
    reason: str

    @property
    def more_links(self) -> list[Link]:
        """The links beside the one on the title."""
        return [Link(_LABELS[kind], url) for kind, url in self.links.items() if kind != "page"]


def card(paper: Paper, links: Links, tokens: "Tokens", reason: str) -> Card:
    """Return the card of a paper for the holder of `tokens`."""
    return Card(
        title=shorten(bare(paper.title), _TITLE),
        authors=author_line(paper.authors),
        organization=shorten(paper.organization, _ORGANIZATION),
        teaser=teaser(paper.summary, paper.abstract, _TEASER),
        links=links.paper(tokens.read, paper.id or 0, link_targets(paper)),
        feedback=links.feedback(tokens.feedback, paper.id or 0),
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a mail: for reading it, for leaving, for saying something of a paper, and for the preferences."""

    read: str
    unsubscribe: str
    feedback: str
    preferences: str


def digest_values(
    digest: Digest, subject: str, cards: Sequence[Card], letterhead: Letterhead, links: Links, tokens: Tokens
) -> dict[str, Any]:
    """Return what the digest's templates see."""
    return {
        "digest": digest,
        "subject": subject,
        "cards": cards,
        "site": letterhead,
        "unsubscribe_url": links.unsubscribe(tokens.unsubscribe),
        "preferences_url": links.preferences(tokens.preferences),
        "view_url": links.view(tokens.feedback),
        "pixel_url": links.pixel(tokens.read),
    }
