"""A relay that takes everything and keeps nothing: ``sink.py PORT``; as little work a mail as Python can do."""

import asyncio
import sys

_EHLO = b"250-sink.example.org\r\n250-8BITMIME\r\n250 PIPELINING\r\n"


class Sink(asyncio.Protocol):
    """One connection: commands by the line, a body by its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.left, self.in_body = b"", False
        transport.write(b"220 sink.example.org ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        data, replies = self.left + data, []
        while data:
            end = data.find(b"\r\n.\r\n" if self.in_body else b"\r\n")
            if end < 0:
                break
            if self.in_body:
                replies.append(b"250 2.0.0 taken\r\n")
                self.in_body, data = False, data[end + 5 :]
                continue
            verb, data = data[:4].upper(), data[end + 2 :]
            replies.append(
                _EHLO if verb == b"EHLO" else b"354 go ahead\r\n" if verb == b"DATA" else b"250 2.0.0 ok\r\n"
            )
            self.in_body = verb == b"DATA"
        # of a body only what may be the beginning of its end is kept
        self.left = data[-4:] if self.in_body else data
        if replies:
            self.transport.write(b"".join(replies))


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=512)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
