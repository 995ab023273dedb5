"""``/v1/projects/{project}/stats``: what its replicas use, at this moment."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/projects/{project}/stats")
async def stats(request: web.Request) -> web.Response:
    return reply(await controls_of(request).stats(request.match_info["project"]))
