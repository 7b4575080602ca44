"""A relay that takes everything and keeps nothing, where there is no C compiler: ``sink.py PORT [DELAY_MS]``.

Says and counts what ``fastsink.c`` does, with as little work a mail as Python can do; it brakes.
"""

import asyncio
import signal
import sys

_EHLO = b"250-sink.example.org\r\n250-8BITMIME\r\n250 PIPELINING\r\n"


class Sink(asyncio.Protocol):
    """One connection: commands by the line, a body by its end."""

    delay = 0.0
    messages = 0
    size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.left, self.in_body = b"", False
        self.say(b"220 sink.example.org ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        data, replies = self.left + data, []
        while data:
            end = data.find(b"\r\n.\r\n" if self.in_body else b"\r\n")
            if end < 0:
                break
            if self.in_body:
                replies.append(b"250 2.0.0 taken\r\n")
                Sink.messages, Sink.size = Sink.messages + 1, Sink.size + end + 5
                self.in_body, data = False, data[end + 5 :]
                continue
            verb, data = data[:4].upper(), data[end + 2 :]
            replies.append(
                _EHLO if verb == b"EHLO" else b"354 go ahead\r\n" if verb == b"DATA" else b"250 2.0.0 ok\r\n"
            )
            self.in_body = verb == b"DATA"
        # of a body only what may be the beginning of its end is kept
        self.left = data[-4:] if self.in_body else data
        Sink.size += len(data) - len(self.left)
        if replies:
            self.say(b"".join(replies))

    def say(self, replies: bytes) -> None:
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, replies)
        else:
            self.transport.write(replies)


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await loop.create_server(Sink, "127.0.0.1", port, backlog=512)
    print("listening", flush=True)
    await stopped.wait()


if __name__ == "__main__":
    Sink.delay = float(sys.argv[2]) / 1e3 if len(sys.argv) > 2 else 0.0
    asyncio.run(serve(int(sys.argv[1])))
    print(Sink.messages, Sink.size)
