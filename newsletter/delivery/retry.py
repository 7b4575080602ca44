"""What a relay's reply means for the mail, the address and the issue; decided by class, never by wording. Pure."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from newsletter.delivery.models import DeliveryState

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 60, 240, 240))
_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")
# RFC 3463: bad mailbox, bad system, bad syntax, moved, null MX (RFC 7505)
_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_REPLY_CHARS = 300
TIMED_OUT = "timed out"


class Phase(StrEnum):
    """How far the dialogue had come (RFC 5321, section 3)."""

    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    :ivar retry_after: for ``deferred``: the least time until the next attempt.
    :ivar suppress: the address does not exist.
    :ivar stop: the relay refuses us, not the reader: nothing more of the issue must be tried.
    :ivar refused_us: a reader's own server may refuse us; only several in a row mean that all do.
    :ivar close: the connection is of no more use.
    :ivar silent: the relay let us wait until the timeout.
    """

    state: DeliveryState
    phase: Phase
    code: int = 0
    reply: str = ""
    retry_after: timedelta | None = None
    suppress: bool = False
    stop: bool = False
    refused_us: bool = False
    close: bool = False
    silent: bool = False


def accepted(code: int, reply: str) -> Outcome:
    """Return the outcome of a 250 after the final dot."""
    return Outcome(DeliveryState.SENT, Phase.DOT, code, reply[:_REPLY_CHARS])


def no_reply(phase: Phase, why: str, attempts: int, spread: float) -> Outcome:
    """Return the outcome of silence: a closed connection, a timeout, or something that is no reply.

    Before the final dot nothing was accepted; after it nobody knows.
    """
    silent = why == TIMED_OUT
    if phase is Phase.DOT:
        return Outcome(DeliveryState.UNKNOWN, phase, 0, why[:_REPLY_CHARS], close=True, silent=silent)
    return replace(_deferred(phase, 0, why, attempts, spread, close=True), silent=silent)


def refused(phase: Phase, code: int, reply: str, attempts: int, spread: float) -> Outcome:
    """Return the outcome of a negative or unexpected reply (RFC 5321, section 4.2.1).

    :param attempts: how many were made, with this one; after the sixth a temporary refusal is final.
    :param spread: -1 to 1, spreads the retries of many by a fifth to either side.
    """
    if not 400 <= code < 600:
        return no_reply(phase, f"unexpected reply {code} {reply}", attempts, spread)
    enhanced = found[1] if (found := _ENHANCED.match(reply)) else ""
    if code < 500:
        return _deferred(phase, code, reply, attempts, spread, close=code == 421)
    if enhanced.startswith("5.3."):  # too big, or not supported: this mail's fault
        return Outcome(DeliveryState.FAILED, phase, code, reply[:_REPLY_CHARS])
    if phase is Phase.RCPT and enhanced.startswith("5.7."):
        return Outcome(DeliveryState.FAILED, phase, code, reply[:_REPLY_CHARS], refused_us=True)
    if phase is Phase.MAIL or enhanced.startswith("5.7."):  # about our sender, our authentication, our reputation
        return _deferred(phase, code, reply, attempts, spread, stop=True)
    return Outcome(DeliveryState.FAILED, phase, code, reply[:_REPLY_CHARS], suppress=enhanced in _GONE)


def spread_of(delivery_id: int, attempts: int) -> float:
    """Return a number from -1 to 1 that differs between deliveries and stays the same for each."""
    return ((delivery_id * 2_654_435_761 + attempts * 40_503) % 2_001) / 1_000 - 1


def _deferred(
    phase: Phase,
    code: int,
    reply: str,
    attempts: int,
    spread: float,
    *,
    stop: bool = False,
    close: bool = False,
) -> Outcome:
    if attempts > len(BACKOFF) and not stop:
        return Outcome(DeliveryState.FAILED, phase, code, f"gave up: {reply}"[:_REPLY_CHARS], close=close)
    wait = BACKOFF[min(max(attempts, 1), len(BACKOFF)) - 1] * (1 + 0.2 * spread)
    return Outcome(DeliveryState.DEFERRED, phase, code, reply[:_REPLY_CHARS], retry_after=wait, stop=stop, close=close)
