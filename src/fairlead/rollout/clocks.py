"""What the times in a state mean to a controller that has just started: it did not see the clock since they were
written, and the wall clock may have jumped either way meanwhile.

Called by `controller.core` once, for every project that it reads. Waits begin again, which is never wrong, only
slower; nothing lies in the future; everything keeps its order.
"""

from __future__ import annotations

from msgspec.structs import replace

from fairlead.rollout.policy import BACKOFF_MOST_S
from fairlead.rollout.state import Instance, ProjectState, Restarts, Rollout, ServiceState, Transaction
from fairlead.rollout.states import ACTIVE, InstancePhase

_P = InstancePhase


def project_restarted(project: ProjectState, now_s: float) -> ProjectState:
    """``project`` as a controller that starts at ``now_s`` takes it over."""
    if project.transaction is None:
        return project
    return replace(project, transaction=_transaction(project.transaction, now_s))


def service_restarted(state: ServiceState, now_s: float) -> ServiceState:
    """``state`` as a controller that starts at ``now_s`` takes it over."""
    rollout = state.rollout
    return replace(
        state,
        rollout=_rollout(rollout, now_s) if rollout is not None else None,
        instances=tuple(_instance(instance, now_s) for instance in state.instances),
        restarts={slot: _restarts(restarts, now_s) for slot, restarts in state.restarts.items()},
        origin_restarts={slot: _restarts(restarts, now_s) for slot, restarts in state.origin_restarts.items()},
    )


def _transaction(transaction: Transaction, now_s: float) -> Transaction:
    """The watch over a release that has succeeded goes on for as long as it had to at its end, not for longer."""
    ended_s = transaction.ended_at_s
    if ended_s is None or ended_s <= now_s:
        return transaction
    return replace(transaction, ended_at_s=now_s, watch_until_s=now_s + transaction.watch_until_s - ended_s)


def _rollout(rollout: Rollout, now_s: float) -> Rollout:
    return replace(
        rollout,
        started_at_s=min(rollout.started_at_s, now_s),
        progress_at_s=now_s if rollout.phase in ACTIVE else min(rollout.progress_at_s, now_s),
        batch_ready_at_s=None if rollout.batch_ready_at_s is None else now_s,
    )


def _instance(instance: Instance, now_s: float) -> Instance:
    """Created before the rollout that it may belong to is judged by the same clamped time, so the order holds."""
    return replace(
        instance,
        created_at_s=min(instance.created_at_s, now_s),
        started_at_s=now_s if instance.phase is _P.STARTING else _past(instance.started_at_s, now_s),
        ready_at_s=_past(instance.ready_at_s, now_s),
        draining_since_s=None if instance.draining_since_s is None else now_s,
        out_since_s=None,
        missing_since_s=None,
    )


def _past(moment_s: float | None, now_s: float) -> float | None:
    return None if moment_s is None else min(moment_s, now_s)


def _restarts(restarts: Restarts, now_s: float) -> Restarts:
    return replace(restarts, next_at_s=min(restarts.next_at_s, now_s + BACKOFF_MOST_S))
