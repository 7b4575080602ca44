"""SMTP to a relay: kept-open connections, required TLS, and the handoff mark before the final dot.

Greeting, EHLO, STARTTLS and AUTH are smtplib's. The transfer of a message is ours, since smtplib cannot
stop between the last line and the final dot, and that is where the mark belongs.
"""

import select
import smtplib
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Lock

from newsletter import clock
from newsletter.delivery.retry import TIMED_OUT, Outcome, Phase, accepted, no_reply, refused, spread_of
from newsletter.delivery.transports import Marks, Outgoing, Untried
from newsletter.errors import LeaseLostError, RelayAwayError
from newsletter.settings import Relay

_DOT_TIMEOUT_SECONDS = 600.0  # RFC 5321, section 4.5.3.2.6: a shorter one makes duplicates
_DATA_TIMEOUT_SECONDS = 120.0
_BLOCK_TIMEOUT_SECONDS = 180.0
_AFTER_REFUSAL_SECONDS = 10.0  # for the replies that are still owed: some relays forget them
_REFUSALS = 3
_IDLE_SECONDS = 60.0  # a relay may have closed a connection that was silent for longer


class SmtpTransport:
    """Hands messages to one relay over up to `Relay.connections` connections, a thread each.

    :param stopping: when set, each connection finishes its mail and the rest is not tried.
    """

    def __init__(self, relay: Relay, *, tls: ssl.SSLContext | None = None, stopping: Event | None = None) -> None:
        self._relay = relay
        self._tls = tls or ssl.create_default_context()
        self._stopping = stopping or Event()
        self._idle: list[Connection] = []
        self._lock = Lock()

    def deliver(self, batch: Iterable[Outgoing], marks: Marks) -> Untried:
        """Hand over a batch; see `Transport.deliver`."""
        queue = _Queue(batch, self._stopping)
        workers = min(self._relay.connections, len(queue))
        if not workers:
            return Untried()
        with ThreadPoolExecutor(workers, thread_name_prefix="smtp") as threads:
            try:
                for done in [threads.submit(self._work, queue, marks) for _ in range(workers)]:
                    done.result()
            except BaseException:
                queue.stop()  # Ctrl-C, or a ledger that does not answer: nothing more may be tried
                raise
        return queue.rest()

    def finish(self) -> None:
        """Connections stay open for the next batch."""

    def close(self) -> None:
        """Say goodbye on all connections."""
        with self._lock:
            for connection in self._idle:
                connection.quit()
            self._idle.clear()

    def _work(self, queue: "_Queue", marks: Marks) -> None:
        """Send until the queue is empty, or the relay does not serve this connection any more."""
        with self._lock:
            connection = self._idle.pop() if self._idle else Connection(self._relay, self._tls)
        try:
            for outgoing in queue:
                try:
                    connection.open()
                    outcome = connection.send(outgoing, marks)
                except RelayAwayError as exc:
                    queue.put_back(outgoing, str(exc))
                    break  # another connection may fare better
                except LeaseLostError:
                    continue
                marks.settle(outgoing, outcome)
                if queue.judge(outcome):
                    break
        except BaseException:
            connection.drop()
            queue.stop()
            raise
        with self._lock:
            self._idle.append(connection)


class Connection:
    """One connection, opened when first needed."""

    def __init__(self, relay: Relay, tls: ssl.SSLContext) -> None:
        self._relay = relay
        self._context = tls
        self._smtp: smtplib.SMTP | None = None
        self._used_at = 0.0

    def send(self, outgoing: Outgoing, marks: Marks) -> Outcome:
        """Hand one message over; network trouble is an outcome, never an exception.

        :raises LeaseLostError: the mark was refused; the connection is closed, since in the middle of
            DATA the next command would become body text.
        """
        attempts = outgoing.leased.attempts
        spread = spread_of(outgoing.leased.id, attempts)
        if self._smtp is None:
            raise RelayAwayError("not connected")
        try:
            for phase, code, reply in self._dialogue(self._smtp, outgoing, marks):
                if not _expected(phase, code):
                    return self._refused(phase, code, reply, attempts, spread)
            return accepted(code, reply)
        except _PhaseError as exc:
            self.drop()
            return no_reply(exc.phase, str(exc), attempts, spread)
        except LeaseLostError:
            self.drop()
            raise

    def open(self) -> None:
        """Connect, unless that is done.

        :raises RelayAwayError: trouble with greeting, TLS or login; it is the relay's or ours, never a reader's.
        """
        if self._smtp is not None and clock.monotonic() - self._used_at > _IDLE_SECONDS:
            self.quit()
        elif self._smtp is not None and _heard(self._smtp):
            self.drop()  # what it says, or that it hung up, is about no mail of ours
        try:
            self._smtp = self._smtp or _open(self._relay, self._context)
        except smtplib.SMTPResponseException as exc:
            raise RelayAwayError(f"{exc.smtp_code} {_text(exc.smtp_error)}") from exc
        except (OSError, smtplib.SMTPException) as exc:
            raise RelayAwayError(_why(exc)) from exc
        self._used_at = clock.monotonic()

    def quit(self) -> None:
        """Say QUIT, if the other side still listens."""
        if self._smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.sock.settimeout(5)  # type: ignore[union-attr]
                self._smtp.quit()
        self.drop()

    def drop(self) -> None:
        """Close at once, without a word."""
        if self._smtp is not None:
            with suppress(OSError):
                self._smtp.close()
        self._smtp = None

    def _dialogue(self, smtp: smtplib.SMTP, outgoing: Outgoing, marks: Marks) -> Iterator[tuple[Phase, int, str]]:
        """Yield each phase with its reply; the caller stops asking at the first one that is not as expected."""
        limit = self._relay.timeout_seconds
        commands = {
            Phase.MAIL: f"MAIL FROM:<{outgoing.sender}>",
            Phase.RCPT: f"RCPT TO:<{outgoing.recipient}>",
            Phase.DATA: "DATA",
        }
        if smtp.has_extn("pipelining"):
            yield from self._pipelined(smtp, commands, limit)
        else:
            for phase, command in commands.items():
                _send(smtp, phase, command, limit)
                yield phase, *_reply(smtp, phase, _patience(phase, limit))
        _send(smtp, Phase.BODY, dot_stuffed(outgoing.message), min(limit, _BLOCK_TIMEOUT_SECONDS))
        if _heard(smtp):
            # The relay has given up on us before the dot: nothing was accepted.
            raise _PhaseError(Phase.BODY, "the relay spoke or hung up before the end of the message")
        marks.handoff(outgoing)
        _send(smtp, Phase.DOT, b".\r\n", limit)
        # A test relay may be given a short timeout; a real one gets the ten minutes of the RFC.
        patience = _DOT_TIMEOUT_SECONDS if limit >= _BLOCK_TIMEOUT_SECONDS else limit
        yield Phase.DOT, *_reply(smtp, Phase.DOT, patience)

    def _pipelined(
        self, smtp: smtplib.SMTP, commands: dict[Phase, str], limit: float
    ) -> Iterator[tuple[Phase, int, str]]:
        """Send commands at once and yield their replies, the first refusal after all others (RFC 2920, section 3.1)."""
        _send(smtp, Phase.MAIL, "\r\n".join(commands.values()), limit)
        refusal: tuple[Phase, int, str] | None = None
        for phase in commands:
            try:
                code, reply = _reply(smtp, phase, _patience(phase, limit))
            except _PhaseError:
                if refusal is None:
                    raise
                self.drop()
                break
            if refusal is None and _expected(phase, code):
                yield phase, code, reply
            elif refusal is None:
                refusal = phase, code, reply
                limit = min(limit, _AFTER_REFUSAL_SECONDS)
                if code == 421:  # the relay hangs up
                    break
            elif phase is Phase.DATA and _expected(phase, code):
                self._end_data(smtp, refusal[0], refusal[1], limit)
        if refusal is not None:
            yield refusal

    def _end_data(self, smtp: smtplib.SMTP, refused: Phase, code: int, limit: float) -> None:
        """Go on after a relay that wants the message although nobody is to get it: a dot alone ends that."""
        if refused is not Phase.RCPT or not 400 <= code < 600:
            self.drop()  # there may be a recipient, who must get no empty mail
            return
        try:
            _send(smtp, Phase.DATA, ".", limit)
            _reply(smtp, Phase.DATA, limit)
        except _PhaseError:
            self.drop()

    def _refused(self, phase: Phase, code: int, reply: str, attempts: int, spread: float) -> Outcome:
        outcome = refused(phase, code, reply, attempts, spread)
        if outcome.close:
            self.drop()
        elif self._smtp is not None and phase is not Phase.DOT:
            try:
                if self._smtp.rset()[0] != 250:
                    self.drop()
            except (OSError, smtplib.SMTPException):
                self.drop()
        return outcome


class _Queue:
    """Messages that several threads take from, until one of them has reason to stop all."""

    def __init__(self, messages: Iterable[Outgoing], stopping: Event) -> None:
        self._messages = deque(messages)
        self._lock = Lock()
        self._stopped = False
        self._stopping = stopping
        self._why = ""
        self._refused = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Outgoing]:
        while True:
            with self._lock:
                if self._stopped or self._stopping.is_set() or not self._messages:
                    return
                outgoing = self._messages.popleft()
            yield outgoing

    def put_back(self, outgoing: Outgoing, why: str) -> None:
        with self._lock:
            self._messages.appendleft(outgoing)
            self._why = why[:300]

    def judge(self, outcome: Outcome) -> bool:
        """Take note of an outcome; return whether the connection that brought it should take no more.

        One reader's server may refuse us; the third in a row means that nobody wants our mail.
        """
        with self._lock:
            self._refused = self._refused + 1 if outcome.refused_us else 0
            if outcome.stop or self._refused >= _REFUSALS:
                self._stopped, self._why = True, outcome.reply
        return outcome.silent

    def stop(self) -> None:
        with self._lock:
            self._stopped = True

    def rest(self) -> Untried:
        with self._lock:
            return Untried(tuple(self._messages), self._why if self._messages else "", self._refused >= _REFUSALS)


class _PhaseError(Exception):
    """The connection failed; `phase` says how far the message had come."""

    def __init__(self, phase: Phase, why: str) -> None:
        super().__init__(why)
        self.phase = phase


def dot_stuffed(message: bytes) -> bytes:
    """Return `message` for DATA: a leading dot doubled (RFC 5321, section 4.5.2), ending with CRLF.

    Its lines already end with CRLF and hold no bare CR or LF, so no other end of data can be hidden in it.
    """
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


def _open(relay: Relay, context: ssl.SSLContext) -> smtplib.SMTP:
    limit = relay.timeout_seconds
    if relay.tls == "implicit":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(relay.host, relay.port, timeout=limit, context=context)
    else:
        smtp = smtplib.SMTP(relay.host, relay.port, timeout=limit)
    try:
        smtp.ehlo_or_helo_if_needed()
        if relay.tls == "required":
            smtp.starttls(context=context)  # raises where it is not offered: never plain text instead
            smtp.ehlo()
        if relay.username is not None:
            smtp.login(relay.username, relay.password or "")
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[union-attr]
    except BaseException:
        smtp.close()
        raise
    return smtp


def _expected(phase: Phase, code: int) -> bool:
    return code == 354 if phase is Phase.DATA else code in {250, 251} if phase is Phase.RCPT else code == 250


def _patience(phase: Phase, limit: float) -> float:
    return min(limit, _DATA_TIMEOUT_SECONDS) if phase is Phase.DATA else limit


def _send(smtp: smtplib.SMTP, phase: Phase, data: bytes | str, limit: float) -> None:
    line = data if isinstance(data, bytes) else data.encode("ascii") + b"\r\n"
    try:
        smtp.sock.settimeout(limit)  # type: ignore[union-attr]
        smtp.sock.sendall(line)  # type: ignore[union-attr]
    except (OSError, AttributeError) as exc:
        raise _PhaseError(phase, _why(exc)) from exc


def _reply(smtp: smtplib.SMTP, phase: Phase, limit: float) -> tuple[int, str]:
    try:
        smtp.sock.settimeout(limit)  # type: ignore[union-attr]
        code, text = smtp.getreply()
    except (OSError, smtplib.SMTPException, AttributeError) as exc:
        raise _PhaseError(phase, _why(exc)) from exc
    if code == -1:
        raise _PhaseError(phase, f"not a reply: {_text(text)[:60]!r}")
    return code, _text(text)


def _heard(smtp: smtplib.SMTP) -> bool:
    """Return whether the relay says something, or has hung up, although it is our turn."""
    sock, file = smtp.sock, smtp.file
    if sock is None or file is None:
        return True
    try:
        # TLS session tickets make a socket readable without a reply in it; they come right after the
        # handshake and are read with the replies before this.
        if (isinstance(sock, ssl.SSLSocket) and sock.pending()) or select.select([sock], [], [], 0)[0]:
            return True
        sock.settimeout(0)
        return bool(file.peek(1))  # read already, with the reply before it
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True


def _text(reply: object) -> str:
    said = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return said.replace("\0", "")  # which PostgreSQL does not keep


def _why(exc: Exception) -> str:
    if isinstance(exc, TimeoutError) or isinstance(exc.__context__, TimeoutError):  # smtplib wraps it
        return TIMED_OUT
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the relay's certificate is not valid: {exc.verify_message}"
    return f"{type(exc).__name__}: {exc}"[:200]
