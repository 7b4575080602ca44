"""What ranking learns by night: which terms are common in the archive, and what readers like together.

Both are made anew and kept under a number of their own, which an issue freezes; what no issue needs is dropped. What a
single reader likes needs no learning: it is looked up when they are ranked, and acts at once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sqlmodel import Session

from newsletter import clock, logs
from newsletter.app import App
from newsletter.embedding import MOST_AT_ONCE
from newsletter.errors import EmbedderError
from newsletter.issues import store as issues
from newsletter.issues.learned import store
from newsletter.papers.models import Paper
from newsletter.ranking.coread import MOST_READERS, Factors, enough, factors, placed, who_likes_what
from newsletter.ranking.meaning import MOST_DIMENSIONS, Space, space
from newsletter.ranking.statistics import Statistics, statistics
from newsletter.ranking.terms import count
from newsletter.ranking.types import Rows, alike_stacked, at_length_1, stacked

_log = logs.get(__name__)
_NIGHT, _TONIGHT, _MISSED = range(2, 6), timedelta(hours=6), timedelta(hours=30)  # UTC; after what was made last
_ARCHIVE = timedelta(days=365)
_MOST_PAPERS = 20_000  # in the archive, the newest ones
_IN_USE = timedelta(days=10)  # longer than an issue may still be sent
_PLACED = issues.FURTHEST_BACK + timedelta(days=7)  # whatever an edition may hold
_FEWEST_PAPERS = 200  # of fewer, how common a term is says little
# To ask an embedder: a digest waits for no answer, and a broker hands out again what takes a quarter of an hour.
_BY_NIGHT, _BY_DAY = timedelta(minutes=8), timedelta(seconds=45)
_MOST_ASKED = 25_000  # papers


def learn(app: App) -> None:
    """Make text statistics and the co-reading model anew: once a night, or when that was missed by half a day."""
    now = app.now()
    with app.db.snapshot() as session:
        made_at = store.made_at(session)
        if made_at is not None and now - made_at < (_TONIGHT if now.hour in _NIGHT else _MISSED):
            return
    _embed(app, now - _ARCHIVE, _BY_NIGHT)
    with app.db.snapshot() as session:
        ids = store.newest_ids(session, now - _ARCHIVE, _MOST_PAPERS)
        archive = statistics(count(store.texts(session, ids)))
        if archive.papers < _FEWEST_PAPERS:
            return
        name = _name(app)
        meanings = store.embeddings(session, name, ids) if name else {}
        rows = alike_stacked([meanings.get(each) for each in ids])
        among = space(rows)
        paper_ids, likes = who_likes_what(store.likes(session))
        known = dict(zip(paper_ids, factors(likes), strict=True)) if enough(likes) else {}
        recent = store.listed_since(session, now - _PLACED) if known else []
        new = _placed(
            session, archive, _Meanings(name, among), known, likes, [each for each in recent if each.id not in known]
        )
    with app.db.session() as session:
        store.keep_statistics(session, archive, now)
        if among:
            store.keep_space(session, among, name, int(rows.any(axis=1).sum()), now)
        if known:
            model_id = store.keep_model(session, likes.shape[0], len(known), now)
            store.keep_factors(session, model_id, known, now, liked=True)
            store.keep_factors(session, model_id, new, now, liked=False)
        store.drop_old(session, now - _IN_USE, name)
    _log.info("learnt", papers=archive.papers, readers=likes.shape[0], liked=len(known), embedded=len(meanings))


def place_new(app: App) -> None:
    """Say what new papers mean, and where they stand among those that are liked together, by what they are like."""
    now = app.now()
    _embed(app, now - _PLACED, _BY_DAY)
    with app.db.snapshot() as session:
        statistics_id, model_id, space_id = store.newest(session)
        new = store.listed_since(session, now - _PLACED, model_id) if model_id else []
        archive = store.statistics(session, statistics_id) if new else None
        if archive is None or model_id is None:
            return
        known = store.factors(session, model_id, store.liked_ids(session, model_id))
        likes = _likes_of(store.likes(session, MOST_READERS), list(known))
        meanings = _Meanings(store.embedder_of(session, space_id), store.space(session, space_id))
        found = _placed(session, archive, meanings, known, likes, new)
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


def _name(app: App) -> str:
    """Return the embedder's name, nothing where there is none, or it cannot even tell that."""
    try:
        return app.embedder.name if app.embedder else ""
    except EmbedderError as exc:
        _log.warning("embedder failed", why=str(exc))
        return ""


def _embed(app: App, since: datetime, at_most: timedelta) -> None:
    """Ask the embedder about papers that it has not seen, the newest first, until it fails or the time is over."""
    if app.embedder is None or not (name := _name(app)):
        return
    begun, counts = clock.monotonic(), {"embedded": 0, "nothing": 0}
    with app.db.snapshot() as session:
        left = store.not_embedded(session, name, since, _MOST_ASKED)
    for first in range(0, len(left), MOST_AT_ONCE):
        ids = left[first : first + MOST_AT_ONCE]
        if app.stopping.is_set() or clock.monotonic() - begun > at_most.total_seconds():
            _log.warning("embedder was not waited for", left=len(left) - first, **counts)
            return
        with app.db.snapshot() as session:
            texts = ["\n".join(each) for each in store.texts(session, ids)]
        try:
            found = app.embedder.embed(texts)
        except EmbedderError as exc:  # next time; until then ranking goes by words
            _log.warning("embedder failed", why=str(exc), left=len(left) - first, **counts)
            return
        rows = at_length_1(found[:, :MOST_DIMENSIONS])
        with app.db.session() as session:
            store.keep_embeddings(session, name, dict(zip(ids, rows, strict=True)), app.now())
        some = int(rows.any(axis=1).sum())
        counts = {"embedded": counts["embedded"] + some, "nothing": counts["nothing"] + len(ids) - some}
    if counts["nothing"]:
        _log.warning("embedder made nothing of some papers", **counts)


def _placed(
    session: Session,
    archive: Statistics,
    meanings: "_Meanings",
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
    meant = meanings.centred(session, [each.id or 0 for each in new]), meanings.centred(session, list(known))
    found = placed(archive, texts, store.texts(session, known), np.array(list(known.values())), likes, meant)
    return {each.id or 0: row for each, row in zip(new, found, strict=True)}


class _Meanings:
    """What an embedder has said, as far as there is one, and how it is compared."""

    def __init__(self, embedder: str, among: Space | None) -> None:
        self._embedder, self._among = embedder, among

    def centred(self, session: Session, paper_ids: Sequence[int]) -> Rows:
        """Return (papers, dimensions); 0 for papers of which nothing is known."""
        if self._among is None:
            return np.zeros((len(paper_ids), 0), dtype=np.float32)
        found = store.embeddings(session, self._embedder, paper_ids)
        return self._among.centred(stacked([found.get(each) for each in paper_ids], self._among.dimensions))
