"""Which replicas there should be: whom to create, whom to drain, whom to take back.

Called by `machine`. Start-first: old replicas leave when new ones have taken over. Stop-first: new ones come when
old ones have gone. Outside a rollout: as many as the target says, each failed one followed by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from msgspec.structs import replace

from fairlead.observed import Health
from fairlead.rollout.definition import Definition
from fairlead.rollout.lifecycle import drained
from fairlead.rollout.progress import rules_of
from fairlead.rollout.state import Instance, Restarts, Rollout, ServiceState, Target
from fairlead.rollout.states import ACTIVE, LIVE, OCCUPYING, InstancePhase, RolloutPhase, members, move
from fairlead.rollout.view import ServiceView
from fairlead.spec.model import Order

_P = members(InstancePhase)
_R = members(RolloutPhase)
_FILLING = LIVE | {_P.COMPLETED}
_NOT_SETTLED = ACTIVE | {_R.FAILED}
_SETTLED = frozenset({_R.SUCCEEDED, _R.ROLLED_BACK})
_AHEAD = frozenset({_R.PENDING, _R.PROGRESSING, _R.PAUSED})


def converge(
    state: ServiceState,
    view: ServiceView,
    definitions: Mapping[str, Definition],
    now_s: float,
    *,
    releasing: bool = False,
) -> ServiceState:
    """``state`` with replicas created, taken back and drained as the target and the rollout want it."""
    state = _take_back(state, view, now_s)
    state = _keep_serving(state, view, definitions, now_s)
    state = _drain_others(state, view, definitions, now_s)
    if not releasing or state.leaving or state.target is None:
        state = _forget_jobs(state)
    state = _drain_surplus(state, view, definitions, now_s)
    state = _create_current(state, definitions, now_s)
    return _heal_origin(state, definitions, now_s)


def order_of(state: ServiceState, definitions: Mapping[str, Definition]) -> Order:
    """The order of the rollout under way (of the target's update rules where there is none)."""
    if state.target is None or state.target.definition_id not in definitions:
        return Order.START_FIRST
    policy = definitions[state.target.definition_id].policy
    return (rules_of(state.rollout, policy) if state.rollout is not None else policy.update).order


def _replace_instance(state: ServiceState, changed: Mapping[str, Instance]) -> ServiceState:
    if not changed:
        return state
    return replace(state, instances=tuple(changed.get(instance.id, instance) for instance in state.instances))


def _take_back(state: ServiceState, view: ServiceView, now_s: float) -> ServiceState:
    """A draining replica that is wanted again serves again: nothing is faster than what still runs."""
    target = state.target
    if target is None or state.leaving:
        return state
    current = state.current()
    if _P.DRAINING not in [instance.phase for instance in current]:
        return state
    taken = {instance.slot for instance in current if instance.phase in LIVE}
    changed = {}
    for instance in current:
        free = instance.slot <= target.replicas and instance.slot not in taken
        wanted = free and instance.phase is _P.DRAINING and not instance.failure and not instance.leftover
        if wanted and _is_ready(instance, view):
            changed[instance.id] = _back(instance, now_s)
            taken.add(instance.slot)
    return _replace_instance(state, changed)


def _back(instance: Instance, now_s: float) -> Instance:
    """``instance``, which drains, ready again."""
    return move(
        instance,
        _P.READY,
        ready_at_s=now_s if instance.ready_at_s is None else instance.ready_at_s,
        served=True,
        draining_since_s=None,
        out_since_s=None,
        shed_stage=0,
    )


def _keep_serving(
    state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> ServiceState:
    """Replicas that were to leave and are still in the pool stay there as far as those that replace them were lost
    meanwhile, also where a successor in their slot has begun to start."""
    if not view.routed or state.rollout is None or state.rollout.phase not in _NOT_SETTLED:
        return state
    leaving = [
        i
        for i in state.instances
        if i.phase is _P.DRAINING and not i.failure and not i.leftover and _is_ready(i, view) and view.is_serving(i.id)
    ]
    missing = -_spare(state, view, definitions) if leaving else 0
    return _replace_instance(state, {i.id: _back(i, now_s) for i in leaving[: max(missing, 0)]})


def _is_ready(instance: Instance, view: ServiceView) -> bool:
    verdict = view.health.get(instance.id)
    return verdict is not None and verdict.health is Health.READY


def _old_wanted(rollout: Rollout | None, target: Target | None, order: Order) -> int:
    """How many replicas of other revisions still have work to do."""
    if rollout is None or rollout.phase in (_R.SUCCEEDED, _R.ROLLED_BACK, _R.FAILED):
        return 0
    replicas = target.replicas if target else 0
    replaced = rollout.admitted if order is Order.STOP_FIRST else rollout.released
    if replaced >= replicas:
        return 0
    return max(0, rollout.origin_replicas - ceil(rollout.origin_replicas * replaced / replicas))


def _drain_others(
    state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> ServiceState:
    """Let go of old replicas beyond those still wanted: the ones that do not serve first, then by slot."""
    others = state.others()
    if not others:
        return state
    wanted = _old_wanted(state.rollout, state.target, order_of(state, definitions))
    if state.rollout is not None and state.rollout.phase is _R.FAILED:
        wanted = len(others)
    origin = state.rollout.origin.key if state.rollout and state.rollout.origin else None
    live = [instance for instance in others if instance.phase in LIVE]
    serves = {i.id: _may_serve(i, view) for i in live}
    live.sort(key=lambda i: (serves[i.id], i.phase is _P.READY, i.key == origin, i.slot, i.id))
    surplus = live[: max(0, len(live) - wanted)]
    spare = _spare(state, view, definitions)
    changed = {}
    for instance in surplus:
        if serves[instance.id]:
            if spare <= 0:
                continue
            spare -= 1
        elif spare < 0 and instance.phase is _P.READY:
            # Too few serve, and it is about to be in the pool again.
            spare += 1
            continue
        changed[instance.id] = drained(instance, now_s)
    return _replace_instance(state, changed)


def _forget_jobs(state: ServiceState) -> ServiceState:
    """Let go of what other revisions have completed, and replicas beyond the number wanted. Not before a release has
    ended: it may be taken back, and what was done then, a migration for one, must not be done a second time."""
    completed = [i for i in state.instances if i.phase is _P.COMPLETED]
    if not completed:
        return state
    key, replicas = (state.target.key, state.target.replicas) if state.target else (None, 0)
    return _replace_instance(state, {i.id: move(i, _P.STOPPED) for i in completed if i.key != key or i.slot > replicas})


def _spare(state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition]) -> int:
    """How many of the replicas that serve may leave, whatever was lost meanwhile: never below the smaller of the
    two numbers wanted, but for a batch of stop-first and for failures that the policy goes on with."""
    serving = sum(1 for i in state.instances if _serves(i, view))
    target, rollout = state.target, state.rollout
    if target is None or state.leaving or rollout is None:
        return serving
    update = rules_of(rollout, definitions[target.definition_id].policy)
    # On a way back there is nothing to go back to, but enough may have served before the release that failed.
    needed = min(target.replicas, rollout.origin.replicas) if rollout.origin is not None else target.replicas
    if rollout.phase not in (_R.GATE_FAILED, _R.PAUSED, _R.FAILED):
        needed -= len(rollout.failed_slots)
    if update.order is Order.STOP_FIRST:
        needed -= update.parallelism
    return serving - max(needed, 0)


def _serves(instance: Instance, view: ServiceView) -> bool:
    """Whether it can be counted on: in the pool, and there. One that a list leaves out may have been removed."""
    return instance.phase is _P.READY and instance.missing_since_s is None and view.is_serving(instance.id)


def _may_serve(instance: Instance, view: ServiceView) -> bool:
    """Whether it may be in the pool: while the proxy is silent, or changing, whoever is ready may be."""
    unsure = not (view.confirmed and view.unchanging)
    return instance.phase is _P.READY and (unsure or view.is_serving(instance.id))


def _drain_surplus(
    state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> ServiceState:
    """Scale in: slots above the target go, one that serves only while enough others serve, or where stop-first has no
    place for those others before."""
    replicas = state.target.replicas if state.target else 0
    live = [instance for instance in state.current() if instance.phase in LIVE]
    slots = {instance.slot for instance in live}
    if len(slots) == len(live) and max(slots, default=0) <= replicas:
        return state
    keepers: dict[int, Instance] = {}
    for instance in sorted(live, key=lambda i: (i.phase is not _P.READY, i.id)):
        if instance.slot <= replicas:
            keepers.setdefault(instance.slot, instance)
    serving = sum(1 for i in live if _serves(i, view))
    surplus = [i for i in sorted(live, key=lambda i: (-i.slot, i.id)) if keepers.get(i.slot) is not i]
    places = _places_to_make(state, view, definitions, now_s) - sum(1 for i in surplus if not _may_serve(i, view))
    changed = {}
    for instance in surplus:
        if _may_serve(instance, view) and serving - 1 < replicas and not state.leaving:
            if places <= 0:
                continue
            places -= 1
        serving -= _serves(instance, view)
        changed[instance.id] = drained(instance, now_s)
    return _replace_instance(state, changed)


def _places_to_make(state: ServiceState, view: ServiceView, definitions: Mapping[str, Definition], now_s: float) -> int:
    """How many that serve in slots above the target have to leave before those within it can start: in a stop-first
    exchange there is no place beside them, and so many may be missing in one."""
    target, rollout = state.target, state.rollout
    if target is None or rollout is None or rollout.phase not in _NOT_SETTLED:
        return 0
    if order_of(state, definitions) is not Order.STOP_FIRST:
        return 0
    empty = _empty_slots(state, target, now_s)
    if not empty:
        return 0
    leaving = sum(1 for instance in state.instances if instance.phase in OCCUPYING and instance.phase not in LIVE)
    return min(len(empty) - _room(state, target, definitions) - leaving, _spare(state, view, definitions))


def _empty_slots(state: ServiceState, target: Target, now_s: float) -> list[int]:
    """Slots of the target that the rollout admits, in which nothing is and something may start."""
    admitted, rollout = target.replicas, state.rollout
    if rollout is not None and rollout.phase in (_R.PENDING, _R.GATE_FAILED):
        return []
    if rollout is not None and rollout.phase not in _SETTLED:
        admitted = min(rollout.admitted, target.replicas)
    taken = {i.slot for i in state.current() if i.phase in _FILLING}
    return [s for s in range(1, admitted + 1) if s not in taken and _may_start(state.restarts.get(s), now_s)]


def _create_current(state: ServiceState, definitions: Mapping[str, Definition], now_s: float) -> ServiceState:
    target = state.target
    if target is None or state.leaving:
        return state
    empty = _empty_slots(state, target, now_s)
    for slot in empty[: max(_room(state, target, definitions), 0) if empty else 0]:
        state = _create(state, target.revision_id, target.generation, slot, now_s)
    return state


def _room(state: ServiceState, target: Target, definitions: Mapping[str, Definition]) -> int:
    """How many replicas may be added now: a batch beside the old ones for start-first, else the places left."""
    policy = definitions[target.definition_id].policy
    if policy.exclusive:
        # One that counts as failed may still run (a list left it out, its start came late) until it is removed.
        return target.replicas - sum(1 for instance in state.instances if instance.phase is not _P.COMPLETED)
    occupied = sum(1 for instance in state.instances if instance.phase in OCCUPYING)
    # A rollback that failed keeps what it found, and goes on trying beside it.
    under_way = state.rollout is not None and state.rollout.phase in _NOT_SETTLED
    # Afterwards an old replica that only finishes its streams takes nobody's place.
    if state.rollout is not None and under_way and order_of(state, definitions) is Order.STOP_FIRST:
        return max(target.replicas, state.rollout.origin_replicas) - occupied
    rollout = state.rollout
    if rollout is not None and under_way:
        # A release that this one superseded may have had more replicas than what it would go back to.
        origin = rollout.origin.replicas if rollout.origin is not None else 0
        most = max(target.replicas, origin, rollout.origin_replicas)
        batch = min(rules_of(rollout, policy).parallelism, most)
        return most + batch - sum(instance.phase in LIVE for instance in state.instances)
    return target.replicas


def _may_start(restarts: Restarts | None, now_s: float) -> bool:
    return restarts is None or (not restarts.exhausted and now_s >= restarts.next_at_s)


def _create(state: ServiceState, revision_id: str, generation: int, slot: int, now_s: float) -> ServiceState:
    instance = Instance(
        id=f"{state.project}.{state.service}.{state.next_number}",
        slot=slot,
        revision_id=revision_id,
        generation=generation,
        phase=_P.CREATING,
        created_at_s=now_s,
    )
    return replace(state, instances=(*state.instances, instance), next_number=state.next_number + 1)


def _heal_origin(state: ServiceState, definitions: Mapping[str, Definition], now_s: float) -> ServiceState:
    """While a rollout is under way the old revision still serves, so its losses are made good too."""
    rollout = state.rollout
    if rollout is None or rollout.origin is None or state.leaving:
        return state
    if rollout.phase not in _AHEAD or rollout.origin.revision_id not in definitions:
        return state
    if definitions[rollout.origin.revision_id].policy.job or rollout.origin.key == (state.target and state.target.key):
        return state
    if order_of(state, definitions) is Order.STOP_FIRST and rollout.admitted > 0:
        return state
    wanted = _old_wanted(rollout, state.target, Order.START_FIRST)
    live = [i for i in state.others() if i.phase in _FILLING]
    taken = {instance.slot for instance in live}
    free = [slot for slot in range(rollout.origin_replicas, 0, -1) if slot not in taken]
    if definitions[rollout.origin.revision_id].policy.exclusive and len(state.instances) > 0:
        return state
    count = max(0, wanted - len(live))
    if count and state.target is not None and rollout.admitted > 0:
        # The new ones have taken their part of it.
        count = min(count, max(0, _room(state, state.target, definitions)))
    for slot in free[:count]:
        if _may_start(state.origin_restarts.get(slot), now_s):
            state = _create(state, rollout.origin.revision_id, rollout.origin.generation, slot, now_s)
    return state
