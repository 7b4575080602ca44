"""Polite requests to sources: bounded in time and size, repeated with backoff, in turn where a host wants turns.

Each request has a connection of its own, made when it is its turn and closed with its last byte: a source is asked a
few times an hour, so nothing is worth keeping open, and no cookie, no stale connection and no second one exists.

The environment's proxies (HTTPS_PROXY, NO_PROXY) and certificates (REQUESTS_CA_BUNDLE) are used, since in many an
institute there is no other way out; its .netrc is not: no source needs a password, and a redirect must not fetch one.
"""

import contextlib
import random
import re
import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.retry import Retry

from newsletter import __version__, clock
from newsletter.errors import SourceDownError, SourceError
from newsletter.papers.sources import guard
from newsletter.papers.sources.pace import Pace

MAX_BODY_BYTES = 32 * 2**20
_CHUNK_BYTES = 64 * 2**10
_MAX_HEADER = 200  # characters that we keep of a stranger's header
_MAX_REDIRECTS = 3
_REFUSALS = (429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_LONGEST_WISH_SECONDS = 60  # of Retry-After
_LONGEST_WINDOW_SECONDS = 300  # of RateLimit
_WHOLE = 4  # times the time limit of one step
_NAME_LOOKUP_SECONDS = 60  # the resolver's own limit, with several name servers; nobody can interrupt it
_TROUBLES = (requests.RequestException, HTTPError, OSError, ValueError)  # all that the libraries raise
_SILENCES = (ConnectTimeoutError, ReadTimeoutError, ProtocolError, ProxyError)  # no answer; the next may come
_LATE = "did not finish its answer in time"


@dataclass(frozen=True, slots=True)
class Validators:
    """What makes the next request a conditional one (RFC 9110, section 13)."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A source's answer: any status below 500 that is not a refusal for now.

    :ivar body: unpacked; empty for 304, "not modified".
    :ivar validators: of this answer; with 304, those that were known.
    """

    status: int
    body: bytes
    validators: Validators = Validators()


@dataclass(frozen=True, slots=True)
class _Got:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    location: str | None


class Web:
    """Asks on behalf of sources, names itself, and tries again where trying again may help.

    :param contact: an address or URL in the User-Agent, so that a source can reach the operator.
    :param timeout_seconds: to connect, and for each wait for more bytes; a whole request gets four times as long, so
        that a source that trickles cannot hold a pull.
    :param named: URLs that the operator's own settings name: these places may be private; all others are strangers'.
        A name among them may lead inside whenever its owner says so: a stranger's does not belong here.
    :param paces: by ``host`` or ``host:port``: every request there takes a turn, each repetition and redirect, too.
    :raises ValueError: one of `named` is not a URL that can be asked (`guard.check_named`).
    """

    def __init__(
        self,
        contact: str = "",
        timeout_seconds: float = 30.0,
        backoff_seconds: float = 1.0,
        *,
        named: Iterable[str] = (),
        paces: Mapping[str, Pace] | None = None,
        wait: Callable[[float], None] = clock.wait,
    ) -> None:
        self._timeout = timeout_seconds
        self._headers = {
            "User-Agent": f"newsletter/{__version__}" + (f" ({contact})" if contact else ""),
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "Connection": "close",
        }
        # A source that hung has had its chance: one more, not three.
        self._patience = _Patience(total=3, read=1, backoff_factor=backoff_seconds, backoff_jitter=backoff_seconds / 2)
        self._named = guard.places(named)
        self._paces = dict(paces or {})
        self._asked_for_rest: dict[tuple[str, int], float] = {}  # by host and port, until when
        self._wait = wait

    def get(self, url: str, params: Mapping[str, str] | None = None, known: Validators | None = None) -> Answer:
        """Return the answer to a GET; redirects are followed, three at most, each judged as `url` itself is.

        :param known: of the answer we have; if there is no newer one, status 304 comes back.
        :raises SourceDownError: no answer at all.
        :raises SourceError: an answer that is too large, too slow or broken, or a refusal that lasted.
        """
        headers = self._headers | _conditions(known)
        target = self._spelled(url, params)
        for _ in range(_MAX_REDIRECTS + 1):
            got = self._patiently(target, headers)
            if got.location is None:
                if got.status == 304 and "If-None-Match" not in headers and "If-Modified-Since" not in headers:
                    raise SourceError("answered that nothing has changed, to somebody who knows nothing yet")
                validators = known if got.status == 304 and known else _validators(got.headers)
                return Answer(got.status, got.body, validators)
            target = self._spelled(guard.follow(target, got.location, self._named))
        raise SourceError("redirects too often")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a POST of JSON, asked once; a redirect is an answer like any other.

        :raises SourceError: no answer, or one that is too large, too slow or broken.
        """
        given = self._headers | {"Content-Type": "application/json"} | dict(headers)
        try:
            got = self._once(self._spelled(url), given, body)
        except _TROUBLES as exc:
            raise SourceError(_say(_root(exc))) from exc
        return Answer(got.status, got.body)

    def _spelled(self, url: str, params: Mapping[str, str] | None = None) -> str:
        """Return the URL as it goes out, judged before and after."""
        guard.check(url, self._named)
        try:
            spelled = requests.Request("GET", url, params=dict(params or {})).prepare().url or ""
        except (requests.RequestException, ValueError) as exc:
            raise SourceError("leads to something that is not an address") from exc
        guard.check(spelled, self._named)
        return spelled

    def _patiently(self, url: str, headers: Mapping[str, str]) -> _Got:
        place = guard.parse(url)
        pace = self._paces.get(f"{place.host}:{place.port}", self._paces.get(place.host))
        turn = pace.turn if pace else contextlib.nullcontext
        patience, least = self._patience, 0.0
        while True:
            self._rest(place, least)
            error: Exception | None = None
            try:
                with turn():
                    got = self._once(url, headers)
            except _TROUBLES as exc:
                error = _root(exc)
                if not isinstance(error, _SILENCES):
                    raise SourceError(_say(error)) from exc
                trouble: SourceError = SourceDownError(_say(error))
            else:
                self._heed(place, got)
                if got.status not in _REFUSALS:
                    return got
                trouble = SourceError(f"answered {got.status} {_clean(got.reason)[:40]}".rstrip())
            try:
                patience = patience.increment("GET", url, error=error)
            except MaxRetryError:
                raise trouble from error
            least = max(patience.get_backoff_time(), pace.interval_seconds if pace else 0.0)

    def _rest(self, place: guard.Place, least_seconds: float) -> None:
        """Wait before the next request, for as long as the host asked for."""
        asked = self._asked_for_rest.get((place.host, place.port), 0.0) - clock.monotonic()
        if (seconds := max(least_seconds, asked)) > 0:
            self._wait(seconds)

    def _heed(self, place: guard.Place, got: _Got) -> None:
        """Remember how long the host wants to be left alone."""
        seconds = window_seconds(got.headers.get("RateLimit", ""))
        if got.status in _REFUSALS:
            seconds = max(seconds, self._patience.get_wish(got.headers.get("Retry-After")))
        if seconds > 0:
            self._asked_for_rest[place.host, place.port] = clock.monotonic() + seconds

    def _once(self, url: str, headers: Mapping[str, str], body: bytes | None = None) -> _Got:
        """Make one request over one connection."""
        with guard.Deadline(_WHOLE * self._timeout) as deadline:
            adapter = guard.GuardedAdapter(self._named, deadline)
            request = requests.Request("GET" if body is None else "POST", url, headers=dict(headers), data=body)
            with contextlib.closing(adapter), self._send(adapter, request, deadline) as response:
                status = response.status_code
                location = _location(response) if status in _REDIRECTS else None
                wanted = location is None and status not in _REFUSALS and status != 304
                found = _body(response.raw, deadline) if wanted else b""
                return _Got(status, response.reason or "", response.headers, found, location)

    def _send(
        self, adapter: guard.GuardedAdapter, request: requests.Request, deadline: guard.Deadline
    ) -> requests.Response:
        """Return an answer of which the head has come.

        The adapter is used without its session, which keeps cookies, looks into .netrc, and reads the body of every
        redirect to its end, even of one that it is told not to follow.
        """
        try:
            session, url = requests.Session(), str(request.url)
            given = session.merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
            verify, proxies = given["verify"] or True, given["proxies"]
            prepared = request.prepare()
            answer = adapter.send(prepared, stream=True, timeout=self._timeout, verify=verify, proxies=proxies)
        except _TROUBLES as exc:
            if deadline.over:
                raise SourceDownError(_LATE) from exc
            raise
        if deadline.over:  # hanging up looks like the end of the head
            answer.close()
            raise SourceDownError(_LATE)
        return answer


def longest_request_seconds(timeout_seconds: float) -> float:
    """Return the longest that one request of a `Web` can last: how long a turn must be held at least."""
    return _WHOLE * timeout_seconds + _NAME_LOOKUP_SECONDS


def window_seconds(header: str) -> float:
    """Return for how long nothing is left of a quota, by the IETF's draft: ``"api";r=0;t=55``; 0 if something is.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
    """
    longest = 0
    for quota in header[: 5 * _MAX_HEADER].split(","):
        told = dict(re.findall(r";\s*([rt])=([0-9]{1,9})\s*(?=;|$)", quota))
        if "r" in told and int(told["r"]) == 0:
            longest = max(longest, int(told.get("t", 0)))
    return min(longest, _LONGEST_WINDOW_SECONDS)


class _Patience(Retry):
    """Urllib3's counting and backoff, with a wait before the first repetition, too.

    Its limit of Retry-After is lost whenever it copies itself, and it raises on one that it cannot read.
    """

    def get_wish(self, retry_after: str | None) -> float:
        try:
            return min(self.parse_retry_after(retry_after or "0"), _LONGEST_WISH_SECONDS)
        except (InvalidHeader, ValueError, OverflowError, TypeError):
            return 0.0  # as if there was none

    def get_backoff_time(self) -> float:
        first = self.backoff_factor + random.random() * self.backoff_jitter  # noqa: S311  no secret
        return max(first, super().get_backoff_time())


def _body(raw: BaseHTTPResponse, deadline: guard.Deadline) -> bytes:
    """Return the whole body, unpacked.

    :raises SourceError: it is too large, too slow, or broken.
    """
    # read1 gives what has come; read waits for a whole chunk, however slowly it trickles.
    chunks: Iterator[bytes] = iter(lambda: raw.read1(_CHUNK_BYTES, decode_content=False) or b"", b"")
    if raw.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate"):
        chunks = _unpacked(chunks)
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise SourceError(f"answered more than {MAX_BODY_BYTES // 2**20} MiB")
    except (*_TROUBLES, zlib.error) as exc:
        broken = isinstance(exc, ProtocolError)
        said = _LATE if deadline.over else "hung up in the middle of its answer" if broken else _say(exc)
        raise SourceError(said) from exc
    if deadline.over:  # hanging up looks like the end of a body that ends with its connection
        raise SourceError(_LATE)
    return bytes(body)


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what was packed with gzip or zlib, in small pieces: little can unpack to very much.

    :raises SourceError: it ends in the middle, which the libraries take for an end.
    """
    unpacker, begun = zlib.decompressobj(wbits=47), False
    for chunk in chunks:
        data = chunk
        while data:
            if unpacker.eof:
                if not data.startswith(b"\x1f"):
                    return  # padding
                unpacker = zlib.decompressobj(wbits=47)  # gzip may come in several members
            begun = True
            yield unpacker.decompress(data, _CHUNK_BYTES)
            data = unpacker.unconsumed_tail or unpacker.unused_data
    yield unpacker.flush()
    if begun and not unpacker.eof:
        raise SourceError("hung up in the middle of its answer")


def _location(response: requests.Response) -> str | None:
    try:
        return response.headers["Location"].encode("latin-1").decode("utf-8")
    except KeyError:
        return None
    except UnicodeError as exc:
        raise SourceError("redirects to something that is not an address") from exc


def _conditions(known: Validators | None) -> dict[str, str]:
    wanted = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified} if known else {}
    return {name: value for name, given in wanted.items() if (value := _clean(given))}


def _validators(headers: Mapping[str, str]) -> Validators:
    return Validators(_clean(headers.get("ETag", "")), _clean(headers.get("Last-Modified", "")))


def _clean(value: str) -> str:
    """Return a stranger's header if it can be kept and sent back as it is, else nothing."""
    value = value.strip(" \t")
    return value if len(value) <= _MAX_HEADER and re.fullmatch(r"[ -~\xa1-\xff]*", value) else ""


# Messages of the libraries name objects in memory; people want the kind of trouble. The first that fits counts.
_SAID: tuple[tuple[type[Exception], str], ...] = (
    (ProxyError, "cannot be reached: the environment's proxy does not connect"),
    (NameResolutionError, "cannot be reached: its name leads nowhere"),
    (NewConnectionError, "cannot be reached"),
    (ConnectTimeoutError, "does not answer (connecting timed out)"),
    (ReadTimeoutError, "does not answer in time"),
    (TimeoutError, "does not answer in time"),
    (ssl.SSLCertVerificationError, "has no valid certificate"),
    (SSLError, "cannot be reached safely: TLS failed"),
    (ProtocolError, "cannot be reached, or hung up"),
    (zlib.error, "answered something that does not unpack"),
    (requests.exceptions.InvalidSchema, "cannot be reached: the environment names a proxy of a kind we do not speak"),
    (requests.exceptions.InvalidProxyURL, "cannot be reached: the environment's proxy is not an address"),
    (requests.RequestException, "cannot be asked"),
    (OSError, "cannot be asked: there are no certificates where REQUESTS_CA_BUNDLE says"),
)


def _root(exc: Exception) -> Exception:
    """Return what went wrong, out of the exceptions that the libraries wrap around it."""
    if isinstance(exc, requests.RequestException) and exc.args and isinstance(exc.args[0], Exception):
        exc = exc.args[0]
    if isinstance(exc, MaxRetryError) and exc.reason:
        exc = exc.reason
    if isinstance(exc, SSLError) and exc.args and isinstance(exc.args[0], ssl.SSLCertVerificationError):
        exc = exc.args[0]
    return exc


def _say(error: Exception) -> str:
    for kind, said in _SAID:
        if isinstance(error, kind):
            return said
    return f"failed: {type(error).__name__}"
