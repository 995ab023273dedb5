"""A router in memory: the same protocol, with no proxy behind it. Ships beside the real ones.

Used by the controller's tests and the simulation. A test scripts what is in flight with :meth:`MemoryRouter.load`,
lets the proxy die with :meth:`MemoryRouter.die`, and makes ports belong to others with :attr:`MemoryRouter.taken`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from fairlead.errors import PortTakenError, RouterError, RouterUnavailableError
from fairlead.routers.base import RouterCapabilities, RouterEvent, RouterEventKind, TrafficSample
from fairlead.routers.feed import Feed
from fairlead.routing import Endpoint, EndpointState, EndpointStatus, Reach, Route, RouteStatus
from fairlead.spec.model import RouteProtocol

_FIRST_CHOSEN_PORT = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is open towards one replica, as the test wants it."""

    in_flight: int = 0
    streams: int = 0
    failing: bool = False


class MemoryRouter:
    """Implements :class:`fairlead.routers.base.Router`.

    ``taken``: port → who holds it; a route there is refused. ``applied``: every call of :meth:`apply` that
    succeeded, oldest first. ``refuse``: the next calls of :meth:`apply` raise these, one each.
    """

    def __init__(self) -> None:
        self.taken: dict[int, str] = {}
        self.applied: deque[tuple[str, tuple[Route, ...]]] = deque(maxlen=10_000)
        self.refuse: deque[RouterError] = deque()
        self._projects: dict[str, tuple[Route, ...]] = {}
        self._left: dict[str, dict[str, Endpoint]] = {}
        self._chosen: dict[str, int] = {}
        self._load: dict[str, Load] = {}
        self._counters: dict[tuple[str, str], TrafficSample] = {}
        self._feed = Feed()
        self._alive = False
        self._died = asyncio.Event()

    @property
    def capabilities(self) -> RouterCapabilities:
        return RouterCapabilities(
            name="memory",
            lossless_changes=True,
            weights=True,
            holds_requests=True,
            sticky=True,
            tcp=True,
            counts_streams=True,
        )

    # ── what a test scripts ─────────────────────────────────────────────────────────────────────────────────

    def load(self, replica_id: str, *, in_flight: int = 0, streams: int = 0, failing: bool = False) -> None:
        """From now on this is open towards the replica, wherever it is in a pool."""
        self._load[replica_id] = Load(in_flight=in_flight, streams=streams, failing=failing)

    def count(self, route: str, replica_id: str, sample: TrafficSample) -> None:
        """The counters that :meth:`traffic` gives for this endpoint."""
        self._counters[route, replica_id] = sample

    def die(self) -> None:
        """The proxy is gone until :meth:`supervise` brings it back."""
        self._alive = False
        self._left.clear()
        self._load.clear()
        self._died.set()

    # ── the protocol ────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, project: str, routes: Sequence[Route]) -> None:
        if self.refuse:
            raise self.refuse.popleft()
        self._check(project, routes)
        before = {route.key: route for route in self._projects.get(project, ())}
        for route in routes:
            if not route.listen.port:
                self._chosen.setdefault(route.key, _FIRST_CHOSEN_PORT + len(self._chosen))
            self._leave(before.get(route.key), route)
        for key in before.keys() - {route.key for route in routes}:
            self._left.pop(key, None)
        self._projects[project] = tuple(routes)
        self._alive = self._alive or bool(routes)
        self.applied.append((project, tuple(routes)))

    def _leave(self, before: Route | None, route: Route) -> None:
        """What left the pool and still has something open stays known, as in a real proxy."""
        staying = {endpoint.replica_id for endpoint in route.endpoints}
        left = self._left.setdefault(route.key, {})
        for endpoint in before.endpoints if before else ():
            left[endpoint.replica_id] = msgspec.structs.replace(endpoint, state=EndpointState.DRAIN)
        self._left[route.key] = {replica: endpoint for replica, endpoint in left.items() if replica not in staying}

    def _check(self, project: str, routes: Sequence[Route]) -> None:
        rules: dict[tuple[int, str | None, str, str], Route] = {}
        protocols: dict[int, RouteProtocol] = {}
        others = (route for name, kept in self._projects.items() if name != project for route in kept)
        for route in (*others, *routes):
            port = route.listen.port or self._chosen.get(route.key, 0)
            if not port:
                continue
            if port in self.taken:
                raise PortTakenError(f"port {port} is taken by {self.taken[port]}")
            rule = (port, route.listen.host, route.host or "", route.path or "")
            if rule in rules or protocols.setdefault(port, route.protocol) is not route.protocol:
                raise RouterError(f"route {route.key} wants a port that another route has")
            rules[rule] = route

    async def observe(self, project: str) -> Mapping[str, RouteStatus]:
        if not self._alive:
            return {}
        return {route.key: self._status(route) for route in self._projects.get(project, ())}

    def _status(self, route: Route) -> RouteStatus:
        endpoints = [self._endpoint(endpoint) for endpoint in route.endpoints]
        left = [self._endpoint(endpoint) for endpoint in self._left.get(route.key, {}).values()]
        endpoints += [endpoint for endpoint in left if endpoint.in_flight]
        port = route.listen.port or self._chosen[route.key]
        in_order = tuple(sorted(endpoints, key=lambda endpoint: endpoint.replica_id))
        return RouteStatus(key=route.key, listening=True, endpoints=in_order, port=port)

    def _endpoint(self, endpoint: Endpoint) -> EndpointStatus:
        load = self._load.get(endpoint.replica_id, Load())
        return EndpointStatus(
            replica_id=endpoint.replica_id,
            state=endpoint.state,
            weight=endpoint.weight,
            in_flight=load.in_flight,
            streams=load.streams,
            failing=load.failing,
        )

    async def reach(self) -> Reach | None:
        """Replicas are where the controller is."""
        return None

    async def shed(self, project: str, replica_id: str, share: float) -> int:
        load = self._load.get(replica_id, Load())
        closed = math.ceil(load.in_flight * min(1.0, max(0.0, share)))
        kept = load.in_flight - closed
        self._load[replica_id] = replace(load, in_flight=kept, streams=min(load.streams, kept))
        return closed

    async def traffic(self, project: str) -> tuple[TrafficSample, ...]:
        if not self._alive:
            return ()
        found = []
        for route in self._projects.get(project, ()):
            for endpoint in route.endpoints:
                empty = TrafficSample(route=route.key, replica_id=endpoint.replica_id, requests=0)
                sample = self._counters.get((route.key, endpoint.replica_id), empty)
                in_flight = self._load.get(endpoint.replica_id, Load()).in_flight
                found.append(replace(sample, in_flight=in_flight))
        return tuple(sorted(found, key=lambda sample: (sample.route, sample.replica_id)))

    def events(self) -> AsyncIterator[RouterEvent]:
        return self._feed.follow()

    async def supervise(self) -> None:
        while True:
            await self._died.wait()
            self._died.clear()
            if any(self._projects.values()):
                self._feed.tell("memory router ended", RouterEventKind.OUTAGE)
                self._alive = True
                self._feed.tell("memory router was brought back", RouterEventKind.OUTAGE)

    async def close(self) -> None:
        """Nothing is held."""

    async def shutdown(self) -> None:
        if not any(self._projects.values()):
            self._alive = False


def unavailable(message: str = "the load balancer does not answer") -> RouterError:
    """An error for :attr:`MemoryRouter.refuse` that a retry helps against."""
    return RouterUnavailableError(message)
