"""Samples and ratings as pages show them."""

from collections.abc import Iterable
from functools import lru_cache

from newsletter.papers.models import Paper, link_targets
from newsletter.papers.textclean import bare, clean, plain, shorten, teaser, web_address
from newsletter.publishing import PublicIssue, Trending
from newsletter.rendering.filters import author_line
from newsletter.sampling import Sampled
from newsletter.subscribers.ratings.models import Rating
from newsletter.web.views import IssueLine, PublicPaper, RatingView, Sample, SamplePick

_TEASER = 220
_TITLE, _LONG_TEASER, _ORGANIZATION, _NAMES, _CATEGORIES = 240, 320, 80, 20, 10  # as on a card of a mail
_RISING = 5  # upvotes a day that are worth a word


def sample(found: Sampled | None, *, changes: bool = False) -> Sample | None:
    """Return a sample for a page.

    :param changes: whether to mark what is new and to name what is gone.
    """
    if found is None:
        return None
    picks = [
        SamplePick(
            title=bare(paper.title),
            url=address(paper),
            authors=author_line(paper.authors),
            reason=reason,
            teaser=plain(teaser(paper.summary, paper.abstract, _TEASER)),
            change="new" if changes and not known else "",
        )
        for paper, reason, known in found.picks
    ]
    return Sample(found.day, found.considered, picks, [bare(paper.title) for paper in found.gone] if changes else [])


def rating(said: Rating, paper: Paper | None) -> RatingView:
    """Return what a reader said of a paper, for a page."""
    title = bare(paper.title) if paper else said.title or said.key.partition(":")[2]
    return RatingView(
        id=said.id or 0,
        title=title,
        url=address(paper) if paper else _public(said.key),
        said=said.said,
        how=said.how,
        taken_back=said.taken_back_at is not None,
    )


def public(paper: Paper, upvotes: int | None = None, gained: float | None = None) -> PublicPaper:
    """Return a paper as anybody may see it; an address that is none of the web's is left out."""
    targets = {kind: url for kind, url in link_targets(paper).items() if web_address(url)}
    first = next(iter(targets), "")
    rising, names = round(gained or 0), _cleaned(paper.authors)
    return PublicPaper(
        id=paper.id or 0,
        title=_title(paper),
        url=targets.pop(first, ""),
        authors=author_line(names),
        names=names[:_NAMES],
        organization=shorten(clean(paper.organization, _TITLE), _ORGANIZATION),
        categories=_cleaned(paper.categories)[:_CATEGORIES],
        teaser=_teaser(paper.summary, paper.abstract),
        links=targets,
        upvotes=upvotes or 0,
        gained=rising if rising >= _RISING else 0,
    )


def trending(each: Trending) -> PublicPaper:
    """Return a paper of an issue, with what was said of it then."""
    return public(each.paper, each.upvotes, each.gained)


def issue_line(issue: PublicIssue) -> IssueLine:
    """Return an issue as it stands among others."""
    return IssueLine(issue.slot, issue.day, issue.considered, [_title(each.paper) for each in issue.papers])


def _cleaned(texts: Iterable[str]) -> list[str]:
    return [text for each in texts if (text := clean(each, _TITLE))]


def _title(paper: Paper) -> str:
    return shorten(clean(bare(paper.title), 4 * _TITLE), _TITLE)


@lru_cache(maxsize=500)  # everybody looks at the same papers
def _teaser(summary: str, abstract: str) -> str:
    return clean(teaser(summary, abstract, _LONG_TEASER), 5 * _LONG_TEASER)


def address(paper: Paper) -> str:
    """Return where a paper can be read, or an empty text."""
    return next(iter(link_targets(paper).values()), "")


def _public(key: str) -> str:
    kind, _, id_ = key.partition(":")
    return {"arxiv": f"https://arxiv.org/abs/{id_}", "doi": f"https://doi.org/{id_}"}.get(kind, "")
