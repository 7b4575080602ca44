"""TLS is required unless the URL says otherwise; against a real SMTP server with a certificate of our own."""

import datetime as dt
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakes import SmtpServer, free_port
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.delivery.transports.smtp import SmtpTransport


class Inbox:
    """Keeps what the server accepted."""

    def __init__(self) -> None:
        self.messages: list[tuple[bool, Envelope]] = []

    async def handle_DATA(self, _server: object, session: Session, envelope: Envelope) -> str:
        self.messages.append((session.ssl is not None, envelope))
        return "250 2.0.0 kept"


def made(folder: Path, host: str = "localhost", days: int = 1) -> tuple[Path, Path]:
    """Return a certificate for a host and its key, good from two days before until `days` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return files


@pytest.fixture
def certificate(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    return made(tmp_path, **getattr(request, "param", {}))


def login(_server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"user", b"p@ss/word")
    return AuthResult(success=good, handled=good)


@pytest.fixture
def relay(certificate: tuple[Path, Path]) -> Iterator[tuple[Controller, Inbox]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    inbox = Inbox()
    controller = Controller(
        inbox,
        hostname="localhost",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=login,
        auth_required=True,
    )
    controller.start()
    yield controller, inbox
    controller.stop()


class TlsFromTheFirstByte(SmtpServer):
    """A relay for ``smtps://``."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        super().__init__()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*certificate)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        return self._context.wrap_socket(connection, server_side=True), address


@pytest.fixture
def smtps(certificate: tuple[Path, Path]) -> Iterator[SmtpServer]:
    with TlsFromTheFirstByte(certificate).serving() as server:
        yield server


def deliver(app: App, trusted: Path | None) -> Delivery:
    context = ssl.create_default_context(cafile=str(trusted) if trusted else None)
    app = replace(app, transport=SmtpTransport(app.settings.relays, app.pacing, app.now, tls=context))
    add_papers(app, [record(1)])
    add_readers(app, 1)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    app.transport.close()
    with app.db.snapshot() as session:
        return session.exec(select(Delivery)).one()


def test_a_mail_goes_over_starttls_with_a_login(
    make_app: Callable[..., App], sqlite_url: str, relay: tuple[Controller, Inbox], certificate: tuple[Path, Path]
) -> None:
    controller, inbox = relay
    app = make_app(sqlite_url, smtp_url=f"smtp://user:p%40ss%2Fword@localhost:{controller.port}?timeout=10")
    assert deliver(app, certificate[0]).state == "sent"
    ((encrypted, envelope),) = inbox.messages
    assert encrypted
    assert envelope.rcpt_tos == ["reader0@example.org"]
    assert (envelope.mail_from or "").startswith("bounce+1-")


def test_a_wrong_password_defers_and_names_no_secret(
    make_app: Callable[..., App], sqlite_url: str, relay: tuple[Controller, Inbox], certificate: tuple[Path, Path]
) -> None:
    controller, inbox = relay
    found = deliver(
        make_app(sqlite_url, smtp_url=f"smtp://user:wrongsecret@localhost:{controller.port}?timeout=10"), certificate[0]
    )
    assert found.state == "deferred"
    assert (found.reply or "").startswith("535")
    assert found.attempts == 0, "a reader is not to blame for our password"
    assert "wrongsecret" not in (found.reply or "")
    assert not inbox.messages


def test_a_certificate_nobody_vouches_for_defers(
    make_app: Callable[..., App], sqlite_url: str, relay: tuple[Controller, Inbox]
) -> None:
    controller, inbox = relay
    found = deliver(
        make_app(sqlite_url, smtp_url=f"smtp://user:p%40ss%2Fword@localhost:{controller.port}?timeout=10"), None
    )
    assert found.state == "deferred"
    assert "certificate" in (found.reply or "")
    assert not inbox.messages


@pytest.mark.parametrize(
    "certificate", [{"host": "another.example.org"}, {"days": -1}], indirect=True, ids=["another host's", "too old"]
)
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_is_not_the_relays_own_or_too_old_defers(
    scheme: str,
    make_app: Callable[..., App],
    sqlite_url: str,
    relay: tuple[Controller, Inbox],
    certificate: tuple[Path, Path],
    smtps: SmtpServer,
) -> None:
    controller, inbox = relay
    port = controller.port if scheme == "smtp" else smtps.server_address[1]
    app = make_app(sqlite_url, smtp_url=f"{scheme}://user:p%40ss%2Fword@localhost:{port}?timeout=10")
    found = deliver(app, certificate[0])
    assert (found.state, found.attempts) == ("deferred", 0)
    assert "certificate" in (found.reply or "")
    assert not inbox.messages
    assert not smtps.heard


def test_a_mail_goes_over_tls_from_the_first_byte(
    make_app: Callable[..., App], sqlite_url: str, smtps: SmtpServer, certificate: tuple[Path, Path]
) -> None:
    app = make_app(sqlite_url, smtp_url=f"smtps://localhost:{smtps.server_address[1]}?timeout=10")
    assert deliver(app, certificate[0]).state == "sent"
    assert smtps.recipients() == ["reader0@example.org"]


def test_a_relay_that_does_not_offer_starttls_gets_no_plain_text(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    found = deliver(make_app(sqlite_url, smtp_url=f"smtp://127.0.0.1:{smtp.server_address[1]}?timeout=5"), None)
    assert found.state == "deferred"
    assert "STARTTLS" in (found.reply or "")
    assert not smtp.accepted
