"""``/v1/projects/{project}/operations/{id}``: one thing that was asked for, and how far it is."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/projects/{project}/operations/{id}")
async def operation(request: web.Request) -> web.Response:
    found = await controls_of(request).operation(request.match_info["project"], request.match_info["id"])
    return reply(found)
