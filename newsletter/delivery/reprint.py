"""A mail that was sent, once more: for who wants to read it in a browser. Reads, never writes."""

from dataclasses import replace
from datetime import datetime

from sqlmodel import Session

from newsletter.delivery.desk import MAILS, Identity, thaw
from newsletter.delivery.models import Delivery
from newsletter.issues import store as issues
from newsletter.issues.compose import Edition
from newsletter.issues.digest import Digest, Selection
from newsletter.issues.models import Issue, IssueCandidate
from newsletter.papers import store as papers
from newsletter.rendering.limits import TooMuchError
from newsletter.rendering.templates import Templates
from newsletter.rendering.views import TEASER, Tokens, whole_digest
from newsletter.signing import Purpose
from newsletter.subscribers.models import Subscriber


def reprint(
    session: Session, identity: Identity, templates: Templates, delivery: Delivery, person: Subscriber, at: datetime
) -> str | None:
    """Return the HTML of a digest as it was sent; ``None`` where the ledger no longer keeps what was in it.

    A page has room for all: teasers, and papers, that the mail had none for are there, too.
    Its links are the same to the letter. A paper that has a new version since is shown as it is now, and nothing is
    counted of who does not want that any more.

    :param at: when its links were signed.
    """
    issue = issues.get(session, delivery.issue_id or 0)
    selection = _kept(delivery)
    if issue is None or selection is None:
        return None
    found = papers.by_ids(session, selection.paper_ids)
    if any(paper_id not in found for paper_id in selection.paper_ids):
        return None
    candidates = [IssueCandidate(issue_id=issue.id or 0, paper_id=each, trend=0.5) for each in found]
    digest = _said(Edition(issue.day, candidates, found, issue.news), issue, person, selection)
    links = replace(identity.links, tracked=identity.links.tracked and person.tracking)
    tokens = _tokens(identity, delivery.id or 0, person.id or 0, at)
    template = templates.mail(MAILS[selection.span])
    for room in (TEASER, 0):
        try:
            return template.render(whole_digest(digest, found, identity.letterhead, links, tokens, room)).html
        except TooMuchError:  # of what some source said of its papers, and no browser shows well
            continue
    return None


def _kept(delivery: Delivery) -> Selection | None:
    try:
        return thaw(delivery.selection) if delivery.selection else None
    except (TypeError, ValueError, KeyError, AttributeError):  # of a version that wrote something else
        return None


def _said(edition: Edition, issue: Issue, person: Subscriber, selection: Selection) -> Digest:
    """Return the digest with the words it was sent with: wishes may have changed since."""
    digest = edition.compose(person.preferences, selection)
    if len(selection.said) != 2:  # kept by an earlier version
        return digest
    opening, why = selection.said
    if selection.picks:
        return replace(digest, opening=opening, why=why)
    _, _, news = opening.partition(". ")
    return Digest(issue.day, digest.subject, news, opening, why, ())


def _tokens(identity: Identity, delivery_id: int, subscriber_id: int, at: datetime) -> Tokens:
    sign = identity.signer.sign
    return Tokens(
        read=sign(Purpose.READ, delivery_id, now=at),
        unsubscribe=sign(Purpose.UNSUBSCRIBE, subscriber_id, now=at),
        feedback=sign(Purpose.FEEDBACK, delivery_id, now=at),
        preferences=sign(Purpose.PREFERENCES, subscriber_id, now=at),
    )
