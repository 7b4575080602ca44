"""Whether time tells who is a subscriber: answers of the running server for known, unknown and barred addresses."""

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median

import pytest
import requests
from fakes import free_port

from newsletter import clock
from newsletter.app import App
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences

pytestmark = pytest.mark.benchmark
NEWSLETTER = Path(sys.executable).parent / "newsletter"
EACH = 200
KINDS = ("unknown", "known", "barred")
SETTINGS = {"SECRET_KEY": "a key for tests", "SOURCES": "", "SIGNUPS_PER_HOUR": "100000", "LOG_LEVEL": "ERROR",
            "SIGNUPS_PER_HOUR_CLIENT": "100000", "SIGNUPS_PER_HOUR_DOMAIN": "100000"}  # fmt: skip


def address(kind: str, number: int) -> str:
    """Return an address of the same length for every kind."""
    return f"{kind:x<8}{number:04d}@example.org"


def populate(app: App) -> None:
    """Add the known and the barred ones."""
    known = [Entry(address("known", number), Preferences(), State.ACTIVE) for number in range(EACH)]
    with app.db.session() as session:
        subscribers.write_entries(session, known, app.now())
        for number in range(EACH):
            subscribers.suppress(session, address("barred", number), "bounced", app.now())


@pytest.mark.parametrize("path", ["/subscribe", "/link", "/api/v1/signups"])
def test_time_for_known_and_unknown_addresses(make_app: Callable[..., App], sqlite_url: str, path: str) -> None:
    populate(make_app(sqlite_url, now=clock.now))
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    settings = SETTINGS | {"DATABASE_URL": sqlite_url, "PORT": str(port), "BASE_URL": site}
    environment = os.environ | {f"NEWSLETTER_{name}": value for name, value in settings.items()}
    took: dict[str, list[float]] = defaultdict(list)
    with subprocess.Popen([str(NEWSLETTER), "run"], env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            assert "listening" in running.stderr.readline()
            http = requests.Session()
            http.mount(
                "http://", requests.adapters.HTTPAdapter(max_retries=requests.adapters.Retry(40, backoff_factor=0.05))
            )
            for number in range(20):
                http.post(site + path, **_sent(path, address("warm", number)), timeout=30)
            order = [(kind, number) for kind in KINDS for number in range(EACH)]
            Random(1).shuffle(order)  # what a worker does for one address must not always fall on the same kind
            for kind, number in order:
                started = clock.monotonic()
                answer = http.post(site + path, **_sent(path, address(kind, number)), timeout=30)
                took[kind].append(clock.monotonic() - started)
                assert answer.status_code in {200, 202}
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=60) == 0
    medians = {kind: median(took[kind]) * 1_000 for kind in KINDS}
    said = ", ".join(f"{kind} {medians[kind]:.2f} ms" for kind in KINDS)
    apart = max(medians.values()) - min(medians.values())
    print(f"\n{path}: {EACH} answers each, medians: {said}; at most {apart:.2f} ms apart")


def _sent(path: str, email: str) -> dict[str, dict[str, str]]:
    return {"json" if path.startswith("/api") else "data": {"email": email}}
