"""One frozen snapshot of what runs: what the engine, the router and the probes say, nothing remembered.

Filled by `controller.observe`, read by `plan` and `rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from fairlead.routing import Address, RouteStatus
from fairlead.spec.model import Healthcheck
from fairlead.spec.revision import Revision


class ReplicaState(StrEnum):
    """What the engine says of a replica: made but not running, running, or ended."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class Health(StrEnum):
    """The judge's verdict on a replica.

    ``unknown``: not probed yet. ``starting``: alive, has not passed yet. ``ready``: may serve. ``unready``:
    readiness fails, keep it out of the pool. ``dead``: liveness fails, replace it.
    """

    UNKNOWN = "unknown"
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    DEAD = "dead"


class ExitCause(StrEnum):
    """Why a replica ended. ``killed``: by a signal from outside that nobody here sent."""

    EXITED = "exited"
    KILLED = "killed"
    OOM = "out of memory"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a replica ended. ``code`` is the exit status, or minus the signal's number; None: unknown."""

    cause: ExitCause
    code: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        match self.cause:
            case ExitCause.OOM:
                text = "killed by the kernel: out of memory"
            case ExitCause.GONE:
                text = "gone"
            case _ if self.code is None:
                text = "ended, exit status unknown"
            case _ if self.code < 0:
                text = f"killed by signal {-self.code}"
            case _:
                text = f"exited with status {self.code}"
        return f"{text} ({self.detail})" if self.detail else text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """Everything an engine needs to start one replica; it must put these identities on the replica itself.

    ``id`` is unique on the machine: ``project.service.number``. ``slot`` counts from 1 and is handed on from a
    replica to its successor. ``generation`` tells apart replicas of one revision before and after a restart.
    """

    id: str
    project: str
    slot: int
    generation: int
    revision: Revision

    @property
    def service(self) -> str:
        return self.revision.service.name


class ObservedReplica(msgspec.Struct, frozen=True, kw_only=True):
    """One replica as its engine reports it.

    ``addresses`` maps each container port to where it listens. ``native_id`` is the engine's own name for it
    (a pid, a container id). ``started_at_s`` is seconds since the epoch, None where it never ran.
    ``native_health`` is the verdict of a health check that the engine runs by itself, None where it runs none;
    ``native_check`` is that check, be it the file's or the image's.
    """

    id: str
    project: str
    service: str
    revision_id: str
    slot: int
    generation: int
    state: ReplicaState
    addresses: Mapping[int, Address] = {}
    exit: Exit | None = None
    native_id: str = ""
    started_at_s: float | None = None
    native_health: Health | None = None
    native_check: Healthcheck | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """``status`` is the exit status, minus the signal's number when killed. ``output``: both streams, capped."""

    status: int
    output: str
    timed_out: bool = False


class ReplicaHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The judge's verdict with its reason in words (``tcp 127.0.0.1:4001: connection refused``)."""

    health: Health
    reason: str = ""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One project at one moment. ``replicas`` are sorted by id, ``routes`` by key.

    ``taken_at_s``: when looking began, None where it took no time. What was decided later is not seen in it.
    ``routes_known`` False: the router did not answer, so that ``routes`` says nothing.
    """

    project: str
    replicas: tuple[ObservedReplica, ...] = ()
    health: Mapping[str, ReplicaHealth] = {}
    routes: Mapping[str, RouteStatus] = {}
    taken_at_s: float | None = None
    routes_known: bool = True
