"""The simulated load balancer: the pools as they really are, and what it has open to whom.

Changes take effect in the order in which they were asked for. A newer one makes an older one that has not taken
effect yet void, or waits for it: each run has one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fairlead.errors import DeadlineError, FairleadError, PortTakenError, RouterUnavailableError
from fairlead.routing import EndpointState, EndpointStatus, Route, RouteStatus

if TYPE_CHECKING:
    from tests.simulation.clients import Request
    from tests.simulation.replicas import Real
    from tests.simulation.sim import Sim

Reply = Callable[[FairleadError | None], None]
PROJECT = "shop"
NEIGHBOUR = "blog"
"""The second project, where there is one: nobody does anything to it, and nothing may happen to it."""

TAKEN_PORT = 9999
"""Somebody else on this machine listens there: the neighbour, where there is one."""

POLL_S = 0.05


class SimRouter:
    """``routes``: what the running proxy serves, by key; ``ready``: whom of it; ``pooled``: by service, who is
    in every pool of it. ``out_since_s``: since when a replica is in no pool."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self.routes: dict[str, Route] = {}
        self.ready: dict[str, dict[str, int]] = {}
        self.out_since_s: dict[str, float] = {}
        self.open: dict[str, dict[str, set[Request]]] = {}
        self.pooled: dict[str, set[str]] = {}
        self.silent_until_s = 0.0
        self._busy_until_s: dict[str, float] = {}
        self._coming: dict[tuple[str, int], Mapping[str, set[str]]] = {}
        self._keys: dict[str, list[str]] = {}
        self._said: dict[str, RouteStatus] = {}
        self._lag = Random(f"{sim.world.seed}:lag")
        self._asked: dict[str, int] = {}
        self._effective: dict[str, int] = {}

    def apply(self, project: str, routes: Sequence[Route], reply: Reply) -> None:
        world, faults = self._sim.world, self._sim.faults
        if faults.hit("route-refused"):
            world.injected("the router refuses")
            world.at(world.between(0.002, 0.05), lambda: reply(RouterUnavailableError("the proxy does not answer")))
            return
        if project != NEIGHBOUR and any(route.listen.port == TAKEN_PORT for route in routes):
            taken = PortTakenError(f"port {TAKEN_PORT} belongs to somebody else")
            world.at(world.between(0.002, 0.3), lambda: reply(taken))
            return
        asked = self._asked[project] = self._asked.get(project, 0) + 1
        lands_s = world.between(0.002, 0.05)
        if faults.hit("route-slow"):
            lands_s = world.between(0.5, 4.0)
            world.injected("the router is slow")
        acked_s = lands_s
        heard: FairleadError | None = None
        if faults.hit("route-acked-early"):
            lands_s = acked_s + world.between(0.05, 1.5)
            world.injected(f"the router says done {lands_s - acked_s:.3f} s too early")
        elif project == PROJECT and self._enters(routes) and faults.hit("regretted-entry"):
            lands_s = acked_s + world.between(0.3, 2.0)
            world.injected(f"the router says done {lands_s - acked_s:.3f} s too early, and somebody changes their mind")
            world.at(world.between(acked_s, lands_s), self._sim.scenario.abort)
        elif faults.hit("route-reply-lost"):
            acked_s = lands_s + world.between(0.5, 2.0)
            heard = DeadlineError("no answer in time")
            world.injected("the router's answer is lost")
        if faults.routes_in_order:
            waits_s = max(0.0, self._busy_until_s.get(project, 0.0) - world.now_s - lands_s + 0.0001)
            lands_s, acked_s = lands_s + waits_s, acked_s + waits_s
            self._busy_until_s[project] = world.now_s + lands_s
        half = faults.hit("route-half") or (self._exchanges(routes) and faults.hit("half-exchange"))
        if half:
            heard = RouterUnavailableError("the proxy broke off in the middle of the change")
            world.injected("the router carries out a part of a change and breaks off")
        self._coming[project, asked] = _pooled({r.key: _ready(r) for r in routes})
        world.at(lands_s, lambda: self._take_effect(project, asked, tuple(routes), half=half))
        lag_s = self._lag.uniform(0.0, 0.1) if faults.answers_late else 0.0
        world.at(acked_s + lag_s + 0.0001, lambda: reply(heard))

    def observe(self, project: str) -> Mapping[str, RouteStatus]:
        """What the running proxy says."""
        return {key: self._said.get(key) or self._status(key, self.routes[key]) for key in self.keys(project)}

    def keys(self, project: str) -> list[str]:
        """The routes of one project, sorted."""
        found = self._keys.get(project)
        if found is None:
            found = self._keys[project] = sorted(k for k, route in self.routes.items() if route.project == project)
        return found

    def takes(self, request: Request, real: Real) -> None:
        """``request`` is on its way to ``real``."""
        self.open.setdefault(request.key, {}).setdefault(real.id, set()).add(request)
        self._said.pop(request.key, None)

    def lets_go(self, request: Request, real: Real) -> None:
        """``request`` is over."""
        self.open[request.key][real.id].discard(request)
        self._said.pop(request.key, None)

    def shed(self, replica_id: str, share: float, reply: Reply) -> None:
        """Close a share of the streams of one replica."""
        streams = sorted(
            (r for pool in self.open.values() for r in pool.get(replica_id, ()) if r.stream), key=lambda r: r.number
        )
        for request in streams[: -(-int(len(streams) * share * 1000) // 1000)]:
            self._sim.clients.shed(request)
        self._sim.world.at(0.01, lambda: reply(None))

    def restart_empty(self) -> None:
        """The proxy has died and come back knowing nothing."""
        self._asked = {project: asked + 1 for project, asked in self._asked.items()}
        self._effective = dict(self._asked)
        self._busy_until_s = {}
        self._sim.clients.on_proxy_death()
        self._serve(())

    def coming(self) -> list[Mapping[str, set[str]]]:
        """Who is in every pool of a service by each change that was asked for and has not taken effect."""
        if not self._coming:
            return []
        return [pools for (project, _), pools in self._coming.items() if project == PROJECT]

    def in_pool(self, replica_id: str) -> bool:
        """Whether any route sends new requests to it."""
        return any(replica_id in pool for pool in self.ready.values())

    def _take_effect(self, project: str, asked: int, routes: tuple[Route, ...], *, half: bool) -> None:
        del self._coming[project, asked]
        if asked < self._effective.get(project, 0):
            return
        self._effective[project] = asked
        others = [route for route in self.routes.values() if route.project != project]
        self._serve((*others, *(self._half(project, routes) if half else routes)))

    def _enters(self, routes: Sequence[Route]) -> bool:
        """Whether a change of the pools puts a replica in."""
        return any(_ready(route).keys() - self.ready.get(route.key, {}).keys() for route in routes)

    def _exchanges(self, routes: Sequence[Route]) -> bool:
        """Whether a change of the pools puts replicas in and takes others out, all at once."""
        for route in routes:
            before = self.ready.get(route.key, {}).keys()
            after = _ready(route).keys()
            if after - before and before - after:
                return True
        return False

    def _half(self, project: str, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """A part of the way from what is served to ``routes``: some listeners, some endpoints, the others as before.

        A listener that is opened in such a part has nobody yet: from there nobody is served until the next change,
        which the injector answers for.
        """
        chance = self._sim.world.rng
        wanted = {route.key: route for route in routes}
        found = []
        for key in sorted({*self.keys(project), *wanted}):
            old, new = self.routes.get(key), wanted.get(key)
            if old is None or new is None:
                kept = (new if old is None else old) if chance.random() < 0.5 else None
                if kept is None:
                    continue
                if old is None:
                    kept = replace(kept, endpoints=())
                    if project == PROJECT:
                        self._sim.capacity.touch(kept.service)
                found.append(kept)
                continue
            before = {e.replica_id: e for e in old.endpoints}
            after = {e.replica_id: e for e in new.endpoints}
            mixed = [(after if chance.random() < 0.5 else before).get(i) for i in sorted({*before, *after})]
            found.append(replace(old, endpoints=tuple(endpoint for endpoint in mixed if endpoint is not None)))
        return tuple(found)

    def _serve(self, routes: tuple[Route, ...]) -> None:
        sim = self._sim
        before = {replica_id for pool in self.ready.values() for replica_id in pool}
        self.routes = {route.key: route for route in routes}
        self.ready = {route.key: _ready(route) for route in routes}
        self.pooled = _pooled(self.ready)
        self._keys.clear()
        self._said.clear()
        after = {replica_id for pool in self.ready.values() for replica_id in pool}
        for replica_id in after:
            self.out_since_s.pop(replica_id, None)
        for replica_id in before - after:
            self.out_since_s[replica_id] = sim.world.now_s
        for replica_id in sorted(before - after):
            if sim.faults.hit("exits-at-drain"):
                sim.chaos.exit_at_drain(replica_id)
            if sim.faults.hit("lost-from-sight"):
                sim.chaos.lose_sight(replica_id)
            if sim.chaos.is_last(replica_id, after) and sim.faults.hit("abort-at-last"):
                sim.world.at(sim.world.between(0.0, 0.08), sim.scenario.abort)
        if before - after and after and sim.faults.hit("dies-at-exchange"):
            sim.chaos.crash_one(min(before - after))
        if sim.world.trace is not None:
            sim.world.say("router", "serves " + ("; ".join(map(_words, routes)) or "nothing"))
        sim.changed = True
        sim.safety.on_routes()
        sim.clients.on_routes()
        sim.world.at(sim.world.between(0.0, POLL_S), sim.wake)

    def _status(self, key: str, route: Route) -> RouteStatus:
        known = {e.replica_id: e for e in route.endpoints}
        opened = self.open.get(key, {})
        statuses = []
        for replica_id in sorted({*known, *(r for r, requests in opened.items() if requests)}):
            requests = opened.get(replica_id, ())
            endpoint = known.get(replica_id)
            statuses.append(
                EndpointStatus(
                    replica_id=replica_id,
                    state=endpoint.state if endpoint else EndpointState.DRAIN,
                    weight=endpoint.weight if endpoint else 100,
                    in_flight=len(requests),
                    streams=sum(request.stream for request in requests),
                )
            )
        said = self._said[key] = RouteStatus(key=key, listening=True, endpoints=tuple(statuses))
        return said


def place(project: str, service: str) -> str:
    """What a service is called here: the two projects have services of the same name."""
    return service if project == PROJECT else f"{project}/{service}"


def served_by(key: str) -> str:
    """Which service is behind a route."""
    project, service, _ = key.split("/", 2)
    return place(project, service)


def _ready(route: Route) -> dict[str, int]:
    """Who gets requests by ``route``, with the weight."""
    return {e.replica_id: e.weight for e in route.endpoints if e.state is EndpointState.READY}


def _pooled(ready: Mapping[str, Mapping[str, int]]) -> dict[str, set[str]]:
    """By service, who is in every pool of it."""
    found: dict[str, set[str]] = {}
    for key, pool in ready.items():
        found.setdefault(served_by(key), set(pool)).intersection_update(pool)
    return found


def _words(route: Route) -> str:
    pool = " ".join(
        f"{e.replica_id}{'' if e.state is EndpointState.READY else '(' + e.state + ')'}" for e in route.endpoints
    )
    return f"{route.key} -> {pool or 'nobody'}"
