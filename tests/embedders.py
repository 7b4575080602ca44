"""An embedder for the tests: answers on loopback as embeddings APIs do, and knows which words mean the like."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zlib import crc32

import numpy as np

DIMENSIONS = 16
FIELDS = (("protein", "enzyme", "fold", "chaperone", "peptide"), ("agent", "tool", "web", "browser"), ("knot", "space"))


def direction(text: str) -> list[float]:
    """Return a direction that leans to the field whose words a text holds, and a little anywhere else."""
    row = np.random.default_rng(crc32(text.encode())).normal(size=DIMENSIONS) * 0.2
    row[0] += 3
    for axis, words in enumerate(FIELDS, 1):
        row[axis] += 2 * sum(word in text.casefold() for word in words)
    return [float(each) for each in row]


@dataclass
class EmbeddingServer:
    """Answers ``POST /v1/embeddings``.

    :ivar troubles: what to answer first instead: a status, bytes, or JSON.
    :ivar asked: what it was asked.
    """

    troubles: list[Any] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    refused: str = ""
    trickles: str = ""
    url: str = ""
    pause: threading.Event = field(default_factory=threading.Event)

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Return status and body."""
        if self.troubles:
            trouble = self.troubles.pop(0)
            if isinstance(trouble, int):
                return trouble, b""
            return 200, trouble if isinstance(trouble, bytes) else json.dumps(trouble).encode()
        if self.refused and any(self.refused in each for each in body["input"]):
            return 400, b'{"error": "too long"}'
        rows = [{"object": "embedding", "index": n, "embedding": direction(t)} for n, t in enumerate(body["input"])]
        rows.reverse()  # the index says which is which
        return 200, json.dumps({"object": "list", "model": body["model"], "data": rows}).encode()

    @contextmanager
    def serving(self) -> Iterator["EmbeddingServer"]:
        """Serve on a free port."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body | {"path": self.path})
                outer.keys.append(self.headers.get("Authorization"))
                status, answer = outer.answer(body)
                if outer.trickles:
                    self.trickle(outer.trickles, answer)
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if status == 302:
                    self.send_header("Location", f"{outer.url}/embeddings")
                self.end_headers()
                self.wfile.write(answer)

            def trickle(self, where: str, answer: bytes) -> None:
                """Send a byte now and then, always before anybody loses their patience with the next one."""
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
                self.wfile.write(head if where == "body" else head[:9])
                with suppress(OSError):
                    for byte in answer if where == "body" else head[9:]:
                        outer.pause.wait(0.2)
                        self.wfile.write(bytes([byte]))

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
