"""The replicas of one home as the engine sees them now, and who tells when one ends. Used by `engine`.

A pidfd of every running replica lies in the event loop: the end of a process is known the moment it happens,
whether or not it was ever our child.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from fairlead.engines.process.endings import settle
from fairlead.engines.process.procfs import has_ended, open_process
from fairlead.engines.process.rundir import ProcessRecord, RunDirectory, project_directories, replica_directories
from fairlead.errors import EngineError
from fairlead.observed import Exit, ExitCause

SETTLE_TIMEOUT_S = 15.0

_log = logging.getLogger(__name__)

OnEnd = Callable[["Replica", Exit], Awaitable[None]]


class Replica:
    """One replica: its directory and, while it runs, the pidfd that tells of its end."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.pidfd: int | None = None
        self.ended = asyncio.Event()
        self._settling: asyncio.Task[Exit] | None = None

    @property
    def id(self) -> str:
        return self.directory.replica_id

    @property
    def launched(self) -> bool:
        return self.directory.process is not None


class Replicas:
    """Finds replicas by their directories alone, and calls ``on_end`` once for each that ends."""

    def __init__(self, root: Path, on_end: OnEnd) -> None:
        self.root = root
        self._on_end = on_end
        self._known: dict[str, Replica] = {}

    async def of(self, project: str) -> list[Replica]:
        """Every replica of ``project``, sorted by id."""

        def scan() -> list[Path]:
            return [path for path in replica_directories(self.root / project) if not RunDirectory(path).is_wreck()]

        known = {replica.directory.path for replica in self._known.values()}
        paths = await asyncio.to_thread(lambda: list(replica_directories(self.root / project)))
        if not known.issuperset(paths):
            paths = await asyncio.to_thread(scan)
        for replica in list(self._known.values()):
            if replica.directory.path.parent.name == project and replica.directory.path not in paths:
                self.forget(replica)
        return [self.at(path) for path in paths]

    async def find(self, replica_id: str) -> Replica | None:
        """The replica of that id, whatever its project; None: there is none."""

        def scan() -> Path | None:
            paths = (project / replica_id for project in project_directories(self.root))
            return next((path for path in paths if path.is_dir()), None)

        path = await asyncio.to_thread(scan)
        return None if path is None else self.at(path)

    async def running(self, replica_id: str) -> tuple[Replica, ProcessRecord] | None:
        replica = await self.find(replica_id)
        if replica is None or await self.refresh(replica) is not None:
            return None
        record = replica.directory.process
        return None if record is None else (replica, record)

    def at(self, path: Path) -> Replica:
        replica = self._known.get(path.name)
        if replica is None:
            replica = self._known[path.name] = Replica(RunDirectory(path))
        return replica

    def forget(self, replica: Replica) -> None:
        self._let_go(replica)
        self._known.pop(replica.id, None)

    def ports(self) -> set[int]:
        """Every port that a replica of this home has, whoever started it."""
        taken: set[int] = set()
        for project in project_directories(self.root):
            for path in replica_directories(project):
                known = self._known.get(path.name)
                directory = known.directory if known is not None else RunDirectory(path)
                try:
                    taken |= {directory.launch.port, *directory.launch.ports.values()}
                except EngineError:
                    continue  # Being removed at this moment, or a wreck.
        return taken

    async def refresh(self, replica: Replica) -> Exit | None:
        """How it ended, None while it runs or has not been started; from now on its end is watched for."""
        directory = replica.directory
        if replica._settling is not None:
            return await asyncio.shield(replica._settling)
        if directory.exit is not None:
            return directory.exit
        record = directory.process
        if record is None:
            return None
        if replica.pidfd is None:
            replica.pidfd = open_process(record.identity)
            if replica.pidfd is not None:
                asyncio.get_running_loop().add_reader(replica.pidfd, self._notice_end, replica, record)
        if replica.pidfd is None or has_ended(replica.pidfd):
            return await asyncio.shield(self._notice_end(replica, record))
        return None

    async def wait_end(self, replica: Replica, timeout_s: float) -> bool:
        """True once it has ended and that has been written down; False: not within ``timeout_s``."""
        if await self.refresh(replica) is not None:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await replica.ended.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        settling = [replica._settling for replica in self._known.values() if replica._settling is not None]
        if settling:
            await asyncio.wait(settling, timeout=SETTLE_TIMEOUT_S)
        for replica in list(self._known.values()):
            self.forget(replica)

    def _notice_end(self, replica: Replica, record: ProcessRecord) -> asyncio.Task[Exit]:
        """Its pidfd is readable, or there is none: settle it, once."""
        if replica.pidfd is not None:
            asyncio.get_running_loop().remove_reader(replica.pidfd)
        if replica._settling is None:
            replica._settling = asyncio.create_task(self._settle(replica, record))
        return replica._settling

    async def _settle(self, replica: Replica, record: ProcessRecord) -> Exit:
        try:
            ended = await asyncio.to_thread(settle, replica.directory, record)
        except (EngineError, OSError) as error:
            _log.error("%s: how it ended cannot be read: %s", replica.id, error)
            ended = Exit(cause=ExitCause.GONE, detail=str(error))
        await self._on_end(replica, ended)
        self._let_go(replica)
        replica.ended.set()
        return ended

    @staticmethod
    def _let_go(replica: Replica) -> None:
        if replica.pidfd is not None:
            asyncio.get_running_loop().remove_reader(replica.pidfd)
            os.close(replica.pidfd)
            replica.pidfd = None
