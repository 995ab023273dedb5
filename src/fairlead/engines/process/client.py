"""The engine's end of the conversation with its keeper: finds it, starts one if there is none, asks.

Used by `engine`. One connection, requests answered in any order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import fairlead
from fairlead.engines.process.keeper.wire import PROTOCOL, SOCKET, Message, pack, unpack
from fairlead.errors import EngineUnavailableError

START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 30.0
TELL_TIMEOUT_S = 2.0
RETRY_S = 0.02
MAX_RETRY_S = 1.0
_log = logging.getLogger(__name__)
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from fairlead.engines.process.keeper.main import main; main(sys.argv[2])"
)


class KeeperClient:
    """Lazy: nothing is started before the first request."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._last_id = 0
        self._tending: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    async def request(self, operation: str, *, answer_within_s: float = ANSWER_TIMEOUT_S, **fields: Any) -> Message:
        """The keeper's answer.

        :raises EngineUnavailableError: it could not be started, ended meanwhile, or did not answer in time.
        """
        await self._connect()
        return await self._ask(operation, answer_within_s, fields)

    async def tell(self, operation: str, **fields: Any) -> None:
        """Ask a keeper if there is one; without one there is nothing to be done."""
        try:
            async with self._connecting:
                connected = self._writer is not None or await self._try_connect()
            if connected:
                await self._ask(operation, TELL_TIMEOUT_S, fields)
        except EngineUnavailableError as error:
            _log.warning("%s", error)

    def tend(self) -> None:
        """See to it, in the background, that a keeper is there for the logs of replicas that run."""
        if self._writer is None and (self._tending is None or self._tending.done()):
            self._tending = asyncio.create_task(self._tend())

    async def _tend(self) -> None:
        try:
            await self._connect()
        except EngineUnavailableError as error:
            _log.warning("%s: replicas go on, their logs wait", error)

    async def close(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
            self._tending = None
        await self._disconnect()

    async def _disconnect(self) -> None:
        writer, reading = self._writer, self._reading
        self._writer = self._reading = None
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, operation: str, timeout_s: float, fields: dict[str, Any]) -> Message:
        assert self._writer is not None
        self._last_id += 1
        request = self._last_id
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[request] = answer
        try:
            self._writer.write(pack({"id": request, "op": operation, **fields}))
            await self._writer.drain()
            async with asyncio.timeout(timeout_s):
                return await answer
        except (TimeoutError, ConnectionError) as error:
            raise EngineUnavailableError(f"the keeper of {self._root} did not answer to {operation}") from error
        finally:
            self._waiting.pop(request, None)

    async def _connect(self) -> None:
        async with self._connecting:
            if self._writer is not None:
                return
            deadline = time.monotonic() + START_TIMEOUT_S
            wait_s = RETRY_S
            while not await self._try_connect():
                if time.monotonic() > deadline:
                    raise EngineUnavailableError(
                        f"the keeper of {self._root} cannot be started", hint=f"see {self._root / 'keeper.log'}"
                    )
                await asyncio.to_thread(self._spawn)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, MAX_RETRY_S)

    async def _try_connect(self) -> bool:
        connection = await asyncio.to_thread(_open_socket, self._root)
        if connection is None:
            return False
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader, writer))
        try:
            hello = await self._ask("hello", ANSWER_TIMEOUT_S, {})
            if hello["protocol"] == PROTOCOL:
                return True
            # Left by another version of Fairlead: it holds nothing that a new one could not take up.
            await self._ask("quit", ANSWER_TIMEOUT_S, {})
        except EngineUnavailableError:
            pass
        await self._disconnect()
        return False

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        try:
            while data := await reader.read(65536):
                buffer += data
                while (message := unpack(buffer)) is not None:
                    waiting = self._waiting.get(message["id"])
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        except OSError:
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(EngineUnavailableError(f"the keeper of {self._root} has ended"))

    def _spawn(self) -> None:
        """Start a keeper; it goes to the background by itself, and ends at once if there is another."""
        source = str(Path(fairlead.__file__).parent.parent)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._open_log() as log:
                subprocess.run(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM, source, str(self._root)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": os.environ.get("PATH", os.defpath)},
                    check=False,
                    timeout=START_TIMEOUT_S,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineUnavailableError(f"the keeper of {self._root} cannot be started: {error}") from error

    def _open_log(self) -> BinaryIO:
        """Where the keeper says why it failed; a full disk must not keep it from starting."""
        try:
            return open(self._root / "keeper.log", "wb", opener=_private)
        except OSError:
            return open(os.devnull, "wb")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_socket(root: Path) -> socket.socket | None:
    """Connect; through the directory's descriptor, since a socket's own path may have 108 bytes at most."""
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(ANSWER_TIMEOUT_S)
        connection.connect(f"/proc/self/fd/{directory}/{SOCKET}")
    except OSError:
        connection.close()
        return None
    finally:
        os.close(directory)
    connection.setblocking(False)
    return connection
