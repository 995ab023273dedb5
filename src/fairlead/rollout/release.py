"""One step of one project: every service's step, in the frame of the release that is under way.

Called by `controller.core` on every observation. What the services' steps mean for the release as a whole is in
`transaction`, how it is begun and taken back in `steering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from fairlead.observed import Observation
from fairlead.rollout.commands import AGAIN, ApplyRoutes, Command
from fairlead.rollout.definition import Definition
from fairlead.rollout.dependencies import dependents_gone, may_begin, pending_deadline_s
from fairlead.rollout.glance import (
    NO_REPLICAS,
    NO_ROUTES,
    Glances,
    Picture,
    Sight,
    Ways,
    replicas_by_service,
    routes_by_service,
)
from fairlead.rollout.machine import Observed, step
from fairlead.rollout.notes import Note
from fairlead.rollout.progress import is_let_go
from fairlead.rollout.routes import templates
from fairlead.rollout.state import ProjectState, ServiceState, TransactionPhase
from fairlead.rollout.states import ACTIVE, LIVE, InstancePhase, RolloutPhase, members, move_rollout
from fairlead.rollout.transaction import settle_release, watch_release
from fairlead.rollout.view import ServiceView, view_of
from fairlead.routing import Route, RouteStatus

_ON_THE_WAY_OUT = frozenset({InstancePhase.DRAINING, InstancePhase.STOPPING, InstancePhase.STOPPED})
_P = members(InstancePhase)
_R = members(RolloutPhase)
_T = members(TransactionPhase)
_REVERSIBLE = frozenset({_T.RUNNING, _T.PAUSED, _T.ROLLING_BACK})
Services = dict[str, ServiceState]
Sighted = Mapping[str, Mapping[str, RouteStatus]]


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
    glances: Glances | None = None,
) -> ProjectStep:
    """The project after ``observation``: new states, the commands they make necessary, and what there is to tell.

    ``unchanging`` False: something that was asked of the proxy earlier may still take effect, so that nobody is
    believed to be out of its pool yet. ``glances``: the same object for every step of the project, so that what has
    not changed is not worked out again.
    """
    glances = glances or Glances()
    picture = Picture(project, services, definitions, observation, unchanging)
    asked = glances.all_again(picture, now_s)
    if asked is not None:
        return ProjectStep(project=project, services=services, commands=asked)
    sighted = routes_by_service(observation)
    after, commands, notes = _step_services(picture, sighted, now_s, glances)
    project = watch_release(project, services, after, now_s)
    project, after, told = settle_release(project, after, definitions, now_s)
    notes.extend(told)
    if project.leaving:
        after = _leave(after, definitions)
    after = {name: state for name, state in after.items() if not _is_withdrawn(state)}
    same = len(after) == len(services) and not [n for n, state in after.items() if services.get(n) is not state]
    change = _change_of_routes(project, after, sighted, picture, glances)
    if change is not None:
        commands.insert(0, change)
    told_all = observation.routes_known and change is None
    gone = not after and told_all and (project.leaving or _never_served(project))
    found: Mapping[str, ServiceState] = services if same else after
    if same and project is picture.project and not notes and not gone:
        glances.keep_all(picture, tuple(commands), now_s)
    return ProjectStep(project=project, services=found, commands=tuple(commands), notes=tuple(notes), gone=gone)


def _change_of_routes(
    project: ProjectState, services: Services, sighted: Sighted, picture: Picture, glances: Glances
) -> ApplyRoutes | None:
    """What the proxy has to be told; None: nothing, or it does not answer."""
    observation = picture.observation
    if not observation.routes_known:
        return None
    wanted: list[Route] = []
    for name in sorted(services):
        wanted.extend(glances.routes(services[name], picture.definitions, sighted.get(name, NO_ROUTES)))
    routes = tuple(_open_already(wanted, observation) if project.leaving else wanted)
    why = glances.difference(routes, observation.routes, project.applied_routes)
    if not why and not picture.unchanging:
        why = AGAIN
    return ApplyRoutes(routes=routes, cause=why, release=project.release) if why else None


def _step_services(
    picture: Picture, sighted: Sighted, now_s: float, glances: Glances
) -> tuple[Services, list[Command], list[Note]]:
    project, observation, definitions = picture.project, picture.observation, picture.definitions
    after: Services = dict(picture.services)
    commands: list[Command] = []
    notes: list[Note] = []
    replicas = replicas_by_service(observation)
    releasing = _is_releasing(project)
    for name in sorted(after):
        state = after[name] = _open_gate(project, after, name, definitions, now_s)
        sight = Sight(
            replicas=replicas.get(name, NO_REPLICAS),
            health=tuple([observation.health.get(instance.id) for instance in state.instances]),
            routes=sighted.get(name, NO_ROUTES),
            routes_known=observation.routes_known,
            unchanging=picture.unchanging,
            paused=project.paused,
            releasing=releasing,
        )
        asked = glances.again(state, sight, definitions, now_s)
        if asked is None:
            view = _view(observation, sight, glances.ways(state, definitions, sight.routes))
            result = step(state, Observed(view=view, paused=sight.paused, releasing=releasing), definitions, now_s)
            asked = result.commands
            notes.extend(result.notes)
            if result.state is state and not result.notes:
                glances.keep(state, sight, asked, after, definitions, now_s)
            after[name] = result.state
        commands.extend(asked)
    return after, commands, notes


def _view(observation: Observation, sight: Sight, ways: Ways) -> ServiceView:
    return view_of(
        ways.templates,
        sight.routes,
        sight.replicas,
        observation,
        proxied=ways.proxied,
        unchanging=sight.unchanging,
    )


def _is_releasing(project: ProjectState) -> bool:
    transaction = project.transaction
    return transaction is not None and not project.leaving and transaction.phase in _REVERSIBLE


def _open_already(routes: Sequence[Route], observation: Observation) -> list[Route]:
    """Those of ``routes`` that the proxy listens for. A project that goes down opens no port anew: one that belongs to
    somebody else by now would be refused, with all that has to be told to the proxy beside it."""
    there = observation.routes
    return [route for route in routes if route.key in there and there[route.key].listening]


def _never_served(project: ProjectState) -> bool:
    """Its first release was taken back: there is nothing to keep."""
    transaction = project.transaction
    return project.serving == 0 and transaction is not None and transaction.phase is _T.ROLLED_BACK


def _is_withdrawn(state: ServiceState) -> bool:
    """Nothing should run of it, nothing does, and nothing is under way."""
    if state.target is not None or state.instances:
        return False
    return state.rollout is None or state.rollout.phase not in ACTIVE


def is_converged(
    project: ProjectState,
    services: Mapping[str, ServiceState],
    observation: Observation,
    definitions: Mapping[str, Definition],
    now_s: float,
    *,
    forgiving: bool = False,
) -> bool:
    """Every service runs and serves what its target says, and nothing else but replicas that nobody waits for.

    ``forgiving``: replicas whose failure the rollout's policy has tolerated need not serve, while others do.
    """
    replicas, routes = replicas_by_service(observation), routes_by_service(observation)
    for name, state in services.items():
        sighted = routes.get(name, NO_ROUTES)
        keys = templates(state, definitions, sighted)
        view = view_of(keys, sighted, replicas.get(name, NO_REPLICAS), observation)
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
        if any(not is_let_go(i, view, now_s) for i in state.instances if i.phase in _ON_THE_WAY_OUT):
            return False
    return True


def tolerated_slots(state: ServiceState) -> tuple[int, ...]:
    """Slots whose replica failed and whose rollout went on all the same, as its policy says."""
    if state.rollout is None or state.target is None or state.rollout.phase is not _R.SUCCEEDED:
        return ()
    serving = {instance.slot for instance in state.current() if instance.phase in (_P.READY, _P.COMPLETED)}
    return tuple(s for s in state.rollout.failed_slots if s <= state.target.replicas and s not in serving)


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


def _leave(services: Services, definitions: Mapping[str, Definition]) -> Services:
    """`down`: dependents first, each drained, then forgotten."""
    after: Services = {}
    for name, state in services.items():
        if dependents_gone(name, services, definitions):
            if not state.instances:
                continue
            after[name] = state.withdrawn()
        else:
            after[name] = state if state.leaving else replace(state, leaving=True)
    return after
