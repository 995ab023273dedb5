"""``/v1/projects/{project}/scale``: how many replicas a service has."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.bodies import ScaleBody
from fairlead.api.wire import body_of, controls_of, reply

routes = web.RouteTableDef()


@routes.post("/v1/projects/{project}/scale")
async def scale(request: web.Request) -> web.Response:
    body = await body_of(request, ScaleBody)
    return reply(await controls_of(request).scale(request.match_info["project"], body.replicas), 202)
