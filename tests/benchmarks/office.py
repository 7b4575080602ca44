"""An issue that is ready to be sent, as often as a benchmark wants to send it."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from relays import Relay
from samples import add_papers, open_and_queue, record

from newsletter import clock
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.store import Accounting
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.topics import TOPICS

ROOT = Path(__file__).parents[2]
_HERE = Path(__file__).parent
_SECRET = "a key for benchmarks"
_WORDS = (
    "sparse", "latent", "causal", "robust", "hybrid", "neural", "online", "masked", "joint", "guided", "frozen", "wide",
    "tiny", "early", "modular", "scaled", "gated", "nested", "folded", "tuned",
)  # fmt: skip
_THINGS = ("encoders", "rewards", "tokens", "surfaces", "gradients", "prompts", "molecules", "queries", "maps", "plans")


@dataclass(frozen=True)
class Sent:
    """What sending an issue took.

    :ivar cpu_us: microseconds of CPU a mail, of our processes together.
    :ivar first_ms: the longest that a process took for its first mails, which are in no other figure.
    :ivar stages: microseconds a mail by stage, if that was asked for.
    """

    mails: int
    rate: float
    cpu_us: float
    peak_mb: float = 0.0
    first_ms: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Office:
    """A database with a queued issue; each run gets a copy of it.

    :ivar copy: makes a copy and yields its address.
    """

    dialect: str
    issue_id: int
    readers: int
    copy: Callable[[], "contextmanager[str]"]  # type: ignore[type-arg]

    def send(
        self, relay: Relay, *, processes: int = 1, connections: int = 50, stages: bool = False, **settings: str
    ) -> Sent:
        """Send the issue by as many processes; all of it, or it is no figure."""
        words = [str(_HERE / "sender.py"), str(self.issue_id), *(["--stages"] if stages else [])]
        with self.copy() as url:
            reports, seconds = _together([words] * processes, environment(url, relay.url(connections), **settings))
            assert accounting(url, self.issue_id).sent == self.readers
        mails = sum(each["tried"] for each in reports)
        by_stage = {name: spent / mails * 1e6 for each in reports for name, spent in each["stages"].items()}
        return Sent(
            mails=mails,
            rate=mails / seconds,
            cpu_us=sum(each["cpu"] for each in reports) / mails * 1e6,
            peak_mb=max(each["peak_mb"] for each in reports),
            first_ms=max(each["first"] for each in reports) * 1e3,
            stages=by_stage,
        )

    def send_naively(self, relay: Relay, mails: int) -> Sent:
        """Send some of the issue the naive way."""
        with self.copy() as url:
            words = [str(_HERE / "naive.py"), str(self.issue_id), str(mails), str(relay.port)]
            (report,), seconds = _together([words], environment(url, relay.url(1)))
            assert accounting(url, self.issue_id).sent == mails
        return Sent(mails, mails / seconds, report["cpu"] / mails * 1e6)


def environment(database_url: str, smtp_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a process of ours: this checkout, and these settings."""
    settings = {"database_url": database_url, "smtp_url": smtp_url, "secret_key": _SECRET, "sources": "",
                "base_url": "https://news.example.org", "log_level": "ERROR"} | more  # fmt: skip
    named = {f"NEWSLETTER_{name.upper()}": value for name, value in settings.items()}
    return os.environ | {"PYTHONPATH": str(ROOT)} | named


def accounting(url: str, issue_id: int) -> Accounting:
    """Return how an issue stands."""
    from newsletter.db import Database

    db = Database(url)
    with db.snapshot() as session:
        found = deliveries.accounting(session, issue_id, "")
    db.dispose()
    return found


def prepare(app: App, readers: int) -> int:
    """Put 100 papers and readers with wishes of their own into a database and queue the issue; return its id."""
    chance = random.Random(5)
    add_papers(app, [_paper(number, chance) for number in range(1, 101)])
    entries = [Entry(f"reader{number}@example.org", _wishes(chance), State.ACTIVE) for number in range(readers)]
    with app.db.session() as session:
        subscribers.write_entries(session, entries, app.now())
    return open_and_queue(app).id or 0


def _paper(number: int, chance: random.Random) -> object:
    topic = list(TOPICS)[number % len(TOPICS)]
    about = " ".join([topic, *chance.sample(_WORDS, 3), chance.choice(_THINGS)])
    said = [
        f"We look at {phrase} with {chance.choice(_WORDS)} {chance.choice(_THINGS)}, and find that what was thought to "
        f"be a matter of {chance.choice(_WORDS)} {chance.choice(_THINGS)} is one of care."
        for phrase in (*TOPICS[topic], *chance.choices(_THINGS, k=6))
    ]
    where = f"https://example.org/{'-'.join(about.split())}-{number}"
    return record(
        number,
        f"On {about} and what they are good for when there is little time and even less data to be had: part {number}",
        abstract=" ".join(said),
        authors=tuple(f"{first} Example-{number}" for first in ("Ada", "Grace", "Emmy", "Sofia", "Mary", "Lise")),
        organization=f"The {chance.choice(_WORDS)} Institute of {chance.choice(_THINGS)}",
        listed_at=clock.now(),
        upvotes=chance.randrange(200),
        code_url=f"{where}/code",
        project_url=f"{where}/project",
    )


def _wishes(chance: random.Random) -> Preferences:
    return Preferences(
        topics=tuple(chance.sample(list(TOPICS), chance.randrange(1, 5))),
        keywords=tuple(f"{word} {chance.choice(_THINGS)}" for word in chance.sample(_WORDS, 3)),
        max_papers=10,
        hour=0,
    )


def _together(commands: Sequence[Sequence[str]], settings: dict[str, str]) -> tuple[list[dict[str, float]], float]:
    """Let processes begin at one moment; return what they report, and the seconds until the last is done."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [
        subprocess.Popen([sys.executable, *words], env=settings, text=True, **pipes)  # type: ignore[call-overload]
        for words in commands
    ]
    try:
        for each in running:
            assert each.stdout.readline() == "ready\n"
        begun = clock.monotonic()
        for each in running:
            each.stdin.write("go\n")
            each.stdin.flush()
        reports = [json.loads(each.stdout.readline()) for each in running]
        return reports, clock.monotonic() - begun
    finally:
        for each in running:
            each.communicate(timeout=30)


@contextmanager
def sqlite_copy(original: Path, folder: Path) -> Iterator[str]:
    """Yield a copy of a file; its commits wait for the disk, as the product sets it."""
    copy = folder / "run.db"
    shutil.copy(original, copy)
    yield f"sqlite:///{copy}"
    for file in folder.glob("run.db*"):
        file.unlink()


@contextmanager
def postgresql_copy(server: str, original: str, copy: str) -> Iterator[str]:
    """Yield a copy of a database on the same server.

    :param server: the server's address with a place for ``{name}``.
    """
    admin = sa.create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {copy} TEMPLATE {original}")
        connection.exec_driver_sql("CHECKPOINT")  # what the copying wrote is not to be waited for in the run
    yield server.format(name=copy)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {copy} WITH (FORCE)")
    admin.dispose()
