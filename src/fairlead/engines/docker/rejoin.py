"""A replica that somebody took off its network goes back on it, and the network is made again where it was removed.

Called by `watch` as the daemon tells of it. Which networks a replica belongs to, and under which names, is on its
container.
"""

from __future__ import annotations

import asyncio

from fairlead import logs
from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.docker.attachments import attachments_of
from fairlead.engines.docker.containers import all_of
from fairlead.engines.docker.recall import Recall
from fairlead.engines.docker.resources import ProjectResources
from fairlead.errors import EngineError
from fairlead.observed import ReplicaSpec

_log = logs.room("engines.docker.rejoin")


class Rejoin:
    """Mends one container at a time, in the background."""

    def __init__(self, client: Client, scope: str, recall: Recall, resources: ProjectResources) -> None:
        self._client = client
        self._scope = scope
        self._recall = recall
        self._resources = resources
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def soon(self, container_id: str) -> None:
        """``container_id`` was taken off a network: if it is a replica that runs, put it back."""
        if container_id in self._under_way:
            self._again.add(container_id)
            return
        task = asyncio.get_running_loop().create_task(self._mend(container_id), name=f"rejoin {container_id[:12]}")
        self._under_way[container_id] = task
        task.add_done_callback(lambda _: self._done(container_id))

    async def everywhere(self) -> None:
        """Whatever happened while nobody listened."""
        for container in await all_of(self._client, self._scope):
            if container["State"] == "running":
                self.soon(str(container["Id"]))

    def _done(self, container_id: str) -> None:
        self._under_way.pop(container_id, None)
        if container_id in self._again:
            self._again.discard(container_id)
            self.soon(container_id)

    async def close(self) -> None:
        self._again.clear()
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mend(self, container_id: str) -> None:
        try:
            detail = await self._client.get(f"/containers/{container_id}/json")
            spec = await self._recall.from_container(detail)
            if spec is not None and detail["State"]["Running"]:
                await self._connect(container_id, spec, set(detail["NetworkSettings"]["Networks"] or ()))
        except (ApiError, EngineError) as error:
            if isinstance(error, ApiError) and error.status == 404:
                return  # It went altogether.
            _log.warning("cannot be put back on its networks", container=container_id[:12], error=str(error))

    async def _connect(self, container_id: str, spec: ReplicaSpec, present: set[str]) -> None:
        attachments = attachments_of(spec.revision, spec.project, await self._client.api_version())
        for attachment in attachments:
            if attachment.name in present:
                continue
            await self._resources.ensure_networks(spec.project, [attachment.key], spec.revision.resources)
            body = {"Container": container_id, "EndpointConfig": dict(attachment.endpoint)}
            await self._client.post(f"/networks/{attachment.name}/connect", body)
            _log.warning("put back on its network", replica=spec.id, network=attachment.name)
