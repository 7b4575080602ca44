"""Who may be asked, in every spelling that leads to ourselves; names are looked up in a stub, the rest is real."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakes import HuggingFaceServer

from newsletter.errors import SourceDownError, SourceError
from newsletter.papers.sources import guard
from newsletter.papers.sources.http import Web

PUBLIC = "93.184.215.14"

# All of these reach this machine, or its neighbours, through one library or another.
ODD = [
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://2130706433:80/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.01/",
    "http://127.0.0.1.1/",
    "http://0/",
    "http://0x/",
    "http://256.256.256.256/",
    "http://user@127.0.0.1/",
    "http://user:word@example.org/",
    "http://@127.0.0.1/",
    "http://example.org@127.0.0.1/",
    "http://example.org:80@127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://localhost%2f/",
    "http://loc%61lhost/",
    "http://[fe80::1%25lo]/",
    "http://[fe80::1%lo]/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    "http://[::1]]/",
    "http://[::1].example.org/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://①②⑦.0.0.1/",
    "http://ｌocalhost/",
    "http://localhoſt/",
    "http://good.example\\@127.0.0.1/",
    "http://127.0.0.1\\@good.example/",
    "http:\\\\127.0.0.1\\",
    "http://good.example /",
    "http://good\t.example/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\n/",
    "ht\ntp://127.0.0.1/",
    "http://good.example/\r\nHost: localhost",
    "http://good.example/\x00",
    "http://good.example/\x85",
    "http://good.example/\u2028",
    " http://127.0.0.1/",
    "\x01http://127.0.0.1/",
    "http:///127.0.0.1/",
    "http:127.0.0.1",
    "http:/127.0.0.1/",
    "//127.0.0.1/",
    "127.0.0.1",
    "http://",
    "http://:80/",
    "http://./",
    "http://../",
    "http://.example.org/",
    "http://a..b/",
    "http://example.org../",
    "http://" + "a" * 64 + ".org/",
    "http://" + "a." * 127 + "org/",
    "http://example.org:0/",
    "http://example.org:65536/",
    "http://example.org:99999999/",
    "http://example.org:-80/",
    "http://example.org:+80/",
    "http://example.org:8 0/",
    "http://example.org:８０/",
    "http://example.org:/",
    "http://exa<mple.org/",
    "http://exam,ple.org/",
    "http://a;b/",
    "file:///etc/passwd",
    "ftp://example.org/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/",
    "data:text/html,hello",
    "javascript:alert(1)",
    "unix:///run/docker.sock",
    "http+unix://%2frun%2fdocker.sock/",
    "",
]

# Spelled as everybody does, but not on the public internet.
PRIVATE_ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:5db8:d822::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC_ADDRESSES = [
    PUBLIC,
    "1.1.1.1",
    "100.63.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::93.184.215.14",
]
PRIVATE_NAMES = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost.",
    "a.localhost",
    "ip6-localhost",
    "ip6-loopback",
    "localhost.localdomain",
    "printer.local",
    "metadata.google.internal",
    "router.home.arpa",
    "intranet",
    "redis",
]


def url_of(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


@pytest.mark.parametrize("url", ODD, ids=ascii)
def test_an_odd_spelling_is_refused_even_to_the_operator(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[ -~]{10,60}$") as caught:
        guard.check_named(url)
    assert "127" not in str(caught.value)
    with pytest.raises(SourceError, match="leads to an address that "):
        guard.check(url, frozenset({("127.0.0.1", 80), ("localhost", 80), ("example.org", 80), ("good.example", 80)}))
    with pytest.raises(SourceError):
        Web().get(url)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not guard.is_public(ipaddress.ip_address(address))
    with pytest.raises(SourceError, match=r"leads to .*, which is not on the public internet"):
        Web().get(url_of(address))


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_an_address_that_is_public_is_not(address: str) -> None:
    assert guard.is_public(ipaddress.ip_address(address))
    assert guard.check(url_of(address)).host == str(ipaddress.ip_address(address))


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_name_of_ours_is_refused_without_looking_it_up(name: str, names: "Names") -> None:
    with pytest.raises(SourceError, match="leads to a private address"):
        Web().get(f"http://{name}/")
    assert not names.asked


@pytest.mark.parametrize("port", [21, 22, 25, 6379, 8000, 8080, 65535])
def test_a_port_that_serves_no_pages_is_refused(port: int) -> None:
    with pytest.raises(SourceError, match=f"leads to port {port}"):
        Web().get(f"http://example.org:{port}/")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://export.arxiv.org/api/query?search_query=cat:cs.CL&start=0", ("https", "export.arxiv.org", 443)),
        ("HTTP://Example.ORG", ("http", "example.org", 80)),
        ("http://example.org.:80/", ("http", "example.org", 80)),
        ("https://example.org:80", ("https", "example.org", 80)),
        ("http://example.org?@127.0.0.1/", ("http", "example.org", 80)),
        ("http://example.org#@127.0.0.1/", ("http", "example.org", 80)),
        ("http://example.org/a@b:c%20d/é", ("http", "example.org", 80)),
        ("http://xn--bcher-kva.example/feed", ("http", "xn--bcher-kva.example", 80)),
        ("http://a_b-c.example.org/", ("http", "a_b-c.example.org", 80)),
        ("http://3com.com/", ("http", "3com.com", 80)),
        ("http://0x.org/", ("http", "0x.org", 80)),
        ("http://[2606:4700:0:0::1111]/", ("http", "2606:4700::1111", 80)),
    ],
)
def test_a_plain_address_is_read_as_everybody_reads_it(url: str, place: tuple[str, str, int]) -> None:
    assert guard.check(url) == guard.Place(*place)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8123",
        "http://127.0.0.1:8123/feed.xml?a=b",
        "http://localhost/feed",
        "http://LOCALHOST.:8000/",
        "http://[::1]:8000/",
        "https://10.1.2.3/feed",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://[fd00::1]/",
        "http://intranet:8080/papers",
        "https://huggingface.co",
    ],
)
def test_an_operator_may_name_a_place_of_their_own(url: str) -> None:
    assert guard.check_named(url) == url
    named = guard.places([url])
    assert guard.check(url, named)
    assert named == {(guard.parse(url).host, guard.parse(url).port)}


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "fe80::1", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "::127.0.0.1"),
    ],
)
def test_an_operator_may_not_name_what_nobody_can_ask(address: str) -> None:
    with pytest.raises(ValueError, match="where nothing can be asked for"):
        guard.check_named(url_of(address))
    with pytest.raises(ValueError, match="where nothing can be asked for"):
        Web(named=[url_of(address)])


def test_naming_a_place_opens_no_other_port_or_host(huggingface: HuggingFaceServer) -> None:
    asking = Web(named=["http://127.0.0.1:1", "http://localhost:" + huggingface.url.rpartition(":")[2]])
    with pytest.raises(SourceError, match="leads to port"):
        asking.get(huggingface.url)
    with pytest.raises(SourceError, match=r"leads to 127\.0\.0\.1, which is not"):
        asking.get("http://127.0.0.1/")
    assert not huggingface.asked


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://example.org/b"),
        ("b?c#d", "https://example.org/b?c#d"),
        ("//other.example/b", "https://other.example/b"),
        ("HTTPS://OTHER.example:443/b", "https://OTHER.example:443/b"),
    ],
)
def test_a_redirect_is_read_against_where_it_comes_from(location: str, target: str) -> None:
    assert guard.follow("https://example.org/a", location) == target


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.org/", "redirects from https to http"),
        ("//127.0.0.1/", "leads to 127.0.0.1"),
        ("//127.1/", "leads to an address that spells"),
        ("https://localhost/", "leads to a private address"),
        ("https://me@example.org/", "leads to an address that names a user"),
        ("https://example.org:6379/", "leads to port 6379"),
        ("file:///etc/passwd", "leads to an address that does not begin"),
        ("\\\\127.0.0.1\\a", "redirects to something that is not an address"),
        ("/\t/127.0.0.1/", "redirects to something that is not an address"),
        ("https://[::1", "redirects to something that is not an address"),
    ],
)
def test_a_redirect_to_where_nobody_should_go_is_refused(location: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason.replace(".", r"\.")):
        guard.follow("https://example.org/a", location)


class Names:
    """Stands in for the resolver: a name's addresses, one answer for each look-up, the last one for ever.

    :ivar connected: where somebody wanted to connect to outside of this machine: nobody gets there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.connected: list[str] = []
        real_connect = socket.socket.connect

        def connect(opened: socket.socket, to: Any) -> None:
            if isinstance(to, tuple) and to[0] != "127.0.0.1":
                self.connected.append(to[0])
                raise ConnectionRefusedError
            real_connect(opened, to)

        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)
        monkeypatch.setattr(socket.socket, "connect", connect)

    def look_up(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        try:
            addresses = [str(ipaddress.ip_address(host))]
        except ValueError:
            if host not in self.answers:
                raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
            waiting = self.answers[host]
            addresses = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC], ["2606:4700::1111", "::1"], ["169.254.169.254"]],
    ids=",".join,
)
def test_a_name_with_any_private_address_is_not_asked_at_all(names: Names, addresses: list[str]) -> None:
    names.answers["good.example"] = [addresses]
    with pytest.raises(SourceError, match=r"leads to .*, which is not on the public internet"):
        Web(backoff_seconds=0).get("http://good.example/")
    assert names.asked == ["good.example"]
    assert names.connected == []


def test_a_name_is_looked_up_once_for_each_connection_and_that_answer_is_used(names: Names) -> None:
    names.answers["good.example"] = [[PUBLIC], ["127.0.0.1"]]
    with pytest.raises(SourceError, match=r"leads to 127\.0\.0\.1"):
        Web(backoff_seconds=0).get("http://good.example/")
    assert names.connected == [PUBLIC]
    assert names.asked == ["good.example"] * 2  # the second attempt, after the first found nobody there


def test_each_address_of_a_name_is_tried_in_turn(names: Names) -> None:
    names.answers["good.example"] = [["2606:4700::1111", PUBLIC]]
    with pytest.raises(SourceDownError, match="cannot be reached"):
        Web(backoff_seconds=0).get("http://good.example/")
    assert names.connected[:2] == ["2606:4700::1111", PUBLIC]


def test_a_name_that_leads_nowhere_is_said(names: Names) -> None:
    with pytest.raises(SourceDownError, match="its name leads nowhere"):
        Web(backoff_seconds=0).get("https://gone.example/")


def test_a_named_host_may_stand_anywhere_of_ours_but_not_on_a_metadata_service(
    names: Names, huggingface: HuggingFaceServer
) -> None:
    port = huggingface.url.rpartition(":")[2]
    url = f"http://intranet:{port}/api/daily_papers"
    names.answers["intranet"] = [["127.0.0.1"], ["169.254.169.254"]]
    asking = Web(named=[f"http://INTRANET.:{port}"])
    assert asking.get(url).status == 200
    with pytest.raises(SourceError, match=r"leads to 169\.254\.169\.254"):
        asking.get(url)


@contextmanager
def tls_server(folder: Path, name: str) -> Iterator[tuple[int, list[str | None]]]:
    """Serve over TLS as `name`, by a certificate that signs itself; yield the port and the names asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, server_name, _context: asked.append(server_name)

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(65_536)
                    wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        try:
            yield server.getsockname()[1], asked
        finally:
            server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trust the certificate of the test's own server, as an institute's is trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("trusting")
def test_tls_proves_the_name_though_the_connection_goes_to_an_address(names: Names, tmp_path: Path) -> None:
    names.answers |= {"good.example": [["127.0.0.1"]], "evil.example": [["127.0.0.1"]]}
    with tls_server(tmp_path, "good.example") as (port, asked):
        asking = Web(named=[f"https://good.example:{port}", f"https://evil.example:{port}"], backoff_seconds=0)
        assert asking.get(f"https://good.example:{port}/").body == b"[]"
        with pytest.raises(SourceError, match="has no valid certificate"):
            asking.get(f"https://evil.example:{port}/")
    assert asked == ["good.example", "evil.example"], "by the name, and not again where asking again is of no use"


def test_a_certificate_that_nobody_trusts_is_an_error(names: Names, tmp_path: Path) -> None:
    names.answers["good.example"] = [["127.0.0.1"]]
    with tls_server(tmp_path, "good.example") as (port, _), pytest.raises(SourceError, match="no valid certificate"):
        Web(named=[f"https://good.example:{port}"]).get(f"https://good.example:{port}/")


@pytest.mark.usefixtures("trusting")
def test_certificates_that_are_not_where_the_environment_says_are_an_error(huggingface: HuggingFaceServer) -> None:
    with pytest.raises(SourceError, match="no certificates where REQUESTS_CA_BUNDLE says"):
        Web().get("https://example.org/")


def test_plain_http_on_a_tls_port_is_an_error_in_plain_words(huggingface: HuggingFaceServer) -> None:
    secure = huggingface.url.replace("http:", "https:")
    with pytest.raises(SourceError, match="cannot be reached safely: TLS failed"):
        Web(named=[secure], backoff_seconds=0).get(secure)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://10.0.0.1/", "http://localhost/", "http://2130706433/"])
def test_a_proxy_gets_no_private_address_to_ask_for(
    monkeypatch: pytest.MonkeyPatch, huggingface: HuggingFaceServer, url: str
) -> None:
    monkeypatch.setenv("http_proxy", huggingface.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SourceError, match="leads to "):
        Web().get(url)
    assert not huggingface.asked


def test_a_proxy_of_the_environment_is_used_and_looks_names_up_itself(
    monkeypatch: pytest.MonkeyPatch, names: Names, huggingface: HuggingFaceServer
) -> None:
    monkeypatch.setenv("http_proxy", huggingface.url)
    assert Web().get("http://good.example/api/daily_papers").status == 200
    assert names.asked == ["127.0.0.1"], "the proxy itself"


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://127.0.0.1:1", "the environment's proxy does not connect"),
        ("socks5://127.0.0.1:1", "a proxy of a kind we do not speak"),
        ("http://", "proxy"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_work_is_said(
    monkeypatch: pytest.MonkeyPatch, proxy: str, said: str, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    with pytest.raises(SourceError, match=said):
        Web(backoff_seconds=0).get(f"{scheme}://good.example/")


def test_what_is_compared_does_not_depend_on_the_spelling() -> None:
    assert guard.places(["http://LOCALHOST.", "http://localhost:80/x"]) == {("localhost", 80)}
    assert guard.places(["http://[0:0:0:0:0:0:0:1]", "http://[::1]/"]) == {("::1", 80)}
