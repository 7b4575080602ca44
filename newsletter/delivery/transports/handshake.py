"""Opening a connection: greeting, EHLO, TLS and login are aiosmtplib's; the dialogue after them is ours."""

import re
import socket
import ssl
from asyncio import Transport
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from newsletter.delivery.retry import TIMED_OUT
from newsletter.delivery.transports.replies import readable
from newsletter.errors import RelayAwayError
from newsletter.relays import Relay

_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870, section 4


@dataclass(frozen=True, slots=True)
class Offers:
    """What a relay's EHLO offered.

    :ivar size: the largest message it takes, in bytes (RFC 1870); 0 when it does not say.
    """

    pipelining: bool = False
    smtputf8: bool = False
    eightbit: bool = False
    sizes: bool = False
    size: int = 0


async def shake_hands(relay: Relay, context: ssl.SSLContext) -> tuple[Transport, Offers]:
    """Connect, and log in where the relay's URL says so; the transport still has aiosmtplib's protocol.

    :raises RelayAwayError: trouble with greeting, TLS or login; it is the relay's or ours, never a reader's.
    """
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username,
        password=relay.password,
        timeout=relay.timeout_seconds,
        use_tls=relay.tls == "implicit",
        start_tls=relay.tls == "required",  # where it is not offered that fails: never plain text instead
        tls_context=context,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await _greet(client)
    except aiosmtplib.SMTPResponseException as exc:
        client.close()
        said = readable(exc.message.encode("utf-8", "surrogateescape"))
        raise RelayAwayError(f"{exc.code} {said}"[:300]) from exc
    except (OSError, aiosmtplib.SMTPException, ValueError) as exc:
        client.close()
        raise RelayAwayError(_why(exc)) from exc
    transport = client.transport
    if transport is None or transport.is_closing():
        raise RelayAwayError("the relay hung up")
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    size = client.esmtp_extensions.get("size", "")
    return cast(Transport, transport), Offers(
        pipelining=client.supports_extension("pipelining"),
        smtputf8=client.supports_extension("smtputf8"),
        eightbit=client.supports_extension("8bitmime"),
        sizes=client.supports_extension("size"),
        size=int(size) if _SIZE.fullmatch(size) else 0,
    )


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as exc:
        if exc.code < 500:
            raise
        await client.helo()  # a relay from before 1995


def _why(exc: BaseException) -> str:
    seen: BaseException | None = exc
    while seen is not None:  # the library wraps what happened
        if isinstance(seen, TimeoutError):
            return TIMED_OUT
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"the relay's certificate is not valid: {seen.verify_message}"
        seen = seen.__cause__
    return readable(f"{type(exc).__name__}: {exc}"[:200].encode("utf-8", "surrogateescape"))
