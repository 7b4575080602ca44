"""Working fakes: what stands outside, answering on loopback as the real thing does."""

import json
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Clock:
    """A clock that stands still until it is told."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        """Move on, by ``hours=…``, ``minutes=…`` and so on."""
        self.at += timedelta(**by)


@dataclass
class HuggingFaceServer:
    """Answers ``/api/daily_papers`` as the API does, from lists by day.

    :ivar troubles: instead of the list of a day: a status, bytes to send, or ``"hang"``.
    """

    days: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    troubles: dict[str, list[int | bytes | str]] = field(default_factory=dict)
    today: date = date(2026, 8, 7)
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    url: str = ""
    release: threading.Event = field(default_factory=threading.Event)

    def answer(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        """Return status and body for a query."""
        text = query.get("date", [self.today.isoformat()])[0]
        try:
            day = date.fromisoformat(text)
        except ValueError:
            return 400, json.dumps({"error": f"Invalid date: {text}"}).encode()
        if day > self.today:
            return 400, json.dumps({"error": "date is in the future"}).encode()
        page, limit = int(query.get("p", ["0"])[0]), min(int(query.get("limit", ["50"])[0]), 100)
        return 200, json.dumps(self.days.get(text, [])[page * limit : (page + 1) * limit]).encode()

    @contextmanager
    def serving(self) -> Iterator["HuggingFaceServer"]:
        """Serve on a free port."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                outer.asked.append(query.get("date", [""])[0])
                outer.agents.add(self.headers.get("User-Agent", ""))
                waiting = outer.troubles.get(outer.asked[-1], [])
                trouble = waiting.pop(0) if waiting else None
                if parts.path != "/api/daily_papers":
                    return self.say(404, b"{}")
                if trouble == "hang":
                    outer.release.wait(30)
                    return None
                if isinstance(trouble, int):
                    return self.say(trouble, b"{}", {"Retry-After": "0"} if trouble == 429 else {})
                if isinstance(trouble, bytes):
                    return self.say(200, trouble)
                return self.say(*outer.answer(query))

            def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            self.release.set()
            server.shutdown()
            server.server_close()


def listed(
    number: int, title: str, day: date, *, upvotes: int = 10, abstract: str = "", **paper: Any
) -> dict[str, Any]:
    """Return an item of the daily list as the API sends it."""
    arxiv_id = f"{day:%y%m}.{number:05d}"
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "paper": {
            "id": arxiv_id,
            "authors": [{"_id": "1", "name": "Ada Example", "hidden": False}],
            "publishedAt": midnight,
            "submittedOnDailyAt": midnight,
            "title": title,
            "summary": abstract or f"What {title} is about.",
            "upvotes": upvotes,
            **paper,
        },
        "publishedAt": midnight,
        "title": title,
        "summary": abstract or f"What {title} is about.",
        "numComments": 1,
    }


Reply = str | Iterable[bytes]
Script = Callable[[str, "Session"], Reply | None]


@dataclass
class Received:
    """A message that the server has accepted."""

    sender: str
    recipient: str
    data: bytes


class Session(socketserver.StreamRequestHandler):
    """One SMTP connection; `step` is told of everything before it is answered."""

    server: "SmtpServer"
    disable_nagle_algorithm = True  # as relays do; else each reply behind another one waits 40 ms

    def handle(self) -> None:
        try:
            self._dialogue()
        except (_HungUpError, OSError):
            return

    def _dialogue(self) -> None:
        self.sender = self.recipient = ""
        self.has_sender = self.has_recipient = False
        self.say("connect", "220 sink.example.org ESMTP")
        while line := self.rfile.readline():
            text = self.line = line.decode("utf-8", "replace").strip()
            verb = text.split(" ", 1)[0].upper()
            self.server.heard.append(text)
            if verb in {"EHLO", "HELO"}:
                names = ["sink.example.org", *self.server.extensions]
                last = names.pop()
                self.say("ehlo", "".join(f"250-{name}\r\n" for name in names) + f"250 {last}")
            elif verb == "MAIL":
                self.sender = text[text.index("<") + 1 : text.index(">")]
                self.has_sender = self.say("mail", "250 2.1.0 ok").startswith("250")
            elif verb == "RCPT":
                self.recipient = text[text.index("<") + 1 : text.index(">")]
                usual = "250 2.1.5 ok" if self.has_sender else "503 5.5.1 who from?"
                self.has_recipient = self.say("rcpt", usual).startswith("25")
            elif verb == "DATA":
                usual = "354 go ahead" if self.has_recipient else "554 5.5.1 no valid recipients"
                if self.say("data", usual).startswith("354"):
                    self._data()
                self.has_sender = self.has_recipient = False
            elif verb == "RSET":
                self.has_sender = self.has_recipient = False
                self.say("rset", "250 2.0.0 ok")
            elif verb == "QUIT":
                self.say("quit", "221 bye")
                return
            else:
                self.say(verb.lower(), "250 2.0.0 ok")

    def _data(self) -> None:
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise _HungUpError
            lines.append(line[1:] if line.startswith(b"..") else line)
            if len(lines) == 5:
                self.server.step("body", self)
        message = Received(self.sender, self.recipient, b"".join(lines))
        trouble = self.server.step("dot", self) if self.has_recipient else "554 5.5.1 no valid recipients"
        if trouble is None or (isinstance(trouble, str) and trouble.startswith("2")):
            self.server.accepted.append(message)
            after = self.server.step("accepted", self)
            self._send(after or trouble or "250 2.0.0 queued as 1")
        else:
            self._send(trouble)

    def say(self, step: str, usual: str) -> str:
        reply = self.server.step(step, self) or usual
        self._send(reply)
        return str(reply)

    def _send(self, reply: Reply) -> None:
        if reply == "drop":
            raise _HungUpError
        if reply == "rst":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            raise _HungUpError
        if reply == "hang":
            self.server.release.wait(30)
            raise _HungUpError
        if isinstance(reply, str):
            self.wfile.write(reply.encode() + b"\r\n")
            return
        for piece in reply:
            self.wfile.write(piece)
            self.server.blurted += len(piece)
        raise _HungUpError


class _HungUpError(Exception):
    """The dialogue is over."""


class SmtpServer(socketserver.ThreadingTCPServer):
    """A relay that keeps what it accepted, and misbehaves on demand.

    :ivar extensions: what EHLO offers.
    :ivar heard: the commands of all connections.
    :ivar blurted: how many bytes were said in pieces until nobody listened any more.
    :ivar script: called with each step and the session; returns a reply, ``"drop"``, ``"rst"``, ``"hang"``, pieces
        to be said as they are before hanging up, or ``None``.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Session)
        self.accepted: list[Received] = []
        self.heard: list[str] = []
        self.connections = self.blurted = 0
        self.extensions = ["8BITMIME", "PIPELINING"]
        self.script: Script = lambda _step, _session: None
        self.release = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The relay as a setting."""
        return f"smtp://127.0.0.1:{self.server_address[1]}?starttls=never&timeout=5"

    def step(self, step: str, session: Session) -> Reply | None:
        """Count and ask the script."""
        with self._lock:
            self.connections += step == "connect"
            return self.script(step, session)

    def recipients(self) -> list[str]:
        """Return who was mailed, in order."""
        return [each.recipient for each in self.accepted]

    @contextmanager
    def serving(self) -> Iterator["SmtpServer"]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.release.set()
            self.shutdown()
            self.server_close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
