"""A book made from nothing but the replicas that run: for a store that was lost.

Used by `core`; pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fairlead.controller.book import Book, Release, StoredDefinition
from fairlead.observed import ReplicaSpec
from fairlead.plan.planner import definition_id, jobs
from fairlead.rollout.lifecycle import number_of
from fairlead.rollout.state import Instance, ProjectState, Rollout, ServiceState, Target
from fairlead.rollout.states import InstancePhase, RolloutPhase
from fairlead.routing import EndpointState, RouteStatus


def adopted(
    project: str,
    engine: str,
    specs: Sequence[ReplicaSpec],
    routes: Mapping[str, RouteStatus],
    cores: int,
    now_s: float,
) -> Book | None:
    """The book of ``project`` with what most replicas of each service run as its target; None for no replicas.

    ``routes``: what the proxy serves. Whom it has been told to send nothing new may have been signalled since.
    """
    if not specs:
        return None
    left = _left(routes)
    ends = jobs({spec.service: spec.revision.service for spec in specs})
    stored = {}
    services = {}
    targets = {}
    for name in sorted({spec.service for spec in specs}):
        mine = sorted((spec for spec in specs if spec.service == name), key=lambda spec: number_of(spec.id))
        for spec in mine:
            own_id = definition_id(spec.revision, job=name in ends)
            stored[own_id] = StoredDefinition(revision=spec.revision, job=name in ends)
        staying = [spec for spec in mine if spec.id not in left] or mine
        chosen = _majority(staying)
        targets[name] = Target(
            revision_id=chosen.revision.id,
            definition_id=definition_id(chosen.revision, job=name in ends),
            generation=chosen.generation,
            replicas=len({spec.slot for spec in staying if _key(spec) == _key(chosen)}),
        )
        services[name] = ServiceState(
            project=project,
            service=name,
            target=targets[name],
            instances=tuple(_instance(spec, now_s, leaves=spec.id in left) for spec in mine),
            next_number=1 + number_of(mine[-1].id),
            rollout=_unfinished(staying, targets[name], now_s),
        )
    release = Release(
        number=1, kind="adopted", state="succeeded", targets=targets, started_at_s=now_s, ended_at_s=now_s
    )
    state = ProjectState(name=project, engine=engine, release=1, serving=1)
    book = Book(project=state, services=services, releases={1: release})
    return book.with_definitions(stored, cores)


def _left(routes: Mapping[str, RouteStatus]) -> frozenset[str]:
    """Who is out of every pool."""
    endpoints = [endpoint for route in routes.values() for endpoint in route.endpoints]
    serving = {endpoint.replica_id for endpoint in endpoints if endpoint.state is EndpointState.READY}
    return frozenset(endpoint.replica_id for endpoint in endpoints) - serving


def _instance(spec: ReplicaSpec, now_s: float, *, leaves: bool) -> Instance:
    """A replica that runs, as far as anybody knows; the first look tells more."""
    return Instance(
        id=spec.id,
        slot=spec.slot,
        revision_id=spec.revision.id,
        generation=spec.generation,
        phase=InstancePhase.DRAINING if leaves else InstancePhase.STARTING,
        created_at_s=now_s,
        started_at_s=now_s,
        served=True,
        draining_since_s=now_s if leaves else None,
        leftover=leaves,
    )


def _unfinished(specs: Sequence[ReplicaSpec], target: Target, now_s: float) -> Rollout | None:
    """A release was under way and nobody is left who knows how it was to end: whoever serves goes on serving, as after
    a rollback that failed, until somebody says what to run."""
    keys = {_key(spec) for spec in specs}
    if len(keys) < 2:
        return None
    return Rollout(
        release=1,
        phase=RolloutPhase.FAILED,
        origin=None,
        origin_replicas=0,
        started_at_s=now_s,
        progress_at_s=now_s,
        admitted=target.replicas,
        message=f"found in the middle of a release, {len(keys)} revisions at a time; `fairlead up` completes it",
    )


def _key(spec: ReplicaSpec) -> tuple[str, int]:
    return (spec.revision.id, spec.generation)


def _majority(specs: Sequence[ReplicaSpec]) -> ReplicaSpec:
    """A replica of the most frequent revision; of the oldest, which has served, where two are equally frequent."""
    counts = Counter(_key(spec) for spec in specs)
    return max(specs, key=lambda spec: (counts[_key(spec)], -number_of(spec.id)))
