"""What is observed of each replica, taken into its phase.

Called by `machine` at the start of each step. Nothing is decided here about how many replicas there should be:
only what became of those that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fairlead.observed import Exit, ExitCause, Health, ObservedReplica, ReplicaState
from fairlead.rollout.definition import Definition
from fairlead.rollout.notes import Note, crash_loop, failed, replica_note, unready
from fairlead.rollout.policy import START_TIMEOUT_S, RestartRule, ServicePolicy
from fairlead.rollout.restarts import after_failure
from fairlead.rollout.state import Instance, Restarts, ServiceState
from fairlead.rollout.states import InstancePhase, members, move
from fairlead.rollout.view import ServiceView
from fairlead.spec.model import RestartCondition

MISSING_S = 1.0
"""How long a replica may be left out of the engine's list, unproven alive, until it counts as gone."""

_P = members(InstancePhase)
_H = members(Health)
_S = members(ReplicaState)
_ENDED = frozenset({_P.STOPPED, _P.FAILED, _P.COMPLETED})
_LEAVING = frozenset({_P.DRAINING, _P.STOPPING})


def absorb(
    state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> tuple[ServiceState, list[Note]]:
    """``state`` with every replica in the phase that the observation shows, and what there is to tell."""
    state = _adopt(state, view, now_s)
    notes: list[Note] = []
    instances = []
    key = state.target.key if state.target else None
    own, older = dict(state.restarts), dict(state.origin_restarts)
    changed = False
    for before in state.instances:
        definition = definitions.get(before.revision_id)
        policy = definition.policy if definition else None
        after = _observe(before, view, policy, now_s)
        instances.append(after)
        if after is before and not own and not older:
            continue
        restarts = own if before.key == key else older
        if after is not before:
            changed = True
            notes += _taken_in(state, before, after, view, policy, restarts, now_s)
        if restarts:
            _forgive(after, policy, restarts, now_s)
    if not changed and own == state.restarts and older == state.origin_restarts:
        return state, notes
    return replace(state, instances=tuple(instances), restarts=own, origin_restarts=older), notes


def _taken_in(
    state: ServiceState,
    before: Instance,
    after: Instance,
    view: ServiceView,
    policy: ServicePolicy | None,
    restarts: dict[int, Restarts],
    now_s: float,
) -> list[Note]:
    """What there is to tell of a replica that has changed; its failure is written into its slot's record."""
    if after.failure and not before.failure:
        _book_failure(after, view, policy, restarts, now_s)
        return [failed(state, after), *crash_loop(state, after, restarts[after.slot], now_s)]
    if after.phase is _P.READY and before.phase is not _P.READY:
        return [replica_note(state, after, "replica-ready", "is ready")]
    if after.phase is _P.STARTING and before.phase is _P.READY:
        return [unready(state, after, view)]
    return []


def fail(instance: Instance, reason: str) -> Instance:
    """``instance`` as one that has to go and is not running: it never started, or it ended."""
    if instance.phase in _LEAVING:
        return move(instance, _P.STOPPED)
    return move(instance, _P.FAILED, failure=reason)


def book_failure(state: ServiceState, instance: Instance, policy: ServicePolicy | None, now_s: float) -> ServiceState:
    """``state`` with the failure of ``instance`` written into its slot's record."""
    own = state.target is not None and instance.key == state.target.key
    restarts = dict(state.restarts if own else state.origin_restarts)
    _book(instance, policy, restarts, clean_exit=False, now_s=now_s)
    return replace(state, restarts=restarts) if own else replace(state, origin_restarts=restarts)


def _adopt(state: ServiceState, view: ServiceView, now_s: float) -> ServiceState:
    """Take in replicas that carry this service's identity and that the state does not know."""
    strange = view.replicas.keys() - {instance.id for instance in state.instances}
    if not strange:
        return state
    strangers = [view.replicas[replica_id] for replica_id in sorted(strange)]
    adopted = tuple(_stranger(replica, now_s, known=number_of(replica.id) < state.next_number) for replica in strangers)
    number = max([state.next_number, *(number_of(replica.id) + 1 for replica in strangers)])
    return replace(state, instances=state.instances + adopted, next_number=number)


def _stranger(replica: ObservedReplica, now_s: float, *, known: bool) -> Instance:
    """``known``: its number was given by this service, which has forgotten it since: it can only go."""
    ended = replica.state is _S.EXITED
    phase = _P.STOPPED if ended else _P.STARTING if replica.state is _S.RUNNING else _P.CREATING
    leaves = known and not ended
    return Instance(
        id=replica.id,
        slot=replica.slot,
        revision_id=replica.revision_id,
        generation=replica.generation,
        phase=_P.DRAINING if leaves else phase,
        created_at_s=now_s,
        draining_since_s=now_s if leaves else None,
        leftover=leaves,
        started_at_s=now_s if replica.state is _S.RUNNING else None,
        served=True,
        addresses=replica.addresses,
    )


def number_of(replica_id: str) -> int:
    """The number at the end of a replica's id; 0 where there is none."""
    tail = replica_id.rpartition(".")[2]
    return int(tail) if tail.isdigit() else 0


def _observe(instance: Instance, view: ServiceView, policy: ServicePolicy | None, now_s: float) -> Instance:
    observed = view.replicas.get(instance.id)
    if instance.phase in _ENDED:
        return _resurface(instance, observed, now_s)
    if observed is None:
        return _missing(instance, view, now_s)
    if instance.missing_since_s is not None:
        instance = replace(instance, missing_since_s=None)
    if observed.addresses and observed.addresses != instance.addresses:
        instance = replace(instance, addresses=observed.addresses)
    if observed.state is _S.EXITED:
        return _ended(instance, observed.exit or Exit(cause=ExitCause.EXITED), view, policy)
    if observed.state is _S.RUNNING and instance.phase is _P.CREATING:
        instance = move(instance, _P.STARTING, started_at_s=now_s)
    if instance.phase is _P.DRAINING:
        return _note_out(instance, view, now_s)
    return _take_health(instance, view, policy, now_s)


def _resurface(instance: Instance, observed: ObservedReplica | None, now_s: float) -> Instance:
    """It counted as ended and runs: a start that came late, or a list that left it out. It drains as others do."""
    if instance.phase is _P.COMPLETED or observed is None or observed.state is not _S.RUNNING:
        return instance
    return drained(instance, now_s, leftover=True)


def drained(instance: Instance, now_s: float, **changes: Any) -> Instance:
    """``instance`` on its way out, from now on."""
    return move(
        instance, _P.DRAINING, draining_since_s=now_s, out_since_s=None, missing_since_s=None, shed_stage=0, **changes
    )


def _note_out(instance: Instance, view: ServiceView, now_s: float) -> Instance:
    """When the proxy let go of it."""
    if instance.out_since_s is None:
        return replace(instance, out_since_s=now_s) if view.is_out(instance.id) else instance
    presence = view.presence.get(instance.id)
    # Not to know for a moment is no reason to begin its deadlines again; to see it in a pool is.
    return instance if presence is None or presence.out else replace(instance, out_since_s=None)


def _missing(instance: Instance, view: ServiceView, now_s: float) -> Instance:
    """One list without it proves nothing: it counts as gone when it stays away and no probe reaches it."""
    if instance.phase in (_P.CREATING, _P.STOPPING):
        return instance
    health = view.health.get(instance.id)
    if health is not None and health.health is _H.READY:
        return instance
    presence = view.presence.get(instance.id)
    if instance.phase is _P.DRAINING and presence is not None and presence.requests + presence.streams > 0:
        # Somebody still talks to it, and its deadline ends that in any case.
        return _note_out(instance, view, now_s)
    if instance.phase is _P.DRAINING and instance.served and view.proxied and not view.confirmed:
        # The proxy is silent about what it still has open to it, and one that is believed ended is waited for no more.
        return instance
    # A list that took its time says nothing of what has been since.
    taken_at_s = now_s if view.taken_at_s is None else view.taken_at_s
    if instance.missing_since_s is None:
        return replace(instance, missing_since_s=taken_at_s)
    if taken_at_s - instance.missing_since_s < MISSING_S:
        return instance
    return replace(fail(instance, "is gone: somebody removed it"), outside=True)


def is_undecided(state: ServiceState, taken_at_s: float, now_s: float) -> bool:
    """Whether the look that was begun at ``taken_at_s`` came late and shows less than one begun now would: a replica
    is missing for long enough, and was not yet when looking began."""
    missing_s = [i.missing_since_s + MISSING_S for i in state.instances if i.missing_since_s is not None]
    return any(taken_at_s < gone_s <= now_s for gone_s in missing_s)


def _ended(instance: Instance, how: Exit, view: ServiceView, policy: ServicePolicy | None) -> Instance:
    if instance.phase in _LEAVING:
        return move(instance, _P.STOPPED)
    # Whoever publishes a port is there to serve: its end is no success, whatever its status.
    rule = policy.restart if policy is not None and (policy.job or not view.routed) else None
    if how.code == 0 and rule is not None and rule.condition is not RestartCondition.ANY:
        return move(instance, _P.COMPLETED)
    return replace(fail(instance, str(how)), outside=how.cause in (ExitCause.KILLED, ExitCause.GONE))


def _take_health(instance: Instance, view: ServiceView, policy: ServicePolicy | None, now_s: float) -> Instance:
    verdict = view.health.get(instance.id)
    health = verdict.health if verdict else _H.UNKNOWN
    if health is _H.READY:
        starting = instance.phase is _P.STARTING
        return move(instance, _P.READY, ready_at_s=now_s, served=True) if starting else instance
    reason = verdict.reason if verdict else ""
    match instance.phase:
        case _P.STARTING | _P.READY if health is _H.DEAD:
            return drained(instance, now_s, failure=f"liveness probe failed: {reason}")
        case _P.READY if health is _H.UNREADY:
            return move(instance, _P.STARTING)
        case _P.STARTING if instance.ready_at_s is None and _is_late(instance, policy, now_s):
            seconds = policy.start_timeout_s if policy else START_TIMEOUT_S
            why = f"not ready within {seconds:g} s" + (f": {reason}" if reason else "")
            return drained(instance, now_s, failure=why)
    return instance


def _is_late(instance: Instance, policy: ServicePolicy | None, now_s: float) -> bool:
    started = instance.started_at_s if instance.started_at_s is not None else instance.created_at_s
    if policy is not None and policy.job:
        return False
    return now_s - started >= (policy.start_timeout_s if policy else START_TIMEOUT_S)


def _book_failure(
    instance: Instance, view: ServiceView, policy: ServicePolicy | None, restarts: dict[int, Restarts], now_s: float
) -> None:
    observed = view.replicas.get(instance.id)
    clean = observed is not None and observed.exit is not None and observed.exit.code == 0
    _book(instance, policy, restarts, clean_exit=clean, now_s=now_s)


def _book(
    instance: Instance, policy: ServicePolicy | None, restarts: dict[int, Restarts], *, clean_exit: bool, now_s: float
) -> None:
    rule = (
        policy.restart
        if policy
        else RestartRule(condition=RestartCondition.ANY, delay_s=0.5, max_attempts=None, window_s=60.0)
    )
    restarts[instance.slot] = after_failure(
        restarts.get(instance.slot, Restarts()),
        rule,
        replica_id=instance.id,
        served=instance.ready_at_s is not None,
        clean_exit=clean_exit,
        now_s=now_s,
        failure=instance.failure,
    )


def _forgive(instance: Instance, policy: ServicePolicy | None, restarts: dict[int, Restarts], now_s: float) -> None:
    """A slot whose replica has been ready for the policy's window starts with a clean slate."""
    if instance.slot not in restarts or instance.phase is not _P.READY or instance.ready_at_s is None:
        return
    if now_s - instance.ready_at_s >= (policy.restart.window_s if policy else 60.0):
        del restarts[instance.slot]
