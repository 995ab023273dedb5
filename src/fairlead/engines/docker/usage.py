"""What replicas use: CPU seconds, memory, processes.

Called by `engine`. One sample without the daemon's one-second wait for a second one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.base import ReplicaStats
from fairlead.engines.docker.containers import all_of
from fairlead.engines.docker.labels import REPLICA


class Usage:
    def __init__(self, client: Client, scope: str) -> None:
        self._client = client
        self._scope = scope
        self._memory_of_host_bytes: int | None = None

    async def of(self, replica_ids: Sequence[str]) -> Mapping[str, ReplicaStats]:
        listed = await all_of(self._client, self._scope)
        running = {
            str(container["Labels"][REPLICA]): str(container["Id"])
            for container in listed
            if container["State"] == "running" and container["Labels"][REPLICA] in replica_ids
        }
        if self._memory_of_host_bytes is None:
            self._memory_of_host_bytes = int((await self._client.get("/info"))["MemTotal"])
        samples = await asyncio.gather(*(self._sample(container_id) for container_id in running.values()))
        return {replica_id: sample for replica_id, sample in zip(running, samples, strict=True) if sample is not None}

    async def _sample(self, container_id: str) -> ReplicaStats | None:
        try:
            value = await self._client.get(f"/containers/{container_id}/stats", **{"stream": False, "one-shot": True})
        except ApiError as error:
            if error.status in (404, 409):
                return None
            raise
        return self._stats(value)

    def _stats(self, value: Mapping[str, Any]) -> ReplicaStats | None:
        memory, cpu = value.get("memory_stats") or {}, value["cpu_stats"]["cpu_usage"]
        if not memory.get("usage"):
            return None
        detail = memory.get("stats") or {}
        cache = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
        limit = int(memory.get("limit") or 0)
        return ReplicaStats(
            cpu_s=int(cpu["total_usage"]) / 1e9,
            memory_bytes=max(int(memory["usage"]) - cache, 0),
            memory_limit_bytes=limit if 0 < limit < (self._memory_of_host_bytes or 0) else None,
            pids=(value.get("pids_stats") or {}).get("current"),
        )
