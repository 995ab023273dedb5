"""A book made from nothing but the replicas that run: for a store that was lost.

Used by `core`; pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fairlead.controller.book import Book, Release, StoredDefinition
from fairlead.observed import ReplicaSpec
from fairlead.plan.planner import definition_id, jobs
from fairlead.rollout.lifecycle import number_of
from fairlead.rollout.state import Instance, ProjectState, ServiceState, Target
from fairlead.rollout.states import InstancePhase


def adopted(project: str, engine: str, specs: Sequence[ReplicaSpec], cores: int, now_s: float) -> Book | None:
    """The book of ``project`` with what most replicas of each service run as its target; None for no replicas."""
    if not specs:
        return None
    ends = jobs({spec.service: spec.revision.service for spec in specs})
    stored = {}
    services = {}
    targets = {}
    for name in sorted({spec.service for spec in specs}):
        mine = [spec for spec in specs if spec.service == name]
        chosen = _majority(mine)
        own_id = definition_id(chosen.revision, job=name in ends)
        stored[own_id] = StoredDefinition(revision=chosen.revision, job=name in ends)
        targets[name] = Target(
            revision_id=chosen.revision.id,
            definition_id=own_id,
            generation=chosen.generation,
            replicas=len({spec.slot for spec in mine if _key(spec) == _key(chosen)}),
        )
        services[name] = ServiceState(
            project=project,
            service=name,
            target=targets[name],
            instances=tuple(_instance(spec, now_s) for spec in sorted(mine, key=lambda spec: number_of(spec.id))),
            next_number=1 + max(number_of(spec.id) for spec in mine),
        )
    release = Release(
        number=1, kind="adopted", state="succeeded", targets=targets, started_at_s=now_s, ended_at_s=now_s
    )
    state = ProjectState(name=project, engine=engine, release=1, serving=1)
    book = Book(project=state, services=services, releases={1: release})
    return book.with_definitions(stored, cores)


def _instance(spec: ReplicaSpec, now_s: float) -> Instance:
    """A replica that runs, as far as anybody knows; the first look tells more."""
    return Instance(
        id=spec.id,
        slot=spec.slot,
        revision_id=spec.revision.id,
        generation=spec.generation,
        phase=InstancePhase.STARTING,
        created_at_s=now_s,
        started_at_s=now_s,
        served=True,
    )


def _key(spec: ReplicaSpec) -> tuple[str, int]:
    return (spec.revision.id, spec.generation)


def _majority(specs: Sequence[ReplicaSpec]) -> ReplicaSpec:
    """A replica of the most frequent revision; of the newest where two are equally frequent."""
    counts = Counter(_key(spec) for spec in specs)
    return max(specs, key=lambda spec: (counts[_key(spec)], number_of(spec.id)))
