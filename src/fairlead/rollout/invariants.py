"""What must hold after every step, cheap enough to be checked in production too.

Called by `controller.core` after each look; what is broken becomes an event (``invariant-violated``), so that a
mistake of ours is seen where it happens and not where it hurts. The simulation ends a run at the first one. Each
rule is a sentence here and a function below.

- A replica changes its phase only along the table, a rollout too.
- No replica is signalled while the proxy says that it sends it requests.
- No two replicas have one id, and no id is ever given twice.
- A service that must not run twice has no two replicas that may run.
- A release that has ended for good stays as it ended.
- No rollout admits more replicas while an operator holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from fairlead.observed import Observation
from fairlead.rollout.definition import Definition
from fairlead.rollout.lifecycle import number_of
from fairlead.rollout.state import ProjectState, ServiceState, TransactionPhase
from fairlead.rollout.states import INSTANCE_TRANSITIONS, ROLLOUT_TRANSITIONS, InstancePhase, RolloutPhase, members
from fairlead.routing import EndpointState

_P = members(InstancePhase)
_T = members(TransactionPhase)
_FINAL = frozenset({_T.ROLLED_BACK, _T.SUPERSEDED})
_SIGNALLED = frozenset({_P.STOPPING, _P.STOPPED})
_MAY_RUN = frozenset({_P.CREATING, _P.STARTING, _P.READY, _P.DRAINING, _P.STOPPING})


def check(
    before: tuple[ProjectState, Mapping[str, ServiceState]],
    after: tuple[ProjectState, Mapping[str, ServiceState]],
    observation: Observation,
    definitions: Mapping[str, Definition],
) -> tuple[str, ...]:
    """The rules that the step from ``before`` to ``after`` breaks, each with who and what; none as a rule."""
    found = list(_release(before[0], after[0]))
    for name, state in after[1].items():
        old = before[1].get(name)
        if old is state:
            continue
        found += _identities(state)
        found += _single_writer(old, state, definitions)
        if old is not None:
            found += _phases(old, state)
            found += _signals(old, state, observation)
            if before[0].paused and after[0].paused:
                found += _held(old, state)
    return tuple(found)


def _release(before: ProjectState, after: ProjectState) -> Iterator[str]:
    old, new = before.transaction, after.transaction
    if old is None or new is None or old is new or old.release != new.release:
        return
    if old.phase in _FINAL and new.phase is not old.phase:
        yield f"release {old.release} had ended as {old.phase} and is {new.phase}"


def _held(before: ServiceState, after: ServiceState) -> Iterator[str]:
    old, new = before.rollout, after.rollout
    if old is None or new is None or old.release != new.release or new.phase is RolloutPhase.ROLLING_BACK:
        return
    if new.admitted > old.admitted:
        yield f"{after.service}: goes on from {old.admitted} to {new.admitted} replicas though it is paused"


def _identities(state: ServiceState) -> Iterator[str]:
    ids = [instance.id for instance in state.instances]
    if len(set(ids)) != len(ids):
        yield f"{state.service}: two replicas have the same id"
    if any(number_of(replica_id) >= state.next_number for replica_id in ids):
        yield f"{state.service}: an id will be given twice"


def _single_writer(
    before: ServiceState | None, state: ServiceState, definitions: Mapping[str, Definition]
) -> Iterator[str]:
    definition = definitions.get(state.target.definition_id) if state.target is not None else None
    if definition is None or not definition.policy.exclusive or state.target is None or state.target.replicas > 1:
        return
    known = {instance.id for instance in before.instances} if before is not None else set()
    running = [instance.id for instance in state.instances if instance.phase in _MAY_RUN]
    fresh = [i.id for i in state.instances if i.phase is _P.CREATING and i.id not in known]
    if fresh and len(running) > 1:
        yield f"{state.service}: {fresh[0]} is started beside {', '.join(i for i in running if i != fresh[0])}"


def _phases(before: ServiceState, after: ServiceState) -> Iterator[str]:
    old = {instance.id: instance.phase for instance in before.instances}
    for instance in after.instances:
        was = old.get(instance.id)
        if was is not None and was is not instance.phase and instance.phase not in _REACHED[was]:
            yield f"{instance.id}: no way from {was} to {instance.phase}"
    rollout, earlier = after.rollout, before.rollout
    if rollout is None or earlier is None or rollout.release != earlier.release or rollout.phase is earlier.phase:
        return
    if rollout.phase not in _ROLLOUT_REACHED[earlier.phase]:
        yield f"{after.service}: no way from {earlier.phase} to {rollout.phase}"


def _signals(before: ServiceState, after: ServiceState, observation: Observation) -> Iterator[str]:
    old = {instance.id: instance.phase for instance in before.instances}
    fresh = {
        instance.id
        for instance in after.instances
        if instance.phase is _P.STOPPING and old.get(instance.id) not in _SIGNALLED
    }
    if not fresh:
        return
    for key, route in observation.routes.items():
        for endpoint in route.endpoints:
            if endpoint.replica_id in fresh and endpoint.state is EndpointState.READY:
                yield f"{endpoint.replica_id} is signalled while {key} sends it requests"


_Phase = TypeVar("_Phase", InstancePhase, RolloutPhase)


def _closure(table: Mapping[_Phase, frozenset[_Phase]]) -> dict[_Phase, set[_Phase]]:
    """Every phase that can be reached in one or more transitions: a step may make several."""
    reached = {phase: set(nexts) for phase, nexts in table.items()}
    for _ in table:
        for phase in table:
            reached[phase] |= {far for near in tuple(reached[phase]) for far in reached[near]}
    return reached


_REACHED = _closure(INSTANCE_TRANSITIONS)
_ROLLOUT_REACHED = _closure(ROLLOUT_TRANSITIONS)
