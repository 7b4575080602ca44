"""The fault matrix: whatever a relay does at whichever step, the ledger says what is true, and nobody is mailed twice.

Each row runs with every pair of: PIPELINING or not, one connection or four, SQLite or PostgreSQL. What kills processes
is in `test_crashes` and `test_outages`, what lies in `test_lies`.
"""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import Reply, Script, Session
from house import READERS, House, Kind, always, house, mark_of, once
from servers import database
from sqlmodel import select

from newsletter import membership
from newsletter.delivery.models import Delivery
from newsletter.issues.models import Issue

KINDS = [
    Kind("sqlite", pipelining=True, connections=4),
    Kind("sqlite", pipelining=False, connections=1),
    Kind("postgresql", pipelining=True, connections=1),
    Kind("postgresql", pipelining=False, connections=4),
]


@dataclass(frozen=True)
class Row:
    """A fault, and where it leaves six readers.

    :ivar unknown: how many may be unknown at the least and at the most.
    :ivar arrived: whether who is unknown has got the mail; None where both may be.
    :ivar tries: how often each reader was tried, where that matters.
    """

    name: str
    script: Callable[[], Script]
    failed: int = 0
    unknown: tuple[int, int] = (0, 0)
    arrived: bool | None = None
    tries: tuple[int, ...] | None = None


def limit_per_connection() -> Script:
    """Take two mails a connection, then say 421 and hang up."""
    taken = Counter[int]()

    def script(step: str, session: Session) -> Reply | None:
        taken[id(session)] += step == "mail"
        return [b"421 4.7.0 enough on this connection\r\n"] if step == "mail" and taken[id(session)] > 2 else None

    return script


def too_big_from_one() -> Script:
    """Refuse the third sender whenever it comes: as envelope senders are each mail's own, that is one mail."""
    senders: list[str] = []

    def script(step: str, session: Session) -> str | None:
        if step != "mail":
            return None
        senders.append(session.sender)
        return "552 5.3.4 too big" if session.sender in list(dict.fromkeys(senders))[2:3] else None

    return script


def late_250() -> Script:
    """Take a mail at once and say so a while later."""
    passed = Counter[str]()

    def script(step: str, _session: Session) -> None:
        passed[step] += 1
        if (step, passed[step]) == ("accepted", 3):
            threading.Event().wait(0.2)

    return script


def each_reader_their_own(step: str, *replies: str, times: int = 1_000) -> Callable[[], Script]:
    """Answer a step for each reader otherwise, so many times; an empty reply is the usual one."""

    def fresh() -> Script:
        said = Counter[str]()

        def script(seen: str, session: Session) -> str | None:
            if seen != step:
                return None
            said[session.recipient] += 1
            number = int(session.recipient.partition("-")[2].partition("@")[0])
            return replies[number] or None if said[session.recipient] <= times else None

        return script

    return fresh


_ONE = (1, 1)
_PASSING = ("450 4.2.0 busy", "451 4.3.0 later", "452 4.5.3 too many recipients", "452 4.2.2 full", "", "450 no")
ROWS = [
    Row("no fault", lambda: lambda _step, _session: None),
    *(Row(f"closes at {step}", once(step, "drop")) for step in ("connect", "ehlo", "mail", "rcpt", "data")),
    *(Row(f"resets at {step}", once(step, "rst")) for step in ("connect", "mail")),
    Row("closes in the body", once("body", "drop"), unknown=(0, 1), arrived=False),
    Row("closes at the dot, has not taken it", once("dot", "drop"), unknown=_ONE, arrived=False),
    Row("takes it and closes", once("accepted", "drop"), unknown=_ONE, arrived=True),
    Row("takes it and resets", once("accepted", "rst"), unknown=_ONE, arrived=True),
    Row("garbage instead of 250", once("accepted", "garbage"), unknown=_ONE, arrived=True),
    Row("half a 250", once("accepted", [b"250 2.0.0 que"]), unknown=_ONE, arrived=True),
    Row("250 comes late", late_250),
    Row("closes at quit", once("quit", "drop", at=1)),
    *(
        Row(f"421 at {step}", once(step, [b"421 4.3.2 going down\r\n"]))
        for step in ("connect", "ehlo", "mail", "rcpt", "data", "dot")
    ),
    Row("450, 451, 452 at rcpt", each_reader_their_own("rcpt", *_PASSING, times=1), tries=(2, 2, 2, 2, 1, 2)),
    Row("450, 451, 452 at the dot", each_reader_their_own("dot", *_PASSING, times=1), tries=(2, 2, 2, 2, 1, 2)),
    Row(
        "550 to 554 at rcpt, and 450 always",
        each_reader_their_own("rcpt", "550 5.1.1 who?", "552 5.2.2 full", "553 5.1.3 odd", "554 no", "450 busy", ""),
        failed=5,
        tries=(1, 1, 1, 1, 6, 1),
    ),
    Row("550 5.7.1 at rcpt", always("rcpt", "550 5.7.1 not from you"), failed=1, tries=(1, 1, 1, 1, 1, 1)),
    Row("554 at the dot", always("dot", "554 5.6.0 not this one"), failed=1, tries=(1, 1, 1, 1, 1, 1)),
    Row("552 too big at mail", too_big_from_one, failed=1),
    Row("554 greeting once", once("connect", "554 5.3.2 not today")),
    Row("421 after two mails a connection", limit_per_connection),
]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def a_house(request: pytest.FixtureRequest) -> Iterator[House]:
    """Build one for all rows."""

    @contextmanager
    def sqlite_url() -> Iterator[str]:
        folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("faults")
        shutil.copy(request.getfixturevalue("_migrated_sqlite"), folder / "newsletter.db")
        yield f"sqlite:///{folder / 'newsletter.db'}"

    urls = {"sqlite": sqlite_url, "postgresql": lambda: database(request.getfixturevalue("_postgresql"))}
    with house(request.param, urls) as built:
        yield built


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_fault_of_the_relay_ends_in_the_right_states(a_house: House, row: Row) -> None:
    ended = a_house.run(row.script())
    assert not ended.broken(), row.name
    unknown = [who for who, state in ended.states.items() if state == "unknown"]
    wanted = f"{row.failed} failed, {row.unknown} unknown, the rest sent; found {ended}"
    assert row.unknown[0] <= len(unknown) <= row.unknown[1], wanted
    assert (ended.number("failed"), ended.number("sent")) == (row.failed, READERS - row.failed - len(unknown)), wanted
    if row.arrived is not None:
        assert all((who in ended.arrived) is row.arrived for who in unknown), f"{row.name}: {ended}"
    if row.tries is not None:
        assert tuple(ended.attempts.values()) == row.tries, f"{row.name}: {ended}"


def test_no_dot_goes_out_before_its_mark_is_committed(a_house: House) -> None:
    marks: list[str] = []

    def script(step: str, session: Session) -> None:
        if step == "dot":
            marks.append(mark_of(a_house.app, session.recipient))

    assert not a_house.run(script).broken()
    assert marks == ["handoff"] * READERS


def test_two_mails_in_five_minutes_are_all_that_a_relay_takes_and_nobody_fails(a_house: House) -> None:
    taken = Counter[object]()

    def script(step: str, _session: Session) -> str | None:
        taken[a_house.clock.at] += step == "rcpt"
        return "450 4.7.1 slow down" if step == "rcpt" and taken[a_house.clock.at] > 2 else None

    ended = a_house.run(script)
    assert not ended.broken()
    assert ended.number("sent") == READERS, ended


def test_who_leaves_while_the_issue_is_sent_gets_no_mail(a_house: House) -> None:
    issue = a_house.begin(lambda _step, _session: None)

    def leave(step: str, session: Session) -> None:
        if step == "data" and session.recipient == f"{a_house.prefix}3@example.org":
            with a_house.app.db.snapshot() as read:
                person = membership.subscribers.find(read, session.recipient)
            assert person is not None
            membership.unsubscribe(a_house.app, [person.id or 0])

    a_house.smtp.script = leave
    ended = a_house.go_on(issue)
    assert not ended.broken()
    assert ended.states[3] == "skipped", ended
    assert ended.number("sent") == READERS - 1, ended


def test_a_mail_that_is_tried_again_has_the_same_message_id_and_envelope(a_house: House) -> None:
    tried: dict[str, list[str]] = {}

    def script(step: str, session: Session) -> str | None:
        if step != "dot":
            return None
        tried.setdefault(session.recipient, []).append(session.sender)
        return "451 4.3.0 later" if len(tried[session.recipient]) < 3 else None

    issue = a_house.begin(script)
    ids = [message_ids(a_house, issue)]
    ended = a_house.go_on(issue, lambda: ids.append(message_ids(a_house, issue)))
    assert not ended.broken()
    assert ended.number("sent") == READERS, ended
    assert all(len(senders) == 3 and len(set(senders)) == 1 for senders in tried.values()), tried
    assert len(set(ids[1])) == READERS
    assert ids[1] == ids[2]


def message_ids(a_house: House, issue: Issue) -> list[str | None]:
    with a_house.app.db.snapshot() as session:
        mine = select(Delivery.message_id).where(Delivery.issue_id == issue.id).order_by(Delivery.id)
        return list(session.exec(mine))
