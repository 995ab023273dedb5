"""``/v1/replicas``: every replica, of one project or of all."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/replicas")
async def replicas(request: web.Request) -> web.Response:
    return reply(await controls_of(request).replicas(request.query.get("project")))
