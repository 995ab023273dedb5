"""``/v1/events``: what happened, one JSON line each.

Query: ``project``, ``after`` (an event's id), ``last`` (how many of the newest), ``follow``.
"""

from __future__ import annotations

from aiohttp import web

from fairlead.api.streams import stream
from fairlead.api.wire import controls_of, flag_of, number_of

routes = web.RouteTableDef()


@routes.get("/v1/events")
async def events(request: web.Request) -> web.StreamResponse:
    values = controls_of(request).events(
        request.query.get("project"),
        after=number_of(request, "after") or 0,
        last=number_of(request, "last"),
        follow=flag_of(request, "follow"),
    )
    return await stream(request, values)
