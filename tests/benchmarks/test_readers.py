"""How many sign-ups, one-clicks and preference pages a server answers a second, with 50 clients at once."""

import asyncio
import os
import socket
import subprocess
import sys
import time as real_clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from fakes import free_port
from samples import add_papers, add_readers, record

from newsletter.app import App
from newsletter.settings import PREFIX
from newsletter.signing import Purpose

pytestmark = pytest.mark.benchmark
CLIENTS = 50
FORM = "application/x-www-form-urlencoded"
ABOUT = "protein design with diffusion models"
SIGN_UP = {"topics": "proteins", "about": ABOUT, "timezone": "Europe/Berlin", "hour": 7}


@contextmanager
def serving(app: App, port: int, command: str) -> Iterator[None]:
    """Run ``newsletter serve`` (pages alone) or ``newsletter run`` (with the worker) in a process of its own."""
    settings = {
        "database_url": app.settings.database_url,
        "secret_key": "a key for tests",
        "base_url": f"http://127.0.0.1:{port}",
        "sources": "arxiv",
        "signups_per_hour": "1000000",
        "signups_per_hour_client": "1000000",
        "signups_per_hour_domain": "1000000",
        "log_level": "ERROR",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "newsletter"), command, "--port", str(port)],
        env=kept | {PREFIX + name.upper(): value for name, value in settings.items()},
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    assert b"listening" in process.stderr.readline()
    try:
        until = real_clock.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)) and real_clock.monotonic() < until:
            pass
        yield
    finally:
        process.terminate()
        process.wait(30)


async def ask(port: int, requests: Sequence[bytes]) -> tuple[list[float], list[int]]:
    """Send requests over `CLIENTS` kept-open connections; return seconds and status of each."""
    waiting = iter(requests)
    seconds: list[float] = []
    statuses: list[int] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            started = real_clock.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            seconds.append(real_clock.perf_counter() - started)
            statuses.append(int(head[9:12]))
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return seconds, statuses


def post(path: str, fields: dict[str, object]) -> bytes:
    body = urlencode(fields)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.mark.parametrize("command", ["serve", "run"])
def test_pages_under_fifty_clients(make_app: Callable[..., App], database_url: str, command: str) -> None:
    app = make_app(database_url)
    add_papers(app, [record(number, f"Diffusion models for proteins, part {number}") for number in range(1, 300)])
    readers = add_readers(app, 3_000, topics=("proteins",))
    app.db.dispose()
    sign = app.signer.sign
    now = datetime.now(UTC)
    one_click: dict[str, object] = {"List-Unsubscribe": "One-Click"}
    leave = [post(f"/u/{sign(Purpose.UNSUBSCRIBE, each, now=now)}", one_click) for each in readers]
    wishes = [sign(Purpose.PREFERENCES, each, now=now) for each in readers[:1_000]]
    sign_ups = [post("/subscribe", SIGN_UP | {"email": f"new{number}@example.org"}) for number in range(1_000)]
    look = [get(f"/preferences/{token}") for token in wishes]
    change = [post(f"/preferences/{token}", SIGN_UP | {"topics": "robotics"}) for token in wishes]
    port = free_port()
    with serving(app, port, command):
        asyncio.run(ask(port, [get("/subscribe")] * 200 + leave[-1:]))  # the first of a process compiles its statements
        print(f"\n{command}, {app.db.engine.dialect.name}:")
        for name, requests in (
            ("sign-up", sign_ups), ("preferences, GET", look), ("preferences, POST", change), ("one-click", leave[:-1])
        ):  # fmt: skip
            started = real_clock.perf_counter()
            seconds, statuses = asyncio.run(ask(port, requests))
            rate = len(seconds) / (real_clock.perf_counter() - started)
            p50, p99 = (sorted(seconds)[int(len(seconds) * part)] * 1000 for part in (0.5, 0.99))
            print(f"{name:>18}: {rate:5.0f}/s, median {p50:4.0f} ms, p99 {p99:4.0f} ms, {sorted(set(statuses))}")
            assert set(statuses) <= {200, 303}
