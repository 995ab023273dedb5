"""``/v1/projects/{project}/history``: the releases, newest first."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/projects/{project}/history")
async def history(request: web.Request) -> web.Response:
    return reply(await controls_of(request).history(request.match_info["project"]))
