"""The process engine: each replica is a session of processes on this machine. Called by `controller`.

It remembers nothing that the run directories and the kernel do not say: a second engine over the same home sees
the same replicas, whether the first still lives, has ended, or was killed at any point.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import signal as signals
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from fairlead.capabilities import EngineCapabilities
from fairlead.engines.base import (
    CommandResult,
    Engine,
    EngineEvent,
    EngineEventKind,
    LogLine,
    ReplicaProcess,
    ReplicaStats,
    Report,
)
from fairlead.engines.broadcast import Broadcast
from fairlead.engines.process import cgroups
from fairlead.engines.process.client import KeeperClient
from fairlead.engines.process.endings import SIGNALLED, STOPPING, release_guard
from fairlead.engines.process.keys import capabilities
from fairlead.engines.process.launching import LaunchPlanner, command_fields, failure_of, launch_fields
from fairlead.engines.process.listing import processes
from fairlead.engines.process.logs import read_log
from fairlead.engines.process.members import kill_all, usage
from fairlead.engines.process.procfs import has_ended
from fairlead.engines.process.replicas import Replica, Replicas
from fairlead.engines.process.rundir import RunDirectory, project_directories, replica_directories
from fairlead.engines.process.signal_names import signal_number
from fairlead.errors import EngineError, EngineUnavailableError, StartFailedError
from fairlead.observed import Exit, ObservedReplica, ReplicaSpec, ReplicaState
from fairlead.routing import Address
from fairlead.spec.model import Hook, Project, Service
from fairlead.spec.revision import Revision, revision_of

STARTED = "started"
HOOK_TIMEOUT_S = 60.0
DEATH_TIMEOUT_S = 15.0
COMMAND_SLACK_S = 15.0
HOST = "127.0.0.1"

_log = logging.getLogger(__name__)


class ProcessEngine(Engine):
    """Runs replicas as processes under ``home``. ``environ`` is what they inherit a few names from."""

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None) -> None:
        if sys.platform != "linux":
            raise EngineError("the process engine needs Linux", hint="use an engine with containers: --engine docker")
        root = home.absolute() / "run"
        groups = cgroups.detect()
        self._capabilities = capabilities(groups.missing, root=os.geteuid() == 0)
        self._planner = LaunchPlanner(os.environ if environ is None else environ, groups)
        self._keeper = KeeperClient(root)
        self._replicas = Replicas(root, self._on_end)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._broadcast = Broadcast()

    @property
    def capabilities(self) -> EngineCapabilities:
        return self._capabilities

    # -- observing -------------------------------------------------------------------------------------------

    async def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        found = [await self._observe_one(replica) for replica in await self._replicas.of(project)]
        if any(replica is not None and replica.state is ReplicaState.RUNNING for replica in found):
            self._keeper.tend()
        return tuple(replica for replica in found if replica is not None)

    async def projects(self) -> tuple[str, ...]:
        def scan() -> tuple[str, ...]:
            paths = project_directories(self._replicas.root)
            return tuple(path.name for path in paths if any(True for _ in replica_directories(path)))

        return await asyncio.to_thread(scan)

    async def recall(self, project: str) -> tuple[ReplicaSpec, ...]:
        return tuple(replica.directory.spec for replica in await self._replicas.of(project))

    async def _observe_one(self, replica: Replica) -> ObservedReplica | None:
        try:
            return _observed(replica.directory, await self._replicas.refresh(replica))
        except EngineError:
            if replica.directory.exists():
                raise
            return None  # Removed while we looked.

    async def _on_end(self, replica: Replica, ended: Exit) -> None:
        """The last lines are in the log before anybody hears of the end."""
        await self._keeper.tell("drain", dir=str(replica.directory.path), final=True)
        self._publish(EngineEventKind.EXITED, replica.id, ended)

    def _publish(self, kind: EngineEventKind, replica_id: str, ended: Exit | None = None) -> None:
        self._broadcast.publish(EngineEvent(kind=kind, replica_id=replica_id, exit=ended))

    # -- starting --------------------------------------------------------------------------------------------

    async def start(self, replica: ReplicaSpec) -> None:
        async with self._locks[replica.id]:
            known = await self._replicas.find(replica.id)
            if known is None:
                known = self._replicas.at(await asyncio.to_thread(self._intend, replica))
            if known.directory.process is None:
                await asyncio.to_thread(self._planner.make_groups, replica, known.directory.path)
                await self._launch(known)
            if await self._replicas.refresh(known) is None:
                await self._after_start(known)

    def _intend(self, spec: ReplicaSpec) -> Path:
        """Write what is to be started; ports are chosen under a lock that all engines of this home share."""
        path = self._replicas.root / spec.project / spec.id
        try:
            self._replicas.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self._replicas.root / "ports.lock", "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.is_dir():
                    return path  # Another engine over this home was faster.
                launch = self._planner.plan(spec, path, self._replicas.ports())
                RunDirectory.create(path, spec, launch)
        except OSError as error:
            raise EngineUnavailableError(f"{spec.id}: {path} cannot be made: {error}") from error
        return path

    async def _launch(self, replica: Replica) -> None:
        answer = await self._keeper.request("launch", **launch_fields(replica.directory))
        if "stage" not in answer:
            if replica.directory.process is None:
                raise EngineUnavailableError(f"{replica.id}: the keeper could not start it")
        elif (answer["stage"], answer["errno"]) != ("record", errno.EEXIST):
            error = failure_of(replica.directory, answer["stage"], answer["errno"])
            await asyncio.to_thread(_undo, replica)
            self._replicas.forget(replica)
            raise error
        self._publish(EngineEventKind.STARTED, replica.id)

    async def _after_start(self, replica: Replica) -> None:
        hooks = replica.directory.spec.revision.service.post_start
        if not hooks or replica.directory.has(STARTED):
            return
        for hook in hooks:
            result = await self._run_hook(replica, hook, HOOK_TIMEOUT_S)
            if result.status != 0:
                await self._end(replica, 0.0, None)
                raise StartFailedError(
                    f"{replica.id}: post_start hook {' '.join(hook.command)}: {_outcome(result)}",
                    hint=result.output.strip()[-500:] or None,
                )
        replica.directory.mark(STARTED)

    # -- ending ----------------------------------------------------------------------------------------------

    async def signal(self, replica_id: str, signal: str) -> None:
        number = signal_number(signal)
        running = await self._replicas.running(replica_id)
        if running is not None and running[0].pidfd is not None:
            if number in (signals.SIGKILL, signals.SIGTERM, signals.SIGINT, signals.SIGQUIT):
                running[0].directory.mark(SIGNALLED)
            _send(running[0].pidfd, number)

    async def stop(self, replica_id: str, grace_s: float, signal: str | None = None) -> None:
        running = await self._replicas.running(replica_id)
        if running is None:
            return
        replica, _ = running
        if not replica.directory.has(STOPPING):
            await self._before_stop(replica, grace_s)
        await self._end(replica, grace_s, signal)

    async def _before_stop(self, replica: Replica, grace_s: float) -> None:
        """Hooks have the grace period, all together; a failing one is said and does not hold up the stop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        for hook in replica.directory.spec.revision.service.pre_stop:
            result = await self._run_hook(replica, hook, max(deadline - loop.time(), 0.1))
            if result.status != 0:
                _log.warning("%s: pre_stop hook %s: %s", replica.id, " ".join(hook.command), _outcome(result))

    async def _end(self, replica: Replica, grace_s: float, signal: str | None) -> None:
        record = replica.directory.process
        if record is None:
            return
        number = signal_number(signal or replica.directory.spec.revision.service.stop_signal or "SIGTERM")
        replica.directory.mark(STOPPING)
        if grace_s > 0 and replica.pidfd is not None and not has_ended(replica.pidfd):
            _send_group(record.pid, number)
            # A stopped process (SIGSTOP) would sleep through its grace period.
            _send_group(record.pid, signals.SIGCONT)
            if await self._replicas.wait_end(replica, grace_s):
                return
        await asyncio.to_thread(kill_all, record, replica.directory.launch, held=replica.pidfd is not None)
        if not await self._replicas.wait_end(replica, DEATH_TIMEOUT_S):
            raise EngineError(f"{replica.id}: process {record.pid} does not die of SIGKILL", hint="see `dmesg`")

    async def remove(self, replica_id: str) -> None:
        async with self._locks[replica_id]:
            replica = await self._replicas.find(replica_id)
            if replica is None:
                return
            ended = await self._replicas.refresh(replica)
            record = replica.directory.process
            if ended is None and record is not None:
                raise EngineError(f"{replica_id} still runs", hint="stop it first")
            await asyncio.to_thread(_undo, replica)
            self._replicas.forget(replica)
        self._locks.pop(replica_id, None)
        self._publish(EngineEventKind.CHANGED, replica_id)

    # -- looking inside --------------------------------------------------------------------------------------

    def events(self) -> AsyncIterator[EngineEvent]:
        return self._broadcast.subscribe()

    async def stats(self, replica_ids: Sequence[str]) -> Mapping[str, ReplicaStats]:
        running = {}
        for replica_id in replica_ids:
            found = await self._replicas.running(replica_id)
            if found is not None:
                running[replica_id] = (found[1], found[0].directory.launch)
        return await asyncio.to_thread(usage, running)

    async def processes(self, replica_id: str) -> tuple[ReplicaProcess, ...]:
        found = await self._replicas.running(replica_id)
        if found is None:
            return ()
        return await asyncio.to_thread(processes, found[1], found[0].directory.launch)

    async def logs(self, replica_id: str, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[LogLine]:
        replica = await self._replicas.find(replica_id)
        if replica is None:
            return
        if replica.directory.process is not None:
            await self._keeper.tell("drain", dir=str(replica.directory.path), final=False)
        async for line in read_log(replica_id, replica.directory.log_path, follow=follow, tail=tail):
            yield line

    async def run(self, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        running = await self._replicas.running(replica_id)
        if running is None:
            raise EngineError(f"{replica_id} does not run")
        return await self._run(running[0], argv, timeout_s, None)

    async def _run_hook(self, replica: Replica, hook: Hook, timeout_s: float) -> CommandResult:
        return await self._run(replica, hook.command, timeout_s, hook)

    async def _run(self, replica: Replica, argv: Sequence[str], timeout_s: float, hook: Hook | None) -> CommandResult:
        try:
            fields = await asyncio.to_thread(command_fields, replica.directory, argv, hook)
        except StartFailedError as error:
            return CommandResult(status=127, output=f"{error.message}\n")
        answer = await self._keeper.request(
            "run", answer_within_s=timeout_s + COMMAND_SLACK_S, timeout_s=timeout_s, **fields
        )
        if "stage" in answer:
            return CommandResult(status=126, output=f"{argv[0]}: {os.strerror(answer['errno'])}\n")
        return CommandResult(
            status=answer["status"],
            output=answer["output"].decode(errors="replace"),
            timed_out=answer["timed_out"],
        )

    async def close(self) -> None:
        await self._replicas.close()
        self._broadcast.close()
        await self._keeper.close()

    # -- projects --------------------------------------------------------------------------------------------

    async def prepare(self, project: Project, report: Report) -> Project:
        """Nothing to make; what could never start is found before anything that runs is touched."""
        await self.check(project.name, [revision_of(project, service) for service in project.services.values()])
        return project

    async def check(self, project: str, revisions: Sequence[Revision]) -> None:
        def check() -> None:
            for revision in revisions:
                self._planner.check(ReplicaSpec(id="", project=project, slot=1, generation=0, revision=revision))
                _check_signal(revision.service)

        await asyncio.to_thread(check)


def _check_signal(service: Service) -> None:
    try:
        signal_number(service.stop_signal or "SIGTERM")
    except EngineError as error:
        raise StartFailedError(f"{service.name}: stop_signal: {error.message}", hint=error.hint) from error


def _undo(replica: Replica) -> None:
    """Take back a start that failed before its command took over: nothing of it stays."""
    record, launch = replica.directory.process, replica.directory.launch
    if record is not None:
        release_guard(record)
    replica.directory.delete()
    cgroups.remove(launch.cgroups)


def _observed(directory: RunDirectory, ended: Exit | None) -> ObservedReplica:
    spec, record = directory.spec, directory.process
    state = ReplicaState.CREATED if record is None else ReplicaState.RUNNING if ended is None else ReplicaState.EXITED
    return ObservedReplica(
        id=spec.id,
        project=spec.project,
        service=spec.service,
        revision_id=spec.revision.id,
        slot=spec.slot,
        generation=spec.generation,
        state=state,
        addresses={target: Address(host=HOST, port=port) for target, port in directory.launch.ports.items()},
        exit=ended,
        native_id=str(record.pid) if record is not None else "",
        started_at_s=record.started_at_s if record is not None else None,
    )


def _send(pidfd: int, number: int) -> None:
    try:
        signals.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def _send_group(pid: int, number: int) -> None:
    """To the replica's own group; its guard keeps the number from being anybody else's."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise EngineError(f"process group {pid} may not be signalled: {error}") from error


def _outcome(result: CommandResult) -> str:
    return "timed out" if result.timed_out else f"ended with status {result.status}"
