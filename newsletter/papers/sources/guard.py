"""Who may be asked, and for how long: the public internet, and the places that the operator's own settings name.

A feed's URL and every redirect are the words of strangers, and this machine stands where strangers do not: its
loopback, its neighbours and its cloud's metadata service answer it. So a URL is read by one strict grammar, its name
is looked up once, every address of it is judged, and the connection goes to one of these very addresses: a name that
leads elsewhere at the second look (DNS rebinding) gains nothing. TLS still proves the name.
"""

import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from newsletter import clock
from newsletter.errors import SourceError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Named = frozenset[tuple[str, int]]

_PORTS = {"http": 80, "https": 443}
_BLANKS = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")  # what some resolvers take for an IPv4 address
_INNER_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa")

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address as a network without IPv4 sees it
_UNICAST = ipaddress.ip_network("2000::/3")  # all that is given out so far of IPv6
# What Python's is_global lets through, in one release or another: the IETF's block with Teredo in it, documentation,
# and 6to4, which wraps an IPv4 address of anybody's choice.
_NOT_PUBLIC = [
    ipaddress.ip_network(each)
    for each in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]
# What an operator may name: not link-local (a metadata service is nobody's feed), not "this host", not multicast.
_OWN = [
    ipaddress.ip_network(each)
    for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads.

    :ivar host: lower case, without brackets and without a dot at its end.
    """

    scheme: str
    host: str
    port: int


def parse(url: str) -> Place:
    """Return where `url` leads, if it is written as everybody reads it.

    Decimal, hexadecimal, octal and short IPv4 addresses, users, percent signs, other alphabets (IDNA has full-width
    digits) and backslashes are read differently by different programs: one checks, and another connects.

    :raises ValueError: it is not; the message goes on where "an address that" ends.
    """
    if _BLANKS.search(url):
        raise ValueError("holds a blank, a backslash or a control character")
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _PORTS:
        raise ValueError("does not begin with http:// or https://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError("names a user")
    found = _AUTHORITY.fullmatch(authority.lower()) if authority.isascii() else None
    if not found:
        raise ValueError("spells its host in an odd way")
    port = int(found["port"] or _PORTS[scheme])
    if not 0 < port < 2**16:
        raise ValueError("has a port that does not exist")
    return Place(scheme, _host(found["host"]), port)


def check(url: str, named: Named = frozenset()) -> Place:
    """Return where `url` leads, if one may go there as far as the URL itself tells.

    :raises SourceError: it leads to no place on the public internet that serves pages.
    """
    try:
        place = parse(url)
    except ValueError as exc:
        raise SourceError(f"leads to an address that {exc}") from None
    if (place.host, place.port) in named:
        return place
    if place.port not in _PORTS.values():
        raise SourceError(f"leads to port {place.port}, where no pages are served")
    address = _literal(place.host)
    if address:
        _admit(address, named=False)
    elif "." not in place.host or _is_inner(place.host):
        raise SourceError("leads to a private address")
    return place


def check_named(url: str) -> str:
    """Return `url`, an operator's own: it may be private, but not oddly spelled.

    :raises ValueError: it cannot be asked; the message is one line that follows "an address that".
    """
    address = _literal(parse(url).host)
    if address and not _may_be_asked(address, named=True):
        raise ValueError(f"leads to {address}, where nothing can be asked for")
    return url


def places(urls: Iterable[str]) -> Named:
    """Return host and port of each of the operator's own URLs.

    :raises ValueError: see `check_named`.
    """
    found = [parse(check_named(url)) for url in urls]
    return frozenset((place.host, place.port) for place in found)


def follow(url: str, location: str, named: Named = frozenset()) -> str:
    """Return where a redirect from `url` leads.

    :raises SourceError: to where one may not go, or from https to http.
    """
    if _BLANKS.search(location):  # urljoin would quietly take some of them out
        raise SourceError("redirects to something that is not an address")
    try:
        target = urljoin(url, location)
    except ValueError:
        raise SourceError("redirects to something that is not an address") from None
    if check(target, named).scheme == "http" and parse(url).scheme == "https":
        raise SourceError("redirects from https to http")
    return target


def is_public(address: IPAddress) -> bool:
    """Return whether `address` is one host's on the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in each for each in _NOT_PUBLIC)


class GuardedAdapter(HTTPAdapter):
    """Connects to judged addresses only.

    Where the environment names a proxy, the proxy looks names up and connects; then only what stands in the URL itself
    is judged, and the proxy's operator must keep it from reaching private places.

    :param deadline: bounds the time to connect, and watches the connection from then on.
    """

    def __init__(self, named: Named, deadline: "Deadline") -> None:
        self._named = named
        self._deadline = deadline
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: object) -> None:
        """Have connections made by us."""
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._to_judged)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401  requests' own signature
        """Have connections to a proxy watched; a proxy is the operator's, wherever it stands."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _pools(self._to_proxy)
        return manager

    def _to_judged(self, connection: HTTPConnection) -> socket.socket:
        found = _resolved(connection)
        host = connection.host.lower().strip("[]")
        named = (str(_literal(host) or host), connection.port) in self._named
        for *_, sockaddr in found:
            _admit(ipaddress.ip_address(str(sockaddr[0])), named=named)
        return self._connected(connection, found)

    def _to_proxy(self, connection: HTTPConnection) -> socket.socket:
        return self._connected(connection, _resolved(connection))

    def _connected(self, connection: HTTPConnection, found: list[Any]) -> socket.socket:
        trouble: OSError = OSError("no address")
        for family, kind, protocol, _, sockaddr in found:
            opened = socket.socket(family, kind, protocol)
            try:
                for option in connection.socket_options or ():
                    opened.setsockopt(*option)
                left = self._deadline.left_seconds
                opened.settimeout(min(connection.timeout or left, left))
                opened.connect(sockaddr)
                self._deadline.watch(opened)
            except OSError as exc:
                opened.close()
                trouble = exc
            else:
                return opened
        if isinstance(trouble, TimeoutError):
            raise ConnectTimeoutError(connection, "connecting timed out") from trouble
        raise NewConnectionError(connection, "cannot connect") from trouble


class Deadline:
    """Hangs up when the time is over, wherever the conversation stands.

    A socket's own time limit begins anew with each byte, and a header or a TLS handshake can trickle for ever. Shutting
    down a duplicate of the socket wakes whoever waits for the connection, however it has been wrapped since.

    :ivar over: whether it has hung up, which those who read cannot tell from an end.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._ends = clock.monotonic() + seconds
        self._watched: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._hang_up)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            for each in self._watched:
                each.close()
            self._watched.clear()

    @property
    def left_seconds(self) -> float:
        """How long there still is: never quite nothing, which for a socket means something else."""
        return max(0.001, self._ends - clock.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Hang up on `connection`, too, when the time is over.

        :raises TimeoutError: it is.
        """
        with self._lock:
            if self.over:
                raise TimeoutError
            self._watched.append(connection.dup())

    def _hang_up(self) -> None:
        with self._lock:
            self.over = True
            for each in self._watched:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def _host(text: str) -> str:
    """Return a host as it is compared.

    :raises ValueError: it is none, or can be read in two ways.
    """
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("spells its host in an odd way") from None
    name = text.removesuffix(".")
    if not _NAME.fullmatch(name) or (_ENDS_IN_NUMBER.fullmatch(name) and not _literal(name)):
        raise ValueError("spells its host in an odd way")
    return name


def _literal(host: str) -> IPAddress | None:
    """Return the address that a host is, if it is one in full."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_inner(name: str) -> bool:
    return any(name == each or name.endswith(f".{each}") for each in _INNER_NAMES)


def _may_be_asked(address: IPAddress, *, named: bool) -> bool:
    return is_public(address) or (named and any(address in each for each in _OWN))


def _admit(address: IPAddress, *, named: bool) -> None:
    if not _may_be_asked(address, named=named):
        raise SourceError(f"leads to {address}, which is not on the public internet")


def _resolved(connection: HTTPConnection) -> list[Any]:
    host = connection.host.strip("[]")
    try:
        return socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        raise NameResolutionError(host, connection, exc) from exc


def _pools(connect: Callable[[HTTPConnection], socket.socket]) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's classes with the one step replaced that opens a socket; TLS goes over it afterwards."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
