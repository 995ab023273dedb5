"""Simulated clients: requests and streams through the router to the replicas, each one judged.

A request goes to a replica of the pool, waits where there is none (the router holds it), and fails where it waits
too long or where its replica ends under it. A failure with no fault of the injector near it is the controller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.replicas import Real
from tests.simulation.router import served_by
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

EXCUSED_FOR_S = 120.0


class Request:
    """``stream``: a websocket or an event stream. ``real``: who serves it, None while it is held."""

    __slots__ = ("began_s", "key", "number", "real", "stream", "takes_s")

    def __init__(self, number: int, key: str, began_s: float, takes_s: float, *, stream: bool) -> None:
        self.number = number
        self.key = key
        self.began_s = began_s
        self.takes_s = takes_s
        self.stream = stream
        self.real: Real | None = None


class Clients:
    """``failed``: how many requests failed, all of them excused."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._number = 0
        self._held: list[Request] = []
        self.sent = 0
        self.failed = 0

    def burst(self, count: int, within_s: float) -> None:
        """``count`` requests somewhere in the next ``within_s``."""
        world = self._sim.world
        for _ in range(count):
            world.at(world.between(0.0, within_s), self._arrive)

    def _arrive(self) -> None:
        world, router = self._sim.world, self._sim.router
        if not router.routes:
            return
        key = sorted(router.routes)[world.rng.randrange(len(router.routes))]
        self._number += 1
        chance = world.rng.random()
        stream = chance < 0.08
        takes_s = world.between(20.0, 400.0) if stream else world.between(2.0, 40.0) if chance < 0.2 else 0.05
        request = Request(self._number, key, world.now_s, takes_s, stream=stream)
        self.sent += 1
        if not self._dispatch(request):
            self._held.append(request)
            hold_s = router.routes[key].hold_timeout_s
            world.at(hold_s, lambda: self._give_up(request))

    def _dispatch(self, request: Request) -> bool:
        sim = self._sim
        pool = sim.router.ready.get(request.key, {})
        reals = [sim.engine.reals.get(replica_id) for replica_id in sorted(pool)]
        able = [real for real in reals if real is not None and real.accepts]
        if not able:
            return False
        real = min(able, key=lambda r: (len(r.requests), r.number))
        request.real = real
        if real.sick:
            self._fail(request, "is answered with an error")
            return True
        real.requests.add(request)
        sim.router.takes(request, real)
        sim.world.at(request.takes_s, lambda: self._finish(request))
        return True

    def _finish(self, request: Request) -> None:
        real = request.real
        if real is None or request not in real.requests or real.hung:
            return
        self._close(request, real)

    def _close(self, request: Request, real: Real) -> None:
        sim = self._sim
        real.requests.discard(request)
        sim.router.lets_go(request, real)
        if not real.requests and real.id in sim.router.out_since_s:
            # The driver asks the proxy every 50 ms while somebody drains.
            sim.world.at(sim.world.between(0.0, 0.05), sim.wake)

    def shed(self, request: Request) -> None:
        """The router closes a stream so that its client comes back elsewhere."""
        if request.real is not None and request in request.real.requests:
            self._close(request, request.real)

    def on_end(self, real: Real) -> None:
        """``real`` is no more; what it had open breaks off."""
        for request in sorted(real.requests, key=lambda r: r.number):  # type: ignore[attr-defined]
            assert isinstance(request, Request)
            self._close(request, real)
            if real.signalled_at_s is None:
                self._fail(request, f"breaks off: {real.id} ended")
            else:
                # Whether it was right to signal it was judged when it was signalled.
                self.failed += 1

    def on_proxy_death(self) -> None:
        """The proxy dies: everything through it breaks off."""
        opened = (r for pool in self._sim.router.open.values() for requests in pool.values() for r in requests)
        for request in sorted(opened, key=lambda request: request.number):
            self.failed += 1
            if request.real is not None:
                self._close(request, request.real)

    def on_routes(self) -> None:
        """The pools have changed: those who wait may go."""
        if self._held:
            self._held = [request for request in self._held if not self._dispatch(request)]

    def on_capacity(self, service: str) -> None:
        """A replica of ``service`` may take requests now."""
        self.on_routes()

    def _give_up(self, request: Request) -> None:
        if request in self._held:
            self._held.remove(request)
            self._fail(request, "waited too long for a replica")

    def _fail(self, request: Request, why: str) -> None:
        sim = self._sim
        self.failed += 1
        sim.world.say("client", f"request {request.number} on {request.key} {why}")
        if sim.capacity.is_wanted(served_by(request.key)) and sim.world.last_injection_s < (
            request.began_s - EXCUSED_FOR_S
        ):
            raise Violation("client-error", f"request {request.number} on {request.key} {why}, and nothing was broken")
