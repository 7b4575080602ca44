"""Polite requests to sources: bounded in time and size, repeated with backoff."""

from dataclasses import dataclass

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util.retry import Retry

from newsletter import __version__, clock
from newsletter.errors import SourceDownError, SourceError

MAX_BODY_BYTES = 32 * 2**20
_CHUNK_BYTES = 64 * 2**10
_REFUSALS = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answer:
    """A source's answer: any status below 500 that is not a refusal for now."""

    status: int
    body: bytes


class Web:
    """A session that names itself, times out, and tries again where trying again may help.

    :param contact: an address or URL in the User-Agent, so that a source can reach the operator.
    :param timeout_seconds: for each attempt to connect and each wait for more bytes; the whole
        answer gets four times as long, so that a source that trickles cannot hold a pull.
    """

    def __init__(self, contact: str = "", timeout_seconds: float = 30.0, backoff_seconds: float = 1.0) -> None:
        self._timeout = timeout_seconds
        self._session = requests.Session()
        self._session.max_redirects = 3
        self._session.headers["User-Agent"] = f"newsletter/{__version__}" + (f" ({contact})" if contact else "")
        retry = Retry(
            total=3,
            read=1,  # a hung source has had its chance
            backoff_factor=backoff_seconds,
            backoff_jitter=backoff_seconds / 2,
            status_forcelist=_REFUSALS,
            allowed_methods=["GET"],
            respect_retry_after_header=True,
            retry_after_max=60,
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def get(self, url: str, params: dict[str, str]) -> Answer:
        """Return the answer to a GET.

        :raises SourceError: no answer, one that is too large or too slow, or a refusal that lasted.
        """
        try:
            with self._session.get(url, params=params, timeout=self._timeout, stream=True) as response:
                if response.status_code in _REFUSALS:
                    raise SourceError(f"answered {response.status_code} {response.reason}")
                return Answer(response.status_code, self._body(response))
        except (requests.RequestException, HTTPError, ValueError) as exc:
            down = isinstance(exc, requests.ConnectionError | requests.Timeout)
            raise (SourceDownError if down else SourceError)(_say(exc)) from exc

    def _body(self, response: requests.Response) -> bytes:
        started, body = clock.monotonic(), bytearray()
        # read1 gives what has come; iter_content waits for a whole chunk, however slowly it trickles.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise SourceError(f"answered more than {MAX_BODY_BYTES // 2**20} MiB")
            if clock.monotonic() - started > 4 * self._timeout:
                raise SourceError("did not finish its answer in time")
        return bytes(body)


# Messages of the libraries name objects in memory; people want the kind of trouble. The first that fits counts.
_SAID: tuple[tuple[type[Exception], str], ...] = (
    (requests.ConnectTimeout, "does not answer (connecting timed out)"),
    (requests.Timeout, "does not answer in time"),
    (requests.TooManyRedirects, "redirects too often"),
    (requests.exceptions.SSLError, "has no valid certificate"),
    (requests.ConnectionError, "cannot be reached, or hung up"),
    (ProtocolError, "hung up in the middle of its answer"),
)


def _say(exc: Exception) -> str:
    if "timed out" in str(exc) and not isinstance(exc, requests.ConnectTimeout):
        return "does not answer in time"
    for kind, said in _SAID:
        if isinstance(exc, kind):
            return said
    if isinstance(exc, ValueError) and not isinstance(exc, requests.RequestException):
        return "redirects to something that is not an address"
    return f"failed: {type(exc).__name__}"
