"""One step of one project: every service's step, in the frame of the release that is under way.

Called by `controller.core` on every observation. A release is a transaction over services: dependencies first,
and when one gate fails everything that it changed goes back.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from fairlead.observed import Observation, ObservedReplica
from fairlead.rollout.commands import ApplyRoutes, Command
from fairlead.rollout.definition import Definition
from fairlead.rollout.dependencies import dependents_gone, may_begin, pending_deadline_s
from fairlead.rollout.machine import Observed, step
from fairlead.rollout.notes import Note
from fairlead.rollout.policy import UpdatePolicy
from fairlead.rollout.pools import difference
from fairlead.rollout.progress import is_lingering
from fairlead.rollout.routes import is_proxied, routes_of, templates
from fairlead.rollout.state import (
    ProjectState,
    Rollout,
    ServiceState,
    Target,
    Transaction,
    TransactionPhase,
)
from fairlead.rollout.states import ACTIVE, LIVE, InstancePhase, RolloutPhase, move_rollout
from fairlead.rollout.view import view_of
from fairlead.spec.model import FailureAction

_ON_THE_WAY_OUT = frozenset({InstancePhase.DRAINING, InstancePhase.STOPPING, InstancePhase.STOPPED})
_P = InstancePhase
_R = RolloutPhase
_T = TransactionPhase
Services = dict[str, ServiceState]


class ProjectStep(msgspec.Struct, frozen=True, kw_only=True):
    """What follows for a project. ``services`` is the same mapping as before where nothing changed. ``gone``: nothing
    of the project is left, it may be forgotten."""

    project: ProjectState
    services: Mapping[str, ServiceState]
    commands: tuple[Command, ...] = ()
    notes: tuple[Note, ...] = ()
    gone: bool = False


def step_project(
    project: ProjectState,
    services: Mapping[str, ServiceState],
    observation: Observation,
    definitions: Mapping[str, Definition],
    now_s: float,
    *,
    unchanging: bool = True,
) -> ProjectStep:
    """The project after ``observation``: new states, the commands they make necessary, and what there is to tell.

    ``unchanging`` False: something that was asked of the proxy earlier may still take effect, so that nobody is
    believed to be out of its pool yet.
    """
    after: Services = dict(services)
    commands: list[Command] = []
    notes: list[Note] = []
    replicas = _by_service(observation)
    for name in sorted(after):
        state = _open_gate(project, after, name, definitions, now_s)
        keys = templates(state, definitions, observation.routes)
        view = view_of(
            name,
            keys,
            observation,
            replicas.get(name, {}),
            now_s,
            proxied=is_proxied(state, definitions),
            unchanging=unchanging,
        )
        looked = Observed(view=view, paused=project.paused, releasing=_is_releasing(project))
        result = step(state, looked, definitions, now_s)
        after[name] = result.state
        commands.extend(result.commands)
        notes.extend(result.notes)
    project = _watch(project, services, after, now_s)
    project, after, told = _settle_transaction(project, after, definitions, now_s)
    notes.extend(told)
    if project.leaving:
        after = _leave(after, definitions)
    after = {name: state for name, state in after.items() if not _is_withdrawn(state)}
    same = len(after) == len(services) and all(services.get(name) is state for name, state in after.items())
    routes = tuple(route for name in sorted(after) for route in routes_of(after[name], definitions, observation.routes))
    why = difference(routes, observation.routes, project.applied_routes) if observation.routes_known else ""
    if observation.routes_known and not why and not unchanging:
        why = "what it was told last may not have taken effect"
    if why:
        commands.insert(0, ApplyRoutes(routes=routes, cause=why))
    gone = not after and not why and observation.routes_known and (project.leaving or _never_served(project))
    found: Mapping[str, ServiceState] = services if same else after
    return ProjectStep(project=project, services=found, commands=tuple(commands), notes=tuple(notes), gone=gone)


def _is_releasing(project: ProjectState) -> bool:
    transaction = project.transaction
    return (
        transaction is not None
        and not project.leaving
        and transaction.phase in (_T.RUNNING, _T.PAUSED, _T.ROLLING_BACK)
    )


def _never_served(project: ProjectState) -> bool:
    """Its first release was taken back: there is nothing to keep."""
    transaction = project.transaction
    return project.serving == 0 and transaction is not None and transaction.phase is _T.ROLLED_BACK


def _is_withdrawn(state: ServiceState) -> bool:
    """Nothing should run of it, nothing does, and nothing is under way."""
    active = state.rollout is not None and state.rollout.phase in ACTIVE
    return state.target is None and not state.instances and not active


def begin_rollout(state: ServiceState, target: Target, release: int, now_s: float) -> ServiceState:
    """``state`` on its way to ``target``; what it goes back to is the last target that was released whole."""
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
    project: ProjectState, services: Mapping[str, ServiceState], definitions: Mapping[str, Definition], why: str
) -> tuple[ProjectState, Services, tuple[str, ...]]:
    """The load balancer refuses the routes for good: a gate of every rollout that has not begun to move.

    Answers with the services that it hit, none where no release is under way.
    """
    after = dict(services)
    transaction = project.transaction
    if transaction is None or transaction.phase is not _T.RUNNING:
        return project, after, ()
    active = [n for n in transaction.changed if n in after and _is_progressing(after[n])]
    hit = [n for n in active if _is_claiming(after[n])] or active
    for name in hit:
        rollout = after[name].rollout
        assert rollout is not None
        after[name] = replace(after[name], rollout=move_rollout(rollout, _R.GATE_FAILED, message=why))
    return project, after, tuple(hit)


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


def is_converged(
    project: ProjectState,
    services: Mapping[str, ServiceState],
    observation: Observation,
    definitions: Mapping[str, Definition],
    now_s: float,
    *,
    forgiving: bool = False,
) -> bool:
    """Every service runs and serves what its target says, and nothing else but replicas that linger.

    ``forgiving``: replicas whose failure the rollout's policy has tolerated need not serve, while others do.
    """
    replicas = _by_service(observation)
    for name, state in services.items():
        view = view_of(
            name, templates(state, definitions, observation.routes), observation, replicas.get(name, {}), now_s
        )
        wanted = state.target.replicas if state.target else 0
        arrived = sum(
            1
            for i in state.current()
            if i.phase is InstancePhase.COMPLETED or (i.phase is InstancePhase.READY and view.is_serving(i.id))
        )
        least = max(1, wanted - len(tolerated_slots(state))) if forgiving and wanted else wanted
        if not least <= arrived <= wanted or not view.listening:
            return False
        if any(i.phase in LIVE for i in state.others()) or sum(i.phase in LIVE for i in state.current()) > wanted:
            return False
        if any(not is_lingering(i, view, now_s) for i in state.instances if i.phase in _ON_THE_WAY_OUT):
            return False
    return True


def tolerated_slots(state: ServiceState) -> tuple[int, ...]:
    """Slots whose replica failed and whose rollout went on all the same, as its policy says."""
    if state.rollout is None or state.target is None or state.rollout.phase is not _R.SUCCEEDED:
        return ()
    serving = {instance.slot for instance in state.current() if instance.phase in (_P.READY, _P.COMPLETED)}
    return tuple(s for s in state.rollout.failed_slots if s <= state.target.replicas and s not in serving)


def _by_service(observation: Observation) -> dict[str, dict[str, ObservedReplica]]:
    found: dict[str, dict[str, ObservedReplica]] = {}
    for replica in observation.replicas:
        found.setdefault(replica.service, {})[replica.id] = replica
    return found


def _open_gate(
    project: ProjectState,
    services: Mapping[str, ServiceState],
    name: str,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> ServiceState:
    """The service, its rollout begun where its dependencies allow it."""
    state = services[name]
    if state.rollout is None or state.rollout.phase is not _R.PENDING or project.paused:
        return state
    if project.transaction is None or project.transaction.phase is not _T.RUNNING:
        return state
    waits_for = may_begin(state, services, definitions)
    if waits_for:
        deadline_s = pending_deadline_s(state, services, definitions)
        if deadline_s is not None and now_s >= deadline_s:
            message = f"{waits_for} for too long"
            return replace(state, rollout=move_rollout(state.rollout, _R.GATE_FAILED, message=message))
        if state.rollout.message == waits_for:
            return state
        return replace(state, rollout=replace(state.rollout, message=waits_for))
    rollout = move_rollout(state.rollout, _R.PROGRESSING, started_at_s=now_s, progress_at_s=now_s, message="")
    return replace(state, rollout=rollout)


def _settle_transaction(
    project: ProjectState, services: Services, definitions: Mapping[str, Definition], now_s: float
) -> tuple[ProjectState, Services, list[Note]]:
    transaction = project.transaction
    if transaction is None or project.leaving:
        return project, services, []
    match transaction.phase:
        case _T.RUNNING | _T.PAUSED:
            return _while_running(project, transaction, services, definitions, now_s)
        case _T.ROLLING_BACK:
            return _while_rolling_back(project, transaction, services, now_s)
        case _T.SUCCEEDED:
            return _while_watching(project, transaction, services, definitions, now_s)
    return project, services, []


def _while_running(
    project: ProjectState,
    transaction: Transaction,
    services: Services,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> tuple[ProjectState, Services, list[Note]]:
    phases = {n: s.rollout for n, s in services.items() if n in transaction.changed and s.rollout is not None}
    for name in sorted(phases):
        rollout = phases[name]
        if rollout.phase is _R.GATE_FAILED:
            message = f"{name}: {rollout.message}"
            project, after = roll_back(project, services, definitions, message, now_s)
            return project, after, [_release_note("release-rolling-back", transaction, message, "error")]
        if rollout.phase is _R.PAUSED and transaction.phase is _T.RUNNING:
            message = f"{name}: {rollout.message}"
            paused = replace(transaction, phase=_T.PAUSED, message=message)
            note = _release_note("release-paused", transaction, message, "error")
            return replace(project, transaction=paused), services, [note]
    if any(rollout.phase is not _R.SUCCEEDED for rollout in phases.values()):
        return project, services, []
    services, waiting = _remove_services(services, transaction.removed)
    if waiting:
        return project, services, []
    return _succeed(project, transaction, services, definitions, now_s)


def _remove_services(services: Services, removed: tuple[str, ...]) -> tuple[Services, bool]:
    """The services with the removed ones on their way out or gone, and whether any is still there."""
    after = dict(services)
    for name in removed:
        state = after.get(name)
        if state is None:
            continue
        if state.target is None and not state.instances:
            del after[name]
        else:
            after[name] = replace(state, target=None, rollout=None, leaving=True)
    return after, any(name in after for name in removed)


def _succeed(
    project: ProjectState,
    transaction: Transaction,
    services: Services,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> tuple[ProjectState, Services, list[Note]]:
    watches = [
        definitions[state.target.definition_id].policy.watch_s
        for name, state in services.items()
        if state.target is not None and name in transaction.changed and name in transaction.previous
    ]
    ended = replace(
        transaction,
        phase=_T.SUCCEEDED,
        ended_at_s=now_s,
        watch_until_s=now_s + max(watches, default=0.0),
        watched_slots={},
    )
    project = replace(project, transaction=ended, serving=transaction.release)
    return project, services, [_release_note("release-succeeded", transaction, "serves")]


def _while_rolling_back(
    project: ProjectState, transaction: Transaction, services: Services, now_s: float
) -> tuple[ProjectState, Services, list[Note]]:
    involved = [services[n] for n in {*transaction.changed, *transaction.removed} if n in services]
    phases = {state.rollout.phase for state in involved if state.rollout is not None}
    if _R.ROLLING_BACK in phases:
        return project, services, []
    if _R.FAILED in phases:
        worst = next(s for s in involved if s.rollout is not None and s.rollout.phase is _R.FAILED)
        message = f"{transaction.message}; {worst.service}: {worst.rollout.message if worst.rollout else ''}"
        failed = replace(transaction, phase=_T.FAILED, message=message, ended_at_s=now_s)
        return (
            replace(project, transaction=failed),
            services,
            [_release_note("release-failed", transaction, message, "error")],
        )
    ended = replace(transaction, phase=_T.ROLLED_BACK, ended_at_s=now_s)
    note = _release_note("release-rolled-back", transaction, f"rolled back: {transaction.message}", "error")
    return replace(project, transaction=ended), services, [note]


def _watch(project: ProjectState, before: Mapping[str, ServiceState], after: Services, now_s: float) -> ProjectState:
    """Note the replicas of a release that has just succeeded and that fail all the same."""
    transaction = project.transaction
    if transaction is None or transaction.phase is not _T.SUCCEEDED or now_s >= transaction.watch_until_s:
        return project
    failed = dict(transaction.watched_slots)
    for name in transaction.changed:
        known = {i.id for i in before[name].instances if i.failure} if name in before else set()
        state = after.get(name)
        mine = state.current() if state else ()
        fresh = tuple(i.slot for i in mine if i.failure and not i.outside and i.id not in known)
        if fresh:
            failed[name] = (*failed.get(name, ()), *fresh)
    if failed == transaction.watched_slots:
        return project
    return replace(project, transaction=replace(transaction, watched_slots=failed))


def _while_watching(
    project: ProjectState,
    transaction: Transaction,
    services: Services,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> tuple[ProjectState, Services, list[Note]]:
    for name, slots in sorted(transaction.watched_slots.items()):
        state = services.get(name)
        if state is None or state.target is None or name not in transaction.previous:
            continue
        update = definitions[state.target.definition_id].policy.update
        if now_s < transaction.watch_until_s and _is_disowned(slots, state.target.replicas, update):
            causes = [instance.failure for instance in state.current() if instance.failure]
            cause = causes[-1] if causes else "it failed"
            count = f"{len(set(slots))} of {state.target.replicas} replicas"
            message = f"{name}: {count} failed soon after the release: {cause}"
            project, after = roll_back(project, services, definitions, message, now_s)
            return project, after, [_release_note("release-rolling-back", transaction, message, "error")]
    return project, services, []


def _is_disowned(slots: tuple[int, ...], replicas: int, update: UpdatePolicy) -> bool:
    """Most replicas failed, more than the file tolerates, and not for once; never where it says to do nothing else.

    One slot that fails again and again is one replica: the others serve, and its restart policy deals with it.
    """
    if update.failure_action is not FailureAction.ROLLBACK or len(slots) < 2:
        return False
    return len(set(slots)) > replicas * max(0.5, update.max_failure_ratio)


def _leave(services: Services, definitions: Mapping[str, Definition]) -> Services:
    """`down`: dependents first, each drained, then forgotten."""
    after: Services = {}
    for name, state in services.items():
        if dependents_gone(name, services, definitions):
            if not state.instances:
                continue
            after[name] = replace(state, target=None, rollout=None, leaving=True)
        else:
            after[name] = replace(state, leaving=True)
    return after


def _release_note(kind: str, transaction: Transaction, what: str, level: str = "info") -> Note:
    return Note(
        kind=kind,
        message=f"release {transaction.release} {what}"
        if level == "info"
        else f"release {transaction.release}: {what}",
        service="",
        level="error" if level == "error" else "info",
    )
