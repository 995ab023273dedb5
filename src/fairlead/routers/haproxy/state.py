"""The whole desired state of every project, kept in ``state.json`` so that a dead HAProxy comes back the same.

Written by `router` before it touches the running proxy (intent first), read when HAProxy or the controller starts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from fairlead.errors import RouterError
from fairlead.routers.haproxy.files import write_beside
from fairlead.routing import Listen, Route

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Desired:
    """Routes by project, and the ports that were chosen for routes that left the choice to the router."""

    projects: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)

    @property
    def routes(self) -> tuple[Route, ...]:
        return tuple(route for project in sorted(self.projects) for route in self.projects[project])

    def listen(self, route: Route) -> Listen:
        """Where the route really listens."""
        return route.listen if route.listen.port else replace(route.listen, port=self.chosen[route.key])

    def with_project(
        self, project: str, routes: Sequence[Route], free_port: Callable[[str | None, Collection[int]], int]
    ) -> Desired:
        """``routes`` as the whole of ``project``; a port once chosen for a route stays its own."""
        projects = {name: kept for name, kept in self.projects.items() if name != project}
        if routes:
            projects[project] = tuple(routes)
        chosen: dict[str, int] = {}
        for route in (route for kept in projects.values() for route in kept):
            if not route.listen.port:
                taken = {*self.chosen.values(), *chosen.values()}
                chosen[route.key] = self.chosen.get(route.key) or free_port(route.listen.host, taken)
        return Desired(projects, chosen)


class DamagedStateError(RouterError):
    """What is stored is no state: its disk, or somebody, has broken it."""


class _Stored(msgspec.Struct):
    version: int
    projects: dict[str, list[Route]]
    chosen: dict[str, int] = {}


def load(path: Path) -> Desired | None:
    """The stored state; None where there is none.

    :raises DamagedStateError: it is no state.
    :raises RouterError: it cannot be read, or a newer Fairlead wrote it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RouterError(f"cannot read {path}: {error.strerror}") from error
    try:
        stored = msgspec.json.decode(raw, type=_Stored)
    except msgspec.DecodeError as error:
        raise DamagedStateError(f"{path} is damaged: {error}") from None
    if stored.version != _VERSION:
        raise RouterError(f"{path} has version {stored.version}, this Fairlead writes {_VERSION}")
    desired = Desired({project: tuple(routes) for project, routes in stored.projects.items()}, stored.chosen)
    if lost := [route.key for route in desired.routes if not route.listen.port and route.key not in desired.chosen]:
        raise DamagedStateError(f"{path} is damaged: no port for {lost[0]}")
    return desired


def set_aside(path: Path) -> Path:
    """Move what is stored out of the way, for a person to look at; where it is now.

    :raises RouterError: it cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise RouterError(f"cannot move {path} away: {error.strerror}") from error
    return aside


def save(path: Path, desired: Desired) -> None:
    projects = {project: list(routes) for project, routes in sorted(desired.projects.items())}
    stored = _Stored(_VERSION, projects, dict(sorted(desired.chosen.items())))
    write_beside(path, msgspec.json.format(msgspec.json.encode(stored)).decode() + "\n")
