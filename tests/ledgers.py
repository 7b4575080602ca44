"""A ledger with a long past: many old issues whose mails were sent, and one for many readers that is just queued."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from newsletter.db import Database
from newsletter.delivery import store
from newsletter.issues import cadence
from newsletter.issues import store as issues
from newsletter.issues.models import Issue

FIRST = date(2026, 6, 1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo")


def fill(db: Database, readers: int, old_issues: int) -> None:
    """Write down active readers, and old issues that each of half of them was sent."""
    postgresql = db.engine.dialect.name == "postgresql"

    def numbers(count: int) -> str:
        if postgresql:
            return f"(SELECT generate_series(1, {count}) AS n) AS numbers"
        return f"(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {count}) SELECT n FROM up)"

    zone = " ".join(f"WHEN n % 4 = {number} THEN '{name}'" for number, name in enumerate(ZONES))
    with db.session() as session:
        session.execute(
            text(
                "INSERT INTO subscribers (id, email, email_key, state, topics, keywords, authors, categories, mutes,"
                " timezone, hour, cadence, max_papers, created_at, confirmed_at) SELECT n, 'reader' || n ||"
                " '@example.org', 'reader' || n || '@example.org', 'active', '[]', '[]', '[]', '[]', '[]',"
                f" CASE {zone} END, 6, 'daily', 10, :at, :at FROM {numbers(readers)}"
            ),
            {"at": datetime(2026, 5, 1)},  # noqa: DTZ001  written past the column type
        )
    for number in range(1, old_issues + 1):
        with db.session() as session:
            _issue(session, number)
            session.execute(
                text(
                    "INSERT INTO deliveries (mail, issue_id, subscriber_id, state, attempts, queued_at, not_before,"
                    " expires_at, message_id, selection, code, reply, done_at) SELECT 'digest', :issue,"
                    " n * 2 - :issue % 2, CASE WHEN n % 9999 = 0 THEN 'unknown' ELSE 'sent' END, 1, :at, :at, :at,"
                    " '<' || n || '@example.org>', '{\"considered\": 9, \"picks\": [[1, 0.8, \"topic: proteins\"]]}',"
                    f" 250, '2.0.0 Ok: queued as 4F2B1C', :at FROM {numbers(readers // 2)}"
                ),
                {"issue": number, "at": noon(number).replace(tzinfo=None)},
            )


def noon(issue: int) -> datetime:
    """Return midday, UTC, of an issue's day."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, 12, tzinfo=UTC) + timedelta(days=issue)


def queue(db: Database, issue: int) -> int:
    """Queue everybody for an issue; return how many were not queued before."""
    with db.session() as session:
        if session.get(Issue, issue) is None:
            _issue(session, issue)
    with db.snapshot() as session:
        due = cadence.due_on(issues.groups(session), noon(issue).date(), noon(issue), any_hour=True)
    with db.session() as session:
        return sum(store.queue(session, issue, each, now=noon(issue)) for each in due)


def _issue(session: Session, number: int) -> None:
    day = noon(number).date()
    session.execute(
        text(
            "INSERT INTO issues (id, slot, day, state, stopped_why, window_start, window_end, opened_at, news)"
            " VALUES (:id, :slot, :day, 'open', '', :at, :at, :at, '[]')"
        ),
        {"id": number, "slot": str(day), "day": day, "at": noon(number).replace(tzinfo=None)},
    )
