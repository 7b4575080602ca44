"""Papers and readers for tests, as values."""

import email
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from email import policy
from email.message import EmailMessage
from urllib.parse import urlsplit

from sqlmodel import select

from newsletter import membership, pipeline, pulling
from newsletter.app import App
from newsletter.issues.models import Issue
from newsletter.membership import Asking
from newsletter.papers import ledger
from newsletter.papers.models import PaperRecord
from newsletter.pulling import Pulled
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.intake.models import Outcome, SignUp
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
    return list(added)


def open_and_queue(app: App, *, any_hour: bool = True) -> Issue:
    """Open the day's issue and queue everybody."""
    issue = pipeline.open_issue(app, app.now().date())
    with app.db.snapshot() as session:
        from newsletter.issues import store as issues

        due = pipeline.resolve_due(issue.day, app.now(), any_hour=any_hour)(issues.groups(session))
    pipeline.queue(app, issue, due)
    return issue


def sign_up(app: App, email: str, *, client: str = "somebody", **wishes: object) -> int:
    """Ask as the form does, deliver what follows, and return the id of the newest sign-up that was mailed."""
    membership.ask(app, Asking(email, Preferences.model_validate(wishes), client=client))
    pipeline.deliver(app, None)
    with app.db.snapshot() as session:
        return max(session.exec(select(SignUp.id).where(SignUp.outcome == Outcome.MAILED)), default=0) or 0


def join(app: App, email: str, **wishes: object) -> int:
    """Sign somebody up who then confirms; return the subscriber's id."""
    done = membership.confirm(app, sign_up(app, email, **wishes))
    assert done is not None
    return done.subscriber.id or 0


def joined(app: App, email: str) -> State:
    """Return a subscriber's state."""
    with app.db.snapshot() as session:
        person = subscribers.find(session, email)
    assert person is not None
    return State(person.state)


def mails_of(app: App, to: str = "") -> list[EmailMessage]:
    """Deliver all that is due now; return the mails of the outbox, or those to one address, in their order."""
    pipeline.deliver(app, None)
    for issue_id in pipeline.sweep(app):
        pipeline.deliver(app, issue_id)
    files = sorted(app.settings.outbox_dir.glob("*/*.eml"), key=lambda file: int(file.stem))
    found = [email.message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return [each for each in found if to in {"", each["to"]}]


def text_of(mail: EmailMessage) -> str:
    """Return a mail's text part."""
    part = mail.get_body(("plain",))
    return str(part.get_content()) if part else ""


def paths_in(mail: EmailMessage, room: str) -> list[str]:
    """Return the paths below ``/room/`` that a mail's text holds, each once, in order."""
    found = re.findall(rf"https://news\.example\.org(/{room}/\S+)", text_of(mail))
    return [urlsplit(each).path for each in dict.fromkeys(found)]


def paper_ids_in(mail: EmailMessage) -> list[int]:
    """Return the ids of the papers in a digest, in its order."""
    return list(dict.fromkeys(int(path.split("/")[3]) for path in paths_in(mail, "f")))


__all__ = [
    "HOSTILE",
    "add_papers",
    "add_readers",
    "join",
    "joined",
    "mails_of",
    "membership",
    "open_and_queue",
    "paper_ids_in",
    "paths_in",
    "pull_days",
    "record",
    "sign_up",
    "text_of",
]
