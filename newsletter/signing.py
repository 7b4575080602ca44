"""Tokens for links in mails: short, signed, and good for one purpose only."""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from newsletter.errors import TokenError

_PAYLOAD = struct.Struct(">QI")  # id, seconds since 1970 at which the token was made
_MAC_BYTES = 16
_BLOCK, _INNER_PAD, _OUTER_PAD = 64, 0x36, 0x5C  # of SHA-256, and of any HMAC (RFC 2104, section 2)
TOKEN_CHARS = 38  # base64url of 12 + 16 bytes; a List-Unsubscribe line with it needs no folding
_FUTURE_TOLERANCE = timedelta(minutes=5)  # clocks of two machines may differ


class Purpose(StrEnum):
    """What a token is for; the purpose is part of what is signed. In brackets: whose id is inside."""

    CONFIRM = "confirm sign-up"  # sign-up
    UNSUBSCRIBE = "unsubscribe"  # subscriber
    RETURN = "return"  # subscriber: undo right after leaving
    REJOIN = "rejoin"  # subscriber: undo leaving, from the mail that says goodbye
    ERASE = "erase"  # subscriber: right after leaving
    PREFERENCES = "preferences"  # subscriber
    READ = "read"  # delivery: opens and clicks
    FEEDBACK = "feedback"  # delivery: what its reader says of its papers, and the mail itself as a page
    FEED = "feed"  # subscriber: what they were sent, for a feed reader
    NEW_ADDRESS = "new address"  # change of address
    FORM = "form"  # nobody: when a form was shown


@dataclass(frozen=True, slots=True)
class Signed:
    """What a token holds: an id, and the second in which it was made."""

    id: int
    at: datetime


_PREFIXES = {purpose: purpose.value.encode() + b"\0" for purpose in Purpose}


class Signer:
    """Signs ids into tokens with HMAC-SHA256 (RFC 2104), truncated to 128 bits.

    :param keys: secrets; the first signs, all verify, so that keys can be rotated.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or not all(keys):
            raise ValueError("at least one non-empty key is needed")
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys]
        # Both hashes of an HMAC, begun once and copied for each token: half of what an object of `hmac` takes, and
        # `hmac.digest` lets other threads in each time, five times a mail.
        inner, self._outer = (hashlib.sha256(_padded(self._keys[0], pad)) for pad in (_INNER_PAD, _OUTER_PAD))
        self._begun = {each: _gone_on(inner, _PREFIXES[each]) for each in Purpose}
        self._begun_fingerprint = _gone_on(inner, b"fingerprint\0")

    def sign(self, purpose: Purpose, id_: int, *, now: datetime) -> str:
        """Return a token of 38 URL-safe characters holding `id_` and the second of `now`."""
        payload = _PAYLOAD.pack(id_, int(now.timestamp()))
        raw = payload + self._finished(self._begun[purpose], payload).digest()[:_MAC_BYTES]
        return base64.urlsafe_b64encode(raw)[:TOKEN_CHARS].decode()

    def unsign(self, purpose: Purpose, token: str, *, now: datetime, max_age: timedelta | None = None) -> int:
        """Return the id inside `token`; see `read`."""
        return self.read(purpose, token, now=now, max_age=max_age).id

    def read(self, purpose: Purpose, token: str, *, now: datetime, max_age: timedelta | None = None) -> Signed:
        """Return what `token` holds.

        :param max_age: age limit; ``None`` for links that never expire.
        :raises TokenError: forged, expired, or signed for another purpose; never says which.
        """
        payload = self._verified(purpose, token)
        id_, seconds = _PAYLOAD.unpack(payload)
        at = datetime.fromtimestamp(seconds, UTC)
        if now - at < -_FUTURE_TOLERANCE or (max_age is not None and now - at > max_age):
            raise TokenError("this link is not valid")
        return Signed(int(id_), at)

    def fingerprint(self, text: str) -> str:
        """Return 16 hex digits that nobody without the key can guess, the same for the same `text`."""
        return self._finished(self._begun_fingerprint, text.encode()).hexdigest()[:16]

    def _finished(self, begun: "hashlib._Hash", message: bytes) -> "hashlib._Hash":
        return _gone_on(self._outer, _gone_on(begun, message).digest())

    def _verified(self, purpose: Purpose, token: str) -> bytes:
        # Only one spelling of a token is good: the last character of base64 has spare bits.
        try:
            raw = base64.urlsafe_b64decode(token + "==") if len(token) == TOKEN_CHARS else b""
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != _PAYLOAD.size + _MAC_BYTES or base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
            raise TokenError("this link is not valid")
        payload, mac = raw[: _PAYLOAD.size], raw[_PAYLOAD.size :]
        if not any(hmac.compare_digest(mac, _mac(key, purpose, payload)) for key in self._keys):
            raise TokenError("this link is not valid")
        return payload


def _padded(key: bytes, pad: int) -> bytes:
    return bytes([each ^ pad for each in key.ljust(_BLOCK, b"\0")])


def _gone_on(begun: "hashlib._Hash", message: bytes) -> "hashlib._Hash":
    copy = begun.copy()
    copy.update(message)
    return copy


def _mac(key: bytes, purpose: Purpose, payload: bytes) -> bytes:
    return hmac.digest(key, _PREFIXES[purpose] + payload, "sha256")[:_MAC_BYTES]
