"""A real HAProxy, real replicas (also ones that can be killed) and the ways to talk to them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.structs import replace

from fairlead.routers.haproxy import HAProxyRouter
from fairlead.routers.haproxy.api import Master, Processes
from fairlead.routing import Address, Endpoint, Route
from tests.contract.routers.harness import DEADLINE_S, HAProxyHarness
from tests.contract.routers.upstream import Upstream

ROOT = Path(__file__).parents[3]


class Mortal:
    """A replica in a process of its own."""

    def __init__(self, replica_id: str, process: asyncio.subprocess.Process, port: int) -> None:
        self.replica_id = replica_id
        self.process = process
        self.endpoint = Endpoint(replica_id=replica_id, address=Address(host="127.0.0.1", port=port))

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        if self.process.stdout:
            await self.process.stdout.read()


class World(HAProxyHarness):
    router: HAProxyRouter

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._mortals: list[Mortal] = []
        self._servers: list[asyncio.Server] = []

    async def upstream(self, replica_id: str) -> Upstream:
        await self.replica(replica_id)
        return self.upstreams[replica_id]

    async def mortal(self, replica_id: str) -> Mortal:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.contract.routers.upstream",
            replica_id,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        mortal = Mortal(replica_id, process, 0)
        self._mortals.append(mortal)
        assert process.stdout
        port = int(await asyncio.wait_for(process.stdout.readline(), DEADLINE_S))
        mortal.endpoint = replace(mortal.endpoint, address=Address(host="127.0.0.1", port=port))
        return mortal

    async def serve(self, handle: Any) -> Address:
        """A TCP server of this test."""
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self._servers.append(server)
        return Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])

    async def apply(self, route: Route, endpoints: Sequence[Endpoint], *others: Route) -> Route:
        stated = replace(route, endpoints=tuple(endpoints))
        await self.router.apply(route.project, [stated, *others])
        return stated

    async def processes(self) -> Processes:
        return await Master(self.router.launcher.files.master_socket).processes()

    async def close(self) -> None:
        await super().close()
        for server in self._servers:
            server.close()
        for mortal in self._mortals:
            await mortal.kill()


def url(route: Route, path: str = "/") -> str:
    return f"http://127.0.0.1:{route.listen.port}{path}"


async def replica_of(session: aiohttp.ClientSession, route: Route, path: str = "/", **options: Any) -> str:
    """Which replica answered a request that must succeed."""
    async with session.get(url(route, path), **options) as response:
        text = await response.text()
        assert response.status == 200, f"{response.status}: {text}"
        return str((await response.json())["replica"])


def kill_all(pids: Sequence[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
