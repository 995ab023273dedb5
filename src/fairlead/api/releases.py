"""``/v1/releases`` and the other ways to a release: up, deploy, rollback, restart."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.bodies import DeployBody, RestartBody, RollbackBody
from fairlead.api.wire import body_of, controls_of, reply
from fairlead.controller.controls import UpRequest

routes = web.RouteTableDef()


@routes.post("/v1/releases")
async def up(request: web.Request) -> web.Response:
    return reply(await controls_of(request).up(await body_of(request, UpRequest)), 202)


@routes.post("/v1/projects/{project}/deploy")
async def deploy(request: web.Request) -> web.Response:
    body = await body_of(request, DeployBody)
    project = request.match_info["project"]
    return reply(await controls_of(request).deploy(project, body.service, body.image, body.environment), 202)


@routes.post("/v1/projects/{project}/rollback")
async def rollback(request: web.Request) -> web.Response:
    body = await body_of(request, RollbackBody)
    return reply(await controls_of(request).rollback(request.match_info["project"], body.release), 202)


@routes.post("/v1/projects/{project}/restart")
async def restart(request: web.Request) -> web.Response:
    body = await body_of(request, RestartBody)
    return reply(await controls_of(request).restart(request.match_info["project"], body.services), 202)
