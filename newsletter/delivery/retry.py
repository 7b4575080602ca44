"""What a relay's reply means for the mail, the address and the issue; decided by class, never by wording. Pure."""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Literal, NamedTuple

from newsletter.delivery.models import DeliveryState

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 60, 240, 240))
_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")
# RFC 3463: bad mailbox, bad system, bad syntax, moved, null MX (RFC 7505)
_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_OUR_SENDER = frozenset({"5.1.7", "5.1.8"})  # RFC 3463: about the address that we send from
_FULL = frozenset({"4.2.2", "5.2.2"})
_TOO_BIG = frozenset({"5.2.3", "5.3.4"})
_NOT_FOR_THEM = frozenset({521, 550, 551, 553, 556})  # RFC 5321, section 4.2.2, and RFC 7504; 554 may be about us
_NOT_UNDERSTOOD = frozenset({500, 501, 502, 503, 504, 555})
_SAYS_LITTLE = frozenset({"", "5.0", "5.1", "5.2", "5.4"})  # subjects under which a reply may be about the address
_REPLY_CHARS = 300
TIMED_OUT = "timed out"


class Phase(StrEnum):
    """How far the dialogue had come (RFC 5321, section 3)."""

    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


class Outcome(NamedTuple):
    """What became of one attempt.

    :ivar retry_after: for ``deferred``: the least time until the next attempt.
    :ivar suppress: the address does not exist.
    :ivar hard: the address was refused for good, in words that do not say it does not exist.
    :ivar full: the mailbox has no room.
    :ivar ours: the message itself is at fault: too big, or not understood.
    :ivar slow: who wants us to be slower: the relay, or the recipient's domain.
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
    hard: bool = False
    full: bool = False
    ours: bool = False
    slow: Literal["", "relay", "domain"] = ""
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
    return _deferred(phase, 0, why, attempts, spread, close=True)._replace(silent=silent)


def refused(phase: Phase, code: int, reply: str, attempts: int, spread: float) -> Outcome:
    """Return the outcome of a negative or unexpected reply (RFC 5321, section 4.2.1).

    :param attempts: how many were made, with this one; after the sixth a temporary refusal is final.
    :param spread: -1 to 1, spreads the retries of many by a fifth to either side.
    """
    if not 400 <= code < 600:
        return no_reply(phase, f"unexpected reply {code} {reply}", attempts, spread)
    enhanced = found[1] if (found := _ENHANCED.match(reply)) else ""
    if code < 500:
        put_off = _deferred(phase, code, reply, attempts, spread, close=code == 421)
        full = enhanced in _FULL and put_off.state is DeliveryState.FAILED
        return put_off._replace(slow=_slow(phase, code, enhanced), full=full)
    failed = Outcome(DeliveryState.FAILED, phase, code, reply[:_REPLY_CHARS])
    if _is_ours(phase, code, enhanced):
        return failed._replace(ours=True)
    us = enhanced.startswith("5.7.") or enhanced in _OUR_SENDER  # our sender, our authentication, our reputation
    if phase is Phase.RCPT and (us or _says_nothing(code, enhanced)):
        return failed._replace(refused_us=True)
    if phase is Phase.MAIL or us:
        return _deferred(phase, code, reply, attempts, spread, stop=True)
    full, gone = enhanced in _FULL or (code == 552 and not enhanced), enhanced in _GONE
    return failed._replace(full=full, suppress=gone, hard=not full and not gone and _is_hard(phase, code, enhanced))


def _slow(phase: Phase, code: int, enhanced: str) -> Literal["", "relay", "domain"]:
    """Return who wants us to be slower: 421 closes our connection; 4.7.x is a policy, of whom depends on the step."""
    if code == 421:
        return "relay"
    if not enhanced.startswith("4.7.") or (phase is Phase.RCPT and enhanced == "4.7.1"):
        return ""  # 4.7.1 to RCPT is how greylisting is said: each new recipient hears it once, however slow we are
    return "relay" if phase is Phase.MAIL else "domain"


def _is_ours(phase: Phase, code: int, enhanced: str) -> bool:
    """Whether the mail is at fault: too big (RFC 1870), or said in a way that is not understood (5.3.x, 5.5.x)."""
    if phase is Phase.MAIL:
        return enhanced in _TOO_BIG or (code == 552 and not enhanced)
    return enhanced in _TOO_BIG or enhanced.startswith(("5.3.", "5.5.")) or (not enhanced and code in _NOT_UNDERSTOOD)


def _says_nothing(code: int, enhanced: str) -> bool:
    """Whether it is a bare 554: some servers say so to everybody whose reputation they dislike."""
    return code == 554 and not enhanced


def _is_hard(phase: Phase, code: int, enhanced: str) -> bool:
    subject = enhanced.rpartition(".")[0]
    return phase is Phase.RCPT and subject in _SAYS_LITTLE and (code in _NOT_FOR_THEM or bool(enhanced))


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
