"""What a whole project needs before its first replica starts: images, networks, volumes.

Called by `engine`. The project that comes back has its images pinned, so that a plan compares content and not names.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fairlead.docker_api import images
from fairlead.docker_api.build import build_image
from fairlead.docker_api.client import ApiError, Client, Report
from fairlead.engines.docker.files import content_of
from fairlead.engines.docker.healthcheck import with_time_to_start
from fairlead.engines.docker.inside import with_inside_ports
from fairlead.engines.docker.names import DEFAULT_NETWORK
from fairlead.engines.docker.resources import ProjectResources
from fairlead.errors import StartFailedError
from fairlead.spec.model import Project, Service

BUILDS_AT_ONCE = 2
PULLS_AT_ONCE = 4
KEPT_BUILDS = 10
DIGEST_KEY = "x-fairlead-digest"


class Preparation:
    def __init__(self, client: Client, resources: ProjectResources, environ: Mapping[str, str]) -> None:
        self._client = client
        self._project_resources = resources
        self._environ = environ

    async def resolve(self, project: Project) -> Project:
        """``project`` with the images that are here pinned."""
        services = await asyncio.gather(*(self._pinned(project, each) for each in project.services.values()))
        return await self._with(project, services)

    async def prepare(self, project: Project, report: Report) -> Project:
        slots = {True: asyncio.Semaphore(BUILDS_AT_ONCE), False: asyncio.Semaphore(PULLS_AT_ONCE)}

        async def made(service: Service) -> Service:
            async with slots[service.build is not None]:
                return await self._made(project, service, report)

        services = await asyncio.gather(*(made(service) for service in project.services.values()))
        await self._resources(project)
        return await self._with(project, services)

    async def _with(self, project: Project, services: list[Service]) -> Project:
        configs = await asyncio.gather(*(self._config(service) for service in services))
        services = [with_time_to_start(each, config) for each, config in zip(services, configs, strict=True)]
        whole = replace(
            project,
            services={service.name: service for service in services},
            secrets=self._digested(project, "secret", project.secrets),
            configs=self._digested(project, "config", project.configs),
        )
        exposed = {service.name: _exposed(config) for service, config in zip(services, configs, strict=True)}
        return with_inside_ports(whole, exposed)

    async def _config(self, service: Service) -> Mapping[str, Any]:
        """What the service's image says of the containers made from it."""
        found = await images.inspect(self._client, service.image) if service.image else None
        return (found or {}).get("Config") or {}

    def _digested(
        self, project: Project, kind: str, definitions: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Mapping[str, Any]]:
        """The content of a file belongs to the revision: a changed secret is a release, not a surprise later."""
        digested: dict[str, Mapping[str, Any]] = {}
        for name, definition in definitions.items():
            try:
                content = content_of(kind, name, definition, project.working_dir, self._environ)
            except StartFailedError:
                digested[name] = definition
                continue
            digested[name] = {**(definition or {}), DIGEST_KEY: hashlib.sha256(content).hexdigest()[:16]}
        return digested

    async def _pinned(self, project: Project, service: Service) -> Service:
        name = service.image or built_name(project.name, service)
        found = await images.inspect(self._client, name)
        if found is None:
            return replace(service, image=name)
        pin = _kept_tag(project.name, service, found) if service.build else images.pinned(name, found)
        return replace(service, image=pin)

    async def _made(self, project: Project, service: Service, report: Report) -> Service:
        if service.build is None:
            return await self._pulled(service, report)
        name = built_name(project.name, service)
        wanted = service.pull_policy not in ("missing", "if_not_present", images.NEVER)
        if wanted or await images.inspect(self._client, name) is None:
            await build_image(
                self._client,
                service.name,
                service.build,
                tag=name,
                platform=service.platform,
                environ=self._environ,
                report=report,
            )
        return replace(service, image=await self._keep(project.name, service, name))

    async def _pulled(self, service: Service, report: Report) -> Service:
        if not service.image:
            raise StartFailedError(f"{service.name} names no image", hint="give it an `image` or a `build`")
        found = await images.ensure(
            self._client,
            service.image,
            policy=service.pull_policy,
            platform=service.platform,
            environ=self._environ,
            report=report,
        )
        return replace(service, image=images.pinned(service.image, found))

    async def _keep(self, project: str, service: Service, name: str) -> str:
        """A tag for exactly this build, so that a rollback finds it when the name has moved on."""
        found = await self._client.get(f"/images/{name}/json")
        kept = _kept_tag(project, service, found)
        repository, _, tag = kept.rpartition(":")
        await self._client.post(f"/images/{name}/tag", repo=repository, tag=tag)
        for extra in service.build.tags if service.build else ():
            repository = images.repository_of(extra)
            tag = extra[len(repository) + 1 :] or "latest"
            await self._client.post(f"/images/{name}/tag", repo=repository, tag=tag)
        await self._let_go_of_old_builds(kept)
        return kept

    async def _let_go_of_old_builds(self, kept: str) -> None:
        repository = kept.rpartition(":")[0]
        found = await self._client.get("/images/json", filters={"reference": [f"{repository}:*"]})
        tags = [(int(image["Created"]), str(tag)) for image in found for tag in image.get("RepoTags") or ()]
        ours = sorted(tag for tag in tags if tag[1].startswith(f"{repository}:") and tag[1] != kept)
        for _, tag in ours[: max(len(ours) + 1 - KEPT_BUILDS, 0)]:
            try:
                await self._client.delete(f"/images/{tag}")
            except ApiError as error:
                if error.status not in (404, 409):
                    raise

    async def _resources(self, project: Project) -> None:
        networks: set[str] = set()
        volumes: set[str] = set()
        for service in project.services.values():
            if not service.network_mode:
                networks |= set(service.networks or (DEFAULT_NETWORK,))
            volumes |= {mount.source for mount in service.volumes if mount.type == "volume" and mount.source}
        resources = {"networks": project.networks, "volumes": project.volumes}
        await self._project_resources.ensure_networks(project.name, sorted(networks), resources)
        await self._project_resources.ensure_volumes(project.name, sorted(volumes), resources)


def _exposed(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The TCP ports that an image says it listens on."""
    declared = config.get("ExposedPorts") or {}
    return tuple(sorted(int(port.removesuffix("/tcp")) for port in declared if port.endswith("/tcp")))


def built_name(project: str, service: Service) -> str:
    """What the image of a built service is called: as the file says, else as Compose calls it."""
    return service.image or f"{project}-{service.name}"


def _kept_tag(project: str, service: Service, detail: Mapping[str, Any]) -> str:
    return f"fairlead/{project}-{service.name}:{str(detail['Id']).removeprefix('sha256:')[:12]}".lower()
