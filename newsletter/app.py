"""The composition root: the one place that picks implementations."""

import os
import re
import secrets
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Event

import sqlalchemy as sa

from newsletter import clock
from newsletter.db import Database
from newsletter.delivery.desk import Desk, Identity
from newsletter.delivery.dkim.keys import Key, read_key
from newsletter.delivery.lint import About
from newsletter.delivery.lint.opened import LOOPBACK
from newsletter.delivery.pacing import Pacer
from newsletter.delivery.pacing.shared import RedisBuckets
from newsletter.delivery.transports import Transport
from newsletter.delivery.transports.outbox import Outbox
from newsletter.delivery.transports.smtp import SmtpTransport
from newsletter.embedding import Embedder
from newsletter.embedding.endpoint import Endpoint
from newsletter.embedding.local import LocalEmbedder
from newsletter.errors import EmbedderError, SettingsError, SourceError
from newsletter.issues.shelf import Shelf
from newsletter.papers.sources import Details, Source
from newsletter.papers.sources.arxiv import Arxiv, ArxivDetails
from newsletter.papers.sources.biorxiv import Biorxiv
from newsletter.papers.sources.feeds import Feed
from newsletter.papers.sources.guard import check_named, parse
from newsletter.papers.sources.http import Web, longest_request_seconds
from newsletter.papers.sources.huggingface import HuggingFace
from newsletter.papers.sources.pace import DatabasePace, Pace, RedisPace
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import Templates
from newsletter.settings import Settings
from newsletter.signing import Signer
from newsletter.timekeeping import DatabaseClock

_BATCH = 200
_ARXIV_HOSTS = ("arxiv.org", "www.arxiv.org", "export.arxiv.org", "rss.arxiv.org")  # wherever one redirects to another
_ARXIV_SECONDS = 3.0
_OTHERS = stat.S_IWGRP | stat.S_IRWXO  # a group may read a key, as for secrets of services
Wait = Callable[[float], None]
_SOURCES: Mapping[str, Callable[[Web, Settings, str], Source]] = {
    "huggingface": lambda web, settings, _: HuggingFace(web, settings.huggingface_url),
    "arxiv": lambda web, settings, what: Arxiv(web, settings.arxiv_rss_url, settings.arxiv_api_url, what.split("+")),
    "biorxiv": lambda web, settings, _: Biorxiv(web, settings.biorxiv_url),
    "medrxiv": lambda web, settings, _: Biorxiv(web, settings.biorxiv_url, "medrxiv"),
    "feed": lambda web, _, what: Feed(web, what),
}


@dataclass(frozen=True)
class App:
    """Everything a job needs; jobs receive it, pure code receives values.

    :ivar details: who tells more about papers that others list; ``None`` where arXiv is no source.
    :ivar embedder: who says what papers mean, if anybody does.
    :ivar pacing: whether a mail may go out now.
    :ivar wake: tells workers that an issue (``None``: mails outside any) has something to do. A lost
        call costs at most the time to the next sweep: the database is the truth.
    :ivar dkim_keys: what mails are signed with, one signature each.
    :ivar told: alarms that this process has raised, and that still hold.
    :ivar stopping: set when the process is to end: what is under way is finished, no more is begun.
    """

    settings: Settings
    db: Database
    now: Callable[[], datetime]
    signer: Signer
    templates: Templates
    transport: Transport
    sources: Mapping[str, Source]
    pacing: Pacer
    details: Details | None = None
    embedder: Embedder | None = None
    dkim_keys: tuple[Key, ...] = ()
    wake: Callable[[int | None], None] = field(default=lambda _issue_id: None)
    desks: dict[int, Desk] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=Shelf)
    told: set[str] = field(default_factory=set)
    stopping: Event = field(default_factory=Event)

    @cached_property
    def owner(self) -> str:
        """Who leases, unique to this process."""
        return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    @cached_property
    def batch(self) -> int:
        """How many deliveries are leased at once: so many that what a batch costs by itself does not count."""
        return _BATCH

    @cached_property
    def identity(self) -> Identity:
        """Who the mails come from."""
        settings = self.settings
        sender = settings.sender_parts
        return Identity(
            sender=sender,
            envelope_domain=settings.envelope_domain,
            letterhead=Letterhead(sender.name, settings.base_url, settings.postal_address),
            links=Links(settings.base_url, tracked=settings.tracking != "off", pictures=settings.pictures),
            signer=self.signer,
            dkim_keys=self.dkim_keys,
            operators=settings.admins,
        )

    def about(self, *, tracked: bool | None = None) -> About:
        """Return what lint has to know of our mails.

        :param tracked: whether the reader lets opens and clicks be counted, where that is known.
        """
        settings = self.settings
        return About(
            site=settings.base_url,
            postal_address=settings.postal_address,
            tracked=None if tracked is None else tracked and self.identity.links.tracked,
            keys=self.dkim_keys,
            trial=all(relay.host in LOOPBACK for relay in settings.relays),
        )

    def close(self) -> None:
        """Close connections."""
        self.transport.close()
        self.pacing.close()
        self.db.dispose()


def build_app(
    settings: Settings,
    *,
    wake: Callable[[int | None], None] | None = None,
    now: Callable[[], datetime] | None = None,
) -> App:
    """Return the application that the settings describe; nothing outside is touched before it is used.

    :param now: the clock; without one it is the database's on PostgreSQL, so that all machines agree.
    :raises SettingsError: no templates where they should be, or a secret or a key that cannot be kept or used.
    """
    relays, stopping = settings.relays, Event()
    db = Database(settings.database_url)
    if now is None:
        now = DatabaseClock(db) if db.engine.dialect.name == "postgresql" else clock.now
    pacer = _pacer(settings, db, now)
    web = _web(settings, db, _waiting(stopping))
    return App(
        settings=settings,
        db=db,
        now=now,
        signer=Signer(_keys(settings)),
        templates=Templates(settings.templates_dir),
        transport=SmtpTransport(relays, pacer, now, stopping=stopping) if relays else Outbox(settings.outbox_dir),
        sources=_sources(settings, web),
        pacing=pacer,
        details=ArxivDetails(web, settings.arxiv_api_url) if "arxiv" in _families(settings) else None,
        embedder=embedder_of(settings),
        dkim_keys=_dkim_keys(settings),
        wake=wake or (lambda _issue_id: None),
        stopping=stopping,
    )


def embedder_of(settings: Settings) -> Embedder | None:
    """Return the embedder that the settings name, if they name one.

    :raises SettingsError: a folder without a model.
    """
    if not settings.embedder:
        return None
    if "://" not in settings.embedder:
        return LocalEmbedder(Path(settings.embedder).expanduser())
    key = settings.embedder_key.get_secret_value() if settings.embedder_key else ""
    web = Web(settings.contact, settings.http_timeout_seconds, named=(settings.embedder,))

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            answer = web.post(url, body, headers)
        except SourceError as exc:
            raise EmbedderError(str(exc)) from exc
        return answer.status, answer.body

    return Endpoint(settings.embedder, settings.embedder_model, key, post)


def _pacer(settings: Settings, db: Database, now: Callable[[], datetime]) -> Pacer:
    """Return what keeps the limits: rates are counted in Redis where there is one, else in the database."""
    limited = bool(settings.rate or settings.rate_domains)
    url = _redis_url(settings) if limited else ""
    return Pacer(
        db,
        now,
        rate=settings.rate,
        domains=settings.domain_rates,
        warm_ups=settings.warm_ups,
        broker=RedisBuckets(url, now) if url else None,
    )


def _redis_url(settings: Settings) -> str:
    url = settings.broker_url.get_secret_value() if settings.broker_url else ""
    return url if url.partition("://")[0] in {"redis", "rediss", "redis+socket"} else ""


def _sources(settings: Settings, web: Web) -> dict[str, Source]:
    """Return the configured sources by name, in order; ``arxiv`` without categories lists nothing."""
    found: dict[str, Source] = {}
    for name in settings.source_names:
        family, _, what = name.partition(":")
        if family != "arxiv" or what:
            source = _SOURCES[family](web, settings, what)
            found[source.name] = source
    return found


def _families(settings: Settings) -> list[str]:
    return [name.partition(":")[0] for name in settings.source_names]


def _waiting(stopping: Event) -> Wait:
    """Return how sources are waited for: whoever stops the process does not wait for arXiv's next turn."""

    def wait(seconds: float) -> None:
        if stopping.wait(seconds):
            raise SourceError("was not waited for: we stop")

    return wait


def _web(settings: Settings, db: Database, wait: Wait) -> Web:
    """Return the way out: it may go to private hosts only where a setting names them, and keeps arXiv's pace."""
    feeds = [name.partition(":")[2] for name in settings.source_names if name.startswith("feed:")]
    arxiv = (settings.arxiv_rss_url, settings.arxiv_api_url)
    named = (*feeds, settings.huggingface_url, settings.biorxiv_url, *arxiv)
    for url in named:
        try:
            check_named(url)
        except ValueError as exc:
            where = "NEWSLETTER_SOURCES: feed:" if url in feeds else "NEWSLETTER_…_URL: "
            raise SettingsError(f"{where}{_shown(url)} is an address that {exc}") from None
    pace = _arxiv_pace(settings, db, wait, settings.arxiv_interval_seconds)
    # a mirror may be asked faster; arXiv itself, to which it may redirect, may not
    real = (
        pace if settings.arxiv_interval_seconds >= _ARXIV_SECONDS else _arxiv_pace(settings, db, wait, _ARXIV_SECONDS)
    )
    return Web(
        settings.contact,
        settings.http_timeout_seconds,
        named=named,
        paces=dict.fromkeys(_ARXIV_HOSTS, real) | {f"{place.host}:{place.port}": pace for place in map(parse, arxiv)},
        wait=wait,
    )


def _shown(url: str) -> str:
    """Return an address on one line, without the password that somebody put into it."""
    return re.sub(r"//[^/@]*@", "//…@", "".join(char if char.isprintable() else " " for char in url))[:200]


def _arxiv_pace(settings: Settings, db: Database, wait: Wait, interval: float) -> Pace:
    """Return whose turn it is to ask arXiv: one at a time, over all processes and machines together."""
    hold = longest_request_seconds(settings.http_timeout_seconds)
    by_database = DatabasePace(db, "arxiv", interval, hold, wait=wait)
    if url := _redis_url(settings):
        return RedisPace(url, "arxiv", interval, hold, fallback=by_database, wait=wait)
    return by_database


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


def _dkim_keys(settings: Settings) -> tuple[Key, ...]:
    """Return the keys that mails are signed with; they are read now, so that a bad one is no surprise at night."""
    found = []
    for selector, path in settings.dkim_files:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                raise ValueError(f"may be read or changed by others (its mode is {mode:04o}): chmod 600")  # noqa: TRY301
            found.append(read_key(path.read_bytes(), selector, settings.signing_domain))
        except OSError as exc:
            raise SettingsError(f"NEWSLETTER_DKIM_KEYS: {path} cannot be read: {exc.strerror}") from None
        except ValueError as exc:
            raise SettingsError(f"NEWSLETTER_DKIM_KEYS: {path} {exc}") from None
    return tuple(found)
