"""``/v1/projects``: what is running, service by service."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.get("/v1/projects")
async def projects(request: web.Request) -> web.Response:
    return reply(await controls_of(request).projects())


@routes.get("/v1/projects/{project}")
async def project(request: web.Request) -> web.Response:
    return reply(await controls_of(request).project(request.match_info["project"]))
