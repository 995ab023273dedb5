"""The relay's program on a real HAProxy: what another machine does for probes and for the router's orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlead.docker_api.streams import Piece, Source
from fairlead.engines.base import CommandResult
from fairlead.errors import RouterUnavailableError
from fairlead.probes import http, tcp
from fairlead.probes.base import ProbeTarget
from fairlead.routers.haproxy import relay_program
from fairlead.routers.haproxy.binary import find_binary
from fairlead.routers.haproxy.relay import Relay, Until
from fairlead.routing import Address
from fairlead.spec.model import Probe, ProbeKind

DEADLINE_S = 30.0

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Pipes:
    """The standard streams of a process here, as the Docker client has those of a container."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def read(self) -> Piece | None:
        """Its answers to the end, and then what it complained of; no test makes it complain of much."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        if data := await self.process.stdout.read(1000):
            return Piece(Source.STDOUT, data)
        data = await self.process.stderr.read(1000)
        return Piece(Source.STDERR, data) if data else None

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@asynccontextmanager
async def started(folder: Path, lua_text: str) -> AsyncIterator[Pipes]:
    lua, config = folder / "relay.lua", folder / "relay.cfg"
    lua.write_text(lua_text)
    config.write_text(relay_program.config(str(folder / "way"), str(lua)))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        find_binary(None), "-db", "-f", str(config), stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield Pipes(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def pipes(tmp_path: Path) -> AsyncIterator[Pipes]:
    async with started(tmp_path, relay_program.lua(str(tmp_path / "way"))) as made:
        yield made


@pytest.fixture
async def relay(pipes: Pipes) -> AsyncIterator[Relay]:
    made = Relay(pipes)
    await made.greet()
    yield made
    await made.close()


@asynccontextmanager
async def server(handle: Handle) -> AsyncIterator[int]:
    """A TCP server; its port. In the end it lets go of whoever is still connected."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(answer(reader, writer)))

    made = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield int(made.sockets[0].getsockname()[1])
    finally:
        made.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(answer: bytes, *, then_stay: asyncio.Event | None = None) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if then_stay is not None:
            await then_stay.wait()

    return handle


REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
HEAD = b"HTTP/1.1 204 No Content\r\nX-Seen: yes\r\n\r\n"


async def head_of(relay: Relay, port: int, timeout_s: float = DEADLINE_S) -> tuple[str, bytes]:
    answer = await relay.ask("127.0.0.1", port, REQUEST, until=Until.HEAD, timeout_s=timeout_s)
    return answer.word, answer.data


async def test_the_head_of_an_answer_is_enough(relay: Relay) -> None:
    over = asyncio.Event()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with server(saying(interim + HEAD, then_stay=over)) as port:
        assert await head_of(relay, port) == ("ok", interim + HEAD), "though the connection stays open"
        over.set()
    async with server(saying(b"220 mail.example.org\r\n", then_stay=asyncio.Event())) as port:
        assert await head_of(relay, port) == ("ok", b"220 mail.example.org\r\n")
    async with server(saying(b"HTTP/1.1 200 OK\r\nCut")) as port:
        assert await head_of(relay, port) == ("ok", b"HTTP/1.1 200 OK\r\nCut"), "what came before it broke off"


async def test_a_closed_port_and_one_that_keeps_silent(relay: Relay) -> None:
    silent = asyncio.Event()
    async with server(saying(b"", then_stay=silent)) as port:
        assert (await relay.ask("127.0.0.1", port, b"", until=Until.CONNECTED, timeout_s=DEADLINE_S)).word == "ok"
        assert await head_of(relay, port, timeout_s=0.2) == ("late", b"")
        silent.set()
    assert (await relay.ask("127.0.0.1", port, b"", until=Until.CONNECTED, timeout_s=1.0)).word == "unconnected"


async def test_a_unix_socket_and_every_byte(relay: Relay, tmp_path: Path) -> None:
    whole = bytes(range(256)) * 3000

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"say it\n"
        writer.write(whole)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_unix_server(handle, tmp_path / "s")
    answer = await relay.ask(f"unix@{tmp_path}/s", 0, b"say it\n", until=Until.END, timeout_s=DEADLINE_S)
    assert (answer.word, answer.data) == ("ok", whole)
    listening.close()
    (tmp_path / "s").unlink(missing_ok=True)
    answer = await relay.ask(f"unix@{tmp_path}/s", 0, b"say it\n", until=Until.END, timeout_s=1.0)
    assert answer.word == "unconnected"


async def test_nobody_waits_for_another(relay: Relay) -> None:
    slow, arrived = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await slow.wait()
        writer.write(HEAD)

    async with server(handle) as slow_port, server(saying(HEAD)) as port:
        waiting = asyncio.create_task(head_of(relay, slow_port))
        await asyncio.wait_for(arrived.wait(), DEADLINE_S)
        answers = await asyncio.gather(*(head_of(relay, port) for _ in range(300)))
        assert set(answers) == {("ok", HEAD)}
        assert not waiting.done()
        slow.set()
        assert await waiting == ("ok", HEAD)


async def test_probes_see_through_it_what_they_see_from_here(relay: Relay) -> None:
    async def run(argv: Sequence[str], timeout_s: float) -> CommandResult:
        raise AssertionError("nothing runs a command here")

    async def seen(port: int, *, timeout_s: float = DEADLINE_S) -> list[tuple[bool, str]]:
        address = Address(host="127.0.0.1", port=port)
        target = ProbeTarget(replica_id="shop.web.1", address=address, run=run, reach=relay.reach)
        asked = [
            await http.probe(target, Probe(kind=ProbeKind.HTTP, path="/health", timeout_s=timeout_s)),
            await tcp.probe(target, Probe(kind=ProbeKind.TCP, timeout_s=timeout_s)),
        ]
        return [(result.passed, result.reason.partition(": ")[2]) for result in asked]

    async with server(saying(HEAD)) as port:
        assert await seen(port) == [(True, "status 204"), (True, "accepts connections")]
    assert await seen(port) == [(False, "connection refused")] * 2
    async with server(saying(b"HTTP/1.1 500 Oh\r\n\r\n")) as port:
        assert (await seen(port))[0] == (False, "status 500, not 200-399")
    async with server(saying(b"")) as port:
        assert (await seen(port))[0] == (False, "the connection was closed without an answer")
    async with server(saying(b"", then_stay=asyncio.Event())) as port:
        assert (await seen(port, timeout_s=0.2))[0] == (False, "no answer within 0.2 s")


async def test_it_ends_with_its_input_and_says_so(pipes: Pipes, relay: Relay) -> None:
    async with server(saying(HEAD, then_stay=asyncio.Event())) as port:
        waiting = asyncio.create_task(relay.ask("127.0.0.1", port, b"x", until=Until.HEAD, timeout_s=DEADLINE_S))
        assert (await relay.ask("127.0.0.1", port, b"", until=Until.CONNECTED, timeout_s=DEADLINE_S)).word == "ok"
        await pipes.close()
        async with asyncio.timeout(DEADLINE_S):
            assert await pipes.process.wait() == 0
            with pytest.raises(RouterUnavailableError, match="the relay has ended"):
                await waiting
    assert relay.over
    with pytest.raises(RouterUnavailableError, match="the relay has ended"):
        await relay.ask("127.0.0.1", 1, b"", until=Until.CONNECTED, timeout_s=1.0)


async def test_one_whose_threads_do_not_find_each_other_ends_and_says_why(tmp_path: Path) -> None:
    async with started(tmp_path, relay_program.lua(str(tmp_path / "nowhere"), way_timeout_s=0.2)) as pipes:
        async with asyncio.timeout(DEADLINE_S):
            assert await pipes.process.wait() == 1
        relay = Relay(pipes)
        with pytest.raises(RouterUnavailableError, match=r"nowhere in 0\.2 s"):
            await relay.greet()
        await relay.close()
