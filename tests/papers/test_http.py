"""Polite requests, against a server that does whatever it likes."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from fakes import HuggingFaceServer, free_port

from newsletter.errors import SourceError
from newsletter.papers.sources.http import MAX_BODY_BYTES, Answer, Web

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


def reply(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class RawServer:
    """Answers each connection with the next of some bytes, then with the last of them for ever.

    :ivar trickle: sent again and again behind the bytes, until the client hangs up.
    """

    answers: list[bytes]
    trickle: bytes = b""
    asked: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @contextmanager
    def serving(self) -> Iterator["RawServer"]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()
            try:
                yield self
            finally:
                self.over.set()
                server.shutdown(socket.SHUT_RDWR)

    def _serve(self, server: socket.socket) -> None:
        while not self.over.is_set():
            try:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    self.asked += 1
                    connection.sendall(self.answers[min(self.asked, len(self.answers)) - 1])
                    while self.trickle and not self.over.wait(0.01):
                        connection.sendall(self.trickle)
            except OSError:
                continue


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Serve raw answers until the test ends."""
    running = []

    def start(*answers: bytes, trickle: bytes = b"") -> RawServer:
        running.append(RawServer(list(answers), trickle).serving())
        return running[-1].__enter__()

    yield start
    for each in running:
        each.__exit__(None, None, None)


def web(timeout_seconds: float = 5.0) -> Web:
    return Web(timeout_seconds=timeout_seconds, backoff_seconds=0)


def test_the_operator_can_be_reached(huggingface: HuggingFaceServer) -> None:
    Web("admin@example.org").get(f"{huggingface.url}/api/daily_papers", {"date": "2026-08-05"})
    (agent,) = huggingface.agents
    assert agent.startswith("newsletter/")
    assert agent.endswith(" (admin@example.org)")


@pytest.mark.parametrize(
    "refusal",
    [
        reply("429 Too Many Requests"),
        reply("429 Too Many Requests", "Retry-After: 0"),
        reply("429 Too Many Requests", "Retry-After: Wed, 01 Jan 2020 00:00:00 GMT"),
        reply("500 Oops"),
        reply("502 Bad Gateway", body=b"<html>"),
        reply("503 Busy", "Retry-After: 0"),
        reply("504 Late"),
        b"",  # hung up without a word
    ],
    ids=lambda refusal: repr(refusal[9:40]),
)
def test_a_refusal_that_passes_is_waited_out(serve: Callable[..., RawServer], refusal: bytes) -> None:
    server = serve(refusal, GOOD)
    assert web().get(server.url, {}) == Answer(200, b"[]")
    assert server.asked == 2


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oops", "503 Busy"])
def test_a_refusal_that_lasts_is_an_error_that_names_it(serve: Callable[..., RawServer], status: str) -> None:
    server = serve(reply(status))
    with pytest.raises(SourceError, match=f"answered {status}"):
        web().get(server.url, {})
    assert server.asked == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418])
def test_an_answer_that_will_not_change_is_not_asked_for_again(serve: Callable[..., RawServer], status: int) -> None:
    server = serve(reply(f"{status} No", body=b"no"))
    assert web().get(server.url, {}) == Answer(status, b"no")
    assert server.asked == 1


@pytest.mark.parametrize("wish", ["soon", "-5", "Fri, 99 Foo", "1e3", "\xff"])
def test_a_wish_to_wait_that_nobody_understands_is_an_error_of_the_source(
    serve: Callable[..., RawServer], wish: str
) -> None:
    with pytest.raises(SourceError):
        web().get(serve(reply("429 Too Many Requests", f"Retry-After: {wish}")).url, {})


def test_a_source_that_hangs_is_given_up(huggingface: HuggingFaceServer) -> None:
    huggingface.troubles[""] = ["hang"] * 9
    with pytest.raises(SourceError, match="does not answer in time"):
        web(0.1).get(f"{huggingface.url}/api/daily_papers", {})
    assert len(huggingface.asked) == 2


def test_a_source_that_hangs_once_is_asked_again(huggingface: HuggingFaceServer) -> None:
    huggingface.troubles[""] = ["hang"]
    assert web(0.3).get(f"{huggingface.url}/api/daily_papers", {}).status == 200


def test_a_source_that_hangs_in_the_middle_of_its_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def answer_half() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[")
                done.wait(30)

        threading.Thread(target=answer_half, daemon=True).start()
        with pytest.raises(SourceError, match="does not answer in time"):
            web(0.2).get(f"http://127.0.0.1:{server.getsockname()[1]}/", {})
        done.set()


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["length", "until-close", "chunked"],
)
def test_a_source_that_trickles_cannot_hold_a_pull(serve: Callable[..., RawServer], head: bytes, drop: bytes) -> None:
    with pytest.raises(SourceError, match="did not finish its answer in time"):
        web(0.1).get(serve(head, trickle=drop).url, {})


def test_an_answer_without_an_end_is_cut_off(serve: Callable[..., RawServer]) -> None:
    endless = serve(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (MAX_BODY_BYTES + 1))
    with pytest.raises(SourceError, match="more than 32 MiB"):
        web(30).get(endless.url, {})


def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off(serve: Callable[..., RawServer]) -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1), 1)
    with pytest.raises(SourceError, match="more than 32 MiB"):
        web(30).get(serve(reply("200 OK", "Content-Encoding: gzip", body=bomb)).url, {})


@pytest.mark.parametrize(
    "answer",
    [
        reply("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"[1, 2]" * 50_000)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"6\r\n[1, 2]\r\n" for _ in range(50_000))
        + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[1, 2]" * 50_000,
        reply("200 OK", body=b"[1, 2]" * 50_000),
    ],
    ids=["gzip", "chunked", "until-close", "length"],
)
def test_a_body_arrives_whole_however_it_is_sent(serve: Callable[..., RawServer], answer: bytes) -> None:
    assert web().get(serve(answer).url, {}) == Answer(200, b"[1, 2]" * 50_000)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[]",
        reply("200 OK", "Content-Encoding: gzip", body=b"not gzip"),
        b"220 mail.example.org ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n[]",
        reply("302 Found", "Location: http://[::1"),
        reply("302 Found", "Location: http://\xff\xfe/"),
        reply("302 Found", "Location: http://.../"),
        reply("302 Found", "Location: http://127.0.0.1:99999/"),
        reply("302 Found", "Location: file:///etc/passwd"),
        reply("302 Found", "Location: javascript:alert(1)"),
        reply("302 Found", "Location: /again"),
    ],
    ids=lambda answer: repr(answer[9:60]),
)
def test_a_broken_answer_is_an_error_of_the_source_in_plain_words(
    serve: Callable[..., RawServer], answer: bytes
) -> None:
    with pytest.raises(SourceError) as caught:
        web().get(serve(answer).url, {})
    assert len(str(caught.value)) < 80
    assert " at 0x" not in str(caught.value)


def test_a_source_that_is_not_there_is_an_error_in_plain_words() -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        web().get(f"http://127.0.0.1:{free_port()}/", {})
