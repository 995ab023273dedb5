"""Whether a service's turn has come: its `depends_on`, judged by the state of the others.

Called by `release`.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.rollout.definition import Definition
from fairlead.rollout.state import ServiceState
from fairlead.rollout.states import ACTIVE, InstancePhase
from fairlead.spec.model import Condition

_P = InstancePhase
_STARTED = frozenset({_P.STARTING, _P.READY, _P.COMPLETED})


def may_begin(state: ServiceState, services: Mapping[str, ServiceState], definitions: Mapping[str, Definition]) -> str:
    """Empty when the rollout of ``state`` may begin, else what it waits for."""
    definition = definitions.get(state.target.definition_id) if state.target else None
    dependencies = definition.revision.service.depends_on if definition else {}
    for name in sorted(dependencies):
        rule, other = dependencies[name], services.get(name)
        if other is None or (not rule.required and not _is_on_its_way(other)):
            continue
        if not _is_fulfilled(other, rule.condition):
            return f"waits for {name} ({rule.condition})"
    return ""


def pending_deadline_s(
    state: ServiceState, services: Mapping[str, ServiceState], definitions: Mapping[str, Definition]
) -> float | None:
    """Until when a rollout waits for its dependencies; None while one of them is itself on its way.

    It counts from the end of the last of their rollouts: from then on nobody else would end the waiting.
    """
    definition = definitions.get(state.target.definition_id) if state.target else None
    if definition is None or state.rollout is None:
        return None
    since_s = state.rollout.progress_at_s
    for name in definition.revision.service.depends_on:
        other = services.get(name)
        if other is None or other.rollout is None:
            continue
        if _is_on_its_way(other):
            return None
        since_s = max(since_s, other.rollout.progress_at_s)
    return since_s + definition.policy.progress_deadline_s


def dependents_gone(name: str, services: Mapping[str, ServiceState], definitions: Mapping[str, Definition]) -> bool:
    """True when nothing that runs depends on ``name`` any more."""
    for other_name, other in services.items():
        if other_name == name or not other.instances:
            continue
        for instance in other.instances:
            definition = definitions.get(instance.revision_id)
            if definition and name in definition.revision.service.depends_on:
                return False
    return True


def _is_on_its_way(other: ServiceState) -> bool:
    return other.rollout is not None and other.rollout.phase in ACTIVE


def _is_fulfilled(other: ServiceState, condition: Condition) -> bool:
    if _is_on_its_way(other):
        return False
    wanted = other.target.replicas if other.target else 0
    phases = [instance.phase for instance in other.current()]
    match condition:
        case Condition.STARTED:
            return wanted == 0 or any(phase in _STARTED for phase in phases)
        case Condition.HEALTHY:
            return sum(phase in (_P.READY, _P.COMPLETED) for phase in phases) >= wanted
        case Condition.COMPLETED:
            return sum(phase is _P.COMPLETED for phase in phases) >= wanted
