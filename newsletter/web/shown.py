"""Samples and ratings as pages show them."""

from newsletter.papers.models import Paper, link_targets
from newsletter.papers.textclean import bare, plain, teaser
from newsletter.rendering.filters import author_line
from newsletter.sampling import Sampled
from newsletter.subscribers.ratings.models import Rating
from newsletter.web.views import RatingView, Sample, SamplePick

_TEASER = 220


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


def address(paper: Paper) -> str:
    """Return where a paper can be read, or an empty text."""
    return next(iter(link_targets(paper).values()), "")


def _public(key: str) -> str:
    kind, _, id_ = key.partition(":")
    return {"arxiv": f"https://arxiv.org/abs/{id_}", "doi": f"https://doi.org/{id_}"}.get(kind, "")
