"""Papers and readers for tests, as values."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from newsletter import membership, pipeline, pulling
from newsletter.app import App
from newsletter.issues.models import Issue
from newsletter.papers import ledger
from newsletter.papers.models import PaperRecord
from newsletter.pulling import Pulled
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences

HOSTILE = (
    "<script>alert(1)</script>",
    "=?utf-8?q?A=0ABcc:_x@example.org?=",
    "{{7*7}} {% raw %} <!--% if x %-->",
    "x" * 5_000,
    "safe \u202eevil\u202c \u2066turned\u2069",
    '"><img src=x onerror=alert(1)>',
    "line one\r\nBcc: victim@example.org\r\n\r\nbody",
    "\r\n.\r\nMAIL FROM:<evil@example.org>\r\n",
    "\x02read\x03 \x00 \x1b[31m",
    "Große Übersicht — 拡散モデル, диффузия, נתיב \U0001f600",
    "50% of %(read)b %s &amp; &lt;b&gt; ' \"",
    "javascript:alert(1)",
    "a =\nb =20 =3D\t .",
)


def record(number: int, title: str = "", **fields: object) -> PaperRecord:
    """Return a paper listed on the morning of the tests' day."""
    defaults: dict[str, object] = {
        "key": f"arxiv:2608.{number:05d}",
        "title": title or f"Paper number {number}",
        "listed_at": datetime(2026, 8, 5, tzinfo=UTC),
        "source": "file",
        "abstract": f"This is what paper {number} says. It says it twice.",
        "url": f"https://arxiv.org/abs/2608.{number:05d}",
        "pdf_url": f"https://arxiv.org/pdf/2608.{number:05d}",
        "upvotes": number,
    }
    return PaperRecord(**(defaults | fields))  # type: ignore[arg-type]


def add_papers(app: App, records: Iterable[PaperRecord]) -> None:
    """Put papers into the app's database."""
    with app.db.session() as session:
        ledger.upsert(session, list(records), app.now())


def pull_days(app: App, days: Sequence[date]) -> list[Pulled]:
    """Ask every configured source for some days."""
    return pulling.pull(app, pulling.plan(app, days))


def add_readers(
    app: App, count: int = 1, *, prefix: str = "reader", joined: timedelta = timedelta(days=30), **wishes: object
) -> list[int]:
    """Add active subscribers who joined a while ago; return their ids."""
    entries = [
        Entry(f"{prefix}{number}@example.org", Preferences.model_validate(wishes), State.ACTIVE)
        for number in range(count)
    ]
    with app.db.session() as session:
        added, _ = subscribers.write_entries(session, entries, app.now() - joined)
    return added


def open_and_queue(app: App, *, any_hour: bool = True) -> Issue:
    """Open the day's issue and queue everybody."""
    issue = pipeline.open_issue(app, app.now().date())
    with app.db.snapshot() as session:
        from newsletter.issues import store as issues

        due = pipeline.resolve_due(issue.day, app.now(), any_hour=any_hour)(issues.groups(session))
    pipeline.queue(app, issue, due)
    return issue


def joined(app: App, email: str) -> State:
    """Return a subscriber's state."""
    with app.db.snapshot() as session:
        person = subscribers.find(session, email)
    assert person is not None
    return State(person.state)


__all__ = ["HOSTILE", "add_papers", "add_readers", "joined", "membership", "open_and_queue", "pull_days", "record"]
