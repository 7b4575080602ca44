"""All SQL about what ranking learns from, and what it has learnt."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from hashlib import blake2b

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlmodel import Session, col, select

from newsletter import logs
from newsletter.db import chunks, insert
from newsletter.issues.learned.models import (
    CoreadModel,
    EmbeddingSpace,
    Learnt,
    PaperEmbedding,
    PaperFactors,
    TextStatistics,
)
from newsletter.issues.models import Issue, IssueCandidate
from newsletter.papers import store as papers
from newsletter.papers.models import Paper
from newsletter.ranking.coread import Factors
from newsletter.ranking.meaning import Space
from newsletter.ranking.pool import Pool
from newsletter.ranking.statistics import Statistics
from newsletter.ranking.types import NOWHERE, Place, Rated
from newsletter.subscribers.models import State, Subscriber
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import Rating, Said
from newsletter.subscribers.ratings.store import Word

_log = logs.get(__name__)
_CHUNK = 500
_WEIGHTS = {Said.LIKED: 1.0, Said.DISLIKED: -1.0, Said.MORE: 2.0, Said.LESS: -2.0, Said.CLICKED: 0.5}
_LIKES = (Said.LIKED, Said.MORE)
_MOST_RATED = ratings.MAX_RATINGS  # the newest


@dataclass(frozen=True, slots=True)
class Ratings:
    """What a reader said of papers, as the ranker sees it, and which papers these are."""

    rated: tuple[Rated, ...] = ()
    papers: frozenset[int] = frozenset()


NO_RATINGS = Ratings()


def newest(session: Session) -> Learnt:
    """Return the newest text statistics, and what was learnt with them."""
    made = sa.select(col(TextStatistics.id), col(TextStatistics.made_at)).order_by(col(TextStatistics.id).desc())
    last = session.execute(made.limit(1)).first()
    if last is None:
        return Learnt()
    # where the crowd has gone, what it liked once says nothing of today's papers
    model, space_ = (
        session.scalar(sa.select(sa.func.max(col(each.id))).where(col(each.made_at) == last.made_at))
        for each in (CoreadModel, EmbeddingSpace)
    )
    return Learnt(last.id, model, space_)


def made_at(session: Session) -> datetime | None:
    """Return when text statistics were made last."""
    return session.scalar(sa.select(sa.func.max(col(TextStatistics.made_at))))


def statistics(session: Session, id_: int | None) -> Statistics | None:
    """Return text statistics, if they are still there."""
    packed = session.scalar(sa.select(col(TextStatistics.packed)).where(col(TextStatistics.id) == id_)) if id_ else None
    return Statistics.from_bytes(packed) if packed else None


def factors(
    session: Session, model_id: int | None, paper_ids: Collection[int], by: datetime | None = None
) -> dict[int, NDArray[np.float32]]:
    """Return where a model puts papers, by paper; those it does not know are left out.

    :param by: only what it knew by then: what an issue is ranked by must not change while it is delivered.
    """
    found: dict[int, NDArray[np.float32]] = {}
    for chunk in chunks(sorted(paper_ids), _CHUNK) if model_id else ():
        statement = sa.select(col(PaperFactors.paper_id), col(PaperFactors.packed)).where(
            col(PaperFactors.model_id) == model_id, col(PaperFactors.paper_id).in_(chunk)
        )
        if by is not None:
            statement = statement.where(col(PaperFactors.placed_at) <= by)
        for paper_id, packed in session.execute(statement):
            found[paper_id] = unpack(packed)
    return found


def space(session: Session, id_: int | None) -> Space | None:
    """Return how embeddings are compared, if that is still there."""
    packed = session.scalar(sa.select(col(EmbeddingSpace.packed)).where(col(EmbeddingSpace.id) == id_)) if id_ else None
    try:
        return Space.from_bytes(packed) if packed else None
    except ValueError:  # ranking can do without
        _log.exception("space of embeddings cannot be read", space=id_)
        return None


def embedder_of(session: Session, space_id: int | None) -> str:
    """Return whose embeddings a space compares; nobody's where there is none."""
    whose = sa.select(col(EmbeddingSpace.embedder)).where(col(EmbeddingSpace.id) == space_id)
    return (session.scalar(whose) if space_id else None) or ""


def embeddings(
    session: Session, embedder: str, paper_ids: Collection[int], by: datetime | None = None
) -> dict[int, NDArray[np.float32]]:
    """Return what an embedder makes of papers, by paper; those it makes nothing of are left out.

    :param by: see `factors`.
    """
    found: dict[int, NDArray[np.float32]] = {}
    for chunk in chunks(sorted(paper_ids), _CHUNK):
        statement = sa.select(col(PaperEmbedding.paper_id), col(PaperEmbedding.packed)).where(
            col(PaperEmbedding.embedder) == embedder, col(PaperEmbedding.paper_id).in_(chunk)
        )
        if by is not None:
            statement = statement.where(col(PaperEmbedding.embedded_at) <= by)
        found.update({paper_id: unpack(packed) for paper_id, packed in session.execute(statement) if packed})
    return found


def places(
    session: Session, learnt: Learnt, paper_ids: Collection[int], by: datetime | None = None
) -> dict[int, Place]:
    """Return where papers stand by what was learnt; those of which nothing is known are left out.

    :param by: see `factors`.
    """
    coread, embedder = factors(session, learnt.model_id, paper_ids, by), embedder_of(session, learnt.space_id)
    meant = embeddings(session, embedder, paper_ids, by) if embedder else {}
    return {each: Place(coread.get(each), meant.get(each)) for each in coread.keys() | meant.keys()}


def not_embedded(session: Session, embedder: str, since: datetime, most: int) -> list[int]:
    """Return papers that an embedder was not asked about, newest first: liked ones, and all listed since then."""
    asked = sa.select(col(PaperEmbedding.paper_id)).where(
        col(PaperEmbedding.embedder) == embedder, col(PaperEmbedding.paper_id) == col(Paper.id)
    )
    liked = sa.select(col(Rating.paper_id)).where(col(Rating.taken_back_at).is_(None), col(Rating.said).in_(_LIKES))
    wanted = sa.or_(col(Paper.listed_at) >= since, col(Paper.id).in_(liked.where(col(Rating.paper_id).is_not(None))))
    statement = sa.select(col(Paper.id)).where(wanted, col(Paper.same_as).is_(None), ~asked.exists())
    return list(session.scalars(statement.order_by(col(Paper.listed_at).desc(), col(Paper.id).desc()).limit(most)))


def keep_embeddings(session: Session, embedder: str, found: Mapping[int, NDArray[np.float32]], now: datetime) -> None:
    """Write down what an embedder makes of papers, unless somebody else has just done so, or a paper is gone."""
    there = set(session.scalars(sa.select(col(Paper.id)).where(col(Paper.id).in_(found))))
    rows = [
        {"embedder": embedder, "paper_id": paper_id, "packed": pack(row) if row.any() else b"", "embedded_at": now}
        for paper_id, row in found.items()
        if paper_id in there
    ]
    if rows:
        statement = insert(session, PaperEmbedding).on_conflict_do_nothing(index_elements=["embedder", "paper_id"])
        session.execute(statement, rows)


def keep_space(session: Session, made: Space, embedder: str, papers_: int, now: datetime) -> None:
    """Keep how embeddings are compared."""
    session.add(EmbeddingSpace(made_at=now, embedder=embedder, papers=papers_, packed=made.to_bytes()))


def keep_statistics(session: Session, made: Statistics, now: datetime) -> int:
    """Keep new text statistics; return their id."""
    row = TextStatistics(made_at=now, papers=made.papers, packed=made.to_bytes())
    session.add(row)
    session.flush()
    return row.id or 0


def keep_model(session: Session, readers: int, liked: int, now: datetime) -> int:
    """Keep a new co-reading model; return its id."""
    row = CoreadModel(made_at=now, readers=readers, papers=liked)
    session.add(row)
    session.flush()
    return row.id or 0


def keep_factors(session: Session, model_id: int, found: Mapping[int, Factors], now: datetime, *, liked: bool) -> None:
    """Write down where a model puts papers, unless somebody else has just done so, or the model is gone."""
    there = select(CoreadModel.id).where(CoreadModel.id == model_id).with_for_update(key_share=True, read=True)
    if session.exec(there).first() is None:
        return
    rows = [
        {"model_id": model_id, "paper_id": paper_id, "packed": pack(each), "liked": liked, "placed_at": now}
        for paper_id, each in found.items()
    ]
    statement = insert(session, PaperFactors).on_conflict_do_nothing(index_elements=["model_id", "paper_id"])
    for chunk in chunks(rows, _CHUNK):
        session.execute(statement, chunk)


def listed_since(session: Session, since: datetime, model_id: int | None = None) -> list[Paper]:
    """Return the papers listed since an instant, by id.

    :param model_id: only those that this model has not placed yet.
    """
    statement = select(Paper).where(col(Paper.listed_at) >= since).order_by(col(Paper.id))
    if model_id is not None:
        of = col(PaperFactors.model_id) == model_id, col(PaperFactors.paper_id) == col(Paper.id)
        statement = statement.where(~sa.select(col(PaperFactors.paper_id)).where(*of).exists())
    return list(session.exec(statement))


def liked_ids(session: Session, model_id: int) -> list[int]:
    """Return the papers that a model was learnt from, by id."""
    of = col(PaperFactors.model_id) == model_id, col(PaperFactors.liked)
    return list(session.scalars(sa.select(col(PaperFactors.paper_id)).where(*of).order_by(col(PaperFactors.paper_id))))


def likes(session: Session, readers: int | None = None) -> NDArray[np.int64]:
    """Return (likes, 2), who likes which paper: of those who get our mails, for papers that we know.

    :param readers: no more than the first so many.
    """
    theirs = (
        sa.select(col(Rating.subscriber_id), col(Rating.paper_id))
        .join(Subscriber, col(Subscriber.id) == col(Rating.subscriber_id))
        .where(col(Subscriber.state) == State.ACTIVE, col(Rating.taken_back_at).is_(None))
        .where(col(Rating.said).in_(_LIKES), col(Rating.paper_id).is_not(None))
    )
    if readers is not None:
        first = theirs.with_only_columns(col(Rating.subscriber_id)).distinct().order_by(col(Rating.subscriber_id))
        theirs = theirs.where(col(Rating.subscriber_id).in_(first.limit(readers)))
    ordered = theirs.order_by(col(Rating.subscriber_id), col(Rating.paper_id)).execution_options(yield_per=10_000)
    found = [np.array(some, dtype=np.int64) for some in session.execute(ordered).partitions()]
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *found])


def texts(session: Session, paper_ids: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Yield titles and abstracts in the order of the ids; empty ones for what is gone."""
    for chunk in chunks(list(paper_ids), _CHUNK):
        found = papers.by_ids(session, chunk)
        for paper_id in chunk:
            paper = found.get(paper_id)
            yield (paper.title, paper.abstract or paper.summary) if paper else ("", "")
        session.expunge_all()


def newest_ids(session: Session, listed_since: datetime, most: int) -> list[int]:
    """Return the ids of the papers listed since an instant, the newest ones first."""
    listed = col(Paper.listed_at) >= listed_since, col(Paper.same_as).is_(None)
    statement = sa.select(col(Paper.id)).where(*listed).order_by(col(Paper.listed_at).desc(), col(Paper.id).desc())
    return list(session.scalars(statement.limit(most)))


def drop_old(session: Session, opened_before: datetime, embedder: str) -> None:
    """Delete what is neither among the newest two nor kept by an issue that may still be sent.

    Two, since somebody may have read which was the newest, and write it down with an issue after this.
    """
    for model, kept in (
        (TextStatistics, col(Issue.statistics_id)),
        (CoreadModel, col(Issue.model_id)),
        (EmbeddingSpace, col(Issue.space_id)),
    ):
        id_ = col(model.id)
        last = session.scalars(sa.select(id_).order_by(id_.desc()).limit(2)).all()
        in_use = sa.select(kept).where(col(Issue.opened_at) >= opened_before, kept.is_not(None))
        session.execute(sa.delete(model).where(id_.not_in(last), id_.not_in(in_use)))
    if embedder:  # without one, what was said may be asked for again tomorrow
        others = col(PaperEmbedding.embedder).not_in(sa.select(col(EmbeddingSpace.embedder)))
        session.execute(sa.delete(PaperEmbedding).where(others, col(PaperEmbedding.embedder) != embedder))


def liked_of(session: Session, issue: Issue) -> dict[int, frozenset[int]]:
    """Return which papers of an issue readers said something good of, after it was opened, by reader."""
    of_issue = sa.select(col(IssueCandidate.paper_id)).where(col(IssueCandidate.issue_id) == issue.id)
    statement = (
        sa.select(col(Rating.subscriber_id), col(Rating.paper_id))
        .where(col(Rating.said).in_((*_LIKES, Said.CLICKED)), col(Rating.taken_back_at).is_(None))
        .where(col(Rating.said_at) >= issue.opened_at, col(Rating.paper_id).in_(of_issue))
    )
    found: dict[int, set[int]] = {}
    for reader, paper_id in session.execute(statement):
        found.setdefault(reader, set()).add(paper_id or 0)
    return {reader: frozenset(each) for reader, each in found.items()}


def rated(
    session: Session,
    subscriber_ids: Sequence[int],
    learnt: Learnt,
    pool: Pool | None = None,
    *,
    by: datetime | None = None,
    before: datetime | None = None,
) -> dict[int, Ratings]:
    """Return what readers said of papers, newest first.

    :param learnt: what the pool goes by that they are to be ranked in.
    :param pool: what it has looked at already is given without its text.
    :param by: when the issue was opened that they are ranked for: see `factors`.
    :param before: only what they had said by then.
    """
    said = {who: each[:_MOST_RATED] for who, each in ratings.of_readers(session, subscriber_ids, before).items()}
    words = [word for theirs in said.values() for word in theirs]
    ours = {each.paper_id for each in words if each.paper_id}
    lacking = pool.likeness.lacks(map(_key, ours)) if pool else None
    ids = {each.paper_id for each in words if each.paper_id and not each.title}
    ids |= ours if lacking is None else {id_ for id_ in ours if _key(id_) in lacking}
    known, placed = papers.by_ids(session, ids), places(session, learnt, ids, by)

    @cache  # many readers say the same of a paper
    def seen(word: Word) -> Rated:
        id_ = word.paper_id or 0
        return as_rated(
            word.key, word.title, word.text, known.get(id_), _WEIGHTS[Said(word.said)], placed.get(id_, NOWHERE)
        )

    return {
        who: Ratings(
            tuple(
                [_looked_at(each) if each.paper_id and each.paper_id not in known else seen(each) for each in theirs]
            ),
            frozenset([each.paper_id for each in theirs if each.paper_id]),
        )
        for who, theirs in said.items()
    }


@lru_cache(maxsize=20_000)  # many readers say the same of a paper, and say it again for the next issue
def _looked_at(word: Word) -> Rated:
    """Return a paper that the pool has looked at."""
    return Rated(word.title, None, _WEIGHTS[Said(word.said)], _key(word.paper_id or 0), shared=True)


def as_rated(
    key: str,
    title: str,
    text: str,
    paper: Paper | None,
    weight: float = 1.0,
    placed: Place = NOWHERE,
) -> Rated:
    """Return a paper as the ranker sees it; what we know of it beats what a reader pasted."""
    identity = _identity(key, title, text, paper.id if paper else None)
    if paper is None:
        return Rated(title, f"{title}\n{text}", weight, identity)
    text = paper.abstract or paper.summary
    return Rated(title or paper.title, f"{paper.title}\n{text}", weight, identity, *placed, shared=True)


def _identity(key: str, title: str, text: str, paper_id: int | None) -> str:
    """Return what makes a rated paper the same for all; what somebody pasted that we do not know is theirs alone."""
    if paper_id:
        return _key(paper_id)
    return blake2b(f"{key}\n{title}\n{text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _key(paper_id: int) -> str:
    """Return what makes a paper that we know the same for all."""
    return f"#{paper_id}"


def pack(values: NDArray[np.float32]) -> bytes:
    """Return factors as they are kept."""
    return values.astype("<f2").tobytes()


def unpack(packed: bytes) -> NDArray[np.float32]:
    """Return what `pack` packed; nothing of what was cut."""
    return np.frombuffer(packed if len(packed) % 2 == 0 else b"", dtype="<f2").astype(np.float32)
