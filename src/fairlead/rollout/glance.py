"""What each service's last step came to, so that looking again at what has not changed costs next to nothing.

Kept by `controller.core`, one for each project; read and written by `release`. It changes no result: a step that left
a service as it was depends on nothing but what it looked at, until the next moment that `timers` knows of.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

import msgspec

from fairlead.observed import Observation, ObservedReplica, ReplicaHealth
from fairlead.rollout.commands import Command
from fairlead.rollout.definition import Definition
from fairlead.rollout.pools import difference
from fairlead.rollout.routes import filled, is_proxied, templates
from fairlead.rollout.state import Instance, ProjectState, ServiceState
from fairlead.rollout.states import InstancePhase, RolloutPhase, members
from fairlead.rollout.timers import MARGIN_S, moments_of
from fairlead.routing import Route, RouteStatus

Definitions = Mapping[str, Definition]
_P = members(InstancePhase)
_R = members(RolloutPhase)
NO_REPLICAS: Mapping[str, ObservedReplica] = {}
NO_ROUTES: Mapping[str, RouteStatus] = {}


class Sight(msgspec.Struct, frozen=True):
    """Everything that one step of one service looks at, but for its own state and the time."""

    replicas: Mapping[str, ObservedReplica]
    health: tuple[ReplicaHealth | None, ...]
    routes: Mapping[str, RouteStatus]
    routes_known: bool
    unchanging: bool
    paused: bool
    releasing: bool


class _Still(msgspec.Struct, frozen=True):
    """A step that changed nothing: what it looked at, what it asked for, and from when to when it holds."""

    state: ServiceState
    definitions: Definitions
    sight: Sight
    commands: tuple[Command, ...]
    since_s: float
    until_s: float


class Ways(msgspec.Struct, frozen=True):
    """``templates``: the routes that a service should have, without endpoints. ``proxied``: as of
    :func:`~fairlead.rollout.routes.is_proxied`."""

    state: ServiceState
    definitions: Definitions
    listening: tuple[str, ...]
    templates: Mapping[str, Route]
    proxied: bool


class _Pools(msgspec.Struct, frozen=True):
    ways: Ways
    routes: tuple[Route, ...]


class _Moments(msgspec.Struct, frozen=True):
    state: ServiceState
    definitions: Definitions
    moments_s: tuple[float, ...]


class _Agenda(msgspec.Struct, frozen=True):
    """``wakes_s``: the moments of every service, a hair later each, sorted."""

    services: Mapping[str, ServiceState]
    definitions: Definitions
    wakes_s: tuple[float, ...]


class Picture(msgspec.Struct, frozen=True):
    """All that a step of a whole project depends on but the time, as :class:`Sight` is of one service."""

    project: ProjectState
    services: Mapping[str, ServiceState]
    definitions: Definitions
    observation: Observation
    unchanging: bool

    def shows_the_same(self, other: Picture) -> bool:
        return (
            self.project is other.project
            and self.services is other.services
            and self.definitions is other.definitions
            and self.unchanging is other.unchanging
            and self.observation.replicas == other.observation.replicas
            and self.observation.routes == other.observation.routes
            and self.observation.health == other.observation.health
            and self.observation.routes_known is other.observation.routes_known
        )


class _Calm(msgspec.Struct, frozen=True):
    """A step that changed nothing in the whole project, as :class:`_Still` is of one service."""

    picture: Picture
    commands: tuple[Command, ...]
    since_s: float
    until_s: float


class _Compared(msgspec.Struct, frozen=True):
    wanted: tuple[Route, ...]
    statuses: Mapping[str, RouteStatus]
    applied: str
    difference: str


class Glances:
    """By service, for one project."""

    def __init__(self) -> None:
        # A change of the proxy that is under way is over soon, and most services are then as they were before it.
        self._stills: dict[tuple[str, bool], _Still] = {}
        self._ways: dict[str, Ways] = {}
        self._pools: dict[str, _Pools] = {}
        self._moments: dict[str, _Moments] = {}
        self._compared: _Compared | None = None
        self._calm: _Calm | None = None
        self._agenda: _Agenda | None = None

    def all_again(self, picture: Picture, now_s: float) -> tuple[Command, ...] | None:
        """As :meth:`again`, for the whole project."""
        calm = self._calm
        if calm is not None and calm.since_s <= now_s < calm.until_s and calm.picture.shows_the_same(picture):
            return calm.commands
        return None

    def keep_all(self, picture: Picture, commands: tuple[Command, ...], now_s: float) -> None:
        """A step has left the project and all its services as they were, and had nothing to tell."""
        for name, state in picture.services.items():
            still = self._stills.get((name, picture.unchanging))
            if still is None or still.state is not state:
                self._calm = None
                return
        wake_s = self.next_wake_s(picture.services, picture.definitions, now_s)
        until_s = float("inf") if wake_s is None else wake_s
        self._calm = _Calm(picture, commands, now_s, until_s - 2 * MARGIN_S)

    def again(
        self, state: ServiceState, sight: Sight, definitions: Definitions, now_s: float
    ) -> tuple[Command, ...] | None:
        """What the last step asked for, where another one would change nothing and ask for the same."""
        still = self._stills.get((state.service, sight.unchanging))
        if (
            still is not None
            and still.state is state
            and still.definitions is definitions
            and still.since_s <= now_s < still.until_s
            and still.sight == sight
        ):
            return still.commands
        return None

    def keep(
        self,
        state: ServiceState,
        sight: Sight,
        commands: tuple[Command, ...],
        services: Mapping[str, ServiceState],
        definitions: Definitions,
        now_s: float,
    ) -> None:
        """A step has left ``state`` as it was."""
        if [instance for instance in state.instances if _depends_on_the_look(instance)]:
            self._stills.pop((state.service, sight.unchanging), None)
            return
        # A moment this near may be past for whoever adds and not yet for whoever subtracts.
        near_s = now_s - MARGIN_S
        until_s = min([m for m in self._moments_of(state, services, definitions) if m > near_s], default=float("inf"))
        self._stills[state.service, sight.unchanging] = _Still(
            state, definitions, sight, commands, now_s, until_s - MARGIN_S
        )

    def next_wake_s(self, services: Mapping[str, ServiceState], definitions: Definitions, now_s: float) -> float | None:
        """The earliest moment at which time alone changes something, a hair later.

        What is due by ``now_s`` has been acted upon, or waits for news.
        """
        wakes_s = self._wakes_s(services, definitions)
        following = bisect_right(wakes_s, now_s)
        return wakes_s[following] if following < len(wakes_s) else None

    def _wakes_s(self, services: Mapping[str, ServiceState], definitions: Definitions) -> tuple[float, ...]:
        kept = self._agenda
        if kept is None or kept.services is not services or kept.definitions is not definitions:
            moments_s = [m for state in services.values() for m in self._moments_of(state, services, definitions)]
            kept = self._agenda = _Agenda(services, definitions, tuple(sorted([m + MARGIN_S for m in moments_s])))
        return kept.wakes_s

    def _moments_of(
        self, state: ServiceState, services: Mapping[str, ServiceState], definitions: Definitions
    ) -> tuple[float, ...]:
        kept = self._moments.get(state.service)
        if kept is not None and kept.state is state and kept.definitions is definitions:
            return kept.moments_s
        found = tuple(moments_of(state, services, definitions))
        # One that waits for others has moments that depend on theirs.
        if state.rollout is None or state.rollout.phase is not _R.PENDING:
            self._moments[state.service] = _Moments(state, definitions, found)
        return found

    def ways(self, state: ServiceState, definitions: Definitions, sighted: Mapping[str, RouteStatus]) -> Ways:
        """Where requests to the service should come in; ``sighted``: its routes that the proxy has."""
        kept = self._ways.get(state.service)
        if (
            kept is None
            or kept.state is not state
            or kept.definitions is not definitions
            or kept.listening != tuple(sighted)
        ):
            found, proxied = templates(state, definitions, sighted), is_proxied(state, definitions)
            kept = self._ways[state.service] = Ways(state, definitions, tuple(sighted), found, proxied)
        return kept

    def routes(
        self, state: ServiceState, definitions: Definitions, sighted: Mapping[str, RouteStatus]
    ) -> tuple[Route, ...]:
        """Those ways with the service's replicas in their pools."""
        ways = self.ways(state, definitions, sighted)
        kept = self._pools.get(state.service)
        if kept is None or kept.ways is not ways:
            kept = self._pools[state.service] = _Pools(ways, filled(ways.templates, state, definitions))
        return kept.routes

    def difference(self, wanted: tuple[Route, ...], statuses: Mapping[str, RouteStatus], applied: str) -> str:
        """As :func:`~fairlead.rollout.pools.difference`, for the whole project."""
        kept = self._compared
        if kept is None or kept.applied != applied or kept.wanted != wanted or kept.statuses != statuses:
            kept = self._compared = _Compared(wanted, statuses, applied, difference(wanted, statuses, applied))
        return kept.difference


def _depends_on_the_look(instance: Instance) -> bool:
    """Whether it counts as out, or as gone, depends on when looking began, which is always later."""
    return instance.missing_since_s is not None or (instance.phase is _P.DRAINING and instance.out_since_s is None)


def replicas_by_service(observation: Observation) -> dict[str, dict[str, ObservedReplica]]:
    """The replicas of each service, by id."""
    found: dict[str, dict[str, ObservedReplica]] = {}
    for replica in observation.replicas:
        found.setdefault(replica.service, {})[replica.id] = replica
    return found


def routes_by_service(observation: Observation) -> dict[str, dict[str, RouteStatus]]:
    """What the proxy says of each service's routes, by key."""
    found: dict[str, dict[str, RouteStatus]] = {}
    for key, status in observation.routes.items():
        project, service, _ = key.split("/", 2)
        if project == observation.project:
            found.setdefault(service, {})[key] = status
    return found
