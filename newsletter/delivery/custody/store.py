"""All SQL about custody, and the witness beside a SQLite file.

A backup knows nothing of the mails that went out after it was made, so whoever restores one would mail those
readers again. A database is held when it is not where it was when it sent its first mail (another server, another
timeline, another table, another file), or when the witness saw more mails leave than it knows of.
"""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from newsletter.db import after_commit, dialect, written
from newsletter.delivery.custody.models import Custody

_HELD = "sending is held: "
_RELEASE = "look at what was sent since, then: newsletter deliveries release"
_SUFFIX = "-witness"
# A restored dump makes the table anew; recovery to a point in time begins a timeline; another server has another name.
_TABLE = "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), 'deliveries'::regclass::oid"
_SERVER = (
    "SELECT (SELECT system_identifier FROM pg_control_system()), (SELECT timeline_id FROM pg_control_checkpoint())"
)
_COUNTED = (
    sa.update(Custody)
    .values(handed=col(Custody.handed) + sa.bindparam("number"))
    .returning(col(Custody.ledger), col(Custody.handed))
)


@dataclass(frozen=True, slots=True)
class Witness:
    """What a file beside the database says: which ledger it saw, and how many handoffs."""

    ledger: str
    handed: int


def check(session: Session, now: datetime) -> str:
    """Return why nothing may be sent, or nothing; who asks first writes down where the database is."""
    kept, place = _kept(session), _place(session)
    if kept.held_why:
        return kept.held_why
    why = why_held(kept, place, _witness(session))
    if why:
        kept.held_why, kept.held_at = why, now
        session.add(kept)
    elif kept.place is None:
        kept.place = place
        session.add(kept)
    return why


def why_held(kept: Custody, place: str, witness: Witness | None) -> str:
    """Return why a database must not send until the operator says so, or nothing."""
    if witness and witness.ledger == kept.ledger and witness.handed > kept.handed:
        return f"{_HELD}mails went out that this database knows nothing of, so it is an old copy; {_RELEASE}"
    if kept.place is not None and kept.place != place:
        return f"{_HELD}this database is a copy, or was restored from a backup; {_RELEASE}"
    return ""


def held_why(session: Session) -> str:
    """Return why nothing is sent, or nothing; also of a copy that has not tried to send yet."""
    kept, witness = _kept(session), _witness(session)
    if witness and witness.handed > kept.handed:
        # a snapshot is older than the witness, which a run that goes on pushes ahead: look once more, behind it
        with session.get_bind().engine.connect().execution_options(newsletter_read_only=True) as later:
            kept = _kept(Session(later))
    return kept.held_why or why_held(kept, _place(session), witness)


def held_since(session: Session) -> datetime | None:
    """Return since when nothing is sent; ``None`` if all is well, or nobody has tried to."""
    kept = _kept(session)
    return kept.held_at if kept.held_why else None


def reason(why: str) -> str:
    """Return why sending is held, as a sentence without its end, and without what to do about it."""
    text = why.removeprefix(_HELD).removesuffix(f"; {_RELEASE}")
    return text[:1].upper() + text[1:]


def held() -> sa.ColumnElement[bool]:
    """Whether nothing may be sent."""
    return sa.exists(sa.select(col(Custody.id)).where(col(Custody.held_why) != ""))


def release(session: Session, now: datetime) -> bool:
    """Let this copy send from now on, under a new name; return whether it was held."""
    kept = _kept(session)
    was = bool(kept.held_why)
    if was:
        kept.ledger, kept.place, kept.held_why, kept.released_at = secrets.token_hex(8), _place(session), "", now
        session.add(kept)
    return was


def saw_handoffs(session: Session, number: int) -> None:
    """Let the witness know, when this is committed, that mails were marked as handed off; PostgreSQL has none."""
    path = _file(session)
    if path is None or not number:
        return
    for ledger, handed in written(session, _COUNTED).ask(session, number=number):
        after_commit(session, partial(_testify, path, Witness(ledger, handed)))


def _testify(path: Path, seen: Witness) -> None:
    """Write in one go; no wait for the disk: a witness that knows less than the database does no harm."""
    with suppress(OSError):
        file = os.open(_beside(path), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, f"{seen.ledger} {seen.handed:020d}\n".encode(), 0)
        finally:
            os.close(file)


def _witness(session: Session) -> Witness | None:
    path = _file(session)
    if path is None:
        return None
    try:
        ledger, handed = _beside(path).read_text(encoding="ascii").split()
        return Witness(ledger, int(handed))
    except (OSError, ValueError):
        return None


def _place(session: Session) -> str:
    if dialect(session) == "postgresql":
        named = _ask(session, _TABLE)
        try:
            with session.begin_nested():
                return f"postgresql {named} {_ask(session, _SERVER)}"
        except DBAPIError:  # a provider that does not let us ask
            return f"postgresql {named}"
    path = _file(session)
    try:
        return f"sqlite {path.stat().st_ino}" if path else "sqlite"
    except OSError:
        return "sqlite"


def _ask(session: Session, statement: str) -> str:
    return " ".join(str(each) for each in session.connection().exec_driver_sql(statement).one())


def _file(session: Session) -> Path | None:
    engine = session.get_bind().engine  # of a snapshot it is a connection
    if engine.dialect.name != "sqlite" or engine.url.database in {None, "", ":memory:"}:
        return None
    return Path(engine.url.database)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _kept(session: Session) -> Custody:
    return session.exec(select(Custody)).one()
