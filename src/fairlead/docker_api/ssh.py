"""The way to a daemon behind SSH: a local socket, each connection to which runs `docker system dial-stdio` over there.

Used by `client`. The machine's own `ssh` does the connecting, as Docker's does, so that its configuration, agent, jump
hosts and known hosts count. One master connection carries all channels.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from fairlead.errors import EngineError, EngineUnavailableError

CONNECT_TIMEOUT_S = 20
END_TIMEOUT_S = 5.0
_LOOK_INTERVAL_S = 0.02
_PART_BYTES = 65536
_MOST_WORDS_BYTES = 2000


class SshTunnel:
    """Listens at :attr:`path` from the start. ``said``: why the last connection failed, in the words of `ssh`."""

    def __init__(self, url: str) -> None:
        program = shutil.which("ssh")
        if program is None:
            raise EngineError(f"{url} needs the command `ssh`", hint="install OpenSSH's client")
        self.said = ""
        self._folder = Path(tempfile.mkdtemp(prefix="fl-ssh-"))
        self._control = self._folder / "master"
        self._ssh = [program, "-T", "-S", str(self._control), *_options(url)]
        self._host = _host(url)
        self._master: asyncio.subprocess.Process | None = None
        self._making = asyncio.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        # Who connects before the server has begun waits in the queue.
        self._listener.listen(128)
        self._serving = asyncio.get_running_loop().create_task(self._serve(), name=f"tunnel to {self._host}")

    @property
    def path(self) -> str:
        return str(self._folder / "docker.sock")

    async def close(self) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        if self._master is not None:
            await _ended(self._master)
        self._listener.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._carry, sock=self._listener)
        async with server:
            await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one of its ends is closed."""
        try:
            await self._ensure_master()
            process = await asyncio.create_subprocess_exec(
                *self._ssh, "-o", "ControlMaster=no", "--", self._host, "docker", "system", "dial-stdio",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                await self._relay(reader, writer, process)
            finally:
                await _ended(process)
        except EngineUnavailableError as error:
            self.said = error.message
        except OSError as error:
            self.said = str(error)
        finally:
            writer.close()

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: asyncio.subprocess.Process
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        ways = [
            asyncio.ensure_future(_pump(reader, process.stdin)),
            asyncio.ensure_future(_pump(process.stdout, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if ways[1].done() and not ways[1].result():
                self.said = _last_line(await process.stderr.read(_MOST_WORDS_BYTES)) or self.said
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _ensure_master(self) -> None:
        """:raises EngineUnavailableError: the other machine does not let us in."""
        async with self._making:
            if self._master is not None and self._master.returncode is None:
                return
            self._control.unlink(missing_ok=True)
            self._master = await asyncio.create_subprocess_exec(
                *self._ssh, "-M", "-N", "--", self._host,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert self._master.stderr is not None
            deadline = asyncio.get_running_loop().time() + CONNECT_TIMEOUT_S
            while not self._control.exists():
                if self._master.returncode is not None or asyncio.get_running_loop().time() > deadline:
                    await _ended(self._master)
                    words = _last_line(await self._master.stderr.read(_MOST_WORDS_BYTES))
                    raise EngineUnavailableError(f"ssh: {words or 'no connection'}")
                await asyncio.sleep(_LOOK_INTERVAL_S)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> int:
    """Hand on until ``source`` ends or ``target`` is gone; how many bytes it were."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while part := await source.read(_PART_BYTES):
            count += len(part)
            target.write(part)
            await target.drain()
    return count


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _options(url: str) -> list[str]:
    """Never ask a question: nobody is there to answer."""
    parts = urlsplit(url)
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S // 2}", "-o", "ServerAliveInterval=15"]
    options += ["-p", str(parts.port)] if parts.port else []
    return [*options, *(["-l", parts.username] if parts.username else [])]


def _host(url: str) -> str:
    host = urlsplit(url).hostname
    if not host:
        raise EngineError(f"{url} names no host", hint="write ssh://user@host")
    return host


def _last_line(text: bytes) -> str:
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
