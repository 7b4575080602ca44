"""All SQL about pulls."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

import sqlalchemy as sa
from sqlmodel import Session, col, select

from newsletter.db import UTCDateTime, chunks, insert
from newsletter.papers.pulls.health import Health, Look
from newsletter.papers.pulls.models import KnownAnswer, Pull
from newsletter.papers.sources.http import Validators

_CHUNK = 500


def record(session: Session, pulls: Iterable[Pull]) -> None:
    """Keep the reports of a run over one source."""
    session.add_all(pulls)


def looks(session: Session, source: str, since: date) -> dict[date, list[Look]]:
    """Return how each list of a source was found since a day, oldest look first."""
    statement = select(Pull).where(Pull.source == source, col(Pull.day) >= since).order_by(col(Pull.id))
    found: dict[date, list[Look]] = {}
    for pull in session.exec(statement):
        if pull.day is not None:
            look = Look(pull.finished_at, pull.listed, dated=pull.dated, unmodified=pull.unmodified, error=pull.error)
            found.setdefault(pull.day, []).append(look)
    return found


def health(session: Session) -> list[Health]:
    """Return how each source that was ever asked is, by name."""
    good = _latest(session, Pull.error == "")
    bad = _latest(session, Pull.error != "")
    totals = (
        select(Pull.source, sa.func.sum(Pull.new), sa.func.sum(Pull.updated))
        .group_by(col(Pull.source))
        .order_by("source")
    )
    return [
        Health(
            source=source,
            last_success_at=good[source].finished_at if source in good else None,
            last_error_at=bad[source].finished_at if source in bad else None,
            last_error=bad[source].error if source in bad else "",
            failures=failures,
            new=new,
            updated=updated,
            failing_since=since,
        )
        for source, new, updated in session.exec(totals)
        for failures, since in [_failures(session, source)]
    ]


def latest(session: Session) -> dict[str, list[Pull]]:
    """Return the rows of each source's latest run, by source."""
    begun = select(Pull.source, sa.func.max(Pull.started_at).label("at")).group_by(col(Pull.source)).subquery()
    statement = (
        select(Pull)
        .join(begun, sa.and_(begun.c.source == Pull.source, begun.c.at == Pull.started_at))
        .order_by(Pull.source, col(Pull.id))
    )
    found: dict[str, list[Pull]] = {}
    for pull in session.exec(statement):
        found.setdefault(pull.source, []).append(pull)
    return found


def known_answers(session: Session, prefix: str) -> dict[str, Validators]:
    """Return what makes requests for URLs that begin with `prefix` conditional, by URL."""
    statement = select(KnownAnswer).where(col(KnownAnswer.url).startswith(prefix, autoescape=True))
    return {each.url: Validators(each.etag, each.last_modified) for each in session.exec(statement)}


def know(session: Session, answers: Mapping[str, Validators], now: datetime) -> None:
    """Keep what makes the next request for some URLs a conditional one."""
    rows = [
        {"url": url, "etag": each.etag, "last_modified": each.last_modified, "seen_at": now}
        for url, each in answers.items()
    ]
    if rows:
        statement = insert(session, KnownAnswer)
        latest_ = {name: statement.excluded[name] for name in ("etag", "last_modified", "seen_at")}
        session.execute(statement.on_conflict_do_update(index_elements=["url"], set_=latest_), rows)


def forget(session: Session, before: datetime) -> None:
    """Let go of reports and validators from before an instant; not of what brought papers, nor of a last success."""
    kept = select(sa.func.max(Pull.id)).where(Pull.error == "").group_by(col(Pull.source))
    dull = sa.and_(col(Pull.new) == 0, col(Pull.updated) == 0, col(Pull.finished_at) < before)
    session.execute(sa.delete(Pull).where(dull, col(Pull.id).not_in(kept)))
    session.execute(sa.delete(KnownAnswer).where(col(KnownAnswer.seen_at) < before))


def _latest(session: Session, condition: sa.ColumnElement[bool] | bool) -> dict[str, Pull]:
    ids: Sequence[int] = [
        id_ or 0 for id_ in session.exec(select(sa.func.max(Pull.id)).where(condition).group_by(col(Pull.source)))
    ]
    return {
        pull.source: pull
        for chunk in chunks(ids, _CHUNK)
        for pull in session.exec(select(Pull).where(col(Pull.id).in_(chunk)))
    }


def _failures(session: Session, source: str) -> tuple[int, datetime | None]:
    """Return how many runs in a row failed, and when the first of them was over.

    What counts in a run is its newest day: an old one may be gone for good.
    """
    runs = select(Pull.started_at, sa.func.max(Pull.day).label("day")).where(Pull.source == source)
    newest = runs.group_by(col(Pull.started_at)).subquery()
    judged = sa.and_(
        col(Pull.source) == source,
        newest.c.started_at == col(Pull.started_at),
        newest.c.day.is_not_distinct_from(col(Pull.day)),
    )
    good = select(sa.func.max(Pull.id)).join(newest, judged).where(Pull.error == "").scalar_subquery()
    statement = (
        select(sa.func.count(), sa.func.min(col(Pull.finished_at), type_=UTCDateTime()))
        .select_from(Pull)
        .join(newest, judged)
        .where(Pull.error != "", col(Pull.id) > sa.func.coalesce(good, 0))
    )
    return session.exec(statement).one()
