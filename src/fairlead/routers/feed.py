"""What happened to a proxy, told to whoever listens; bounded, the newest events win.

Used by the routers beside it for :meth:`~fairlead.routers.base.Router.events`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from fairlead.routers.base import RouterEvent, RouterEventKind

_KEPT = 256


class Feed:
    """Events told while nobody listened go to the first one who does."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[RouterEvent]] = set()
        self._missed: deque[RouterEvent] = deque(maxlen=_KEPT)

    def tell(self, message: str, kind: RouterEventKind = RouterEventKind.CHANGED) -> None:
        event = RouterEvent(kind=kind, message=message)
        if not self._listeners:
            self._missed.append(event)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def follow(self) -> AsyncIterator[RouterEvent]:
        queue: asyncio.Queue[RouterEvent] = asyncio.Queue(_KEPT)
        while self._missed:
            queue.put_nowait(self._missed.popleft())
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
