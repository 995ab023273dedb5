"""Each kind of probe against a real listener of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fairlead.engines.base import CommandResult
from fairlead.errors import EngineUnavailableError
from fairlead.probes import command, tcp
from fairlead.probes.base import ProbeTarget, RunCommand
from fairlead.probes.http import probe as http_probe
from fairlead.routing import Address
from fairlead.spec.model import Probe, ProbeKind

TIMEOUT_S = 20.0
SHORT_S = 0.2


async def no_command(argv: Sequence[str], timeout_s: float) -> CommandResult:
    raise AssertionError("nothing runs a command here")


def target(address: Address | None = None, *, run: RunCommand = no_command, **ports: Any) -> ProbeTarget:
    return ProbeTarget(replica_id="shop.web.1", address=address, run=run, **ports)


def probe(kind: ProbeKind, **keys: Any) -> Probe:
    return Probe(kind=kind, **{"timeout_s": TIMEOUT_S, **keys})


def closed_port() -> int:
    """A port that was free a moment ago. Nobody else on 127.0.0.2 takes ports from the kernel."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        port: int = listener.getsockname()[1]
    return port


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Address]:
    """A server that gives every connection to ``handler`` and closes it afterwards."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, host, 0)
    try:
        name = server.sockets[0].getsockname()
        yield Address(host=host, port=name[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers: str) -> tuple[Handler, list[str]]:
    """Answers each connection's request with the next text (the last for ever); the requests seen."""
    requests: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answers[min(len(requests), len(answers)) - 1].encode())
        await writer.drain()

    return handle, requests


def http(status: int, *headers: str) -> str:
    """An answer whose end is the end of the connection."""
    return "\r\n".join([f"HTTP/1.1 {status} Said", *headers, "", ""])


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_tcp_passes_where_somebody_listens() -> None:
    async with serving(silent) as address:
        result = await tcp.probe(target(address), probe(ProbeKind.TCP))
    assert (result.passed, result.reason) == (True, f"tcp 127.0.0.1:{address.port}: accepts connections")
    assert result.duration_s >= 0


async def test_tcp_says_what_the_kernel_says() -> None:
    port = closed_port()
    result = await tcp.probe(target(Address(host="127.0.0.2", port=port)), probe(ProbeKind.TCP))
    assert (result.passed, result.reason) == (False, f"tcp 127.0.0.2:{port}: connection refused")


async def test_tcp_reaches_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 in this Python")
    try:
        async with serving(silent, "::1") as address:
            result = await tcp.probe(target(address), probe(ProbeKind.TCP))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert (result.passed, result.reason) == (True, f"tcp [::1]:{address.port}: accepts connections")


async def test_tcp_sees_a_full_accept_queue() -> None:
    """The kernel accepts for a hung process until its backlog is full; from then on the probe fails."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = Address(host="127.0.0.1", port=listener.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]
        try:
            for connection in waiting:
                connection.setblocking(False)
                connection.connect_ex((address.host, address.port))
            result = await tcp.probe(target(address), probe(ProbeKind.TCP, timeout_s=SHORT_S))
        finally:
            for connection in waiting:
                connection.close()
    assert (result.passed, result.reason) == (False, f"tcp 127.0.0.1:{address.port}: no connection within 0.2 s")


async def test_tcp_is_not_deceived_by_a_connection_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound to the port it connects to, a socket meets itself; the kernel may choose that port on its own too."""
    port = closed_port()
    address = Address(host="127.0.0.2", port=port)
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def connect_from_the_same_port(connection: socket.socket, to: Any) -> None:
        connection.bind(to)
        await connect(connection, to)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "sock_connect", connect_from_the_same_port)
        result = await tcp.probe(target(address), probe(ProbeKind.TCP))
    assert (result.passed, result.reason) == (False, f"tcp 127.0.0.2:{port}: connection refused")
    with socket.socket() as listener:
        listener.bind((address.host, port))


async def test_a_probe_goes_to_the_port_it_names() -> None:
    handler, requests = answering(http(200))
    async with serving(silent) as first, serving(handler) as second:
        to = target(first, addresses={8000: first, 9000: second})
        assert (await http_probe(to, probe(ProbeKind.HTTP, port=9000))).passed
        assert (await tcp.probe(to, probe(ProbeKind.TCP, port=9000))).reason.startswith(f"tcp 127.0.0.1:{second.port}")
        assert (await tcp.probe(to, probe(ProbeKind.TCP))).reason.startswith(f"tcp 127.0.0.1:{first.port}")
        missing = await tcp.probe(to, probe(ProbeKind.TCP, port=7))
    assert len(requests) == 1
    assert (missing.passed, missing.reason) == (False, "tcp: the replica does not open port 7")


def test_a_replica_with_a_host_of_its_own_has_every_port() -> None:
    own = Address(host="172.20.0.5", port=8000)
    assert target(own, addresses={8000: own}).address_of(9000) == Address(host="172.20.0.5", port=9000)
    moved = Address(host="127.0.0.1", port=40123)
    assert target(moved, addresses={8000: moved}).address_of(9000) is None
    assert target(moved, addresses={8000: moved}).address_of(8000) == moved


async def test_without_a_port_there_is_nothing_to_go_to() -> None:
    result = await tcp.probe(target(), probe(ProbeKind.TCP))
    assert (result.passed, result.reason) == (False, "tcp: the replica opens no port")
    result = await http_probe(target(), probe(ProbeKind.HTTP))
    assert (result.passed, result.reason) == (False, "http: the replica opens no port")


@pytest.mark.parametrize(("status", "passed"), [(200, True), (204, True), (399, True), (400, False), (503, False)])
async def test_http_judges_the_status(status: int, passed: bool) -> None:
    handler, _ = answering(http(status))
    async with serving(handler) as address:
        result = await http_probe(target(address), probe(ProbeKind.HTTP, path="/health"))
    seen = f"status {status}" if passed else f"status {status}, not 200-399"
    assert (result.passed, result.reason) == (passed, f"GET http://127.0.0.1:{address.port}/health: {seen}")


async def test_http_asks_as_told_over_a_new_connection_each_time() -> None:
    handler, requests = answering(http(201))
    async with serving(handler) as address:
        asked = probe(
            ProbeKind.HTTP, path="/h?deep=1", headers={"Host": "example.org", "X-Probe": "yes"}, status=(201, 201)
        )
        assert (await http_probe(target(address), asked)).passed
        assert (await http_probe(target(address), asked)).passed
    assert len(requests) == 2
    lines = requests[0].split("\r\n")
    assert lines[0] == "GET /h?deep=1 HTTP/1.1"
    assert {"Host: example.org", "X-Probe: yes", "Connection: close"} <= set(lines)


async def test_http_follows_redirects_within_the_replica() -> None:
    handler, requests = answering(http(301, "Location: /health/"), http(200))
    async with serving(handler) as address:
        result = await http_probe(target(address), probe(ProbeKind.HTTP, path="/health", status=(200, 299)))
    assert result.passed
    assert [request.split(" ")[1] for request in requests] == ["/health", "/health/"]


async def test_http_does_not_follow_a_redirect_to_another_host() -> None:
    trap, trapped = answering(http(200))
    async with serving(trap) as elsewhere:
        away = f"Location: http://127.0.0.1:{elsewhere.port}/"
        handler, _ = answering(http(302, away))
        async with serving(handler) as address:
            strict = await http_probe(target(address), probe(ProbeKind.HTTP, status=(200, 299)))
            default = await http_probe(target(address), probe(ProbeKind.HTTP))
    assert (strict.passed, default.passed, trapped) == (False, True, [])


async def test_http_gives_up_a_redirect_loop() -> None:
    handler, requests = answering(http(302, "Location: /"))
    async with serving(handler) as address:
        result = await http_probe(target(address), probe(ProbeKind.HTTP, status=(200, 299)))
    assert not result.passed
    assert len(requests) <= 10


async def test_http_fails_in_words() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    nonsense, _ = answering("220 mail.example.org ESMTP\r\n\r\n")
    reasons = []
    async with serving(silent) as mute, serving(hang_up) as rude, serving(nonsense) as mail:
        for address in (mute, rude, mail, Address(host="127.0.0.2", port=closed_port())):
            wait_s = SHORT_S if address is mute else TIMEOUT_S
            result = await http_probe(target(address), probe(ProbeKind.HTTP, timeout_s=wait_s))
            assert not result.passed
            reasons.append(result.reason.split("/: ")[1])
    assert reasons[:2] == ["no answer within 0.2 s", "the connection was closed without an answer"]
    assert reasons[2].startswith("no valid answer: ")
    assert reasons[3] == "connection refused"


async def test_http_needs_no_end_of_the_answer() -> None:
    """An event stream is an answer, too."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await reader.read()

    async with serving(stream) as address:
        assert (await http_probe(target(address), probe(ProbeKind.HTTP))).passed


def runs(result: CommandResult | Exception) -> tuple[RunCommand, list[tuple[Sequence[str], float]]]:
    calls: list[tuple[Sequence[str], float]] = []

    async def run(argv: Sequence[str], timeout_s: float) -> CommandResult:
        calls.append((argv, timeout_s))
        if isinstance(result, Exception):
            raise result
        return result

    return run, calls


@pytest.mark.parametrize(
    ("result", "passed", "seen"),
    [
        (CommandResult(status=0, output="all is well"), True, "exited with status 0"),
        (CommandResult(status=1, output="warming up\nno database\n\n"), False, "exited with status 1: no database"),
        (CommandResult(status=2, output=""), False, "exited with status 2"),
        (CommandResult(status=-9, output=""), False, "killed by signal 9"),
        (CommandResult(status=-9, output="", timed_out=True), False, "still running after 20 s"),
        (EngineUnavailableError("no daemon"), False, "cannot run: no daemon"),
        (FileNotFoundError(2, "No such file or directory"), False, "cannot run: No such file or directory"),
    ],
)
async def test_command_judges_the_exit_status(result: CommandResult | Exception, passed: bool, seen: str) -> None:
    run, calls = runs(result)
    found = await command.probe(
        target(run=run), probe(ProbeKind.COMMAND, command=("CMD-SHELL", "check --token s3cret"))
    )
    assert (found.passed, found.reason) == (passed, f"command check: {seen}")
    assert calls == [(("CMD-SHELL", "check --token s3cret"), TIMEOUT_S)]


async def test_command_does_not_wait_for_an_engine_that_hangs() -> None:
    async def run(argv: Sequence[str], timeout_s: float) -> CommandResult:
        await asyncio.Event().wait()
        raise AssertionError

    found = await command.probe(target(run=run), probe(ProbeKind.COMMAND, command=("check",), timeout_s=0.05))
    assert (found.passed, found.reason) == (False, "command check: still running after 0.05 s")


@pytest.mark.parametrize("argv", [(), ("CMD-SHELL",), ("CMD-SHELL", " ")])
async def test_an_empty_command_has_a_reason_too(argv: tuple[str, ...]) -> None:
    run, _ = runs(CommandResult(status=0, output=""))
    found = await command.probe(target(run=run), probe(ProbeKind.COMMAND, command=argv))
    assert found.passed is bool(argv)
    assert found.reason.startswith("command")


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101, not 200-399"),
        ("HTTP/1.1 2\r\n\r\n", "no valid answer: it begins with 'HTTP/1.1 2'"),
        ("HTTP/1.1 200 OK\r\nX: 1\r\n", "no valid answer: the connection was closed inside the head"),
        ("HTTP/1.1 200 OK\r\nX: " + 70_000 * "x", "no valid answer: a head of more than 64 KiB"),
    ],
    ids=["interim", "switching", "no status", "half a head", "a large head"],
)
async def test_http_reads_a_head_and_no_more(answer: str, seen: str) -> None:
    handler, _ = answering(answer)
    async with serving(handler) as address:
        result = await http_probe(target(address), probe(ProbeKind.HTTP))
    assert result.reason.endswith(f"/: {seen}")


async def test_http_asks_over_ipv6_and_for_any_path() -> None:
    handler, requests = answering(http(200))
    async with serving(handler, "::1") as address:
        asked = probe(ProbeKind.HTTP, path="/grün und blau?a=b c", headers={"user-agent": "mine"})
        assert (await http_probe(target(address), asked)).passed
    lines = requests[0].split("\r\n")
    assert lines[0] == "GET /gr%C3%BCn%20und%20blau?a=b%20c HTTP/1.1"
    assert f"Host: [::1]:{address.port}" in lines
    assert [line for line in lines if line.lower().startswith("user-agent")] == ["user-agent: mine"]
