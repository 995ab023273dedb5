"""The router of the Docker engine: one HAProxy for the world, and one for each service that others call by name.

Made by `controller.adapters` through :func:`create`. A route says itself where it belongs: with `inside` it is for
other services, without it for the world.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fairlead import logs
from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.endpoint import endpoint_of
from fairlead.docker_api.handover import Handover
from fairlead.docker_api.machine import is_this_machine
from fairlead.docker_api.scope import scope_of
from fairlead.errors import FairleadError, PortTakenError, RouterError
from fairlead.routers.base import Router, RouterCapabilities, RouterEvent, TrafficSample
from fairlead.routers.feed import Feed
from fairlead.routers.haproxy.container import ContainerLauncher
from fairlead.routers.haproxy.daemon_errors import in_our_words
from fairlead.routers.haproxy.elsewhere import Elsewhere
from fairlead.routers.haproxy.files import files_under
from fairlead.routers.haproxy.image import RouterImage
from fairlead.routers.haproxy.inside import InsideLauncher, InsideRouter
from fairlead.routers.haproxy.launch import Launcher
from fairlead.routers.haproxy.names import quoted, unquoted
from fairlead.routers.haproxy.router import CAPABILITIES, HAProxyRouter
from fairlead.routing import EndpointState, Reach, Route, RouteStatus

HOME_FOLDER = "docker"
NAMES_FOLDER = "names"
NETWORKS_RETRY_S = 1.0

_log = logs.room("routers.haproxy.docker")

Place = tuple[str, str]
"""Project and service."""


def create(home: Path, environ: Mapping[str, str] | None = None) -> DockerRouter:
    """The router in front of the Docker engine's replicas of ``home``.

    `FAIRLEAD_HAPROXY_IMAGE` names an image. Its files are beside those of the router of local processes.
    """
    return DockerRouter(home, os.environ if environ is None else environ)


class DockerRouter(Router):
    """Implements :class:`fairlead.routers.base.Router` with several HAProxies that know nothing of each other."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._scope = scope_of(home)
        self._client = Client(endpoint_of(environ))
        self._image = RouterImage(
            self._client,
            image=environ.get("FAIRLEAD_HAPROXY_IMAGE") or None,
            binary=environ.get("FAIRLEAD_HAPROXY") or None,
            environ=environ,
        )
        self._folder = home / HOME_FOLDER
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._feed = Feed()
        self._inside: dict[Place, InsideRouter] = {}
        self._left: set[Place] = set()
        self._there: Elsewhere | None = None
        self._edge: HAProxyRouter | None = None
        self._finding = asyncio.Lock()
        self._changed = asyncio.Event()
        self._handover = Handover(self._client)
        self._taken_over: set[Place] = set()

    @property
    def launcher(self) -> Launcher:
        """How the HAProxy for the world is run; after the first question only."""
        assert self._edge is not None
        return self._edge.launcher

    @property
    def capabilities(self) -> RouterCapabilities:
        return CAPABILITIES

    async def _found(self) -> HAProxyRouter:
        """The HAProxy for the world. The first question finds out where they all are: here, or on another machine.

        :raises RouterError: the daemon does not answer, or there is nothing to make a relay of.
        """
        if self._edge is None:
            async with self._finding:
                if self._edge is None:
                    self._there = await self._elsewhere()
                    self._inside = {place: self._make_inside(place) for place in self._places()}
                    self._left = set(self._inside)
                    self._edge = self._make_edge()
                    self._changed.set()
        return self._edge

    async def _elsewhere(self) -> Elsewhere | None:
        if self._client.endpoint.socket is not None and files_under(self._folder).master_socket.exists():
            return None  # what runs here already needs no daemon to be found
        async with in_our_words():
            if is_this_machine(self._client.endpoint, await self._client.get("/info")):
                return None
        there = Elsewhere(self._client, self._scope, self._image)
        await there.open()
        return there

    async def reach(self) -> Reach | None:
        await self._found()
        return self._there.reach if self._there is not None else None

    async def apply(self, project: str, routes: Sequence[Route]) -> None:
        await self._found()
        inside = _by_place(routes)
        self._taken_over &= {_place(route) for route in routes} | {
            each for each in self._taken_over if each[0] != project
        }
        self._left -= inside.keys()
        for place in inside:
            if place not in self._inside:
                self._inside[place] = self._make_inside(place)
                self._changed.set()
        gone = [place for place in self._inside if place[0] == project and place not in inside]
        await _all(
            self._apply_outside(project, [route for route in routes if not route.inside]),
            *(self._inside[place].apply(project, wanted) for place, wanted in inside.items()),
            *(self._end(place) for place in gone),
        )

        await self._take_over(routes)

    async def _apply_outside(self, project: str, routes: Sequence[Route]) -> None:
        """A port that Compose holds for this very project is handed over; one of anybody else stays taken."""
        edge = await self._found()
        try:
            await edge.apply(project, routes)
        except PortTakenError:
            async with in_our_words():
                if not await self._handover.free_ports(project, {route.listen.port for route in routes}):
                    raise
            await edge.apply(project, routes)

    async def _take_over(self, routes: Sequence[Route]) -> None:
        """Where ours are ready, what Compose still runs for the same service is in the way of its name."""
        ready = {
            _place(route)
            for route in routes
            if any(endpoint.state is EndpointState.READY for endpoint in route.endpoints)
        }
        for place in sorted(ready - self._taken_over):
            async with in_our_words():
                if stopped := await self._handover.stop_service(*place):
                    self._feed.tell(f"{stopped} containers of Compose made room for {place[1]}")
            self._taken_over.add(place)

    async def observe(self, project: str) -> Mapping[str, RouteStatus]:
        found = await asyncio.gather(*(router.observe(project) for router in await self._of(project)))
        return {key: status for statuses in found for key, status in statuses.items()}

    async def shed(self, project: str, replica_id: str, share: float) -> int:
        routers = await self._of(project)
        return sum(await asyncio.gather(*(router.shed(project, replica_id, share) for router in routers)))

    async def traffic(self, project: str) -> tuple[TrafficSample, ...]:
        found = await asyncio.gather(*(router.traffic(project) for router in await self._of(project)))
        samples = (sample for each in found for sample in each)
        return tuple(sorted(samples, key=lambda sample: (sample.route, sample.replica_id)))

    def events(self) -> AsyncIterator[RouterEvent]:
        return self._feed.follow()

    async def supervise(self) -> None:
        edge = await self._found_at_last()
        watched: dict[Place, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(edge.supervise())
            group.create_task(self._follow_networks())
            while True:
                self._changed.clear()
                for place in self._inside.keys() - watched.keys():
                    watched[place] = group.create_task(self._inside[place].supervise())
                for place in watched.keys() - self._inside.keys():
                    watched.pop(place).cancel()
                await self._changed.wait()

    async def _found_at_last(self) -> HAProxyRouter:
        while True:
            try:
                return await self._found()
            except RouterError as error:
                _log.info("not known yet where the routers are", error=error.message)
            await asyncio.sleep(NETWORKS_RETRY_S)

    async def _follow_networks(self) -> None:
        """Whatever happens to a network may concern one of ours: names lead nowhere where they are not on it."""
        filters = {"type": ["network"], "event": ["connect", "disconnect", "create", "destroy"]}
        while True:
            try:
                async with self._client.stream("GET", "/events", filters=filters) as response:
                    await self._rejoin()
                    # What happens meanwhile comes as one piece.
                    async for _ in response.content.iter_any():
                        await self._rejoin()
            except (ApiError, FairleadError) as error:
                _log.info("no events of networks", error=str(error))
            await asyncio.sleep(NETWORKS_RETRY_S)

    async def _rejoin(self) -> None:
        for place, router in sorted(self._inside.items()):
            try:
                await router.rejoin()
            except RouterError as error:
                _log.info("cannot be on every network yet", service=".".join(place), error=error.message)

    async def close(self) -> None:
        for router in (self._edge, *self._inside.values()):
            if router is not None:
                await router.close()
        if self._there is not None:
            await self._there.close()
        await self._client.close()

    async def shutdown(self) -> None:
        edge = await self._found()
        await edge.shutdown()
        # A controller that died between taking a service's last route and ending its HAProxy has left this one.
        for place in sorted(self._left & self._inside.keys()):
            if self._inside[place].is_idle:
                await self._end(place)
        if self._there is not None and edge.is_idle and not self._inside:
            await self._there.end()

    async def _of(self, project: str) -> list[HAProxyRouter]:
        edge = await self._found()
        return [edge, *(router for place, router in sorted(self._inside.items()) if place[0] == project)]

    async def _end(self, place: Place) -> None:
        router = self._inside[place]
        await router.apply(place[0], [])
        del self._inside[place]
        self._changed.set()
        await router.end()

    def _make_edge(self) -> HAProxyRouter:
        files = files_under(self._folder)
        launcher = ContainerLauncher(files, self._client, self._scope, image=self._image, there=self._there)
        return _EdgeRouter(self._folder, launcher, self._feed)

    def _make_inside(self, place: Place) -> InsideRouter:
        home = self._names_folder / quoted(place[0]) / quoted(place[1])
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        launcher = InsideLauncher(
            files_under(home),
            self._client,
            self._scope,
            project=place[0],
            service=place[1],
            image=self._image,
            there=self._there,
        )
        return InsideRouter(home, launcher, self._feed)

    @property
    def _names_folder(self) -> Path:
        return self._folder / NAMES_FOLDER

    def _places(self) -> list[Place]:
        """Those that an earlier controller has left running."""
        folders = sorted(self._names_folder.glob("*/*")) if self._names_folder.is_dir() else []
        return [(unquoted(folder.parent.name), unquoted(folder.name)) for folder in folders]


class _EdgeRouter(HAProxyRouter):
    """The HAProxy for the world, which tells what happens to it where the others do."""

    def __init__(self, home: Path, launcher: ContainerLauncher, feed: Feed) -> None:
        super().__init__(home, launcher=launcher)
        self._feed = feed


def _by_place(routes: Sequence[Route]) -> dict[Place, list[Route]]:
    inside = sorted((route for route in routes if route.inside), key=_place)
    return {place: list(group) for place, group in groupby(inside, key=_place)}


def _place(route: Route) -> Place:
    return route.project, route.service


async def _all(*works: Coroutine[Any, Any, None]) -> None:
    """All of them to their end, then the first error if there was one: none is left half done in the background."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
