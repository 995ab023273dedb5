"""How a release changes its course: a rollout is begun, taken back, refused its routes, let go on.

Called by `controller` for what operators and the load balancer say, and by `transaction` when a gate fails.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from fairlead.rollout.definition import Definition
from fairlead.rollout.state import ProjectState, Rollout, ServiceState, Target, TransactionPhase
from fairlead.rollout.states import ACTIVE, LIVE, InstancePhase, RolloutPhase, move_rollout

_R = RolloutPhase
_T = TransactionPhase
Services = dict[str, ServiceState]


def begin_rollout(
    state: ServiceState, target: Target, release: int, now_s: float, *, returning: bool = False
) -> ServiceState:
    """``state`` on its way to ``target``; what it goes back to is the last target that was released whole.

    ``returning``: by the rules of `rollback_config`.
    """
    live = [instance for instance in state.instances if instance.phase in LIVE]
    current = sum(1 for instance in live if instance.key == target.key)
    good = last_good(state)
    # What a superseded release has only begun to start has nothing to hand over.
    old = sum(1 for i in live if i.key != target.key and (i.served or (good is not None and i.key == good.key)))
    # A release that was superseded half way leaves two revisions behind: together they serve what one did.
    most = max((before.replicas for before in (state.target, good) if before is not None), default=0)
    rollout = Rollout(
        release=release,
        phase=_R.PENDING,
        origin=good,
        origin_replicas=min(old, most),
        started_at_s=now_s,
        progress_at_s=now_s,
        admitted=min(current, target.replicas),
        returning=returning,
    )
    return replace(state, target=target, rollout=rollout, restarts={}, origin_restarts={}, leaving=False)


def last_good(state: ServiceState) -> Target | None:
    """The last target of the service that was released whole."""
    if state.rollout is None or state.rollout.phase in (_R.SUCCEEDED, _R.ROLLED_BACK, _R.ROLLING_BACK, _R.FAILED):
        return state.target
    return state.rollout.origin


def begin_rollback(
    state: ServiceState, previous: Target | None, definitions: Mapping[str, Definition], release: int, now_s: float
) -> ServiceState:
    """``state`` on its way back to ``previous`` (None: to nothing)."""
    key = previous.key if previous else None
    usable = (*LIVE, InstancePhase.DRAINING)
    mine = [i for i in state.instances if i.key == key and i.phase in usable and not i.failure and not i.leftover]
    bad = [i for i in state.instances if i.key != key and i.phase is InstancePhase.READY]
    parallelism = definitions[previous.definition_id].policy.rollback.parallelism if previous else 0
    rollout = Rollout(
        release=release,
        phase=_R.ROLLING_BACK,
        origin=state.target if state.target and state.target.key != key else None,
        origin_replicas=min(len(bad), max((t.replicas for t in (state.target, previous) if t is not None), default=0)),
        started_at_s=now_s,
        progress_at_s=now_s,
        admitted=min(max(parallelism, len(mine)), previous.replicas) if previous else 0,
    )
    if state.rollout is not None:
        move_rollout(state.rollout, _R.ROLLING_BACK)
    return replace(state, target=previous, rollout=rollout, restarts={}, origin_restarts={}, leaving=False)


def roll_back(
    project: ProjectState,
    services: Mapping[str, ServiceState],
    definitions: Mapping[str, Definition],
    message: str,
    now_s: float,
) -> tuple[ProjectState, Services]:
    """Bring the release under way (or the last one) back, every service that it changed."""
    transaction = project.transaction
    if transaction is None:
        return project, dict(services)
    after = dict(services)
    for name in sorted({*transaction.changed, *transaction.removed}):
        previous = transaction.previous.get(name)
        state = after.get(name) or ServiceState(project=project.name, service=name)
        if state.rollout is not None and state.rollout.phase in (_R.ROLLED_BACK, _R.ROLLING_BACK):
            continue
        begun = state.rollout is not None and state.rollout.phase in ACTIVE
        if name in transaction.removed and state.target is not None and not begun:
            continue
        after[name] = begin_rollback(state, previous, definitions, transaction.release, now_s)
    for name, replicas in transaction.scaled.items():
        scaled = after.get(name)
        # A number that an operator has set since then is not this release's to take back.
        if scaled is not None and scaled.target is not None and scaled.target.replicas == replicas:
            back = transaction.previous[name].replicas
            after[name] = replace(scaled, target=replace(scaled.target, replicas=back), restarts={})
    changed = replace(transaction, phase=_T.ROLLING_BACK, message=message, ended_at_s=None)
    return replace(project, transaction=changed, paused=False), after


def refuse_routes(
    project: ProjectState, services: Mapping[str, ServiceState], release: int, why: str
) -> tuple[Services, tuple[str, ...]]:
    """The load balancer refuses for good what was asked for in ``release``: a gate of every rollout of it that has not
    begun to move.

    Answers with the services that it hit, none where that release is not under way.
    """
    after = dict(services)
    transaction = project.transaction
    if transaction is None or transaction.phase is not _T.RUNNING or transaction.release != release:
        return after, ()
    active = [n for n in transaction.changed if n in after and _is_progressing(after[n])]
    hit = [n for n in active if _is_claiming(after[n])] or active
    for name in hit:
        rollout = after[name].rollout
        assert rollout is not None
        after[name] = replace(after[name], rollout=move_rollout(rollout, _R.GATE_FAILED, message=why))
    return after, tuple(hit)


def _is_progressing(state: ServiceState) -> bool:
    return state.rollout is not None and state.rollout.phase is _R.PROGRESSING


def _is_claiming(state: ServiceState) -> bool:
    """Its published ports are asked for and nothing has been started yet."""
    return state.rollout is not None and (state.rollout.admitted == 0 or not state.others())


def resume(project: ProjectState, services: Mapping[str, ServiceState], now_s: float) -> tuple[ProjectState, Services]:
    """Let a paused release go on, with a clean slate for what failed."""
    after = dict(services)
    for name, state in services.items():
        rollout = state.rollout
        if rollout is None or rollout.phase not in ACTIVE:
            continue
        if rollout.phase is _R.PAUSED:
            rollout = move_rollout(rollout, _R.PROGRESSING, failed_slots=(), started_at_s=now_s, message="")
            state = replace(state, restarts={})
        # The time that it was held counts for no deadline.
        after[name] = replace(state, rollout=replace(rollout, progress_at_s=now_s))
    transaction = project.transaction
    if transaction is not None and transaction.phase is _T.PAUSED:
        transaction = replace(transaction, phase=_T.RUNNING, message="")
    return replace(project, transaction=transaction, paused=False), after
