"""``/v1/projects/{project}/logs``: what the replicas write, one JSON line for each of theirs.

Query: ``service`` (any number of times; none: all), ``tail`` (lines a replica), ``follow``.
"""

from __future__ import annotations

from aiohttp import web

from fairlead.api.streams import stream
from fairlead.api.wire import controls_of, flag_of, number_of

routes = web.RouteTableDef()


@routes.get("/v1/projects/{project}/logs")
async def logs(request: web.Request) -> web.StreamResponse:
    values = controls_of(request).logs(
        request.match_info["project"],
        request.query.getall("service", []),
        follow=flag_of(request, "follow"),
        tail=number_of(request, "tail"),
    )
    return await stream(request, values)
