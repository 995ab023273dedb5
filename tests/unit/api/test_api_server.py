"""The server's edges: who may connect, who may serve, and what it answers to nonsense."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedControls
from serving import DEADLINE_S, Served

from fairlead.api import server as server_module
from fairlead.api import streams, unix
from fairlead.api.client import Client, ConnectionLostError, NotRunningError
from fairlead.api.server import listening, serve
from fairlead.errors import ControllerError, DeadlineError, FairleadError, NotFoundError, UsageError


def ask(served: Served, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one raw request."""
    connection = http.client.HTTPConnection("x", timeout=DEADLINE_S)
    connection.sock = unix.connect(served.socket_path, DEADLINE_S)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_only_the_owner_may_open_the_socket(served: Served) -> None:
    assert stat.S_IMODE(served.socket_path.stat().st_mode) == 0o600


def test_the_socket_goes_with_the_server(home: Path) -> None:
    path = home / "controller.sock"
    with Served(path):
        assert unix.answers(path)
        assert unix.is_claimed(path)
    assert not path.exists()
    assert not unix.is_claimed(path)
    with pytest.raises(NotRunningError):
        Client(path).status()


def test_a_socket_that_a_dead_server_left_is_taken_over(home: Path) -> None:
    path = home / "controller.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Served(path):
        assert Client(path).status().pid == os.getpid()


def test_a_second_server_is_refused_and_the_first_stays(served: Served) -> None:
    async def second() -> None:
        with pytest.raises(ControllerError, match="another controller serves"):
            await serve(ScriptedControls(), served.socket_path)

    asyncio.run(second())
    assert Client(served.socket_path).status().pid == os.getpid()


def test_a_server_without_a_claim_is_respected_too(home: Path) -> None:
    path = home / "controller.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ControllerError, match="another controller serves"), unix.listener(path):
            pass
    assert path.exists()


def test_nonsense_is_answered_with_an_error_of_the_tree(served: Served) -> None:
    for method, path, body, status, kind in (
        ("GET", "/v1/nothing", None, 404, "NotFoundError"),
        ("DELETE", "/v1/controller", None, 405, "UsageError"),
        ("POST", "/v1/releases", b"{", 400, "UsageError"),
        ("POST", "/v1/releases", b"\xff\xfe", 400, "UsageError"),
        ("POST", "/v1/releases", b'{"project": {"name": 1}}', 400, "UsageError"),
        ("POST", "/v1/projects/shop/scale", b'{"replicas": {"api": "x"}}', 400, "UsageError"),
        ("GET", "/v1/events?after=-1", None, 400, "UsageError"),
        ("GET", "/v1/events?last=9999999999999999999999", None, 400, "UsageError"),
        ("GET", "/v1/events?follow=perhaps", None, 400, "UsageError"),
        ("GET", "/v1/projects/none/logs", None, 404, "NotFoundError"),
    ):
        answered, content = ask(served, method, path, body)
        assert (answered, content["error"]) == (status, kind), (method, path)


def test_a_body_beyond_the_limit_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LARGEST_BODY_BYTES", 2**20)
    with Served(home / "controller.sock") as served:
        status, content = ask(served, "POST", "/v1/releases", b"x" * (2**20 + 1))
        assert (status, content["message"]) == (413, "the request is larger than 1 MiB")


def test_an_unexpected_error_keeps_its_details_to_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.controls.broken = True
    status, content = ask(served, "GET", "/v1/controller")
    assert (status, content["error"]) == (500, "FairleadError")
    assert "secret" not in json.dumps(content)
    assert "a secret detail" in caplog.text
    with pytest.raises(FairleadError, match="an error of its own"):
        Client(served.socket_path).status()


def test_stop_is_answered_before_the_server_ends(home: Path) -> None:
    path = home / "controller.sock"
    with Served(path):
        Client(path).stop_controller()


def test_a_follower_is_told_that_the_controller_was_stopped(home: Path) -> None:
    path = home / "controller.sock"
    with Served(path) as served:
        stream = iter(Client(path).events(follow=True))
        served.call(served.controls.rollback("shop", None))
        assert next(stream).id == 1
        served.call(served.controls.stop_controller())
        with pytest.raises(ControllerError, match="was stopped"):
            list(stream)


def test_a_follower_of_what_never_pauses_is_told_too(home: Path) -> None:
    path = home / "controller.sock"
    with Served(path) as served:

        async def logs(*args: Any, **kwargs: Any) -> Any:
            while True:
                yield served.controls.written_logs[0]

        served.call(served.controls.write_log("one of many"))
        served.controls.logs = logs  # type: ignore[method-assign]
        stream = Client(path).logs("shop", follow=True)
        served.call(served.controls.stop_controller())
        with pytest.raises(ControllerError, match="was stopped"):
            for _ in stream:
                pass


def test_a_stream_says_at_once_what_is_wrong(client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.logs("nothing")


def test_a_stream_that_breaks_off_says_why(client: Client, served: Served) -> None:
    async def logs(*args: Any, **kwargs: Any) -> Any:
        await served.controls.write_log("one")
        yield served.controls.written_logs[0]
        raise UsageError("no more", hint="none")

    served.controls.logs = logs  # type: ignore[method-assign]
    lines = iter(client.logs("shop", follow=True))
    assert next(lines).text == "one"
    with pytest.raises(UsageError, match="no more"):
        next(lines)


def test_a_stream_is_made_and_unmade_by_one_task(client: Client, served: Served) -> None:
    seen: list[asyncio.Task[Any] | None] = []
    ended = threading.Event()

    async def logs(*args: Any, **kwargs: Any) -> Any:
        await served.controls.write_log("one")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
                for line in served.controls.written_logs * 3:
                    seen.append(asyncio.current_task())
                    yield line
                await asyncio.Event().wait()
        finally:
            seen.append(asyncio.current_task())
            ended.set()

    served.controls.logs = logs  # type: ignore[method-assign]
    stream = client.logs("shop", follow=True)
    values = iter(stream)
    assert [next(values).text for _ in range(3)] == ["one"] * 3
    stream.close()
    list(values)
    served.call(served.controls.stop_controller())
    assert ended.wait(DEADLINE_S)
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_a_silent_stream_lives_by_its_heartbeats(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.02)
    with Served(home / "controller.sock") as served:
        connection = http.client.HTTPConnection("x", timeout=DEADLINE_S)
        connection.sock = unix.connect(served.socket_path, DEADLINE_S)
        connection.request("GET", "/v1/events?follow=1")
        response = connection.getresponse()
        assert response.read(3) == b"\n\n\n"
        connection.close()
        response.close()


def test_a_stream_closed_by_another_thread_ends_without_an_error(client: Client, served: Served) -> None:
    stream = client.events(follow=True)
    values = iter(stream)
    served.call(served.controls.rollback("shop", None))
    assert next(values).id == 1
    stream.close()
    assert all(event.id > 1 for event in values)


def test_a_controller_that_dies_in_an_answer_is_a_lost_connection(home: Path) -> None:
    path = home / "controller.sock"
    answers = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"nonsense\r\n\r\n",
    ]
    for answer in answers:
        with dying(path, answer), pytest.raises(ConnectionLostError):
            Client(path, timeout_s=DEADLINE_S).status()


def test_a_controller_that_dies_in_a_stream_is_a_lost_connection(home: Path) -> None:
    path = home / "controller.sock"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for rest in (b"", b"1\r\n\n\r\n", b"5\r\n\n"):
        with dying(path, head + rest), pytest.raises(ConnectionLostError):
            list(Client(path, timeout_s=DEADLINE_S).events())


def test_a_controller_that_hangs_ends_in_a_deadline(home: Path) -> None:
    path = home / "controller.sock"
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        with pytest.raises(DeadlineError, match="did not answer"):
            Client(path, timeout_s=0.05).status()


def test_an_answer_of_another_version_is_said_to_be_one(home: Path) -> None:
    path = home / "controller.sock"
    with dying(path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), pytest.raises(ControllerError, match="read"):
        Client(path, timeout_s=DEADLINE_S).status()


async def test_listening_frees_the_socket_when_its_block_fails(home: Path) -> None:
    path = home / "controller.sock"
    with pytest.raises(ZeroDivisionError):
        async with listening(ScriptedControls(), path):
            raise ZeroDivisionError
    assert not path.exists()


class dying:
    """A server that sends ``answer`` to one connection and is gone."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self._path, self._answer = path, answer

    def __enter__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self._path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join(DEADLINE_S)
        self._socket.close()
        self._path.unlink()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)
