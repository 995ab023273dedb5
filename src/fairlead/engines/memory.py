"""An engine that runs nothing: the fake that ships beside the real ones, for tests of everything above.

It keeps the same promises as they do (the contract suite runs against it) and can be told how a service behaves
(:class:`Behaviour`) and what happens to a replica (:meth:`MemoryEngine.kill`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from fairlead.capabilities import EngineCapabilities, KeySupport, Support
from fairlead.clock import Clock, SystemClock
from fairlead.engines.base import (
    CommandResult,
    Engine,
    EngineEvent,
    EngineEventKind,
    LogLine,
    ReplicaProcess,
    ReplicaStats,
)
from fairlead.engines.broadcast import Broadcast
from fairlead.errors import EngineError, StartFailedError
from fairlead.observed import Exit, ExitCause, ObservedReplica, ReplicaSpec, ReplicaState
from fairlead.routing import Address

FIRST_PORT = 40_000
MAX_LINES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How replicas of one service behave. ``start_error``: :meth:`~MemoryEngine.start` raises it.

    ``exits_at_once``: the replica starts and ends with this status. ``ignores_stop``: it ends only when it is
    killed after its grace period. ``output``: what it says when it starts. ``commands``: what a command beside it
    answers; any other one succeeds and says nothing.
    """

    start_delay_s: float = 0.0
    start_error: EngineError | None = None
    exits_at_once: int | None = None
    ignores_stop: bool = False
    output: tuple[str, ...] = ()
    commands: Mapping[tuple[str, ...], CommandResult] = field(default_factory=dict)


class _Replica:
    def __init__(self, spec: ReplicaSpec, number: int, started_at_s: float) -> None:
        self.spec = spec
        self.number = number
        self.started_at_s = started_at_s
        self.exit: Exit | None = None
        self.ended = asyncio.Event()
        self.lines: list[LogLine] = []
        self.signals: list[str] = []

    def observed(self) -> ObservedReplica:
        service = self.spec.revision.service
        targets = dict.fromkeys(port.target for port in service.ports)
        base = FIRST_PORT + self.number * 16
        return ObservedReplica(
            id=self.spec.id,
            project=self.spec.project,
            service=self.spec.service,
            revision_id=self.spec.revision.id,
            slot=self.spec.slot,
            generation=self.spec.generation,
            state=ReplicaState.RUNNING if self.exit is None else ReplicaState.EXITED,
            addresses={target: Address(host="127.0.0.1", port=base + at) for at, target in enumerate(targets)},
            exit=self.exit,
            native_id=f"memory-{self.number}",
            started_at_s=self.started_at_s,
        )


class MemoryEngine(Engine):
    """``behaviours`` maps a service to how it behaves; it may be changed at any time."""

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None, clock: Clock | None = None) -> None:
        self.behaviours: dict[str, Behaviour] = dict(behaviours or {})
        self._clock = clock or SystemClock()
        self._replicas: dict[str, _Replica] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._broadcast = Broadcast()
        self._count = 0
        self._closed = False

    @property
    def capabilities(self) -> EngineCapabilities:
        honoured = KeySupport(support=Support.HONOURED)
        return EngineCapabilities(name="memory", keys={"*": honoured}, limits_memory=True, limits_cpu=True)

    # -- for tests -------------------------------------------------------------------------------------------

    def reopened(self) -> MemoryEngine:
        """Another engine over the same replicas, as after a restart of the controller."""
        later = MemoryEngine(self.behaviours, self._clock)
        later._replicas, later._count = self._replicas, self._count
        return later

    def kill(self, replica_id: str, ended: Exit | None = None) -> None:
        """Let a running replica end as ``ended`` says; without it, by a SIGKILL from outside."""
        self._end(self._replicas[replica_id], ended or Exit(cause=ExitCause.KILLED, code=-9))

    def lose(self, replica_id: str) -> None:
        """Somebody removes the replica without a word to us."""
        del self._replicas[replica_id]

    def say(self, replica_id: str, text: str, stream: str = "stdout") -> None:
        """Let a replica write one line."""
        replica = self._replicas[replica_id]
        replica.lines.append(LogLine(replica_id=replica_id, stream=stream, time_s=self._clock.now_s(), text=text))
        del replica.lines[:-MAX_LINES]

    def signals(self, replica_id: str) -> tuple[str, ...]:
        """Every signal that the replica was sent, in order."""
        return tuple(self._replicas[replica_id].signals)

    # -- the port --------------------------------------------------------------------------------------------

    async def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        found = [replica.observed() for replica in self._replicas.values() if replica.spec.project == project]
        return tuple(sorted(found, key=lambda replica: replica.id))

    async def projects(self) -> tuple[str, ...]:
        return tuple(sorted({replica.spec.project for replica in self._replicas.values()}))

    async def recall(self, project: str) -> tuple[ReplicaSpec, ...]:
        found = [replica.spec for replica in self._replicas.values() if replica.spec.project == project]
        return tuple(sorted(found, key=lambda spec: spec.id))

    async def start(self, replica: ReplicaSpec) -> None:
        async with self._starting.setdefault(replica.id, asyncio.Lock()):
            if replica.id in self._replicas:
                return
            behaviour = self._behaviour(replica)
            if behaviour.start_delay_s:
                await asyncio.sleep(behaviour.start_delay_s)
            if behaviour.start_error is not None:
                raise behaviour.start_error
            service = replica.revision.service
            if not (service.command or service.entrypoint or service.image):
                raise StartFailedError(f"{service.name}: neither an image nor a command")
            self._count += 1
            made = self._replicas[replica.id] = _Replica(replica, self._count, self._clock.now_s())
        for text in behaviour.output:
            self.say(replica.id, text)
        self._publish(EngineEventKind.STARTED, replica.id)
        if behaviour.exits_at_once is not None:
            self._end(made, Exit(cause=ExitCause.EXITED, code=behaviour.exits_at_once))

    async def signal(self, replica_id: str, signal: str) -> None:
        replica = self._running(replica_id)
        if replica is not None:
            replica.signals.append(signal)
            if signal == "SIGKILL":
                self._end(replica, Exit(cause=ExitCause.EXITED, code=-9))

    async def stop(self, replica_id: str, grace_s: float, signal: str | None = None) -> None:
        replica = self._running(replica_id)
        if replica is None:
            return
        replica.signals.append(signal or replica.spec.revision.service.stop_signal or "SIGTERM")
        if not self._behaviour(replica.spec).ignores_stop:
            self._end(replica, Exit(cause=ExitCause.EXITED, code=0))
            return
        try:
            async with asyncio.timeout(grace_s):
                await replica.ended.wait()
        except TimeoutError:
            replica.signals.append("SIGKILL")
            self._end(replica, Exit(cause=ExitCause.EXITED, code=-9))

    async def remove(self, replica_id: str) -> None:
        if self._running(replica_id) is not None:
            raise EngineError(f"{replica_id} still runs", hint="stop it first")
        if self._replicas.pop(replica_id, None) is not None:
            self._publish(EngineEventKind.CHANGED, replica_id)

    def events(self) -> AsyncIterator[EngineEvent]:
        return self._broadcast.subscribe()

    async def stats(self, replica_ids: Sequence[str]) -> Mapping[str, ReplicaStats]:
        running = [replica_id for replica_id in replica_ids if self._running(replica_id) is not None]
        return {replica_id: ReplicaStats(cpu_s=0.0, memory_bytes=1_000_000, pids=1) for replica_id in running}

    async def processes(self, replica_id: str) -> tuple[ReplicaProcess, ...]:
        replica = self._running(replica_id)
        if replica is None:
            return ()
        command = " ".join(replica.spec.revision.service.command or ("run",))
        return (ReplicaProcess(pid=replica.number, started_at_s=replica.started_at_s, command=command),)

    async def logs(self, replica_id: str, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[LogLine]:
        replica = self._replicas.get(replica_id)
        if replica is None:
            return
        start = 0 if tail is None else max(len(replica.lines) - tail, 0)
        last: LogLine | None = None
        for line in replica.lines[start:]:
            last = line
            yield line
        while follow:
            removed = self._replicas.get(replica_id) is not replica
            for line in _after(replica.lines, last):
                last = line
                yield line
            if removed or self._closed:
                return
            await asyncio.sleep(0.01)

    async def run(self, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        replica = self._running(replica_id)
        if replica is None:
            raise EngineError(f"{replica_id} does not run")
        return self._behaviour(replica.spec).commands.get(tuple(argv), CommandResult(status=0, output=""))

    async def close(self) -> None:
        self._closed = True
        self._broadcast.close()

    def _running(self, replica_id: str) -> _Replica | None:
        replica = self._replicas.get(replica_id)
        return replica if replica is not None and replica.exit is None else None

    def _behaviour(self, spec: ReplicaSpec) -> Behaviour:
        return self.behaviours.get(spec.service, Behaviour())

    def _end(self, replica: _Replica, ended: Exit) -> None:
        if replica.exit is None:
            replica.exit = ended
            replica.ended.set()
            self._publish(EngineEventKind.EXITED, replica.spec.id, ended)

    def _publish(self, kind: EngineEventKind, replica_id: str, ended: Exit | None = None) -> None:
        self._broadcast.publish(EngineEvent(kind=kind, replica_id=replica_id, exit=ended))


def _after(lines: Sequence[LogLine], last: LogLine | None) -> list[LogLine]:
    """The lines behind ``last``, which is told from others by identity."""
    for at in range(len(lines) - 1, -1, -1):
        if lines[at] is last:
            return list(lines[at + 1 :])
    return list(lines)
