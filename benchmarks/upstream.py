"""The lightest honest HTTP server: a fixed answer over kept connections, so that what lies in front of it shows.

Started by Fairlead, and by nobody else, as the replica of `benchmarks.routing` and `benchmarks.footprint`.
Port in ``PORT``; SIGTERM ends it.
"""

import asyncio
import os
import signal

BODY = b'{"answer": "the same for everybody", "padding": "' + b"." * 200 + b'"}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        *requests, self._received = self._received.split(b"\r\n\r\n")
        self._transport.write(ANSWER * len(requests))


async def serve() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Upstream, "127.0.0.1", int(os.environ["PORT"]), backlog=512)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
