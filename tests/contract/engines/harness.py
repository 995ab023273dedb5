"""What the contract suite needs of an engine under test. One class an adapter; add yours to ``HARNESSES``.

A harness turns what a test wants a replica to do (:class:`Doing`) into a service that does it on its engine, and
does to replicas from outside what no engine would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fairlead.engines.base import CommandResult, Engine
from fairlead.engines.memory import Behaviour, MemoryEngine
from fairlead.engines.process import ProcessEngine
from fairlead.engines.process.client import KeeperClient
from fairlead.engines.process.procfs import all_stats, read_stat
from fairlead.errors import StartFailedError
from fairlead.observed import ObservedReplica, ReplicaSpec
from fairlead.spec.model import Port, Project, Service
from fairlead.spec.revision import revision_of

DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What a replica does. It lives until it is stopped, unless ``exits`` says with which status it ends at once.

    ``deaf``: it takes no notice of the stop signal. ``lines``: it writes them first. ``impossible``: it cannot be
    started at all.
    """

    exits: int | None = None
    deaf: bool = False
    lines: tuple[str, ...] = ()
    impossible: bool = False


class EngineHarness(ABC):
    """One engine under test, and a world of its own for it to work in."""

    project = "contract"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    async def open(self) -> Engine:
        """An engine over this world: each call is like a new controller on the same machine."""

    @abstractmethod
    def service(self, name: str, doing: Doing) -> Service:
        """A service that does what ``doing`` says and opens container port 8000."""

    @abstractmethod
    async def kill_from_outside(self, engine: Engine, replica: ObservedReplica) -> None:
        """SIGKILL to the replica by somebody who is not the engine."""

    @abstractmethod
    async def close(self) -> None:
        """Leave nothing behind, whatever the test did."""

    @property
    def status_3_command(self) -> tuple[str, ...]:
        """A command that can be run beside a replica, writes ``beside`` and ends with status 3."""
        return ("CMD-SHELL", "echo beside; exit 3")

    def replica(
        self, number: int, doing: Doing | None = None, *, service: str = "api", project: str = ""
    ) -> ReplicaSpec:
        defined = self.service(service, doing or Doing())
        project = project or self.project
        whole = Project(name=project, working_dir=str(self.directory), services={service: defined})
        return ReplicaSpec(
            id=f"{project}.{service}.{number}",
            project=project,
            slot=number,
            generation=0,
            revision=revision_of(whole, defined),
        )


class MemoryHarness(EngineHarness):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._engine: MemoryEngine | None = None

    async def open(self) -> Engine:
        self._engine = MemoryEngine() if self._engine is None else self._engine.reopened()
        return self._engine

    def service(self, name: str, doing: Doing) -> Service:
        assert self._engine is not None
        self._engine.behaviours[name] = Behaviour(
            start_error=StartFailedError(f"{name}: command not found") if doing.impossible else None,
            exits_at_once=doing.exits,
            ignores_stop=doing.deaf,
            output=doing.lines,
            commands={self.status_3_command: CommandResult(status=3, output="beside\n")},
        )
        return Service(name=name, command=("run",), ports=(Port(target=8000),))

    async def kill_from_outside(self, engine: Engine, replica: ObservedReplica) -> None:
        assert isinstance(engine, MemoryEngine)
        engine.kill(replica.id)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()


class ProcessHarness(EngineHarness):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.home = directory / "home"
        self._engines: list[ProcessEngine] = []

    async def open(self) -> ProcessEngine:
        engine = ProcessEngine(self.home)
        self._engines.append(engine)
        return engine

    def service(self, name: str, doing: Doing) -> Service:
        if doing.impossible:
            return Service(name=name, command=("no-such-command-anywhere",))
        script = ["trap '' TERM"] if doing.deaf else []
        script += [f"echo '{line}'" for line in doing.lines]
        script += ["exec sleep 1000"] if doing.exits is None else [f"exit {doing.exits}"]
        return Service(name=name, command=("sh", "-c", "\n".join(script)), ports=(Port(target=8000),))

    async def kill_from_outside(self, engine: Engine, replica: ObservedReplica) -> None:
        os.kill(int(replica.native_id), signal.SIGKILL)

    async def close(self) -> None:
        last = await self.open()
        for project in await last.projects():
            for replica in await last.observe(project):
                await last.stop(replica.id, 0.0)
                await last.remove(replica.id)
        for engine in self._engines:
            await engine.close()
        await quit_keeper(self.home)
        assert processes_of(self.home) == []


def _docker(directory: Path) -> EngineHarness:
    from tests.contract.engines.docker_harness import DockerHarness

    return DockerHarness(directory)


HARNESSES: dict[str, Callable[[Path], EngineHarness]] = {
    "docker": _docker,
    "memory": MemoryHarness,
    "process": ProcessHarness,
}


async def quit_keeper(home: Path) -> None:
    """End the home's keeper, if there is one, and see it gone."""
    if not (home / "run" / "keeper.sock").exists():
        return
    keeper = KeeperClient(home / "run")
    hello = await keeper.request("hello")
    await keeper.request("quit")
    await keeper.close()

    def is_gone() -> bool:
        stat = read_stat(hello["pid"])
        return stat is None or stat.state in "ZX"

    await eventually(is_gone, "the keeper is gone")


def processes_of(home: Path) -> list[int]:
    """Every living process whose environment names a run directory below ``home``: replicas and guards."""
    found = []
    for stat in all_stats():
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{stat.pid}/environ").read_bytes()
            if stat.state not in "ZX" and f"={home}/run/".encode() in environ:
                found.append(stat.pid)
    return sorted(found)


async def eventually(fact: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until ``fact`` is true; fail at the deadline, saying ``what`` did not come true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while True:
        answer = fact()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert loop.time() < deadline, f"did not come true in {DEADLINE_S:.0f} s: {what}"
        await asyncio.sleep(0.01)
