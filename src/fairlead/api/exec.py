"""``/v1/projects/{project}/exec``: run a command where a replica runs."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.bodies import ExecBody
from fairlead.api.wire import body_of, controls_of, reply
from fairlead.errors import UsageError

LONGEST_TIMEOUT_S = 3600.0

routes = web.RouteTableDef()


@routes.post("/v1/projects/{project}/exec")
async def run(request: web.Request) -> web.Response:
    body = await body_of(request, ExecBody)
    if not body.argv:
        raise UsageError("no command to run", hint="give it after `--`: fairlead exec api -- env")
    if not 0 < body.timeout_s <= LONGEST_TIMEOUT_S:
        raise UsageError(f"the timeout must be above 0 and at most {LONGEST_TIMEOUT_S:.0f} seconds")
    result = await controls_of(request).run(request.match_info["project"], body.replica_id, body.argv, body.timeout_s)
    return reply(result)
