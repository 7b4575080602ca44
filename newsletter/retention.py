"""How long mails are kept: what was in them for a season, what became of them for as long as the operator says."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlmodel import Session

from newsletter import logs
from newsletter.app import App
from newsletter.delivery.alarms import store as alarms
from newsletter.delivery.archive import store as archive_store
from newsletter.issues.models import Issue, Kept

_log = logs.get(__name__)
# Longer than links in a mail are good, and than anybody asks what a reader has seen.
CONTENTS_KEPT = timedelta(days=100)
_CHUNK = 1_000  # mails in one transaction: on SQLite nobody else writes while it lasts
_BUDGET = timedelta(seconds=30)  # of one run: what is left is for the next one
_Work = Callable[[Session, int, int, int], int | None]


def archive(app: App) -> None:
    """Forget what old issues' mails held, then the mails; an issue's accounting stays for ever."""
    now = app.now()
    until, keep = now + _BUDGET, timedelta(days=app.settings.keep_days)
    with app.db.snapshot() as session:
        gone = archive_store.over(session, (now - keep).date(), Kept.EVERYTHING, Kept.STATES)
        slim = archive_store.over(session, (now - CONTENTS_KEPT).date(), Kept.EVERYTHING)
    for issue in gone:
        with app.db.session() as session:
            archive_store.close(session, issue.id or 0)
        if not _through(app, issue, archive_store.drop, Kept.ACCOUNTING, until):
            return
    for issue in slim:
        if issue not in gone and not _through(app, issue, archive_store.slim, Kept.STATES, until):
            return
    _drop_notices(app, now - keep, until)
    with app.db.session() as session:
        alarms.forget(session, now - CONTENTS_KEPT)


def _through(app: App, issue: Issue, work: _Work, kept: Kept, until: datetime) -> bool:
    """Go through an issue's mails; return whether the end was reached in time."""
    last: int | None = 0
    while last is not None:
        if app.now() >= until or app.stopping.is_set():
            return False
        with app.db.session() as session:
            last = work(session, issue.id or 0, last, _CHUNK)
            if last is None:
                archive_store.keep_only(session, issue.id or 0, kept)
    _log.info("issue archived", issue=issue.slot, kept=kept)
    return True


def _drop_notices(app: App, before: datetime, until: datetime) -> None:
    found = _CHUNK
    while found == _CHUNK and app.now() < until and not app.stopping.is_set():
        with app.db.session() as session:
            found = archive_store.drop_notices(session, before, _CHUNK)
