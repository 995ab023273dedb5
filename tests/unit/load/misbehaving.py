"""A small HTTP server that answers rightly unless a test tells it how to misbehave.

A behaviour is a coroutine that gets the :class:`Exchange` and answers it, or does not.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Exchange:
    """One request and the means to answer it. ``number`` counts from 1 on its connection."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    journal: list[str]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def nonce(self) -> str:
        return parse_qs(urlsplit(self.target).query).get("nonce", [self.fields.get("x-nonce", "")])[0]

    def send(
        self,
        body: bytes,
        *,
        status: int = 200,
        version: str = "v1",
        replica: str = "r1",
        nonce: str | None = None,
        length: int | None = None,
        close: bool = False,
    ) -> None:
        lines = [
            f"HTTP/1.1 {status} X",
            f"x-version: {version}",
            f"x-replica: {replica}",
            f"x-nonce: {self.nonce if nonce is None else nonce}",
            f"content-length: {len(body) if length is None else length}",
        ]
        if close:
            lines.append("connection: close")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    def send_json(self, *, version: str = "v1", nonce: str | None = None, **kwargs: object) -> None:
        body = {"version": version, "replica": "r1", "nonce": self.nonce if nonce is None else nonce}
        self.send(json.dumps(body).encode(), version=version, nonce=nonce, **kwargs)  # type: ignore[arg-type]

    def rightly(self) -> None:
        if self.method == "POST":
            self.journal.append(self.fields["x-nonce"])
            self.send(self.body)
        else:
            self.send_json()

    def reset(self) -> None:
        """An RST instead of a FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()

    def start_events(self) -> None:
        self.writer.write(
            b"HTTP/1.1 200 OK\r\nx-version: v1\r\nx-replica: r1\r\nx-nonce: "
            + self.nonce.encode()
            + b"\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    def event(self, number: int, *, replica: str = "r1") -> None:
        data = json.dumps({"n": number, "nonce": self.nonce, "version": "v1", "replica": replica})
        chunk = f"id: {number}\ndata: {data}\n\n".encode()
        self.writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

    def end_events(self) -> None:
        self.writer.write(b"0\r\n\r\n")

    def upgrade(self) -> None:
        key = self.fields["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
        )
        self.writer.write(head + accept + b"\r\n\r\n")

    async def receive_frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(length)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))

    def send_frame(self, opcode: int, payload: bytes) -> None:
        assert len(payload) < 126
        self.writer.write(struct.pack("!BB", 0x80 | opcode, len(payload)) + payload)

    async def echo(self, *, version: str = "v1", text: str | None = None) -> bool:
        """Echo one message rightly; False when the client closed."""
        opcode, payload = await self.receive_frame()
        if opcode == 0x8:
            return False
        echoed = payload.decode() if text is None else text
        self.send_frame(0x1, json.dumps({"echo": echoed, "version": version, "replica": "r1"}).encode())
        return True


Behaviour = Callable[[Exchange], Awaitable[None]]


async def rightly(exchange: Exchange) -> None:
    exchange.rightly()


@dataclass
class Server:
    behaviour: Behaviour
    port: int = 0
    requests: list[str] = field(default_factory=list)
    """``METHOD target`` of everything that arrived."""
    journal: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = 0
        try:
            while not writer.is_closing():
                number += 1
                raw = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = raw[:-4].split("\r\n")
                method, target, _ = line.split(" ")
                fields = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                self.requests.append(f"{method} {target}")
                await self.behaviour(
                    Exchange(method, target, fields, body, number, reader, writer, self.journal),
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serve(behaviour: Behaviour = rightly) -> AsyncIterator[Server]:
    server = Server(behaviour)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await server.handle(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            tasks.discard(task)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        left = set(tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


async def drop(exchange: Exchange) -> None:
    exchange.writer.close()


async def unavailable(exchange: Exchange) -> None:
    exchange.send(b"", status=503)


async def silence(exchange: Exchange) -> None:
    await asyncio.sleep(600)
