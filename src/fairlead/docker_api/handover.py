"""Taking a project over from `docker compose up`: its containers make room when Fairlead's replicas have their place.

Called by the engine's `start` and by the router. A container is stopped and never removed, and only one that Compose
made for a service that Fairlead runs under the same name in the same project.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from fairlead.docker_api.client import ApiError, Client

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
STOP_TIMEOUT_S = 120.0


class Handover:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def stop_service(self, project: str, service: str) -> int:
        """Stop what Compose runs for ``service``; how many containers that were."""
        return await self._stop(await self._running(f"{PROJECT}={project}", f"{SERVICE}={service}"))

    async def free_ports(self, project: str, ports: Collection[int]) -> int:
        """Stop those of Compose's containers of ``project`` that hold one of ``ports``; how many they were."""
        running = await self._running(f"{PROJECT}={project}")
        holders = [each for each in running if _published(each) & set(ports)]
        return await self._stop(holders)

    async def _running(self, *labels: str) -> list[dict[str, Any]]:
        found = await self._client.get("/containers/json", filters={"label": [*labels, SERVICE]})
        return [each for each in found if str(each["Labels"].get(ONE_OFF, "False")).lower() != "true"]

    async def _stop(self, containers: list[dict[str, Any]]) -> int:
        await asyncio.gather(*(self._stop_one(str(each["Id"])) for each in containers))
        return len(containers)

    async def _stop_one(self, container_id: str) -> None:
        try:
            await self._client.post(f"/containers/{container_id}/stop", timeout_s=STOP_TIMEOUT_S)
        except ApiError as error:
            if error.status not in (304, 404):
                raise


def _published(container: dict[str, Any]) -> set[int]:
    return {int(port["PublicPort"]) for port in container.get("Ports") or () if port.get("PublicPort")}
