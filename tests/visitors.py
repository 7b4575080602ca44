"""Whoever comes to the pages: from some address, by form, multipart, JSON or /link; and what they leave behind."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from fastapi.testclient import TestClient
from httpx2 import Response
from samples import mails_of, paths_in
from sqlmodel import select

from newsletter.app import App
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes.models import Consent
from newsletter.subscribers.intake.models import SignUp
from newsletter.subscribers.models import Subscriber
from newsletter.tables import TABLES
from newsletter.web import create_web

ADA = "ada@example.org"
SITE = "https://news.example.org"
HOME, AWAY = "203.0.113.7", "198.51.100.9"
WAYS = ("form", "multipart", "json", "link")


def visitor(app: App, host: str = HOME, web: Any = None) -> TestClient:
    """Return somebody who comes from an address."""
    return TestClient(
        web or create_web(app), SITE, client=(host, 50_000), follow_redirects=False, raise_server_exceptions=False
    )


def ask(client: TestClient, email: str, way: str = "form", **typed: Any) -> Response:
    """Sign an address up, or ask for its link."""
    typed = {"email": email} | typed
    if way == "json":
        return client.post("/api/v1/signups", json=typed)
    if way == "multipart":
        return client.post("/subscribe", files={name: (None, value) for name, value in typed.items()})
    return client.post("/link" if way == "link" else "/subscribe", data=typed)


def confirm_path(app: App, email: str = ADA) -> str:
    """Deliver, and return the link of the newest mail to an address that can be confirmed."""
    return next(path for mail in reversed(mails_of(app, email)) for path in paths_in(mail, "confirm"))


def subscribed(app: App, client: TestClient, email: str = ADA, **typed: Any) -> int:
    """Sign somebody up and press the button of their mail; return their id."""
    assert ask(client, email, **typed).status_code == 200
    assert client.post(confirm_path(app, email)).status_code == 200
    return person(app, email).id or 0


def person(app: App, email: str = ADA) -> Subscriber:
    """Return a subscriber."""
    with app.db.snapshot() as session:
        found = subscribers.find(session, email)
    assert found is not None
    return found


def sign_ups(app: App) -> Sequence[SignUp]:
    """Return what was asked for, oldest first."""
    with app.db.snapshot() as session:
        return session.exec(select(SignUp).order_by(sa.text("id"))).all()


def consents(app: App) -> Sequence[Consent]:
    """Return the log of consent, oldest first."""
    with app.db.snapshot() as session:
        return session.exec(select(Consent).order_by(sa.text("id"))).all()


def recipients(app: App) -> list[str]:
    """Deliver, and return whom all mails so far went to, in order."""
    return [str(mail["to"]) for mail in mails_of(app)]


def dump(app: App, *, but: Any = None) -> str:
    """Return every row of every table, but those of one."""
    with app.db.snapshot() as session:
        found = [[row.model_dump() for row in session.exec(select(table))] for table in TABLES if table is not but]
    return repr([sorted(rows, key=repr) for rows in found])


@contextmanager
def statements(app: App) -> Iterator[list[str]]:
    """Collect the SQL that is sent meanwhile, but for what a connection is told by what it was used for before."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("PRAGMA"):
            seen.append(statement)

    sa.event.listen(app.db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(app.db.engine, "before_cursor_execute", note)


def stamp_in(page: str) -> str:
    """Return the stamp of a form."""
    found = re.search(r'name="stamp" value="([\w-]+)"', page)
    assert found is not None
    return found[1]


def is_work(stamp: str, email: str, number: object, bits: int) -> bool:
    """Return whether a number is what the form asks for."""
    digest = hashlib.sha256(f"{stamp}:{email}:{number}".encode()).digest()
    return int.from_bytes(digest) >> (256 - bits) == 0


def worked(stamp: str, email: str, bits: int) -> str:
    """Return a number that took the work."""
    return next(str(number) for number in itertools.count() if is_work(stamp, email, number, bits))
