"""One connection, driven by hand: what an event loop may do that a real one does only now and then."""

import asyncio
from typing import cast

from newsletter.delivery.ledger import Leased
from newsletter.delivery.models import Mail
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Outgoing
from newsletter.delivery.transports.connection import Connection
from newsletter.delivery.transports.handshake import Offers

MAIL = Outgoing(
    Leased(1, Mail.DIGEST, 1, 1, None, None), "x", "us@example.org", "ada@example.org", "<m@x>", [b"\r\n"], {}
)


class HastyTransport(asyncio.Transport):
    """Says that all is written before `write` returns, as one over TLS may that was full for a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.protocol: asyncio.Protocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        assert self.protocol is not None
        self.protocol.pause_writing()
        self.protocol.resume_writing()

    def abort(self) -> None:
        raise AssertionError("the connection gave up")


class OneMail:
    """Has one mail to send, and writes down what is asked of it."""

    def __init__(self) -> None:
        self.waiting = [MAIL]
        self.marks: list[Outgoing] = []
        self.outcomes: list[Outcome] = []

    def take(self, connection: Connection) -> Outgoing | None:
        return self.waiting.pop() if self.waiting else None

    def put_back(self, connection: Connection, outgoing: Outgoing) -> None:
        raise AssertionError("it was tried")

    def mark(self, connection: Connection, outgoing: Outgoing) -> None:
        self.marks.append(outgoing)

    def settle(self, connection: Connection, outgoing: Outgoing, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def free(self, connection: Connection) -> None:
        pass


def test_a_mark_is_asked_for_once_however_often_it_is_said_that_all_is_written() -> None:
    transport, work = HastyTransport(), OneMail()
    connection = Connection(transport, Offers(pipelining=True), 60.0, work)
    connection.begin()
    connection.data_received(b"250 ok\r\n250 ok\r\n354 go ahead\r\n")
    connection.resume_writing()
    assert work.marks == [MAIL]
    connection.marked(ours=True)
    connection.data_received(b"250 2.0.0 queued\r\n")
    assert [each.state for each in work.outcomes] == ["sent"]
    assert transport.written.endswith(b"DATA\r\n\r\n.\r\n")
