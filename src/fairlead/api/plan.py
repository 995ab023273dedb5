"""``/v1/plan``: what a release would do, without doing it."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.wire import body_of, controls_of, reply
from fairlead.controller.controls import UpRequest

routes = web.RouteTableDef()


@routes.post("/v1/plan")
async def plan(request: web.Request) -> web.Response:
    return reply(await controls_of(request).plan(await body_of(request, UpRequest)))
