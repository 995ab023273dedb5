"""The daemon's events as ours, pushed; the stream is opened again whenever it ends.

Called by `engine`. Whatever was missed while nobody listened is covered by a `changed` event at every connection:
events are reasons to observe, and the observation is the fact.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.scope import SCOPE
from fairlead.engines.base import EngineEvent, EngineEventKind
from fairlead.engines.broadcast import Broadcast, EventStream
from fairlead.engines.docker.labels import REPLICA
from fairlead.engines.docker.observe import Observer, exit_from
from fairlead.engines.docker.rejoin import Rejoin
from fairlead.errors import EngineError

ACTIONS = ("start", "die", "oom", "health_status", "destroy", "pause", "unpause", "rename", "disconnect", "connect")
FIRST_RETRY_S = 0.1
MOST_RETRY_S = 2.0
CONNECT_TIMEOUT_S = 10.0
MOST_REMEMBERED = 256


class Watch:
    """One stream for all consumers. ``observer`` is told of every container to which something happened.

    ``rejoin`` is told of those that were taken off a network.
    """

    def __init__(self, client: Client, scope: str, observer: Observer, rejoin: Rejoin) -> None:
        self._client = client
        self._scope = scope
        self._observer = observer
        self._rejoin = rejoin
        self._broadcast = Broadcast()
        self._connected = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False
        self._out_of_memory: dict[str, None] = {}

    def subscribe(self) -> EventStream:
        if self._pump is None and not self._closed:
            self._pump = asyncio.get_running_loop().create_task(self._pump_events(), name="docker events")
        return self._broadcast.subscribe()

    async def listening(self) -> None:
        """Whoever subscribed hears of what happens from now on; a daemon that is away is not waited for."""
        if self._pump is not None and not self._connected.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connected.wait()

    async def close(self) -> None:
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._rejoin.close()
        self._broadcast.close()

    async def _pump_events(self) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                async with self._client.stream("GET", "/events", filters=_filters()) as response:
                    delay_s = FIRST_RETRY_S
                    self._observer.changed_everywhere()
                    self._connected.set()
                    self._broadcast.publish(_changed("listening to the Docker daemon"))
                    await self._rejoin.everywhere()
                    async for line in _lines(response.content.iter_any()):
                        if event := self._event(json.loads(line)):
                            self._broadcast.publish(event)
                self._lost("it ended the stream of events")
            except (EngineError, ApiError, ValueError) as error:
                self._lost(str(error))
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MOST_RETRY_S)

    def _lost(self, why: str) -> None:
        if self._connected.is_set():
            self._connected.clear()
            self._broadcast.publish(_changed(f"the Docker daemon went away: {why}"))

    def _event(self, value: Mapping[str, Any]) -> EngineEvent | None:
        actor = value.get("Actor") or {}
        attributes: Mapping[str, str] = actor.get("Attributes") or {}
        kind, action = str(value.get("Type")), str(value.get("Action"))
        if kind == "network":
            container_id = attributes.get("container")
            if container_id:
                if action == "disconnect":
                    self._rejoin.soon(container_id)
                self._observer.changed(container_id)
                return None
            return _changed(f"network {attributes.get('name')}: {action}") if action == "destroy" else None
        if attributes.get(SCOPE) != self._scope or not (replica_id := attributes.get(REPLICA)):
            return None
        container_id = str(actor.get("ID"))
        self._observer.changed(container_id)
        return self._container_event(replica_id, container_id, action, attributes)

    def _container_event(
        self, replica_id: str, container_id: str, action: str, attributes: Mapping[str, str]
    ) -> EngineEvent | None:
        match action.partition(":")[0]:
            case "start":
                return EngineEvent(kind=EngineEventKind.STARTED, replica_id=replica_id)
            case "oom":
                self._remember(container_id)
                return None
            case "die":
                oom = container_id in self._out_of_memory
                self._out_of_memory.pop(container_id, None)
                code = int(attributes.get("exitCode") or 0)
                ended = exit_from(code, oom=oom, asked=self._observer.was_asked(container_id))
                return EngineEvent(kind=EngineEventKind.EXITED, replica_id=replica_id, exit=ended, detail=str(ended))
            case "health_status":
                detail = action.partition(":")[2].strip()
                return EngineEvent(kind=EngineEventKind.HEALTH, replica_id=replica_id, detail=detail)
            case _:
                return EngineEvent(kind=EngineEventKind.CHANGED, replica_id=replica_id, detail=action)

    def _remember(self, container_id: str) -> None:
        self._out_of_memory[container_id] = None
        while len(self._out_of_memory) > MOST_REMEMBERED:
            self._out_of_memory.pop(next(iter(self._out_of_memory)))


def _filters() -> dict[str, list[str]]:
    return {"type": ["container", "network"], "event": list(ACTIONS)}


def _changed(detail: str) -> EngineEvent:
    return EngineEvent(kind=EngineEventKind.CHANGED, replica_id="", detail=detail)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
