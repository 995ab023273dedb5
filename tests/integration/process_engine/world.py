"""A home of its own for each test, and words for what the tests do in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from fairlead.engines.process import ProcessEngine
from fairlead.engines.process.procfs import all_stats, read_stat
from fairlead.engines.process.rundir import RunDirectory
from fairlead.observed import Exit, ObservedReplica, ReplicaSpec, ReplicaState
from fairlead.spec.model import Port, Project, Service
from fairlead.spec.revision import revision_of
from tests.contract.engines.harness import ProcessHarness, eventually, processes_of


class World(ProcessHarness):
    def spec(self, number: int = 1, *command: str, name: str = "api", **fields: Any) -> ReplicaSpec:
        """A replica of a service made of ``fields``; without a command it sleeps."""
        fields.setdefault("ports", (Port(target=8000),))
        service = Service(name=name, command=command or ("sleep", "1000"), **fields)
        project = Project(name="world", working_dir=str(self.directory), services={name: service})
        revision = revision_of(project, service)
        return ReplicaSpec(id=f"world.{name}.{number}", project="world", slot=number, generation=0, revision=revision)

    def sh(self, script: str, number: int = 1, **fields: Any) -> ReplicaSpec:
        return self.spec(number, "sh", "-c", script, **fields)

    def run_directory(self, spec: ReplicaSpec) -> Path:
        return self.home / "run" / spec.project / spec.id


async def one(engine: ProcessEngine, spec: ReplicaSpec) -> ObservedReplica:
    (found,) = [replica for replica in await engine.observe(spec.project) if replica.id == spec.id]
    return found


async def pid_of(engine: ProcessEngine, spec: ReplicaSpec) -> int:
    return int((await one(engine, spec)).native_id)


async def ended(engine: ProcessEngine, spec: ReplicaSpec) -> Exit:
    async def is_ended() -> bool:
        return (await one(engine, spec)).state is ReplicaState.EXITED

    await eventually(is_ended, f"{spec.id} has ended")
    found = (await one(engine, spec)).exit
    assert found is not None
    return found


async def lines(engine: ProcessEngine, spec: ReplicaSpec, tail: int | None = None) -> list[str]:
    return [line.text async for line in engine.logs(spec.id, tail=tail)]


async def says(engine: ProcessEngine, spec: ReplicaSpec, text: str) -> None:
    async def has_said() -> bool:
        return text in await lines(engine, spec)

    await eventually(has_said, f"{spec.id} says {text!r}")


def is_gone(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat.state in "ZX"


async def guard_of(world: World, spec: ReplicaSpec) -> int:
    """The pid of its guard, which has taken its final form: the replica may speak before that."""
    record = RunDirectory(world.run_directory(spec)).process
    assert record is not None
    guard = record.guard
    await eventually(lambda: guard in processes_of(world.home), f"the guard of {spec.id} has become one")
    return guard


async def keeper_of(home: Path) -> int:
    """The pid of the home's keeper, found from outside: what it has just forked looks like it for a moment."""
    found: list[int] = []

    def is_alone() -> bool:
        found[:] = [stat.pid for stat in all_stats() if stat.state not in "ZX" and _is_keeper(stat.pid, home)]
        return len(found) == 1

    await eventually(is_alone, "there is one keeper")
    return found[0]


def _is_keeper(pid: int, home: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bytes(home / "run") in words


def start_in_a_controller(home: Path, specs: Iterable[ReplicaSpec], *, die_at: str) -> None:
    """Start ``specs`` in a process of its own that is killed with SIGKILL at ``die_at`` (see `dying_controller`)."""
    program = Path(__file__).with_name("dying_controller.py")
    encoded = msgspec.json.encode(list(specs))
    done = subprocess.run(
        [sys.executable, str(program), str(home), die_at], input=encoded, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def alive(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if not is_gone(pid)]


def own_session(pid: int) -> bool:
    return os.getsid(pid) == pid
