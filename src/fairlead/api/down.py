"""``/v1/projects/{project}/down``: the end of a project."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.bodies import DownBody
from fairlead.api.wire import body_of, controls_of, reply

routes = web.RouteTableDef()


@routes.post("/v1/projects/{project}/down")
async def down(request: web.Request) -> web.Response:
    body = await body_of(request, DownBody)
    return reply(await controls_of(request).down(request.match_info["project"], body.volumes), 202)
