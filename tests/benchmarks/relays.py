"""Relays to send to, each in a process of its own, and postfix's load generator to compare with."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fakes import free_port

from newsletter import clock

_HERE = Path(__file__).parent
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin"
SMTP_SINK, SMTP_SOURCE = (shutil.which(name, path=_PATH) for name in ("smtp-sink", "smtp-source"))


@dataclass
class Relay:
    """Where to send to.

    :ivar messages: how many it took, known when it has ended; ``None`` from a relay that does not count.
    :ivar size: the mean bytes of their bodies.
    """

    port: int
    messages: int | None = None
    size: int = 0

    def url(self, connections: int) -> str:
        """The relay as a setting."""
        return f"smtp://127.0.0.1:{self.port}?starttls=never&connections={connections}"


def fast_command(folder: Path) -> list[str]:
    """Return how to start the sink that does not brake: compiled once into `folder`, or Python's without a compiler."""
    program, compiler = folder / "fastsink", shutil.which("cc")
    if compiler and not program.exists():
        subprocess.run([compiler, "-O2", "-o", str(program), str(_HERE / "fastsink.c")], check=True)
    return [str(program)] if compiler else [sys.executable, str(_HERE / "sink.py")]


@contextmanager
def fast(folder: Path, delay_ms: int = 0) -> Iterator[Relay]:
    """Serve as quickly as can be, or with every reply late by `delay_ms`."""
    relay = Relay(free_port())
    command = [*fast_command(folder), str(relay.port), str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield relay
        finally:
            process.send_signal(signal.SIGTERM)
            messages, size = map(int, process.stdout.read().split())
            relay.messages, relay.size = messages, size // max(messages, 1)


@contextmanager
def postfix() -> Iterator[Relay]:
    """Serve as postfix's ``smtp-sink`` does."""
    assert SMTP_SINK
    relay = Relay(free_port())
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen([SMTP_SINK, *user, f"127.0.0.1:{relay.port}", "512"]) as process:
        try:
            _await_port(relay.port)
            yield relay
        finally:
            process.terminate()


def load(relay: Relay, *, messages: int, size: int, connections: int) -> float:
    """Send messages as postfix's ``smtp-source`` does, all the same and without ledger; return how many a second."""
    assert SMTP_SOURCE
    words = ["-d", "-s", connections, "-m", messages, "-l", size, f"127.0.0.1:{relay.port}"]
    started = clock.monotonic()
    subprocess.run([SMTP_SOURCE, *map(str, words)], check=True)
    return messages / (clock.monotonic() - started)


def _await_port(port: int) -> None:
    ends, pause = clock.monotonic() + 10, threading.Event()
    while clock.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            pause.wait(0.02)
        else:
            return
    raise RuntimeError("smtp-sink does not listen")
