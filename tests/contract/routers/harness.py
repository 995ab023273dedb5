"""What the contract suite needs of a router under test. One class an adapter; add yours to ``HARNESSES``.

A harness gives routers over one world, replicas that answer, load on them from outside, and the accidents that no
router would cause itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from fairlead.routers.base import Router, TrafficSample
from fairlead.routers.haproxy import HAProxyRouter
from fairlead.routers.memory import MemoryRouter
from fairlead.routing import Address, Endpoint, EndpointState, Listen, Route, RouteStatus
from tests.contract.routers.upstream import Upstream

DEADLINE_S = 30.0


class RouterHarness(ABC):
    """One router under test and a world of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    async def open(self) -> Router:
        """A router over this world: each call is like a new controller on the same machine."""

    @abstractmethod
    async def replica(self, replica_id: str) -> Address:
        """A replica that answers; where it listens."""

    @abstractmethod
    async def requests(self, route: Route, count: int) -> None:
        """Send that many requests, all answered."""

    @abstractmethod
    async def hang(self, route: Route, replica_id: str, *, requests: int = 0, streams: int = 0) -> None:
        """Open requests and websockets to this replica, the only ready one, that stay open till :meth:`let_go`."""

    @abstractmethod
    async def let_go(self, replica_id: str) -> None:
        """End what :meth:`hang` opened."""

    @abstractmethod
    async def kill(self) -> None:
        """The proxy dies."""

    @abstractmethod
    def foreign_port(self) -> int:
        """A port that somebody else holds."""

    @abstractmethod
    def free_port(self) -> int: ...

    @abstractmethod
    async def close(self) -> None:
        """End everything, whatever happened."""

    async def endpoint(
        self, replica_id: str, state: EndpointState = EndpointState.READY, weight: int = 100
    ) -> Endpoint:
        return Endpoint(replica_id=replica_id, address=await self.replica(replica_id), state=state, weight=weight)

    def route(self, service: str = "api", *, project: str = "shop", port: int | None = None) -> Route:
        listen = Listen(port=self.free_port() if port is None else port)
        return Route(project=project, service=service, target=8000, listen=listen)


class MemoryHarness(RouterHarness):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._router = MemoryRouter()
        self._ports = iter(range(20_000, 21_000))
        self._sent: dict[tuple[str, str], int] = {}

    async def open(self) -> Router:
        return self._router

    async def replica(self, replica_id: str) -> Address:
        return Address(host="127.0.0.1", port=1 + sum(replica_id.encode()))

    async def requests(self, route: Route, count: int) -> None:
        ready = [endpoint for endpoint in route.endpoints if endpoint.state is EndpointState.READY]
        for number in range(count):
            place = (route.key, ready[number % len(ready)].replica_id)
            self._sent[place] = self._sent.get(place, 0) + 1
        for (key, replica_id), sent in self._sent.items():
            sample = TrafficSample(route=key, replica_id=replica_id, requests=sent, status={"2xx": sent})
            self._router.count(key, replica_id, sample)

    async def hang(self, route: Route, replica_id: str, *, requests: int = 0, streams: int = 0) -> None:
        self._router.load(replica_id, in_flight=requests + streams, streams=streams)

    async def let_go(self, replica_id: str) -> None:
        self._router.load(replica_id)

    async def kill(self) -> None:
        self._router.die()

    def foreign_port(self) -> int:
        self._router.taken[19_999] = "nginx (pid 7)"
        return 19_999

    def free_port(self) -> int:
        return next(self._ports)

    async def close(self) -> None:
        await self._router.close()


class HAProxyHarness(RouterHarness):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.home = directory / "home"
        self.home.mkdir()
        self._routers: list[HAProxyRouter] = []
        self.upstreams: dict[str, Upstream] = {}
        self._sockets: list[socket.socket] = []
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    async def open(self) -> HAProxyRouter:
        router = HAProxyRouter(self.home, binary=os.environ.get("FAIRLEAD_HAPROXY"))
        self._routers.append(router)
        return router

    async def replica(self, replica_id: str) -> Address:
        if replica_id not in self.upstreams:
            self.upstreams[replica_id] = await Upstream(replica_id).start()
        return self.upstreams[replica_id].address

    async def requests(self, route: Route, count: int) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(count):
                async with session.get(f"http://127.0.0.1:{route.listen.port}/") as response:
                    assert response.status == 200, await response.text()

    async def hang(self, route: Route, replica_id: str, *, requests: int = 0, streams: int = 0) -> None:
        base = f"http://127.0.0.1:{route.listen.port}"
        upstream = self.upstreams[replica_id]
        opened = asyncio.Semaphore(0)
        for number in range(requests + streams):
            work = self._stream(base, opened) if number < streams else self._request(base)
            self._tasks.setdefault(replica_id, []).append(asyncio.create_task(work))
        for _ in range(streams):
            await asyncio.wait_for(opened.acquire(), DEADLINE_S)
        await until(lambda: _arrived(upstream, requests))

    async def _request(self, base: str) -> None:
        try:
            async with aiohttp.ClientSession() as session, session.post(f"{base}/hold") as response:
                await response.read()
        except aiohttp.ClientError:
            pass  # cut on purpose by `shed`, or by the end of the test

    async def _stream(self, base: str, opened: asyncio.Semaphore) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{base}/ws") as websocket:
            await websocket.receive_str()
            opened.release()
            await websocket.receive()

    async def let_go(self, replica_id: str) -> None:
        self.upstreams[replica_id].gate.set()
        tasks = self._tasks.pop(replica_id, [])
        await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def kill(self) -> None:
        for pid in sorted(self._routers[-1].launcher.pids()):
            # Where HAProxy's master is the first of a container, the others end with it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def foreign_port(self) -> int:
        held = socket.socket()
        held.bind(("0.0.0.0", 0))
        held.listen()
        self._sockets.append(held)
        return int(held.getsockname()[1])

    def free_port(self) -> int:
        reservation = socket.socket()
        # Bound and not listening, with SO_REUSEADDR on both sides: a listener may have the port, a connection may not.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        self._sockets.append(reservation)
        return int(reservation.getsockname()[1])

    async def close(self) -> None:
        for held in self._sockets:
            held.close()
        for replica_id in list(self._tasks):
            await self.let_go(replica_id)
        for router in self._routers:
            await router.close()
        if self._routers:
            await self._routers[-1].launcher.stop()
            # Where the test's folder is too deep for a socket, they lie outside it.
            shutil.rmtree(self._routers[-1].launcher.files.sockets, ignore_errors=True)
        for upstream in self.upstreams.values():
            await upstream.stop()


def _container(directory: Path) -> RouterHarness:
    from tests.contract.routers.container_harness import ContainerHarness

    return ContainerHarness(directory)


HARNESSES: dict[str, Callable[[Path], RouterHarness]] = {
    "haproxy": HAProxyHarness,
    "haproxy-container": _container,
    "memory": MemoryHarness,
}


async def _arrived(upstream: Upstream, count: int) -> bool:
    return upstream.arrivals >= count


async def until(fact: Callable[[], Awaitable[object]], deadline_s: float = DEADLINE_S) -> None:
    """Wait until the fact is true; the deadline is generous, never a measure."""
    async with asyncio.timeout(deadline_s):
        while not await fact():
            await asyncio.sleep(0.02)


def endpoints_of(status: RouteStatus) -> dict[str, tuple[EndpointState, int]]:
    """Replica → state and weight: what a test compares."""
    return {endpoint.replica_id: (endpoint.state, endpoint.weight) for endpoint in status.endpoints}
