"""Clients that check every answer: keep-alive, new connections, POSTs, slow requests, websockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from fairlead.routing import Route
from tests.contract.routers.harness import DEADLINE_S
from tests.integration.haproxy.world import url

_PACE_S = 0.01


class Load:
    """``failures``: one line each; ``answers``: how many by kind; ``by_replica``: who answered."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self.by_replica: Counter[str] = Counter()
        self._over = asyncio.Event()

    async def until(self, counts: Counter[str], name: str, least: int) -> None:
        """Go on until ``counts``, one of this load's, has come that far with ``name``, or something has failed."""
        async with asyncio.timeout(DEADLINE_S):
            while counts[name] < least and not self.failures:
                await asyncio.sleep(_PACE_S)

    @asynccontextmanager
    async def running(self, *kinds: str) -> AsyncIterator[Load]:
        clients = {
            "keep-alive": self._keep_alive,
            "new": self._new,
            "post": self._post,
            "slow": self._slow,
            "websocket": self._websocket,
        }
        tasks = [asyncio.create_task(self._client(kind, clients[kind])) for kind in kinds]
        try:
            yield self
        finally:
            self._over.set()
            await asyncio.gather(*tasks)

    async def _client(self, kind: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except (aiohttp.ClientError, OSError, TimeoutError, AssertionError) as error:
            self.failures.append(f"{kind}: {error!r}")

    async def _keep_alive(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._over.is_set():
                await self._ask(session, "keep-alive", "GET", "/")

    async def _new(self) -> None:
        while not self._over.is_set():
            async with aiohttp.ClientSession() as session:
                await self._ask(session, "new", "GET", "/")

    async def _post(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._over.is_set():
                await self._ask(session, "post", "POST", "/", b"x" * 1000)

    async def _slow(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._over.is_set():
                await self._ask(session, "slow", "GET", "/slow?s=1")

    async def _ask(self, session: aiohttp.ClientSession, kind: str, method: str, path: str, body: bytes = b"") -> None:
        try:
            async with session.request(method, url(self.route, path), data=body or None) as response:
                text = await response.text()
                assert response.status == 200, f"{response.status} {text}"
                answer = await response.json()
                assert (answer["method"], answer["bytes"]) == (method, len(body))
                self.by_replica[answer["replica"]] += 1
                self.answers[kind] += 1
        except (aiohttp.ClientError, OSError, AssertionError) as error:
            self.failures.append(f"{kind}: {error!r}")
        await asyncio.sleep(_PACE_S)

    async def _websocket(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url(self.route, "/ws")) as websocket:
            await websocket.receive_str()
            while not self._over.is_set():
                await websocket.send_str("ping")
                assert await websocket.receive_str() == "ping"
                self.answers["websocket"] += 1
                await asyncio.sleep(_PACE_S * 5)
