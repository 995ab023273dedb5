"""What the controller remembers of a service: its replicas, its target, and the rollout under way.

Structs instead of dataclasses: they are copied on every change, and the simulation makes millions of them.
Written to the store as the JSON mappings of their fields, read back by :func:`from_document`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from fairlead.rollout.states import InstancePhase, RolloutPhase
from fairlead.routing import Address


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What should run: ``replicas`` of a revision. ``generation`` grows with each restart on request.

    ``definition_id`` names the whole definition: rules and routes may change while the revision stays.
    """

    revision_id: str
    definition_id: str
    generation: int
    replicas: int

    @property
    def key(self) -> tuple[str, int]:
        return (self.revision_id, self.generation)


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One replica. Times are seconds since the epoch; ``failure`` is why it has to go, empty if it need not.

    ``served``: it was in the pool at some time. ``outside``: it failed by no fault of its own (somebody
    killed it), which no gate counts. ``shed_stage``: how often its streams were asked to go. ``out_since_s``:
    since when, while it drains, the proxy has been known to send it nothing new. ``leftover``: it counted as ended
    and was seen running all the same, so that it can only go.
    """

    id: str
    slot: int
    revision_id: str
    generation: int
    phase: InstancePhase
    created_at_s: float
    started_at_s: float | None = None
    ready_at_s: float | None = None
    served: bool = False
    draining_since_s: float | None = None
    out_since_s: float | None = None
    missing_since_s: float | None = None
    failure: str = ""
    outside: bool = False
    shed_stage: int = 0
    leftover: bool = False
    addresses: Mapping[int, Address] = {}

    @property
    def key(self) -> tuple[str, int]:
        return (self.revision_id, self.generation)


class Restarts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one slot lately. ``exhausted``: the policy's attempts are used up. ``failure``: the last one."""

    attempts: int = 0
    next_at_s: float = 0.0
    exhausted: bool = False
    failure: str = ""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One service's part of a release.

    ``origin`` is what ran before (None on a first deploy). ``admitted``: replicas of the new revision that
    may exist by now. ``released``: of these, how many have taken over from old ones. ``failed_slots``: slots
    whose replica failed, counted against ``max_failure_ratio``. ``returning``: an operator asked for a rollback.
    """

    release: int
    phase: RolloutPhase
    origin: Target | None
    origin_replicas: int
    started_at_s: float
    progress_at_s: float
    admitted: int = 0
    released: int = 0
    batch_ready_at_s: float | None = None
    next_batch_at_s: float = 0.0
    failed_slots: tuple[int, ...] = ()
    message: str = ""
    returning: bool = False


class TransactionPhase(StrEnum):
    """A whole release. ``superseded``: a newer one took over before it ended."""

    RUNNING = "running"
    PAUSED = "paused"
    ROLLING_BACK = "rolling-back"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One release on its way, or the last one.

    ``previous``: every service's target before it, to go back to. ``changed``: services that have a rollout
    in it. ``removed``: services that go away at its end. ``watch_until_s``: until when a release that has
    succeeded is still taken back by itself; ``watched_slots`` are the slots whose replicas failed by then, one entry a
    failure. ``scaled``: services of which it changed only the number of replicas, with the new number.
    """

    release: int
    kind: str
    phase: TransactionPhase
    previous: Mapping[str, Target]
    changed: tuple[str, ...]
    removed: tuple[str, ...] = ()
    message: str = ""
    started_at_s: float
    ended_at_s: float | None = None
    watch_until_s: float = 0.0
    watched_slots: Mapping[str, tuple[int, ...]] = {}
    scaled: Mapping[str, int] = {}


class ScaleOverride(msgspec.Struct, frozen=True, kw_only=True):
    """`fairlead scale`: holds until the file's own number (``base``) changes."""

    base: int
    replicas: int


class ProjectState(msgspec.Struct, frozen=True, kw_only=True):
    """One project. ``release``: the newest number given. ``serving``: the release that serves, 0 for none."""

    name: str
    engine: str
    files: tuple[str, ...] = ()
    release: int = 0
    serving: int = 0
    transaction: Transaction | None = None
    paused: bool = False
    leaving: bool = False
    remove_volumes: bool = False
    scale: Mapping[str, ScaleOverride] = {}
    applied_routes: str = ""


class ServiceState(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One service of one project. ``target`` None: nothing should run. ``next_number`` makes replica ids.

    ``restarts`` are by slot, ``origin_restarts`` those of older revisions: their failures are not the target's.
    """

    project: str
    service: str
    target: Target | None = None
    rollout: Rollout | None = None
    instances: tuple[Instance, ...] = ()
    restarts: Mapping[int, Restarts] = {}
    origin_restarts: Mapping[int, Restarts] = {}
    next_number: int = 1
    leaving: bool = False

    def current(self) -> tuple[Instance, ...]:
        """Replicas of the target's revision and generation."""
        return self._parted[0]

    def withdrawn(self) -> ServiceState:
        """The service on its way out; the same object where it is already."""
        if self.leaving and self.target is None and self.rollout is None:
            return self
        return replace(self, target=None, rollout=None, leaving=True)

    def others(self) -> tuple[Instance, ...]:
        """Replicas of any other revision or generation."""
        return self._parted[1]

    @cached_property
    def _parted(self) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
        """Each part is asked for several times a step, by many steps that leave the state as it is."""
        target = self.target
        if target is None:
            return (), self.instances
        revision_id, generation = target.key
        of_target = [i for i in self.instances if i.revision_id == revision_id and i.generation == generation]
        if len(of_target) == len(self.instances):
            return self.instances, ()
        return tuple(of_target), tuple([i for i in self.instances if i.key != target.key])


T = TypeVar("T")


def from_document(document: Mapping[str, Any], kind: type[T]) -> T:
    """The value that was stored as ``document``.

    :raises msgspec.ValidationError: it was not written by this version.
    """
    return msgspec.convert(document, kind, strict=False)
