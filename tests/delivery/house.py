"""A house for many rows of the fault matrix: one database, one relay, and for each row six new readers on a new day."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from fakes import Clock, Reply, Script, Session, SmtpServer
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App, build_app
from newsletter.delivery.ledger import HANDOFF_LEASE
from newsletter.delivery.models import Delivery, DeliveryState
from newsletter.issues.models import Issue
from newsletter.settings import Settings
from newsletter.subscribers.models import State, Subscriber

READERS = 6
# Longer than the waits between attempts with their spread; all six fit into the twenty hours of an issue.
_ROUNDS = (7, 20, 75, 300, 300, 1)
_FINAL = {DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.SKIPPED, DeliveryState.UNKNOWN}


@dataclass(frozen=True)
class Kind:
    """What a house is built of."""

    database: str
    pipelining: bool
    connections: int

    def __str__(self) -> str:
        return f"{self.database}-{'pipelined' if self.pipelining else 'plain'}-{self.connections}"


@dataclass(frozen=True)
class Ended:
    """How an issue ended: the ledger's word for each reader beside what the relay really has.

    :ivar states: by the reader's number.
    :ivar replies: what the ledger keeps as the reason, by the reader's number.
    :ivar arrived: the readers' numbers in the order of the relay's list.
    """

    states: dict[int, str]
    replies: dict[int, str]
    attempts: dict[int, int]
    arrived: list[int]

    def number(self, state: str) -> int:
        """Return how many readers ended in a state."""
        return Counter(self.states.values())[state]

    def broken(self) -> list[str]:
        """Return which promises are broken, a line each; whatever the fault, there must be none."""
        told = f"ledger {self.states}, reasons {self.replies}, relay {self.arrived}"
        mailed = Counter(self.arrived)
        checks = {
            "mailed twice": [who for who, times in mailed.items() if times > 1],
            "sent says the ledger, the relay has nothing": [
                who for who, state in self.states.items() if state == "sent" and not mailed[who]
            ],
            "the relay has it, the ledger does not know": [
                who for who in mailed if self.states.get(who) not in {"sent", "unknown"}
            ],
            "stuck": [who for who, state in self.states.items() if state not in _FINAL],
        }
        return [f"{what}: readers {who} ({told})" for what, who in checks.items() if who]


class House:
    """An app, its relay and a clock."""

    def __init__(self, app: App, smtp: SmtpServer, clock: Clock) -> None:
        self.app, self.smtp, self.clock = app, smtp, clock
        self.prefix = ""
        self._rows = count(1)

    def begin(self, script: Script) -> Issue:
        """Open the next day's issue for six new readers, on fresh connections."""
        self.app.transport.close()
        with self.app.db.session() as session:
            session.execute(sa.update(Subscriber).values(state=State.UNSUBSCRIBED))
        self.clock.forward(days=1)
        self.smtp.accepted.clear()
        self.smtp.heard.clear()
        self.smtp.connections = self.smtp.blurted = 0
        number = next(self._rows)
        self.prefix = f"row{number}-"
        add_papers(self.app, [record(number, listed_at=self.clock.at - timedelta(hours=5))])
        add_readers(self.app, READERS, prefix=self.prefix, max_papers=1)
        self.smtp.script = script
        return open_and_queue(self.app)

    def run(self, script: Script, between: Callable[[], object] = lambda: None) -> Ended:
        """Deliver an issue, again and again after the waits, until nothing is left."""
        issue = self.begin(script)
        return self.go_on(issue, between)

    def go_on(self, issue: Issue, between: Callable[[], object] = lambda: None) -> Ended:
        """Deliver until nothing is left."""
        start = self.clock.at
        for minutes in _ROUNDS:
            pipeline.deliver(self.app, issue.id)
            ended = self.ended(issue)
            if not ended.number("deferred") + ended.number("queued"):
                break
            between()
            self.clock.forward(minutes=minutes)
        if ended.number("leased") + ended.number("handoff"):  # of a worker that died
            self.clock.forward(seconds=HANDOFF_LEASE.total_seconds() + 1)
            pipeline.deliver(self.app, issue.id)
            ended = self.ended(issue)
        self.clock.at = start
        return ended

    def ended(self, issue: Issue) -> Ended:
        """Return where everybody stands now."""
        who = sa.select(Subscriber.email, Delivery).join(Delivery, sa.text("deliveries.subscriber_id = subscribers.id"))
        with self.app.db.snapshot() as session:
            rows = {self.reader(row[0]): row[1] for row in session.execute(who.where(Delivery.issue_id == issue.id))}
        return Ended(
            {each: str(rows[each].state) for each in sorted(rows)},
            {each: rows[each].reply for each in sorted(rows) if rows[each].reply and rows[each].state != "sent"},
            {each: rows[each].attempts for each in sorted(rows)},
            [self.reader(each) for each in self.smtp.recipients()],
        )

    def reader(self, address: str) -> int:
        """Return which of the six an address is."""
        return int(address.removeprefix(self.prefix).partition("@")[0])


@contextmanager
def house(kind: Kind, urls: dict[str, Callable[[], Any]], **options: str) -> Iterator[House]:
    """Build a house; `urls` are context managers with a fresh database's address."""
    with ExitStack() as stack:
        smtp = stack.enter_context(SmtpServer().serving())
        if not kind.pipelining:
            smtp.extensions.remove("PIPELINING")
        folder = Path(stack.enter_context(TemporaryDirectory()))
        clock = Clock(datetime(2026, 8, 5, 9, 0, tzinfo=UTC))
        query = "&".join(f"{name}={value}" for name, value in {"connections": kind.connections, **options}.items())
        app = build_app(
            Settings(
                _env_file=None,
                database_url=stack.enter_context(urls[kind.database]()),
                smtp_url=f"{smtp.url.partition('&timeout')[0]}&{query}",
                secret_key="a key for tests",
                outbox_dir=folder / "outbox",
                base_url="https://news.example.org",
            ),
            now=clock,
        )
        stack.callback(app.close)
        yield House(app, smtp, clock)


def once(step: str, reply: Reply | Callable[[], Reply], at: int = 3) -> Callable[[], Script]:
    """Answer one step otherwise, once: at its third passage, of a greeting at the first."""
    which = 1 if step in {"connect", "ehlo"} else at

    def fresh() -> Script:
        passed = Counter[str]()

        def script(seen: str, _session: Session) -> Reply | None:
            passed[seen] += 1
            if (seen, passed[seen]) != (step, which):
                return None
            return reply() if callable(reply) else reply

        return script

    return fresh


def always(step: str, reply: Reply, reader: int = 3) -> Callable[[], Script]:
    """Answer a step otherwise for one reader, always."""
    which = f"-{reader}@"
    return lambda: lambda seen, session: reply if seen == step and which in session.recipient else None


def mark_of(app: App, address: str) -> str:
    """Return the state of the newest delivery to an address, as another process sees it now."""
    newest = select(Delivery.state).join(Subscriber, sa.text("deliveries.subscriber_id = subscribers.id"))
    with app.db.snapshot() as session:
        return session.exec(newest.where(Subscriber.email == address).order_by(sa.desc(Delivery.id))).first() or ""


def states_of(app: App) -> Counter[str]:
    """Return how many deliveries there are in each state."""
    with app.db.snapshot() as session:
        return Counter(str(each) for each in session.exec(select(Delivery.state)))
