"""The composition root: the one place that picks implementations."""

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Event

import sqlalchemy as sa

from newsletter import clock
from newsletter.db import Database
from newsletter.delivery.printing import Desk, Identity
from newsletter.delivery.transports import Transport
from newsletter.delivery.transports.outbox import Outbox
from newsletter.delivery.transports.smtp import SmtpTransport
from newsletter.errors import SettingsError
from newsletter.papers.sources import Source
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.huggingface import HuggingFace
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import Templates
from newsletter.settings import Settings
from newsletter.signing import Signer

_BATCH = 200
_PER_CONNECTION = 20  # at 6 seconds a mail they are done within a lease of 2 minutes


@dataclass(frozen=True)
class App:
    """Everything a job needs; jobs receive it, pure code receives values.

    :ivar wake: tells workers that an issue (``None``: mails outside any) has something to do. A lost
        call costs at most the time to the next sweep: the database is the truth.
    :ivar stopping: set when the process is to end: what is under way is finished, no more is begun.
    """

    settings: Settings
    db: Database
    now: Callable[[], datetime]
    signer: Signer
    templates: Templates
    transport: Transport
    sources: Mapping[str, Source]
    wake: Callable[[int | None], None] = field(default=lambda _issue_id: None)
    desks: dict[int, Desk] = field(default_factory=dict)
    stopping: Event = field(default_factory=Event)

    @cached_property
    def owner(self) -> str:
        """Who leases, unique to this process."""
        return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    @cached_property
    def batch(self) -> int:
        """How many deliveries are leased at once: no more than a slow relay can take before the lease ends."""
        relay = self.settings.relay
        return min(_BATCH, _PER_CONNECTION * relay.connections) if relay else _BATCH

    @cached_property
    def identity(self) -> Identity:
        """Who the mails come from."""
        settings = self.settings
        sender = settings.sender_parts
        return Identity(
            sender=sender,
            envelope_domain=settings.envelope_domain,
            letterhead=Letterhead(sender.name, settings.base_url, settings.postal_address),
            links=Links(settings.base_url, tracked=settings.tracking != "off"),
            signer=self.signer,
        )

    def close(self) -> None:
        """Close connections."""
        self.transport.close()
        self.db.dispose()


def build_app(
    settings: Settings,
    *,
    wake: Callable[[int | None], None] | None = None,
    now: Callable[[], datetime] = clock.now,
) -> App:
    """Return the application that the settings describe; nothing outside is touched before it is used.

    :raises SettingsError: no templates where they should be, or a secret that cannot be kept.
    """
    relay, stopping = settings.relay, Event()
    web = Web(settings.contact, settings.http_timeout_seconds)
    return App(
        settings=settings,
        db=Database(settings.database_url),
        now=now,
        signer=Signer(_keys(settings)),
        templates=Templates(settings.templates_dir),
        transport=SmtpTransport(relay, stopping=stopping) if relay else Outbox(settings.outbox_dir),
        sources={
            HuggingFace.name: HuggingFace(web, settings.huggingface_url),
        },
        wake=wake or (lambda _issue_id: None),
        stopping=stopping,
    )


def _keys(settings: Settings) -> list[str]:
    """Return the configured keys, newest first, or one that was made for this installation alone."""
    if settings.secret_key:
        keys = [key.strip() for key in settings.secret_key.get_secret_value().split(",") if key.strip()]
        if not keys:
            raise SettingsError("NEWSLETTER_SECRET_KEY holds no key")
        return keys
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise SettingsError("NEWSLETTER_SECRET_KEY must be set where the database is not a local file")
    return [_own_key(Path(url.database).parent / "secret_key")]


def _own_key(path: Path) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(32), encoding="ascii")
            try:
                os.link(fresh, path)  # the first of two processes wins, and nobody reads half a key
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the secret key cannot be kept in {path}: {exc}") from exc
    if not key:
        raise SettingsError(f"the secret key in {path} is empty: remove the file, or set NEWSLETTER_SECRET_KEY")
    return key
