"""Three hosts: database, broker and relay on one, a worker on each of the others; one of these is cut off mid-issue."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from celery_workers import worker
from fleet import Fleet, Shift, Sweeper, every
from hosts import Host, network, why_not
from samples import add_papers, add_readers, open_and_queue, record
from servers import postgresql, valkey_at
from test_chaos import Log

from newsletter import clock
from newsletter.app import App
from newsletter.db import Database
from newsletter.delivery.ledger import LEASE
from newsletter.migrate import migrate

_WHY_NOT = why_not()
pytestmark = [pytest.mark.soak, pytest.mark.skipif(bool(_WHY_NOT), reason=f"THREE HOSTS NOT SHOWN: {_WHY_NOT}")]
MAILS = 2_000
CONNECTIONS = 4
CUT_AT = 300  # mails
CUT_SECONDS = 10.0
LIMIT_SECONDS = 400.0
_HERE = Path(__file__).parent


@contextmanager
def relay_on(host: Host, folder: Path) -> Iterator[tuple[str, Log]]:
    """Run a relay that writes down what it accepts; yield its address as a setting."""
    folder.mkdir()
    command = [*host.run, "env", f"PYTHONPATH={_HERE.parent}", sys.executable, str(_HERE / "chaos_relay.py")]
    words = [str(folder), "0", "0", str(MAILS), host.address]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            yield f"smtp://{host.address}:{port}?starttls=never&connections={CONNECTIONS}", Log(folder)
        finally:
            process.kill()


@contextmanager
def workers_on(hosts: list[Host], settings: dict[str, str], shift: Shift, *, shifted: bool) -> Iterator[None]:
    """Run a worker on each host: the command of the product, or the same with a clock that can be put forward."""
    with ExitStack() as stack:
        if shifted:
            relays = [settings["smtp_url"]] * len(hosts)
            before = [host.run for host in hosts]
            stack.enter_context(Fleet(settings, relays, shift, random.Random(0), 1, before).working())
        else:
            from office import environment

            for host in hosts:
                stack.enter_context(worker(environment(**settings), before=host.run))  # type: ignore[arg-type]
        yield


@pytest.mark.parametrize("longer_than_its_lease", [False, True], ids=["for a moment", "longer than its lease"])
def test_a_host_is_cut_off_mid_issue_and_comes_back(
    make_app: Callable[..., App], tmp_path: Path, *, longer_than_its_lease: bool
) -> None:
    with ExitStack() as stack:
        middle, *outer = stack.enter_context(network(["data", "one", "two"]))
        server = stack.enter_context(postgresql(host=middle.address, before=middle.run)).format(name="postgres")
        broker, broker_here = stack.enter_context(valkey_at(middle.address, middle.run))
        smtp_url, log = stack.enter_context(relay_on(middle, tmp_path / "relay"))
        db = Database(server)
        migrate(db)
        db.dispose()
        app = make_app(server, now=clock.now, smtp_url=smtp_url, broker_url=broker_here)
        add_papers(app, [record(number, listed_at=clock.now()) for number in range(1, 4)])
        add_readers(app, MAILS, hour=0, max_papers=2)
        open_and_queue(app)
        settings = {"database_url": f"postgresql+psycopg://postgres@{middle.address}/postgres", "smtp_url": smtp_url,
                    "broker_url": broker, "secret_key": "a key for tests"}  # fmt: skip
        shift = Shift(tmp_path / "shift")
        sweeper = Sweeper(app, broker_here, shift)
        stack.enter_context(workers_on(outer, settings, shift, shifted=longer_than_its_lease))
        every(0.25, LIMIT_SECONDS, lambda: log.count() >= CUT_AT, sweeper.sweep)
        outer[1].cut_off()
        cut_at = clock.monotonic()
        if longer_than_its_lease:
            shift.put(LEASE.total_seconds() + 5)
        every(0.25, LIMIT_SECONDS, lambda: clock.monotonic() - cut_at > CUT_SECONDS, sweeper.sweep)
        meanwhile = log.count()
        outer[1].join()
        every(0.25, LIMIT_SECONDS, sweeper.at_rest, sweeper.sweep)
        states, seconds = sweeper.states(), clock.monotonic() - cut_at
    arrived = Counter(recipient for recipient, _ in log.accepted())
    by_state = Counter(state for state, _ in states.values())
    print(f"\ncut off at {CUT_AT} mails, back at {meanwhile}, at rest {seconds:.0f} s after the cut: {dict(by_state)}")
    sent = {who for who, (state, _) in states.items() if state == "sent"}
    unknown = {who for who, (state, _) in states.items() if state == "unknown"}
    assert len(states) == MAILS == len(sent | unknown)
    assert len(unknown) <= CONNECTIONS
    assert max(arrived.values()) == 1
    assert sent <= arrived.keys() <= sent | unknown
