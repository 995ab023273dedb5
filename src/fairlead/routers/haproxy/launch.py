"""How HAProxy is run: the seam between driving it and starting it, and the launcher for a local process.

Used by `router`. A container launcher starts the same configuration elsewhere and shares the socket folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil

from fairlead.errors import RouterError, RouterUnavailableError
from fairlead.routers.haproxy import ports
from fairlead.routers.haproxy.files import Files
from fairlead.routers.haproxy.way import LocalSocket, Way
from fairlead.routing import Listen

CHECK_DEADLINE_S = 30.0
_STOP_GRACE_S = 2.0
_KILL_GRACE_S = 15.0
"""After SIGKILL the kernel alone has to act; a starved machine may take its time."""

_NOBODY = 65534


class Launcher(Protocol):
    """Starts, watches and ends one HAProxy in master-worker mode; knows nothing of routes.

    ``files``: as HAProxy itself sees them. ``drop_to``: user and group ids for its workers.
    """

    @property
    def files(self) -> Files: ...

    @property
    def drop_to(self) -> tuple[int, int] | None: ...

    @property
    def dual_stack(self) -> bool:
        """Can a listener on every address have IPv6 too?"""
        ...

    @property
    def way(self) -> Way:
        """To its master socket."""
        ...

    async def deliver(self) -> None:
        """Bring the files that were written here to where HAProxy reads them; before it is told to."""
        ...

    async def check_free(self, listen: Listen, ours: frozenset[int]) -> None:
        """:raises PortTakenError: somebody listens there who is not among the processes ``ours``."""
        ...

    async def check(self, config: Path) -> None:
        """:raises RouterError: HAProxy does not accept the file; the message has its own words."""
        ...

    async def start(self) -> None:
        """Start it detached with the current files; leftovers of an earlier one are ended first."""
        ...

    async def ended(self, master_pid: int) -> None:
        """Return when the master with this pid (as its own `show proc` gives it) has ended."""
        ...

    async def stop(self) -> None:
        """End every process of it; return when none is left."""
        ...

    async def alive(self) -> bool:
        """Whether a process of it is there, whatever it does."""
        ...

    def pids(self) -> frozenset[int]:
        """Its processes, as this machine numbers them; none where it runs on another one."""
        ...

    def last_words(self) -> str:
        """What it said last, for an error message."""
        ...


class LocalLauncher:
    """HAProxy as a process of this machine, in a session of its own, so that it outlives the controller."""

    def __init__(self, files: Files, binary: str) -> None:
        self._files = files
        self._binary = binary

    @property
    def files(self) -> Files:
        return self._files

    @property
    def drop_to(self) -> tuple[int, int] | None:
        return (_NOBODY, _NOBODY) if os.geteuid() == 0 else None

    @property
    def dual_stack(self) -> bool:
        return ports.dual_stack()

    @property
    def way(self) -> Way:
        return LocalSocket(self._files.master_socket)

    async def deliver(self) -> None:
        """HAProxy reads them where they were written."""

    async def check_free(self, listen: Listen, ours: frozenset[int]) -> None:
        await asyncio.to_thread(ports.check_free, listen, ours)

    async def alive(self) -> bool:
        return bool(await asyncio.to_thread(self.pids))

    async def check(self, config: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            self._binary, "-c", "-f", str(config),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(CHECK_DEADLINE_S):
                output, _ = await process.communicate()
        except BaseException as error:
            process.kill()
            await process.wait()
            if isinstance(error, TimeoutError):
                raise RouterUnavailableError("HAProxy takes too long to check its configuration") from None
            raise
        if process.returncode:
            why = _alerts(output.decode(errors="replace")) or f"status {process.returncode}, without a word"
            raise RouterError(
                f"HAProxy refuses its configuration: {why}", hint=f"try it: {self._binary} -c -f {config}"
            )

    async def start(self) -> None:
        await self.stop()
        self._spawn()

    def _spawn(self) -> None:
        self._files.log.unlink(missing_ok=True)
        arguments = [self._binary, *self._arguments()]
        log = os.open(self._files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            # posix_spawn leaves no object behind that would end, or warn about, a child that is meant to stay.
            os.posix_spawn(
                self._binary, arguments, os.environ, setsid=True, setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
            )  # fmt: skip
        except OSError as error:
            raise RouterError(f"cannot start {self._binary}: {error.strerror}") from error
        finally:
            os.close(log)
            os.close(nothing)

    def _arguments(self) -> list[str]:
        return ["-W", "-f", str(self._files.config), "-S", self._mark(), "-C", str(self._files.folder)]

    def _mark(self) -> str:
        # Also how our processes are told from any other HAProxy of this machine.
        return f"{self._files.master_socket},mode,600"

    async def ended(self, master_pid: int) -> None:
        try:
            descriptor = os.pidfd_open(master_pid)
        except ProcessLookupError:
            return _reap(master_pid)
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        loop.add_reader(descriptor, _resolve, over)
        try:
            # The number may be another process's by now: then there is nothing of ours to wait for.
            if master_pid in await asyncio.to_thread(self.pids):
                await over
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return _reap(master_pid)

    async def stop(self) -> None:
        for sign, grace_s in ((signal.SIGTERM, _STOP_GRACE_S), (signal.SIGKILL, _KILL_GRACE_S)):
            processes = await asyncio.to_thread(self._processes)
            for process in processes:
                try:
                    process.send_signal(sign)
                except psutil.NoSuchProcess:
                    pass
            if not processes or await _all_gone(processes, grace_s):
                return
        raise RouterUnavailableError("HAProxy's processes do not end")

    def pids(self) -> frozenset[int]:
        return frozenset(process.pid for process in self._processes())

    def _processes(self) -> Sequence[psutil.Process]:
        mark = self._mark()
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and mark in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def last_words(self) -> str:
        try:
            return _alerts(self._files.log.read_text(errors="replace"))
        except OSError:
            return ""


def _resolve(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # it was started by an earlier controller


async def _all_gone(processes: Sequence[psutil.Process], grace_s: float) -> bool:
    deadline = asyncio.get_running_loop().time() + grace_s
    while asyncio.get_running_loop().time() < deadline:
        for process in processes:
            _reap(process.pid)
        if not any(_alive(process) for process in processes):
            return True
        await asyncio.sleep(0.01)
    return False


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _alerts(text: str) -> str:
    """The lines that say what is wrong, without HAProxy's own prefix; else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    alerts = [line.partition(" : ")[2] for line in lines if line.startswith("[ALERT]")]
    alerts = [alert for alert in alerts if "Fatal errors" not in alert and "Error(s) found" not in alert]
    return "; ".join(alerts[:3]) or (lines[-1] if lines else "")
