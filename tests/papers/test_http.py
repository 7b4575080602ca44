"""Polite requests, against a server that does whatever it likes."""

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from fakes import HuggingFaceServer, free_port

from newsletter import clock
from newsletter.errors import SourceDownError, SourceError
from newsletter.papers.sources import guard
from newsletter.papers.sources.http import (
    MAX_BODY_BYTES,
    Answer,
    Validators,
    Web,
    longest_request_seconds,
    window_seconds,
)

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


def reply(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class RawServer:
    """Answers each connection with the next of some bytes, then with the last of them for ever.

    :ivar trickle: sent again and again behind the bytes, until the client hangs up.
    :ivar trickled: how many of the first answers trickle.
    """

    answers: list[bytes]
    trickle: bytes = b""
    trickled: int = 10**9
    asked: int = 0
    requests: list[bytes] = field(default_factory=list)
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
                    self.requests.append(connection.recv(65_536))
                    self.asked += 1
                    connection.sendall(self.answers[min(self.asked, len(self.answers)) - 1])
                    while self.trickle and self.asked <= self.trickled and not self.over.wait(0.01):
                        connection.sendall(self.trickle)
            except OSError:
                continue


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Serve raw answers until the test ends."""
    running = []

    def start(*answers: bytes, trickle: bytes = b"", trickled: int = 10**9) -> RawServer:
        running.append(RawServer(list(answers), trickle, trickled).serving())
        return running[-1].__enter__()

    yield start
    for each in running:
        each.__exit__(None, None, None)


def ask(url: str, timeout_seconds: float = 5.0, known: Validators | None = None) -> Answer:
    """Ask a server of ours: the operator's settings name it, or nobody would ask on loopback."""
    return Web(timeout_seconds=timeout_seconds, backoff_seconds=0, named=[url]).get(url, known=known)


def waits_of(url: str, **given: Any) -> tuple[Web, list[float]]:
    """Return somebody who only notes how long to wait."""
    waits: list[float] = []
    return Web(timeout_seconds=5, named=[url], wait=waits.append, **given), waits


def test_the_operator_can_be_reached(huggingface: HuggingFaceServer) -> None:
    Web("admin@example.org", named=[huggingface.url]).get(f"{huggingface.url}/api/daily_papers", {"date": "2026-08-05"})
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
    assert ask(server.url) == Answer(200, b"[]")
    assert server.asked == 2


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oops", "503 Busy"])
def test_a_refusal_that_lasts_is_an_error_that_names_it(serve: Callable[..., RawServer], status: str) -> None:
    server = serve(reply(status))
    with pytest.raises(SourceError, match=f"answered {status}"):
        ask(server.url)
    assert server.asked == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418])
def test_an_answer_that_will_not_change_is_not_asked_for_again(serve: Callable[..., RawServer], status: int) -> None:
    server = serve(reply(f"{status} No", body=b"no"))
    assert ask(server.url) == Answer(status, b"no")
    assert server.asked == 1


@pytest.mark.parametrize(
    "wish", ["soon", "-5", "Fri, 99 Foo", "1e3", "\xff", "", "9" * 5_000, "Mon, 1 Jan 99999 0:0:0"]
)
def test_a_wish_to_wait_that_nobody_understands_is_no_wish(serve: Callable[..., RawServer], wish: str) -> None:
    server = serve(reply("429 Too Many Requests", f"Retry-After: {wish}"), GOOD)
    asking, waits = waits_of(server.url, backoff_seconds=1)
    assert asking.get(server.url) == Answer(200, b"[]")
    (waited,) = waits
    assert 1 <= waited <= (60 if wish.startswith("9") else 1.5)


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("7", 6, 7),
        ("  7 ", 6, 7),
        ("3600", 59, 60),
        (formatdate(clock.now().timestamp() + 3_600, usegmt=True), 59, 60),
        (formatdate(clock.now().timestamp() - 3_600, usegmt=True), 1, 1.5),
        ("0", 1, 1.5),
    ],
    ids=["seconds", "blanks", "an-hour", "date", "past", "none"],
)
def test_a_wish_to_wait_is_heeded_up_to_a_minute_each_time(
    serve: Callable[..., RawServer], wish: str, least: float, most: float
) -> None:
    server = serve(reply("429 Too Many Requests", f"Retry-After: {wish}"))
    asking, waits = waits_of(server.url, backoff_seconds=1)
    with pytest.raises(SourceError, match="answered 429"):
        asking.get(server.url)
    assert least <= waits[0] <= most
    assert all(least <= each <= max(most, 4.5) for each in waits)
    assert len(waits) == 3


def test_without_a_wish_the_waits_grow_and_differ(serve: Callable[..., RawServer]) -> None:
    server = serve(reply("429 Too Many Requests", body=b"Rate exceeded."))
    asking, waits = waits_of(server.url, backoff_seconds=8)
    with pytest.raises(SourceError, match="answered 429"):
        asking.get(server.url)
    assert [base <= each <= base + 4 for base, each in zip((8, 16, 32), waits, strict=True)] == [True] * 3
    assert waits != [8, 16, 32]


def test_a_host_whose_quota_is_used_up_is_left_alone(serve: Callable[..., RawServer]) -> None:
    good = reply(
        "200 OK", 'RateLimit: "api";r=0;t=55', 'RateLimit-Policy: "fixed window";"api";q=500;w=300', body=b"[]"
    )
    server, other = serve(good), serve(GOOD)
    waits: list[float] = []
    asking = Web(named=[server.url, other.url], wait=waits.append)
    asking.get(server.url)
    assert waits == []
    asking.get(other.url)
    assert waits == []
    asking.get(server.url)
    assert len(waits) == 1
    assert 50 < waits[0] <= 55


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ('"api";r=0;t=55', 55),
        ('"api"; t=55 ; r=0', 55),
        ('"api";r=0;t=3600', 300),
        ('"api";r=1;t=55', 0),
        ('"api";r=10;t=55', 0),
        ('"pages";r=3;t=5, "api";r=0;t=20', 20),
        ('"api";r=0', 0),
        ('"api";r=;t=', 0),
        ("limit=100, remaining=0, reset=50", 0),
        ("", 0),
        (";r=0;t=" + "9" * 99, 0),
        (";r=0;t=1" * 100_000, 1),
    ],
)
def test_what_is_left_of_a_quota_is_read_from_the_draft_header(header: str, seconds: float) -> None:
    assert window_seconds(header) == seconds


def test_a_source_that_hangs_is_given_up(huggingface: HuggingFaceServer) -> None:
    huggingface.troubles[""] = ["hang"] * 9
    with pytest.raises(SourceError, match="does not answer in time"):
        ask(f"{huggingface.url}/api/daily_papers", 0.1)
    assert len(huggingface.asked) == 2


def test_a_source_that_hangs_once_is_asked_again(huggingface: HuggingFaceServer) -> None:
    huggingface.troubles[""] = ["hang"]
    assert ask(f"{huggingface.url}/api/daily_papers", 0.3).status == 200


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
            ask(f"http://127.0.0.1:{server.getsockname()[1]}/", 0.2)
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
        ask(serve(head, trickle=drop).url, 0.1)


def test_an_answer_without_an_end_is_cut_off(serve: Callable[..., RawServer]) -> None:
    endless = serve(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (MAX_BODY_BYTES + 1))
    with pytest.raises(SourceError, match="more than 32 MiB"):
        ask(endless.url, 30)


def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off(serve: Callable[..., RawServer]) -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1), 1)
    with pytest.raises(SourceError, match="more than 32 MiB"):
        ask(serve(reply("200 OK", "Content-Encoding: gzip", body=bomb)).url, 30)


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
    assert ask(serve(answer).url) == Answer(200, b"[1, 2]" * 50_000)


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
        ask(serve(answer).url)
    assert len(str(caught.value)) < 80
    assert " at 0x" not in str(caught.value)


def test_a_source_that_is_not_there_is_an_error_in_plain_words() -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        ask(f"http://127.0.0.1:{free_port()}/")


def test_what_was_known_makes_the_request_a_conditional_one(serve: Callable[..., RawServer]) -> None:
    fresh = reply("200 OK", 'ETag: W/"caf\xe9"', "Last-Modified: Wed, 05 Aug 2026 09:00:00 GMT", body=b"[]")
    server = serve(fresh, reply("304 Not Modified", 'ETag: "other"'))
    first = ask(server.url)
    assert first.validators == Validators('W/"caf\xe9"', "Wed, 05 Aug 2026 09:00:00 GMT")
    assert ask(server.url, known=first.validators) == Answer(304, b"", first.validators)
    assert b"If-None-Match" not in server.requests[0]
    assert b'\r\nIf-None-Match: W/"caf\xe9"\r\n' in server.requests[1]
    assert b"\r\nIf-Modified-Since: Wed, 05 Aug 2026 09:00:00 GMT\r\n" in server.requests[1]


def test_nobody_who_knows_nothing_is_told_that_nothing_changed(serve: Callable[..., RawServer]) -> None:
    with pytest.raises(SourceError, match="nothing has changed, to somebody who knows nothing yet"):
        ask(serve(reply("304 Not Modified")).url)


@pytest.mark.parametrize("tag", ["x" * 201, "a\x00b", "a\tb", "\x7f", "\x85"], ids=ascii)
def test_validators_that_cannot_be_sent_back_are_not_kept(serve: Callable[..., RawServer], tag: str) -> None:
    server = serve(reply("200 OK", f'ETag: "{tag}"', f"Last-Modified: {tag}.", body=b"[]"))
    assert ask(server.url) == Answer(200, b"[]")
    ask(server.url, known=Validators(f"{tag}.", f"{tag}."))
    ask(server.url, known=Validators("\u2026", "\ud800"))
    ask(server.url, known=Validators("a\r\nHost: b", "a\r\n b"))
    assert not any(b"If-" in each for each in server.requests)


def test_a_redirect_is_followed_without_the_parameters(serve: Callable[..., RawServer]) -> None:
    server = serve(reply("301 Moved", "Location: /b?c=d", "Set-Cookie: a=b"), reply("302 Found", "Location: e"), GOOD)
    known = Validators('"1"')
    answer = Web(named=[server.url]).get(server.url, {"q": "a b&c"}, known)
    assert answer == Answer(200, b"[]")
    assert [each.split(b" ")[1] for each in server.requests] == [b"/?q=a+b%26c", b"/b?c=d", b"/e"]
    assert all(b'If-None-Match: "1"' in each and b"Cookie" not in each for each in server.requests)


def test_three_redirects_are_enough(serve: Callable[..., RawServer]) -> None:
    server = serve(reply("302 Found", "Location: /again"))
    with pytest.raises(SourceError, match="redirects too often"):
        ask(server.url)
    assert server.asked == 4


@pytest.mark.parametrize("status", [300, 305, 306, 399])
def test_only_a_redirect_redirects(serve: Callable[..., RawServer], status: int) -> None:
    assert ask(serve(reply(f"{status} Odd", "Location: /again")).url).status == status


def test_a_redirect_that_leads_nowhere_is_an_answer(serve: Callable[..., RawServer]) -> None:
    assert ask(serve(reply("302 Found", body=b"hello")).url) == Answer(302, b"hello")


def test_the_body_of_a_redirect_is_not_read(serve: Callable[..., RawServer]) -> None:
    endless = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nConnection: close\r\n\r\n"
    server = serve(endless, GOOD, trickle=b" ", trickled=1)
    assert ask(server.url, 5) == Answer(200, b"[]")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://127.0.0.1:{other}/", "leads to port"),
        ("http://localhost/", "leads to a private address"),
        ("http://127.0.0.1/", "leads to 127.0.0.1, which is not on the public internet"),
        ("http://2130706433/", "leads to an address that spells its host in an odd way"),
        ("//me@127.0.0.1:{own}/", "leads to an address that names a user"),
        ("http://[::ffff:127.0.0.1]/", "leads to ::ffff:7f00:1, which"),
        ("http://169.254.169.254/latest/meta-data/", "leads to 169.254.169.254, which"),
        ("file:///etc/passwd", "leads to an address that does not begin with http"),
    ],
)
def test_a_redirect_may_not_lead_inside(serve: Callable[..., RawServer], location: str, said: str) -> None:
    server, other = serve(GOOD), serve(GOOD)
    ports = {"own": server.url.split(":")[2][:-1], "other": other.url.split(":")[2][:-1]}
    server.answers.insert(0, reply("302 Found", f"Location: {location.format(**ports)}"))
    with pytest.raises(SourceError) as caught:
        ask(server.url)
    assert said in str(caught.value)
    assert (server.asked, other.asked) == (1, 0)


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"X"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["status", "headers", "header", "continue", "trailer"],
)
def test_a_head_without_an_end_cannot_hold_a_pull(serve: Callable[..., RawServer], head: bytes, drop: bytes) -> None:
    server = serve(head, trickle=drop)
    with pytest.raises(SourceError):  # the time is over, or there are more headers than anybody reads
        ask(server.url, 0.2)
    assert server.asked <= 2


def test_a_header_that_trickles_gets_four_times_the_time_of_one_step(serve: Callable[..., RawServer]) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nX: ", trickle=b"y")
    with pytest.raises(SourceDownError, match="did not finish its answer in time"):
        ask(server.url, 0.1)
    assert server.asked == 1
    assert longest_request_seconds(30) > 4 * 30


@pytest.mark.parametrize("cut", [1, 9, 10, 11, 100, -9, -8, -1])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_half_of_what_was_packed_is_not_taken_for_the_whole(
    serve: Callable[..., RawServer], cut: int, framing: str
) -> None:
    half = gzip.compress(bytes(range(256)) * 400)[:cut]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: GZip\r\n"
    whole = {
        "length": head + b"Content-Length: %d\r\n\r\n%b" % (len(half), half),
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(half), half),
        "close": head + b"Connection: close\r\n\r\n" + half,
    }[framing]
    with pytest.raises(SourceError, match="hung up in the middle of its answer"):
        ask(serve(whole).url)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"[1]")),
        ("x-gzip", gzip.compress(b"[1]")),
        ("deflate", zlib.compress(b"[1]")),
        ("gzip", gzip.compress(b"[") + gzip.compress(b"1]")),
        ("gzip", gzip.compress(b"[1]") + bytes(512)),
        ("identity", b"[1]"),
        ("utf-8", b"[1]"),
    ],
    ids=["gzip", "x-gzip", "deflate", "members", "padding", "identity", "no-encoding"],
)
def test_a_packed_body_is_unpacked(serve: Callable[..., RawServer], encoding: str, packed: bytes) -> None:
    assert ask(serve(reply("200 OK", f"Content-Encoding: {encoding}", body=packed)).url).body == b"[1]"


def test_what_packs_very_well_comes_out_whole(serve: Callable[..., RawServer]) -> None:
    packed = gzip.compress(bytes(MAX_BODY_BYTES), 9)
    assert ask(serve(reply("200 OK", "Content-Encoding: gzip", body=packed)).url, 30).body == bytes(MAX_BODY_BYTES)


def test_nothing_at_all_needs_no_unpacking(serve: Callable[..., RawServer]) -> None:
    assert ask(serve(reply("200 OK", "Content-Encoding: gzip")).url) == Answer(200, b"")


def test_a_hundred_megabytes_are_cut_off_early(serve: Callable[..., RawServer]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * 2**20)
    with pytest.raises(SourceError, match="more than 32 MiB"):
        ask(serve(head + bytes(40 * 2**20)).url, 30)


def test_more_than_was_promised_is_left_where_it_is(serve: Callable[..., RawServer]) -> None:
    assert ask(serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]EVIL").url) == Answer(200, b"[]")


def test_no_password_and_no_cookie_goes_out(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password word\ndefault login me password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(reply("200 OK", "Set-Cookie: a=b; Path=/", body=b"[]"))
    asking = Web(named=[server.url])
    asking.get(server.url)
    asking.get(server.url)
    assert len(server.requests) == 2
    assert not any(b"Authorization" in each or b"Cookie" in each for each in server.requests)
    assert all(b"\r\nAccept-Encoding: gzip\r\n" in each for each in server.requests)


def test_a_reason_of_a_stranger_is_not_repeated_at_length(serve: Callable[..., RawServer]) -> None:
    with pytest.raises(SourceError) as caught:
        ask(serve(reply("500 " + "\x1b[31m" + "x" * 9_000)).url)
    assert str(caught.value) == "answered 500"


def test_whoever_connects_when_the_time_is_over_is_too_late(serve: Callable[..., RawServer]) -> None:
    server = serve(GOOD)
    with guard.Deadline(0) as deadline, socket.create_connection(("127.0.0.1", int(server.url[17:-1]))) as connection:
        deadline._timer.join()
        assert deadline.over
        assert 0 < deadline.left_seconds <= 0.001
        with pytest.raises(TimeoutError):
            deadline.watch(connection)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nowhere to count open files")
def test_nothing_outlives_a_request(serve: Callable[..., RawServer]) -> None:
    server = serve(GOOD)
    asking = Web(named=[server.url])
    asking.get(server.url)
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        asking.get(server.url)
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 2
    assert threading.active_count() <= threads + 2
