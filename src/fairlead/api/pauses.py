"""``/v1/projects/{project}/pause`` and ``/resume``: hold a release where it is, and let it go on."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import controls_of, reply

routes = web.RouteTableDef()


@routes.post("/v1/projects/{project}/pause")
async def pause(request: web.Request) -> web.Response:
    return reply(await controls_of(request).pause(request.match_info["project"]))


@routes.post("/v1/projects/{project}/resume")
async def resume(request: web.Request) -> web.Response:
    return reply(await controls_of(request).resume(request.match_info["project"]))
