"""``/v1/controller``: the controller itself."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/controller")
async def status(request: web.Request) -> web.Response:
    return reply(await controls_of(request).status())


@routes.post("/v1/controller/stop")
async def stop(request: web.Request) -> web.Response:
    await controls_of(request).stop_controller()
    return reply({})
