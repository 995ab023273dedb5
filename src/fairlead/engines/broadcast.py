"""Events to any number of consumers, none of whom can hold up an engine or another. Used by the adapters beside it."""

from __future__ import annotations

import asyncio
from weakref import WeakSet

from fairlead.engines.base import EngineEvent


class EventStream:
    """One consumer's queue. Of each kind and replica only the latest event waits, so it is bounded by itself."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], EngineEvent] = {}
        self._news = asyncio.Event()
        self._closed = False

    def put(self, event: EngineEvent) -> None:
        key = (event.replica_id, event.kind.value)
        self._waiting.pop(key, None)
        self._waiting[key] = event
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> EngineEvent:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.pop(next(iter(self._waiting)))


class Broadcast:
    """Holds its consumers weakly: one that is dropped costs nothing more."""

    def __init__(self) -> None:
        self._streams: WeakSet[EventStream] = WeakSet()
        self._closed = False

    def subscribe(self) -> EventStream:
        stream = EventStream()
        self._streams.add(stream)
        if self._closed:
            stream.close()
        return stream

    def publish(self, event: EngineEvent) -> None:
        for stream in list(self._streams):
            stream.put(event)

    def close(self) -> None:
        self._closed = True
        for stream in list(self._streams):
            stream.close()
