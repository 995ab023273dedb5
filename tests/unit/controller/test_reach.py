"""Replicas that only the router can reach are probed through it, and not at all while it cannot say."""

from __future__ import annotations

from fairlead.controller.controls import OperationState
from fairlead.errors import RouterUnavailableError
from fairlead.routers.memory import MemoryRouter
from fairlead.routing import Address, Reach
from fairlead.spec.model import Probe, ProbeKind, Probes, ServiceOptions

from .house import House, ended, eventually, request, service, succeeded


class FarRouter(MemoryRouter):
    """``asked``: every request that went through it; the first questions for a way fail, and the first through it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 3
        self.broken = 3
        self.asked: list[bytes] = []

    async def reach(self) -> Reach | None:
        if self.failures:
            self.failures -= 1
            raise RouterUnavailableError("the relay does not come up")
        return self._through

    async def _through(self, address: Address, sent: bytes, timeout_s: float) -> bytes:
        if self.broken:
            self.broken -= 1
            raise RouterUnavailableError("the relay has ended")
        self.asked.append(sent)
        return b"HTTP/1.1 200 OK\r\n\r\n"


async def test_a_way_that_breaks_off_says_nothing_of_a_replica(house: House) -> None:
    router = house.router = FarRouter()
    router.failures = router.broken = 0
    once = Probe(kind=ProbeKind.HTTP, path="/health", interval_s=0.02, failure_threshold=1)
    async with house.running() as controller:
        far = service(options=ServiceOptions(probes=Probes(readiness=once, liveness=once)))
        await succeeded(controller, await controller.up(request(far)))
        before = [row.id for row in await controller.replicas("shop")]
        router.broken, asked = 3, len(router.asked)
        await eventually(lambda: not router.broken and len(router.asked) > asked, "it is asked again")
        assert [(row.id, row.state) for row in await controller.replicas("shop")] == [(before[0], "ready")]
        told = [event.message async for event in controller.events("shop")]
        assert not [message for message in told if "unready" in message or "dead" in message], told


async def test_a_release_does_not_begin_where_no_replica_can_be_reached(house: House) -> None:
    router = house.router = FarRouter()
    router.failures = 1
    async with house.running() as controller:
        refused = await ended(controller, await controller.up(request(service())))
        assert (refused.state, refused.message) == (OperationState.FAILED, "the relay does not come up")
        assert not await controller.replicas("shop")


async def test_probes_go_through_the_router_once_it_knows_the_way(house: House) -> None:
    router = house.router = FarRouter()
    router.failures = 0
    probe = Probe(kind=ProbeKind.HTTP, path="/health", interval_s=0.02)
    far = service(options=ServiceOptions(probes=Probes(readiness=probe, liveness=Probe(kind=ProbeKind.TCP))))
    async with house.running() as controller:
        # Nothing listens here: what gets ready was asked over there.
        await succeeded(controller, await controller.up(request(far)))
    assert not router.broken
    assert any(sent.startswith(b"GET /health HTTP/1.1\r\n") for sent in router.asked)
