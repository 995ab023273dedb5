"""``/v1/projects/{project}/processes``: what runs in its replicas, at this moment."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/projects/{project}/processes")
async def processes(request: web.Request) -> web.Response:
    return reply(await controls_of(request).processes(request.match_info["project"]))
