"""What the controller offers to the API: the operations, and the rows that are listed.

Implemented by `controller.runtime.Controller`; served by `api`; every value here crosses the wire as JSON
(``msgspec.to_builtins``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from fairlead.engines.base import CommandResult, LogLine
from fairlead.spec.model import Project
from fairlead.store.base import Event


class OperationKind(StrEnum):
    UP = "up"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    RESTART = "restart"
    SCALE = "scale"
    DOWN = "down"


class OperationState(StrEnum):
    """``running`` until the last replica is where it belongs; ``rolled-back``: failed, the old serves again."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing an operator asked for. ``release`` is the release it made, None where it makes none.

    ``changed`` False: what was asked for is already so. ``message`` is the outcome in one line, with the
    cause where it failed; ``first_event`` the id after which its events come. ``error`` is what stood in the way
    where no release has begun, as :meth:`fairlead.errors.FairleadError.to_json` has it.
    """

    id: str
    project: str
    kind: OperationKind
    state: OperationState
    message: str = ""
    release: int | None = None
    changed: bool = True
    first_event: int = 0
    started_at_s: float = 0.0
    ended_at_s: float | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRow:
    """One replica, for `ps`. ``state``: creating, starting, ready, draining, stopping, stopped, failed, completed.

    ``pid`` is None on engines without one. ``address`` is ``host:port`` of the first port.
    """

    id: str
    project: str
    service: str
    revision: str
    release: int | None
    slot: int
    state: str
    health: str
    reason: str
    address: str | None
    pid: int | None
    native_id: str
    engine: str
    in_flight: int
    streams: int
    restarts: int
    started_at_s: float | None
    uptime_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRow:
    """What one replica that runs uses, for `stats`. ``cpu_s``: CPU seconds since its start, as of ``at_s``.

    ``at_s`` grows steadily and says nothing else: two samples make a share of a CPU. ``status``: responses by class,
    ``{"2xx": n, …}``; these and ``requests`` count since the load balancer has the replica, and are None where it
    counts none.
    """

    replica: str
    service: str
    at_s: float
    cpu_s: float
    memory_bytes: int
    memory_limit_bytes: int | None = None
    pids: int | None = None
    in_flight: int = 0
    requests: int | None = None
    status: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process of a replica, for `top`; None is what the engine cannot tell."""

    replica: str
    service: str
    pid: int
    parent: int | None
    user: str
    started_at_s: float | None
    cpu_s: float | None
    memory_bytes: int | None
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """One service, for `status`. ``phase`` is the rollout's phase, ``steady`` where none is under way.

    ``ready`` counts replicas of ``revision``, ``old_ready`` those of other revisions, which serve until it does.
    """

    name: str
    revision: str | None
    replicas: int
    ready: int
    phase: str
    message: str
    published: tuple[str, ...] = ()
    """``http://0.0.0.0:8080 -> 8000`` for each published port."""
    old_ready: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectStatus:
    """One project, for `status`. ``state``: running, releasing, rolling-back, paused, degraded, stopping, down."""

    name: str
    engine: str
    state: str
    release: int | None
    services: tuple[ServiceRow, ...]
    operation: Operation | None = None
    paused: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One release, for `history`, newest first.

    ``state``: running, paused, rolling-back, succeeded, rolled-back, failed, superseded. ``watch_left_s``: for how
    long one that has succeeded is still taken back by itself where its replicas crash; 0 where it is not watched.
    """

    number: int
    kind: str
    state: str
    revisions: Mapping[str, str]
    message: str
    started_at_s: float
    ended_at_s: float | None
    current: bool
    watch_left_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerStatus:
    pid: int
    version: str
    epoch: int
    home: str
    started_at_s: float
    projects: tuple[str, ...]
    memory_bytes: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    """``engine`` None: the one the project has, else the default. ``project`` holds the selected services."""

    project: Project
    engine: str | None = None
    force_recreate: bool = False
    scale: Mapping[str, int] = field(default_factory=dict)


class Controls(Protocol):
    """Every operation returns at once with an operation to follow; the controller works on in the background.

    All raise :class:`~fairlead.errors.NotFoundError` for what does not exist and
    :class:`~fairlead.errors.RefusedError` for what cannot be done now, before anything changed.
    """

    def notice(self) -> str:
        """What everybody who reads should know beside the answer (nothing can be written); empty as a rule."""
        ...

    async def status(self) -> ControllerStatus: ...
    async def projects(self) -> tuple[ProjectStatus, ...]: ...
    async def project(self, project: str) -> ProjectStatus: ...
    async def replicas(self, project: str | None = None) -> tuple[ReplicaRow, ...]: ...
    async def stats(self, project: str) -> tuple[StatsRow, ...]:
        """What each replica that runs uses, in the order of :meth:`replicas`."""
        ...

    async def processes(self, project: str) -> tuple[ProcessRow, ...]:
        """The processes of each replica that runs, in the order of :meth:`replicas`."""
        ...

    async def history(self, project: str) -> tuple[ReleaseRow, ...]: ...
    async def operation(self, project: str, operation_id: str) -> Operation: ...

    async def plan(self, request: UpRequest) -> Mapping[str, Any]:
        """What `up` would do, without doing it: :meth:`fairlead.plan.planner.Plan.to_json`."""
        ...

    async def up(self, request: UpRequest) -> Operation: ...
    async def deploy(
        self, project: str, service: str, image: str | None, environment: Mapping[str, str]
    ) -> Operation: ...
    async def rollback(self, project: str, release: int | None) -> Operation: ...
    async def restart(self, project: str, services: Sequence[str]) -> Operation: ...
    async def scale(self, project: str, replicas: Mapping[str, int]) -> Operation: ...
    async def pause(self, project: str) -> ProjectStatus: ...
    async def resume(self, project: str) -> ProjectStatus: ...
    async def down(self, project: str, volumes: bool) -> Operation: ...

    def events(
        self, project: str | None, *, after: int = 0, last: int | None = None, follow: bool = False
    ) -> AsyncIterator[Event]: ...

    def logs(
        self, project: str, services: Sequence[str], *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[LogLine]: ...

    async def run(self, project: str, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult: ...

    async def stop_controller(self) -> None:
        """End the controller; replicas and router go on."""
        ...
