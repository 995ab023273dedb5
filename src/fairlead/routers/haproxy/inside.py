"""A HAProxy inside the daemon's networks, under a service's own names: how services reach each other.

Made by `docker`, one a service. Its names lead to a container that stays while replicas come and go, so a name
reaches ready replicas only, on every network of the service, whatever port it uses.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.routers.feed import Feed
from fairlead.routers.haproxy.container import ContainerLauncher
from fairlead.routers.haproxy.daemon_errors import in_our_words
from fairlead.routers.haproxy.elsewhere import Elsewhere
from fairlead.routers.haproxy.files import Files, files_under
from fairlead.routers.haproxy.image import RouterImage
from fairlead.routers.haproxy.layout import Frontend
from fairlead.routers.haproxy.proxy import Live, Proxy
from fairlead.routers.haproxy.router import HAProxyRouter
from fairlead.routing import Route

PROJECT = "fairlead.project"
SERVICE = "fairlead.service"

Networks = Mapping[str, tuple[str, ...]]


class InsideLauncher(ContainerLauncher):
    """A container on ``networks`` (network → names), which may change while it runs."""

    role = "names"

    def __init__(
        self,
        files: Files,
        client: Client,
        scope: str,
        *,
        project: str,
        service: str,
        image: RouterImage,
        there: Elsewhere | None = None,
    ) -> None:
        self.project = project
        self.service = service
        super().__init__(files, client, scope, image=image, there=there)
        self.networks: Networks = {}

    @property
    def name(self) -> str:
        return f"{self.project}.{self.service}.names-{self._scope}"

    @property
    def place(self) -> tuple[str, ...]:
        # A socket's path is short and plain, whatever the names are.
        return ("names", hashlib.sha256(f"{self.project}/{self.service}".encode()).hexdigest()[:16])

    @property
    def labels(self) -> dict[str, str]:
        return {**super().labels, PROJECT: self.project, SERVICE: self.service}

    def _body(self, image: str, command: list[str]) -> dict[str, Any]:
        body = super()._body(image, command)
        first = min(self.networks)
        body["HostConfig"]["NetworkMode"] = first
        body["NetworkingConfig"] = {"EndpointsConfig": {first: {"Aliases": list(self.networks[first])}}}
        return body

    async def _attach(self, container_id: str) -> None:
        for network in sorted(self.networks)[1:]:
            await self._connect(container_id, network)

    async def join(self) -> None:
        """Be on exactly ``networks``, under exactly their names. A network that stays is not touched."""
        async with in_our_words():
            try:
                detail = await self._client.get(f"/containers/{self.name}/json")
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            container_id = str(detail["Id"])
            present: Mapping[str, Any] = detail["NetworkSettings"]["Networks"] or {}
            for network in sorted(self.networks.keys() | present.keys()):
                names = self.networks.get(network)
                if network in present and not (names and set(names) <= set(present[network].get("Aliases") or ())):
                    await self._client.post(
                        f"/networks/{network}/disconnect", {"Container": container_id, "Force": True}
                    )
                elif network in present:
                    continue
                if names:
                    await self._connect(container_id, network)

    async def _connect(self, container_id: str, network: str) -> None:
        body = {"Container": container_id, "EndpointConfig": {"Aliases": list(self.networks[network])}}
        await self._client.post(f"/networks/{network}/connect", body)


class InsideRouter(HAProxyRouter):
    """The HAProxy router for the inside routes of one service. Its ports are its own, so nobody else has them."""

    def __init__(self, home: Path, launcher: InsideLauncher, feed: Feed) -> None:
        super().__init__(home, launcher=launcher)
        self._inside = launcher
        self._feed = feed
        self._proxy = _OwnPorts(self._proxy.files, launcher, self._proxy.environment)
        launcher.networks = networks_of(self._desired.routes)

    async def apply(self, project: str, routes: Sequence[Route]) -> None:
        if routes:
            self._inside.networks = networks_of(routes)
        await super().apply(project, routes)
        if routes:
            async with self._exclusive():
                await self._inside.join()

    async def rejoin(self) -> None:
        """Be on the networks that somebody took from under the container, as far as they are there."""
        async with self._exclusive():
            if not self.is_idle:
                await self._inside.join()

    async def _without_taken(self, wanted: Sequence[Frontend]) -> tuple[list[Frontend], list[str]]:
        return list(wanted), []

    async def end(self) -> None:
        """Stop the container and forget everything about it."""
        await self.shutdown()
        await asyncio.to_thread(_forget, files_under(self._proxy.files.folder.parent))


class _OwnPorts(Proxy):
    async def check_ports(self, wanted: Sequence[Frontend], live: Live | None) -> None:
        """In a network namespace of its own every port is free."""


def networks_of(routes: Sequence[Route]) -> dict[str, tuple[str, ...]]:
    """Network → names, over all routes."""
    found: dict[str, tuple[str, ...]] = {}
    for route in routes:
        for network, names in route.inside.items():
            found[network] = tuple(dict.fromkeys((*found.get(network, ()), *names)))
    return found


def _forget(files: Files) -> None:
    for folder in (files.sockets, files.folder):
        if folder.exists():
            for path in sorted(folder.iterdir()):
                if not path.is_dir():
                    path.unlink(missing_ok=True)
            folder.rmdir()
    files.folder.parent.rmdir()
