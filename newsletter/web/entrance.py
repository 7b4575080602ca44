"""Who may come in: the client as a hash, the stamp of a form, proof of work, and presses from other sites."""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request

from newsletter.app import App
from newsletter.errors import TokenError
from newsletter.signing import Purpose

_SOONEST = timedelta(seconds=2)  # nobody reads and fills in a form faster
_LATEST = timedelta(hours=12)  # work done for a stamp is worth nothing later
_IPV6_SITE = 64  # a household has as many addresses below that as it likes (RFC 6177)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a form says of who filled it in.

    :ivar website: a field that people do not see: whoever fills it in is a machine.
    :ivar stamp: when the form was shown; a form on another site has none.
    :ivar work: a number that took some work to find, where it is asked for.
    """

    website: str = ""
    stamp: str = ""
    work: str = ""


def client(app: App, request: Request) -> str:
    """Return who asks as a hash that is another one tomorrow: the limits need no address, so none is kept."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
        if address.version == 6:
            mapped = address.ipv4_mapped
            network = ipaddress.ip_network((address, _IPV6_SITE), strict=False)
            host = str(mapped) if mapped else str(network)
    except ValueError:
        pass
    return app.signer.fingerprint(f"client {app.now().date()} {host}")


def stamp(app: App) -> str:
    """Return what a form says about when it was shown."""
    return app.signer.sign(Purpose.FORM, 0, now=app.now())


def is_machine(evidence: Evidence) -> bool:
    """Return whether a field was filled in that no person sees."""
    return bool(evidence.website)


def needs_another_press(app: App, evidence: Evidence, email: str) -> bool:
    """Return whether a person should look and press once more: too fast, from elsewhere, or without the work."""
    bits = app.settings.signup_work_bits
    if not evidence.stamp:
        return bits > 0
    try:
        shown_at = app.signer.read(Purpose.FORM, evidence.stamp, now=app.now()).at
    except TokenError:
        return True
    age = app.now() - shown_at
    if age < _SOONEST:
        return True
    return bits > 0 and not (age < _LATEST and is_worked(evidence, email, bits))


def is_worked(evidence: Evidence, email: str, bits: int) -> bool:
    """Return whether SHA-256 of ``stamp:email:work`` begins with so many zero bits: for one address and one form."""
    text = f"{evidence.stamp}:{email.strip().lower()}:{evidence.work}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.sha256(text).digest()) >> (256 - bits) == 0


def is_from_elsewhere(request: Request, base_url: str) -> bool:
    """Return whether another site sent this request (https://www.w3.org/TR/fetch-metadata/).

    Browsers that say nothing of it name the origin, or ``null`` since our pages send no referrer.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin", "null")
    own = {urlsplit(base_url).netloc.lower(), request.headers.get("host", "").lower()}
    return origin != "null" and origin.partition("://")[2].lower() not in own
