"""Relays as the operator names them: where they are, and how mails go there. Pure."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

HOST = re.compile(r"^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$", re.IGNORECASE)
_OPTIONS = frozenset({"starttls", "connections", "messages", "timeout", "weight"})


@dataclass(frozen=True, slots=True)
class Relay:
    """Where the SMTP transport hands messages over, from ``NEWSLETTER_SMTP_URL``.

    :ivar messages: how many go over one connection.
    :ivar weight: its share of the mails beside other relays; 0 is a stand-by, for when all others are away.
    """

    host: str
    port: int
    tls: Literal["implicit", "required", "never"]
    username: str | None = None
    password: str | None = None
    connections: int = 4
    messages: int = 1_000
    weight: int = 1
    timeout_seconds: float = 300.0

    @property
    def name(self) -> str:
        """What it is called in limits and in what `status` shows."""
        return f"{self.host}:{self.port}"


def parse_smtp_url(url: str) -> Relay:
    """Return the relay that `url` names: ``smtp://user:pass@host:587?starttls=required|never&connections=N&weight=N``.

    ``smtps://`` is TLS from the first byte; ``smtp://`` demands STARTTLS unless the URL says ``starttls=never``.

    :raises ValueError: with the part that is wrong, never with the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        if "ort" in str(exc):
            raise ValueError("smtp_url: the port is not a number between 1 and 65535") from None
        raise ValueError("smtp_url: must look like smtp://user:password@host:587 or smtps://…") from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise ValueError("smtp_url: must look like smtp://user:password@host:587 or smtps://…")
    if not _is_host(parts.hostname):
        raise ValueError("smtp_url: the host is no name and no IP address; several relays have spaces between them")
    if port == 0:
        raise ValueError("smtp_url: the port is not a number between 1 and 65535")
    query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if "@" in parts.query:  # a password that was not quoted, which must not be shown
        raise ValueError("smtp_url: ?, # and @ in a password are written %3F, %23 and %40")
    if unknown := set(query) - _OPTIONS:
        raise ValueError(f"smtp_url: unknown option {min(unknown)}; there is {', '.join(sorted(_OPTIONS))}")
    starttls = query.get("starttls", "required")
    if starttls not in {"required", "never"}:
        raise ValueError("smtp_url: starttls is required or never")
    implicit = parts.scheme == "smtps"
    return Relay(
        host=parts.hostname,
        port=port or (465 if implicit else 587),
        tls="implicit" if implicit else "required" if starttls == "required" else "never",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        connections=_whole(query.get("connections", "4"), "connections", 1, 500),
        messages=_whole(query.get("messages", "1000"), "messages", 1, 1_000_000),
        weight=_whole(query.get("weight", "1"), "weight", 0, 1_000),
        timeout_seconds=_number(query.get("timeout", "300"), "timeout", 1, 600),
    )


def _is_host(name: str) -> bool:
    """Return whether a relay may be called so: names in a network of one's own have underscores, or end in a point."""
    try:
        ascii_ = name.removesuffix(".").encode("idna").decode().replace("_", "-")
        return bool(HOST.match(ascii_.strip("-"))) or bool(ip_address(name))
    except ValueError:
        return False


def _whole(text: str, name: str, low: int, high: int) -> int:
    value = _number(text, name, low, high)
    if value != int(value):
        raise ValueError(f"smtp_url: {name} must be a whole number")
    return int(value)


def _number(text: str, name: str, low: int, high: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise ValueError(f"smtp_url: {name} must be a number between {low} and {high}")
    return value
