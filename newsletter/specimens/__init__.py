"""Specimens: each mail as its templates print it for readers whom there are not; nothing is read, written or sent.

``papers`` are what they hold, ``proofs`` prints them, and ``tried`` has that done by another process (``child``), which
an operator's templates cannot take down with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.delivery import dkim
from newsletter.delivery.lint import About
from newsletter.delivery.models import Mail
from newsletter.errors import InputError, SettingsError
from newsletter.rendering.trial import Trial, try_all
from newsletter.specimens.proofs import Order, Proof, proofs
from newsletter.specimens.wire import read_proofs

if TYPE_CHECKING:  # the process that prints them need not wait for what reaches databases and relays
    from newsletter.app import App

_CHILD = "newsletter.specimens.child"


@dataclass(frozen=True, slots=True)
class Specimen:
    """One of the forms that a mail may take.

    :ivar title: the mail's name, and which form it is.
    """

    title: str
    message: bytes
    about: About


def specimens(app: "App", mail: Mail) -> Iterator[Specimen]:
    """Yield the forms of a mail, printed here and now.

    :raises InputError: its templates cannot be rendered.
    """
    for proof in proofs(_order(app), app.templates, mail):
        yield _signed(app, mail, proof)


def tried(
    app: "App", own: Path | None, mails: Sequence[Mail] = tuple(Mail), begun: Trial | None = None
) -> Iterator[tuple[Mail, list[Specimen] | str]]:
    """Yield each mail's forms, or what is wrong with its templates; another process prints them, under limits.

    :param own: the operator's folder of templates.
    :param begun: what `prepare` gave, if that was called before.
    """
    for each in try_all(_CHILD, (_order(app), own), mails, begun):
        mail = Mail(each.name)
        try:
            yield mail, each.error or [_signed(app, mail, proof) for proof in read_proofs(each.made)]
        except InputError as exc:
            yield mail, str(exc)


def prepare() -> Trial:
    """Return a process that will be quick to print specimens: it has loaded what it needs."""
    return Trial(_CHILD)


def check_templates(app: "App") -> None:
    """Try an operator's templates, if there are any, before anything is mailed with them; then take them as they are.

    :raises SettingsError: naming the file, and the line where it is known, and what is wrong.
    """
    if app.settings.templates_dir is None:
        return
    for mail, found in tried(app, app.settings.templates_dir):
        if isinstance(found, str):
            raise SettingsError(f"NEWSLETTER_TEMPLATES_DIR: {found}")
        app.templates.mail(mail)


def _order(app: "App") -> Order:
    identity = app.identity
    return Order(identity.sender, identity.envelope_domain, identity.letterhead, identity.links, app.now())


def _signed(app: "App", mail: Mail, proof: Proof) -> Specimen:
    pieces = dkim.signed(proof.pieces, app.dkim_keys, app.now())
    title = f"{mail}, {proof.form}" if proof.form else str(mail)
    return Specimen(title, b"".join(pieces), app.about(tracked=proof.tracked))


__all__ = ["Specimen", "check_templates", "prepare", "specimens", "tried"]
