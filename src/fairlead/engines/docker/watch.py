"""The daemon's events as ours, pushed; the stream is opened again whenever it ends.

Called by `engine`. Whatever was missed while nobody listened is covered by a `changed` event at every connection:
events are reasons to observe, and the observation is the fact.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.base import EngineEvent, EngineEventKind
from fairlead.engines.docker.labels import REPLICA, SCOPE
from fairlead.engines.docker.observe import exit_from
from fairlead.errors import EngineError

ACTIONS = ("start", "die", "oom", "health_status", "destroy", "pause", "unpause", "rename", "disconnect", "connect")
FIRST_RETRY_S = 0.1
MOST_RETRY_S = 2.0
MOST_REMEMBERED = 256


class Watch:
    """``changed`` is told of every container to which something happened, None meaning all of them."""

    def __init__(self, client: Client, scope: str, changed: Callable[[str | None], None]) -> None:
        self._client = client
        self._scope = scope
        self._changed = changed
        self._closed = False
        self._out_of_memory: dict[str, None] = {}

    async def events(self) -> AsyncIterator[EngineEvent]:
        delay_s, connected = FIRST_RETRY_S, False
        while not self._closed:
            try:
                async with self._client.stream("GET", "/events", filters=_filters()) as response:
                    delay_s, connected = FIRST_RETRY_S, True
                    self._changed(None)
                    yield _changed("listening to the Docker daemon")
                    async for line in _lines(response.content.iter_any()):
                        if event := self._event(json.loads(line)):
                            yield event
            except (EngineError, ApiError, ValueError) as error:
                if connected and not self._closed:
                    connected = False
                    yield _changed(f"the Docker daemon went away: {error}")
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MOST_RETRY_S)

    def close(self) -> None:
        self._closed = True

    def _event(self, value: Mapping[str, Any]) -> EngineEvent | None:
        actor = value.get("Actor") or {}
        attributes: Mapping[str, str] = actor.get("Attributes") or {}
        kind, action = str(value.get("Type")), str(value.get("Action"))
        if kind == "network":
            container_id = attributes.get("container")
            if container_id:
                self._changed(container_id)
                return None
            return _changed(f"network {attributes.get('name')}: {action}") if action == "destroy" else None
        if attributes.get(SCOPE) != self._scope or not (replica_id := attributes.get(REPLICA)):
            return None
        container_id = str(actor.get("ID"))
        self._changed(container_id)
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
                ended = exit_from(int(attributes.get("exitCode") or 0), oom=oom)
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
