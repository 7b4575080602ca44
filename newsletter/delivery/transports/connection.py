"""One connection: one mail after the other, each next envelope behind the dot before it (RFC 2920, section 3.1)."""

import asyncio
from collections import deque
from enum import Enum
from typing import Protocol, cast

from newsletter import clock
from newsletter.delivery.models import DeliveryState
from newsletter.delivery.retry import TIMED_OUT, Outcome, Phase, accepted, no_reply, refused, spread_of
from newsletter.delivery.transports import Outgoing
from newsletter.delivery.transports.handshake import Offers
from newsletter.delivery.transports.replies import NotAReplyError, Replies

_DOT_TIMEOUT_SECONDS = 600.0  # RFC 5321, section 4.5.3.2.6: a shorter one makes duplicates
_DATA_TIMEOUT_SECONDS = 120.0
_BLOCK_TIMEOUT_SECONDS = 180.0
_AFTER_REFUSAL_SECONDS = 10.0  # for the replies that are still owed: some relays forget them
_MARK_SECONDS = 30.0  # by then the relay may have given up on the message whose dot it is still owed
_OUT_OF_TURN = "the relay spoke out of turn"


class Work(Protocol):
    """Where a connection's mails come from, and where it tells what became of them."""

    def take(self, connection: "Connection") -> Outgoing | None:
        """Return the next mail for a connection, if it is to have one now."""

    def put_back(self, connection: "Connection", outgoing: Outgoing) -> None:
        """Take back a mail that was not tried."""

    def mark(self, connection: "Connection", outgoing: Outgoing) -> None:
        """Have the handoff mark committed, and call `Connection.marked` with the answer."""

    def settle(self, connection: "Connection", outgoing: Outgoing, outcome: Outcome) -> None:
        """Take note of what became of a mail."""

    def free(self, connection: "Connection") -> None:
        """Hear that a connection has nothing to do, or is closed."""


class _Owed(Enum):
    """Replies that are no mail's own."""

    RESET = "rset"
    EMPTY = "the end of a message that nobody gets"


class _Envelope:
    """A mail whose MAIL, RCPT and DATA are not all answered yet.

    :ivar certain: whether the relay can have meant no other mail: it is not behind another one's dot.
    """

    __slots__ = ("certain", "heard", "left", "message", "outgoing", "refusal")

    def __init__(self, outgoing: Outgoing, message: bytes, left: deque[tuple[Phase, bytes]], *, certain: bool) -> None:
        self.outgoing = outgoing
        self.message = message
        self.left = left
        self.certain = certain
        self.heard = False
        self.refusal: tuple[Phase, int, str] | None = None


class Connection(asyncio.Protocol):
    """A connection that has said hello.

    :ivar work: where its mails come from for now.
    :ivar carried: how many mails it has taken.
    :ivar idle_since: by the monotonic clock, for one that has nothing to do.
    """

    def __init__(self, transport: asyncio.Transport, offers: Offers, limit_seconds: float, work: Work) -> None:
        self.offers = offers
        self.work = work
        self.carried = 0
        self.closed = False
        self.idle_since = clock.monotonic()
        self._transport = transport
        self._limit = limit_seconds
        self._replies = Replies()
        self._owed: deque[Phase | _Owed] = deque()
        self._envelope: _Envelope | None = None
        self._message: Outgoing | None = None
        self._next: tuple[Outgoing, bytes] | None = None
        self._phase = Phase.BODY
        self._sending = self._going_on = False
        self._sent_at = 0.0
        self._deadline = float("inf")
        transport.set_write_buffer_limits(high=0)  # so that we hear when all is written
        transport.set_protocol(self)

    @property
    def busy(self) -> bool:
        """Whether a mail, or a reply, is under way."""
        return bool(self._message or self._envelope or self._owed)

    def begin(self) -> None:
        """Take a mail, if there is one."""
        self._going_on = False
        outgoing = self.work.take(self)
        if outgoing is None:
            self.idle_since = clock.monotonic()
            self._deadline = self._deadline if self._owed else float("inf")
            self.work.free(self)
        else:
            self._transport.write(self._ask(outgoing, certain=not self._owed))

    def check(self, now: float) -> None:
        """Give up waiting when the time for it is over."""
        if now > self._deadline:
            self.end(TIMED_OUT)

    def unfit(self, outgoing: Outgoing) -> Outcome | None:
        """Return why the relay could only refuse a mail, judging by what it offers (RFC 1870, RFC 6531)."""
        if 0 < self.offers.size < len(self._joined(outgoing)):
            size = f"{len(self._joined(outgoing))} bytes, and the relay takes {self.offers.size}"
            return Outcome(DeliveryState.FAILED, Phase.MAIL, 0, f"the message has {size}")
        if not self.offers.smtputf8 and not outgoing.recipient.isascii():
            return Outcome(DeliveryState.FAILED, Phase.RCPT, 0, "the address needs SMTPUTF8, which the relay lacks")
        return None

    def quit(self) -> None:
        """Say goodbye."""
        if not self.closed:
            self.closed = True
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def marked(self, *, ours: bool) -> None:
        """Hear that the handoff mark is committed, or that the mail must not go out."""
        if self.closed or self._message is None:
            return  # the connection failed meanwhile: that is settled already
        if not ours:
            # In the middle of DATA the next command would become body text.
            self._message = None
            self.end("a mail was taken from us")
        elif clock.monotonic() - self._sent_at > _MARK_SECONDS:
            self.end("the ledger took too long")
        else:
            self._end_message()

    def data_received(self, data: bytes) -> None:
        """Hear what the relay says."""
        try:
            for code, text in self._replies.feed(data):
                if self.closed:
                    return
                self._hear(code, text)
        except NotAReplyError as exc:
            self.end(str(exc))
        if self._going_on and not self.closed:  # not before all is heard: it may have said too much
            self.begin()

    def resume_writing(self) -> None:
        """Hear that all is written."""
        self._written()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the relay is gone."""
        self.end(f"{type(exc).__name__}: {exc}"[:200] if exc else "the relay hung up")

    def end(self, why: str) -> None:
        """Close at once, and settle what was under way: before the dot nothing was accepted, after it nobody knows."""
        if self.closed:
            return
        self.closed = True
        self._transport.abort()
        outgoing, self._message = self._message, None
        if outgoing is not None:
            self._settle(outgoing, no_reply(self._phase, why, *_times(outgoing)))
        envelope, self._envelope = self._envelope, None
        if envelope is not None:
            self._ended(envelope, why)
        self.work.free(self)

    def _ended(self, envelope: _Envelope, why: str) -> None:
        if envelope.refusal is not None and envelope.certain:
            self._settle(envelope.outgoing, refused(*envelope.refusal, *_times(envelope.outgoing)))
        elif not envelope.certain or (self.carried > 1 and not envelope.heard and why != TIMED_OUT):
            self.work.put_back(self, envelope.outgoing)  # the relay had closed before it came to this mail
        else:
            phase = next((each for each in self._owed if isinstance(each, Phase)), Phase.DATA)
            self._settle(envelope.outgoing, no_reply(phase, why, *_times(envelope.outgoing)))

    def _ask(self, outgoing: Outgoing, *, certain: bool) -> bytes:
        """Return what to write of a mail's envelope now: all of it, or its first command."""
        self.carried += 1
        message, self._next = self._joined(outgoing), None
        commands = deque(
            (
                (Phase.MAIL, f"MAIL FROM:<{outgoing.sender}>{self._parameters(outgoing, message)}\r\n".encode()),
                (Phase.RCPT, f"RCPT TO:<{outgoing.recipient}>\r\n".encode()),
                (Phase.DATA, b"DATA\r\n"),
            )
        )
        self._envelope = _Envelope(outgoing, message, commands, certain=certain)
        if self._message is None:
            self._deadline = clock.monotonic() + self._limit
        if not self.offers.pipelining:
            return self._next_command(commands)
        self._owed.extend((Phase.MAIL, Phase.RCPT, Phase.DATA))
        asked = b"".join(command for _, command in commands)
        commands.clear()
        return asked

    def _next_command(self, commands: deque[tuple[Phase, bytes]]) -> bytes:
        phase, command = commands.popleft()
        self._owed.append(phase)
        limit = min(self._limit, _DATA_TIMEOUT_SECONDS) if phase is Phase.DATA else self._limit
        self._deadline = clock.monotonic() + limit
        return command

    def _joined(self, outgoing: Outgoing) -> bytes:
        """Join the pieces of a mail that is about to go out: not earlier, since thousands wait, and only once."""
        if self._next is None or self._next[0] is not outgoing:
            self._next = outgoing, outgoing.message
        return self._next[1]

    def _parameters(self, outgoing: Outgoing, message: bytes) -> str:
        offers = self.offers
        asked = f" SIZE={len(message)}" if offers.sizes else ""
        if offers.eightbit and not message.isascii():
            asked += " BODY=8BITMIME"
        if offers.smtputf8 and not outgoing.recipient.isascii():
            asked += " SMTPUTF8"
        return asked

    def _hear(self, code: int, text: str) -> None:
        if not self._owed:
            self.end(_OUT_OF_TURN)
            return
        phase = self._owed.popleft()
        if phase is Phase.DOT:
            self._answered(code, text)
        elif phase is _Owed.RESET:
            self._reset(code, text)
        elif phase is _Owed.EMPTY:
            self._refused()
        elif self._envelope is not None:
            self._hear_of(self._envelope, cast(Phase, phase), code, text)

    def _answered(self, code: int, text: str) -> None:
        """Settle the message whose dot this answers."""
        outgoing, self._message = self._message, None
        if outgoing is None:
            return
        self._deadline = clock.monotonic() + self._limit
        if code == 250:
            self._settle(outgoing, accepted(code, text))
        else:
            outcome = refused(Phase.DOT, code, text, *_times(outgoing))
            self._settle(outgoing, outcome)
            if outcome.close:
                self.end(f"{code} {text}")
                return
        self._going_on = self._envelope is None

    def _hear_of(self, envelope: _Envelope, phase: Phase, code: int, text: str) -> None:
        """Take the reply to one of an envelope's commands; the first refusal counts, after all others came."""
        if envelope.refusal is None and not _expected(phase, code):
            if not envelope.certain and not (phase is Phase.RCPT and 400 <= code < 600 and code != 421):
                self.end(f"{code} {text}")  # it may have been meant for the mail before: asked again, alone
                return
            envelope.refusal = phase, code, text
            self._deadline = clock.monotonic() + min(self._limit, _AFTER_REFUSAL_SECONDS)
            if code == 421:  # the relay hangs up
                self.end(f"{code} {text}")
                return
        elif phase is Phase.DATA and _expected(phase, code) and envelope.refusal is not None:
            self._end_empty(envelope)
            return
        envelope.heard = True
        if self._owed:
            return
        if envelope.refusal is not None:
            self._refused()
        elif envelope.left:
            self._transport.write(self._next_command(envelope.left))
        else:
            self._begin_message(envelope)

    def _end_empty(self, envelope: _Envelope) -> None:
        """Go on after a relay that wants the message although nobody is to get it: a dot alone ends that."""
        phase, code, text = envelope.refusal or (Phase.DATA, 0, "")
        if phase is not Phase.RCPT or not 400 <= code < 600:
            self.end(f"{code} {text}")  # there may be a recipient, who must get no empty mail
        else:
            self._owed.append(_Owed.EMPTY)
            self._transport.write(b".\r\n")

    def _refused(self) -> None:
        """Settle a mail whose envelope was refused, and go on with the next one."""
        envelope, self._envelope = self._envelope, None
        if envelope is None or envelope.refusal is None:
            return
        outcome = refused(*envelope.refusal, *_times(envelope.outgoing))
        self._settle(envelope.outgoing, outcome)
        if outcome.close:
            self.end(outcome.reply)
        else:
            self._owed.append(_Owed.RESET)
            self._transport.write(b"RSET\r\n")
            self._deadline = clock.monotonic() + self._limit
            self._going_on = self.offers.pipelining

    def _reset(self, code: int, text: str) -> None:
        if code != 250:
            self.end(f"{code} {text}")
        else:
            self._going_on = self._envelope is None

    def _begin_message(self, envelope: _Envelope) -> None:
        """Write all but the last dot."""
        self._envelope = None
        self._message, self._phase, self._sending = envelope.outgoing, Phase.BODY, True
        self._deadline = clock.monotonic() + min(self._limit, _BLOCK_TIMEOUT_SECONDS)
        self._transport.write(envelope.message)
        if self._transport.get_write_buffer_size() == 0:
            self._written()

    def _written(self) -> None:
        """Ask for the handoff mark, once: over TLS the transport may say that all is written before `write` returns."""
        if not self._sending:
            return
        self._sending = False
        if self._message is not None and not self.closed:
            self._sent_at = clock.monotonic()
            self._deadline = float("inf")  # the ledger's turn
            self.work.mark(self, self._message)

    def _end_message(self) -> None:
        """Write the dot, and right behind it the next mail's envelope."""
        self._phase = Phase.DOT
        self._owed.append(Phase.DOT)
        # A test relay may be given a short timeout; a real one gets the ten minutes of the RFC.
        patience = _DOT_TIMEOUT_SECONDS if self._limit >= _BLOCK_TIMEOUT_SECONDS else self._limit
        self._deadline = clock.monotonic() + patience
        following = self.work.take(self) if self.offers.pipelining else None
        self._transport.write(b".\r\n" if following is None else b".\r\n" + self._ask(following, certain=False))

    def _settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        self.work.settle(self, outgoing, outcome)


def _expected(phase: Phase, code: int) -> bool:
    return code == 354 if phase is Phase.DATA else code in {250, 251} if phase is Phase.RCPT else code == 250


def _times(outgoing: Outgoing) -> tuple[int, float]:
    """Return the attempt's number, and how its retry is spread."""
    leased = outgoing.leased
    return leased.attempts, spread_of(leased.id, leased.attempts)
