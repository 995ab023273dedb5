"""What replicas print, and commands run inside them.

Called by `engine`. Both come from the daemon as frames of eight bytes of header and a payload, and a line may be
spread over several frames.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.base import CommandResult, LogLine
from fairlead.engines.docker.observe import seconds_of
from fairlead.errors import EngineError, EngineUnavailableError
from fairlead.spec.model import Hook

_HEADER = struct.Struct(">BxxxL")
_STREAMS = {1: "stdout", 2: "stderr"}
MOST_OUTPUT_BYTES = 64 * 1024
SETTLE_S = 10.0
COULD_NOT_RUN = (126, 127)


async def log_lines(
    client: Client, container_id: str, replica_id: str, *, follow: bool, tail: int | None
) -> AsyncIterator[LogLine]:
    """The lines of one container, oldest first; with ``follow`` until it ends."""
    detail = await client.get(f"/containers/{container_id}/json")
    tty = bool(detail["Config"]["Tty"])
    rest: dict[str, bytes] = {}
    async with client.stream(
        "GET",
        f"/containers/{container_id}/logs",
        stdout=True,
        stderr=True,
        timestamps=True,
        follow=follow,
        tail="all" if tail is None else tail,
    ) as response:
        async for stream, payload in _frames(response.content.iter_any(), tty=tty):
            *lines, rest[stream] = (rest.get(stream, b"") + payload).split(b"\n")
            for line in lines:
                yield _line(replica_id, stream, line)
    for stream, line in rest.items():
        if line:
            yield _line(replica_id, stream, line)


def _line(replica_id: str, stream: str, line: bytes) -> LogLine:
    stamp, _, text = line.rstrip(b"\r").decode(errors="replace").partition(" ")
    return LogLine(replica_id=replica_id, stream=stream, time_s=seconds_of(stamp) or 0.0, text=text)


async def _frames(chunks: AsyncIterator[bytes], *, tty: bool) -> AsyncIterator[tuple[str, bytes]]:
    buffer = b""
    async for chunk in chunks:
        if tty:
            yield "stdout", chunk
            continue
        buffer += chunk
        while len(buffer) >= _HEADER.size:
            number, length = _HEADER.unpack(buffer[: _HEADER.size])
            if len(buffer) < _HEADER.size + length:
                break
            yield _STREAMS.get(number, "stdout"), buffer[_HEADER.size : _HEADER.size + length]
            buffer = buffer[_HEADER.size + length :]


@dataclass
class _Output:
    """The first bytes of a command's output; the rest is read and dropped, so that the command is not held up."""

    content: bytearray

    def add(self, data: bytes) -> None:
        self.content += data[: MOST_OUTPUT_BYTES - len(self.content)]

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")


async def run_in(client: Client, container_id: str, hook: Hook, timeout_s: float) -> CommandResult:
    """Run one command inside a running container, in the environment that the container was made with.

    The API cannot end a command that takes too long. Where the daemon runs on this machine its process is killed
    directly; elsewhere it goes on, and only its output is let go of.
    """
    body = {
        "Cmd": list(argv_of(hook.command)),
        "AttachStdout": True,
        "AttachStderr": True,
        "User": hook.user or "",
        "Privileged": hook.privileged,
        "WorkingDir": hook.working_dir or "",
        "Env": [f"{key}={value or ''}" for key, value in sorted(hook.environment.items())],
    }
    created = await client.post(f"/containers/{container_id}/exec", body)
    exec_id = str(created["Id"])
    output = _Output(bytearray())
    try:
        async with asyncio.timeout(timeout_s):
            await _collect(client, exec_id, output)
    except TimeoutError:
        await _kill(client, exec_id)
        return CommandResult(status=-signal.SIGKILL, output=output.text, timed_out=True)
    status = await _status(client, exec_id)
    return CommandResult(status=_signed(status), output=output.text)


def argv_of(command: Sequence[str]) -> Sequence[str]:
    """``("CMD-SHELL", script)`` runs in the container's shell; ``("CMD", …)`` is the argv after it."""
    if command and command[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", " ".join(command[1:]))
    return command[1:] if command and command[0] == "CMD" else command


def _signed(status: int) -> int:
    return 128 - status if 128 < status <= 192 else status


async def _collect(client: Client, exec_id: str, output: _Output) -> None:
    try:
        stream = await client.exec_stream(exec_id)
    except ApiError as error:
        raise EngineError(f"the command could not be run: {error.message}") from error
    try:
        while (piece := await stream.read()) is not None:
            output.add(piece.data)
    finally:
        await stream.close()


async def _status(client: Client, exec_id: str) -> int:
    """The exit status; the stream may end a moment before the daemon has written it down."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    while True:
        detail = await client.get(f"/exec/{exec_id}/json")
        if not detail["Running"] and detail["ExitCode"] is not None:
            return int(detail["ExitCode"])
        if asyncio.get_running_loop().time() > deadline:
            raise EngineUnavailableError("the Docker daemon did not say how a command ended")
        await asyncio.sleep(0.02)


async def _kill(client: Client, exec_id: str) -> None:
    with suppress(ApiError, EngineError, OSError):
        detail = await client.get(f"/exec/{exec_id}/json")
        pid, container_id = int(detail.get("Pid") or 0), str(detail["ContainerID"])
        if pid > 1 and _belongs_to(pid, container_id):
            os.kill(pid, signal.SIGKILL)


def _belongs_to(pid: int, container_id: str) -> bool:
    """Whether the process of that number here is the one the daemon means, and not a stranger's."""
    return container_id in Path(f"/proc/{pid}/cgroup").read_text()
