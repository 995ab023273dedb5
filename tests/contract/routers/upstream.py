"""A real HTTP server that stands for a replica: in the test's process, or alone (``python -m … ID``) to be killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from aiohttp import WSMsgType, web

from fairlead.routing import Address, Endpoint, EndpointState


class Upstream:
    """Answers with its id. ``gate``: what `/hold` and `/events` wait for before they end."""

    def __init__(self, replica_id: str) -> None:
        self.replica_id = replica_id
        self.gate = asyncio.Event()
        self.headers: dict[str, list[str]] = {}
        self.arrivals = 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def address(self) -> Address:
        return Address(host="127.0.0.1", port=self.port)

    def endpoint(self, state: EndpointState = EndpointState.READY, weight: int = 100) -> Endpoint:
        return Endpoint(replica_id=self.replica_id, address=self.address, state=state, weight=weight)

    async def start(self) -> Upstream:
        app = web.Application()
        app.router.add_route("*", "/", self._plain)
        app.router.add_route("*", "/slow", self._slow)
        app.router.add_route("*", "/hold", self._hold)
        app.router.add_get("/events", self._events)
        app.router.add_get("/ws", self._websocket)
        app.router.add_route("*", "/{rest:.*}", self._plain)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        self.gate.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _plain(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.arrivals += 1
        self.headers = {name.lower(): request.headers.getall(name) for name in request.headers}
        return web.json_response({"replica": self.replica_id, "method": request.method, "bytes": len(body)})

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query.get("s", "0.5")))
        return await self._plain(request)

    async def _hold(self, request: web.Request) -> web.Response:
        self.arrivals += 1
        await self.gate.wait()
        return web.json_response({"replica": self.replica_id, "method": request.method, "bytes": 0})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {self.replica_id}\n\n".encode())
        await self.gate.wait()
        await response.write(b"data: end\n\n")
        return response

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(self.replica_id)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


async def _alone(replica_id: str) -> None:
    upstream = await Upstream(replica_id).start()
    print(upstream.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_alone(sys.argv[1]))
