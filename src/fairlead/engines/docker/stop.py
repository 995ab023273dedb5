"""Ending a replica: its hooks, the signal, the grace, the kill; and removing what has ended.

Called by `engine`. The daemon's own `stop` counts whole seconds and takes no signal on older versions, so the steps
are taken one by one; each may be repeated after a crash.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.docker.containers import container_of
from fairlead.engines.docker.labels import pre_stop_of
from fairlead.engines.docker.observe import Observer
from fairlead.engines.docker.output import run_in
from fairlead.errors import EngineError

KILL_TIMEOUT_S = 30.0
REMOVE_TIMEOUT_S = 60.0
_ALIVE = ("running", "paused", "restarting")


class Stopper:
    def __init__(self, client: Client, scope: str, observer: Observer) -> None:
        self._client = client
        self._scope = scope
        self._observer = observer

    async def signal(self, replica_id: str, signal: str) -> None:
        container = await container_of(self._client, self._scope, replica_id)
        if container is not None and container["State"] in _ALIVE:
            await self._send(str(container["Id"]), signal)

    async def stop(self, replica_id: str, grace_s: float, signal: str | None) -> None:
        container = await container_of(self._client, self._scope, replica_id)
        if container is None or container["State"] not in _ALIVE:
            return
        container_id = str(container["Id"])
        self._observer.asked_to_end(container_id)
        ended = asyncio.ensure_future(self._ended(container_id))
        try:
            await self._end(container_id, container, grace_s, signal, ended)
        finally:
            ended.cancel()
            with suppress(asyncio.CancelledError, ApiError, EngineError):
                await ended

    async def remove(self, replica_id: str) -> None:
        container = await container_of(self._client, self._scope, replica_id)
        if container is None:
            return
        if container["State"] in _ALIVE:
            raise EngineError(f"{replica_id} still runs, so it is not removed", hint="stop it first")
        await self._delete(str(container["Id"]))

    async def _end(
        self,
        container_id: str,
        container: dict[str, Any],
        grace_s: float,
        signal: str | None,
        ended: asyncio.Future[None],
    ) -> None:
        if container["State"] == "paused":
            await self._unpause(container_id)
        deadline = asyncio.get_running_loop().time() + grace_s
        for hook in pre_stop_of(container["Labels"]):
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s > 0 and not ended.done():
                with suppress(ApiError, EngineError):
                    await run_in(self._client, container_id, hook, left_s)
        await self._send(container_id, signal or await self._stop_signal(container_id))
        left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
        if await _done(ended, left_s):
            return
        await self._send(container_id, "SIGKILL")
        if not await _done(ended, KILL_TIMEOUT_S):
            raise EngineError(f"{container_id[:12]} does not end though it was killed", hint="see the daemon's log")

    async def _stop_signal(self, container_id: str) -> str:
        detail = await self._client.get(f"/containers/{container_id}/json")
        return str(detail["Config"].get("StopSignal") or "SIGTERM")

    async def _ended(self, container_id: str) -> None:
        """Returns once the container does not run. Level-triggered: the daemon may restart while we wait."""
        while True:
            try:
                path = f"/containers/{container_id}/wait"
                async with self._client.stream("POST", path, condition="not-running") as response:
                    await response.read()
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            except EngineError:
                await asyncio.sleep(0.2)
                continue
            return

    async def _send(self, container_id: str, signal: str) -> None:
        try:
            await self._client.post(f"/containers/{container_id}/kill", signal=signal)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _unpause(self, container_id: str) -> None:
        with suppress(ApiError):
            await self._client.post(f"/containers/{container_id}/unpause")

    async def _delete(self, container_id: str) -> None:
        deadline = asyncio.get_running_loop().time() + REMOVE_TIMEOUT_S
        while True:
            try:
                await self._client.delete(f"/containers/{container_id}", v=True)
            except ApiError as error:
                if error.status == 404:
                    return
                if "failed to remove root filesystem" in error.message:
                    return  # something else has it open; the daemon calls the container dead and removes it later
                under_way = error.status == 409 and "already in progress" in error.message
                if not under_way or asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
                continue
            return


async def _done(ended: asyncio.Future[None], timeout_s: float) -> bool:
    done, _ = await asyncio.wait([ended], timeout=timeout_s)
    if not done:
        return False
    ended.result()
    return True
