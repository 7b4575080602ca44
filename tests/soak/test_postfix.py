"""A real Postfix as our relay, killed while it takes an issue and with a queue: all arrives, nothing twice."""

import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes import SmtpServer, free_port
from fleet import every, kill_family
from samples import add_papers, add_readers, open_and_queue, record

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.store import Accounting

POSTFIX = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not POSTFIX or os.geteuid() != 0, reason="needs postfix (apt-get install postfix) and root"),
]
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = relay.example.org
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
default_transport = smtp:[127.0.0.1]:{onwards}
smtpd_client_connection_count_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
"""
MASTER = """\
{port}    inet  n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """An instance of its own, in a folder of its own, that passes all mail on to one server."""

    def __init__(self, folder: Path, onwards: int) -> None:
        self._folder, self.port = folder, free_port()
        for each in ("queue", "data", "etc"):
            (folder / each).mkdir(parents=True)
        shutil.chown(folder / "data", "postfix")
        (folder / "etc/main.cf").write_text(MAIN.format(folder=folder, onwards=onwards), encoding="utf-8")
        (folder / "etc/master.cf").write_text(MASTER.format(port=f"127.0.0.1:{self.port}"), encoding="utf-8")
        self._master = 0

    def start(self) -> None:
        """Start, or start again; what is in the queue goes on."""
        self._do("start")
        self._master = int((self._folder / "queue/pid/master.pid").read_text(encoding="ascii"))

    def kill(self) -> None:
        """Kill all its processes at once, without a word."""
        kill_family(self._master)

    def stop(self) -> None:
        """Stop for good."""
        with suppress(subprocess.CalledProcessError):
            self._do("abort")

    def _do(self, what: str) -> None:
        command = [POSTFIX or "postfix", "-c", str(self._folder / "etc"), what]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture
def inbox() -> Iterator[SmtpServer]:
    """Where all mail ends."""
    with SmtpServer().serving() as server:
        yield server


@pytest.fixture
def postfix(inbox: SmtpServer) -> Iterator[Postfix]:
    with TemporaryDirectory(prefix="newsletter-postfix-") as folder:
        Path(folder).chmod(0o755)  # Postfix looks into it as a user of its own, which pytest's folders do not allow
        relay = Postfix(Path(folder), inbox.server_address[1])
        relay.start()
        try:
            yield relay
        finally:
            relay.stop()


@pytest.fixture
def later() -> list[timedelta]:
    """How far the clock of `app` goes ahead."""
    return [timedelta()]


@pytest.fixture
def app(make_app: Callable[..., App], sqlite_url: str, postfix: Postfix, later: list[timedelta]) -> App:
    url = f"smtp://127.0.0.1:{postfix.port}?starttls=never&connections=10&timeout=30"
    return make_app(sqlite_url, smtp_url=url, now=lambda: clock.now() + later[0])


def begin(app: App, readers: int) -> int:
    """Queue an issue; return its id."""
    add_papers(app, [record(1, listed_at=clock.now())])
    add_readers(app, readers)
    return open_and_queue(app).id or 0


def deliver_until_done(app: App, issue_id: int, later: list[timedelta]) -> Accounting:
    """Deliver again and again, each time some minutes later, as a scheduler would."""
    for _ in range(8):
        pipeline.sweep(app)
        pipeline.deliver(app, issue_id)
        later[0] += timedelta(minutes=25)
    with app.db.snapshot() as session:
        return deliveries.accounting(session, issue_id, "x")


def arrived(inbox: SmtpServer, mails: int) -> Counter[str]:
    """Wait for so many mails, for a minute; return how often each reader was mailed."""
    with suppress(AssertionError):
        every(0.1, 60.0, lambda: len(inbox.accepted) >= mails, lambda: None)
    return Counter(inbox.recipients())


def test_a_relay_that_is_killed_while_it_takes_an_issue_costs_nobody_their_mail(
    app: App, later: list[timedelta], postfix: Postfix, inbox: SmtpServer
) -> None:
    readers, connections = 300, 10
    issue_id = begin(app, readers)

    def strike() -> None:
        arrived(inbox, readers // 6)
        postfix.kill()
        postfix.start()

    striker = threading.Thread(target=strike)
    striker.start()
    pipeline.deliver(app, issue_id)
    striker.join()
    ended = deliver_until_done(app, issue_id, later)
    mailed = arrived(inbox, readers)
    print(f"\n{len(mailed)} of {readers} arrived, none twice, {ended.unknown} unknown")
    assert set(mailed.values()) == {1}
    assert ended.sent + ended.unknown == readers, ended
    assert ended.unknown <= connections
    assert len(mailed) >= ended.sent


def test_a_relay_that_is_killed_with_a_queue_still_has_it(
    app: App, later: list[timedelta], postfix: Postfix, inbox: SmtpServer
) -> None:
    inbox.script = lambda step, _: "451 4.3.0 not now" if step == "mail" else None
    ended = deliver_until_done(app, begin(app, 20), later)
    assert ended.sent == 20, ended
    assert not inbox.accepted
    postfix.kill()
    inbox.script = lambda _step, _session: None
    postfix.start()
    mailed = arrived(inbox, 20)
    assert (len(mailed), set(mailed.values())) == (20, {1})
