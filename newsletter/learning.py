"""What ranking learns by night: which terms are common in the archive, and what readers like together.

Both are made anew and kept under a number of their own, which an issue freezes; what no issue needs is dropped. What a
single reader likes needs no learning: it is looked up when they are ranked, and acts at once.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sqlmodel import Session

from newsletter import logs
from newsletter.app import App
from newsletter.issues import store as issues
from newsletter.issues.learned import store
from newsletter.papers.models import Paper
from newsletter.ranking.coread import MOST_READERS, Factors, enough, factors, placed, who_likes_what
from newsletter.ranking.statistics import Statistics, statistics
from newsletter.ranking.terms import count

_log = logs.get(__name__)
_NIGHT, _TONIGHT, _MISSED = range(2, 6), timedelta(hours=6), timedelta(hours=30)  # UTC; after what was made last
_ARCHIVE = timedelta(days=365)
_MOST_PAPERS = 20_000  # in the archive, the newest ones
_IN_USE = timedelta(days=10)  # longer than an issue may still be sent
_PLACED = issues.FURTHEST_BACK + timedelta(days=7)  # whatever an edition may hold
_FEWEST_PAPERS = 200  # of fewer, how common a term is says little


def learn(app: App) -> None:
    """Make text statistics and the co-reading model anew: once a night, or when that was missed by half a day."""
    now = app.now()
    with app.db.snapshot() as session:
        made_at = store.made_at(session)
        if made_at is not None and now - made_at < (_TONIGHT if now.hour in _NIGHT else _MISSED):
            return
        archive = statistics(count(store.texts(session, store.newest_ids(session, now - _ARCHIVE, _MOST_PAPERS))))
        if archive.papers < _FEWEST_PAPERS:
            return
        paper_ids, likes = who_likes_what(store.likes(session))
        known = dict(zip(paper_ids, factors(likes), strict=True)) if enough(likes) else {}
        recent = store.listed_since(session, now - _PLACED) if known else []
        new = _placed(session, archive, known, likes, [each for each in recent if each.id not in known])
    with app.db.session() as session:
        store.keep_statistics(session, archive, now)
        if known:
            model_id = store.keep_model(session, likes.shape[0], len(known), now)
            store.keep_factors(session, model_id, known, now, liked=True)
            store.keep_factors(session, model_id, new, now, liked=False)
        store.drop_old(session, now - _IN_USE)
    _log.info("learnt", papers=archive.papers, readers=likes.shape[0], liked=len(known))


def place_new(app: App) -> None:
    """Say where new papers stand among those that are liked together, by what they are like."""
    now = app.now()
    with app.db.snapshot() as session:
        statistics_id, model_id = store.newest(session)
        new = store.listed_since(session, now - _PLACED, model_id) if model_id else []
        archive = store.statistics(session, statistics_id) if new else None
        if archive is None or model_id is None:
            return
        known = store.factors(session, model_id, store.liked_ids(session, model_id))
        likes = _likes_of(store.likes(session, MOST_READERS), list(known))
        found = _placed(session, archive, known, likes, new)
    with app.db.session() as session:  # from then on issues that are opened go by it
        store.keep_factors(session, model_id, found, app.now(), liked=False)


def _likes_of(pairs: NDArray[np.int64], paper_ids: Sequence[int]) -> sparse.csr_array:
    """Return (readers, papers) who likes which of these."""
    found, likes = who_likes_what(pairs)
    place = {paper_id: column for column, paper_id in enumerate(paper_ids)}
    still = [column for column, paper_id in enumerate(found) if paper_id in place]
    kept = likes[:, still].tocoo()
    columns = np.array([place[found[column]] for column in still], dtype=np.int64)[kept.col]
    return sparse.csr_array((kept.data, (kept.row, columns)), shape=(likes.shape[0], len(paper_ids)))


def _placed(
    session: Session,
    archive: Statistics,
    known: Mapping[int, Factors],
    likes: sparse.csr_array,
    new: Sequence[Paper],
) -> dict[int, Factors]:
    """Return where papers stand that nobody could like yet.

    :param likes: (readers, known papers).
    """
    if not known or not new:
        return {}
    texts = ((each.title, each.abstract or each.summary) for each in new)
    found = placed(archive, texts, store.texts(session, known), np.array(list(known.values())), likes)
    return {each.id or 0: row for each, row in zip(new, found, strict=True)}
