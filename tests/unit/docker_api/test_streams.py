"""A container's raw streams over a real socket: what comes through, and in whose words it ends."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.endpoint import Endpoint
from fairlead.docker_api.streams import Piece, Source
from fairlead.errors import EngineUnavailableError

DEADLINE_S = 30.0
FACTS = b'{"ApiVersion": "1.43", "Config": {"Tty": false}}'
FOUND = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(FACTS), FACTS)
OPENED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
REFUSED = b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n" + (
    b'{"message": "is paused"}'
)

Attached = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def daemon(folder: Path, attached: Attached) -> AsyncIterator[Client]:
    """A client of a socket that tells its version and its containers, of whose streams ``attached`` is the far end."""

    answering: list[asyncio.Task[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"/attach" in head:
                    await attached(reader, writer)
                    break
                writer.write(FOUND)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.get_running_loop().create_task(answer(reader, writer)))

    path = folder / "docker.sock"
    client = Client(Endpoint(url=f"unix://{path}", source="the test"))
    server = await asyncio.start_unix_server(begin, path)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield client
    finally:
        await client.close()
        server.close()
        await asyncio.gather(*answering)


def frame(number: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", number, len(data)) + data


async def test_what_is_said_and_what_is_heard(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def container(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OPENED)
        heard.append(await reader.readexactly(5))
        writer.write(frame(1, b"out") + frame(2, b"err") + frame(3, b"of the daemon itself"))

    async with daemon(tmp_path, container) as client:
        stream = await client.attached("c1")
        await stream.write(b"hello")
        pieces = [await stream.read() for _ in range(4)]
        assert pieces == [
            Piece(Source.STDOUT, b"out"),
            Piece(Source.STDERR, b"err"),
            Piece(Source.STDERR, b"of the daemon itself"),
            None,
        ]
        await stream.close()
    assert heard == [b"hello"]


async def test_a_refusal_is_the_daemons_word(tmp_path: Path) -> None:
    async def container(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REFUSED)

    async with daemon(tmp_path, container) as client:
        with pytest.raises(ApiError, match="is paused"):
            await client.attached("c1")


async def test_no_answer_at_all_is_a_daemon_that_is_gone(tmp_path: Path) -> None:
    async def container(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with daemon(tmp_path, container) as client:
        with pytest.raises(EngineUnavailableError, match="does not answer"):
            await client.attached("c1")


async def test_whoever_writes_to_a_connection_that_broke_off_hears_of_it(tmp_path: Path) -> None:
    async def container(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OPENED)
        await writer.drain()

    async with daemon(tmp_path, container) as client:
        stream = await client.attached("c1")
        assert await stream.read() is None
        with pytest.raises(EngineUnavailableError, match="does not answer"):
            await stream.write(b"hello")
        await stream.close()
        await stream.close()
