"""When time alone may change something: the next moment at which a project is worth looking at without any news.

Called by `controller.core` for whoever drives it (the asyncio loop, the simulation's event heap), so that neither
polls. Everything else that moves a rollout is news: a command's outcome, an event of the engine, a probe's verdict,
the proxy's count of requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairlead.rollout.definition import Definition
from fairlead.rollout.dependencies import pending_deadline_s
from fairlead.rollout.drain import SHED_STAGE_S, SHED_STAGES
from fairlead.rollout.lifecycle import MISSING_S
from fairlead.rollout.patience import deadlines
from fairlead.rollout.policy import RESTART_WINDOW_S, START_TIMEOUT_S, ServicePolicy
from fairlead.rollout.progress import QUIET_S, gate_deadline_s, rules_of, standby_until_s
from fairlead.rollout.state import Instance, Rollout, ServiceState
from fairlead.rollout.states import InstancePhase, RolloutPhase, members

MARGIN_S = 0.001
"""Added to each moment, so that rounding never wakes anybody a hair too early, for nothing, again and again."""

_P = members(InstancePhase)
_R = members(RolloutPhase)


def moments_of(
    state: ServiceState, services: Mapping[str, ServiceState], definitions: Mapping[str, Definition]
) -> Iterator[float]:
    """Every moment, past or to come, at which time alone changes what one service's step does."""
    for restarts in (*state.restarts.values(), *state.origin_restarts.values()):
        yield restarts.next_at_s
    for instance in state.instances:
        definition = definitions.get(instance.revision_id)
        policy = definition.policy if definition else None
        yield from _of_instance(state, instance, policy)
    if state.rollout is not None and state.rollout.phase is _R.PENDING:
        deadline_s = pending_deadline_s(state, services, definitions)
        if deadline_s is not None:
            yield deadline_s
    if state.rollout is not None and state.rollout.phase in (_R.PROGRESSING, _R.ROLLING_BACK):
        yield from _of_rollout(state, state.rollout, definitions)
    standby_s = standby_until_s(state, definitions)
    if standby_s:
        yield standby_s


def _of_instance(state: ServiceState, instance: Instance, policy: ServicePolicy | None) -> Iterator[float]:
    if instance.missing_since_s is not None:
        yield instance.missing_since_s + MISSING_S
    match instance.phase:
        case _P.STARTING if instance.ready_at_s is None and not (policy and policy.job):
            started_s = instance.started_at_s if instance.started_at_s is not None else instance.created_at_s
            yield started_s + (policy.start_timeout_s if policy else START_TIMEOUT_S)
        case _P.READY if instance.ready_at_s is not None and (state.restarts or state.origin_restarts):
            yield instance.ready_at_s + (policy.restart.window_s if policy else RESTART_WINDOW_S)
        case _P.DRAINING if instance.out_since_s is not None:
            limits = deadlines(state, instance, policy)
            waits = (QUIET_S, limits.requests_s, limits.streams_s)
            stages = (limits.streams_s - left * SHED_STAGE_S for left in range(1, SHED_STAGES + 1))
            for wait_s in (*waits, *stages):
                yield instance.out_since_s + wait_s


def _of_rollout(state: ServiceState, rollout: Rollout, definitions: Mapping[str, Definition]) -> Iterator[float]:
    target = state.target
    if target is None or target.definition_id not in definitions:
        return
    policy = definitions[target.definition_id].policy
    update = rules_of(rollout, policy)
    if not policy.job:
        yield gate_deadline_s(state, rollout, policy)
    if rollout.batch_ready_at_s is not None:
        yield rollout.batch_ready_at_s + update.monitor_s
        yield rollout.batch_ready_at_s + update.monitor_s + update.delay_s
