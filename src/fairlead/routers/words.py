"""What happened to a proxy, told to whoever listens; bounded, the newest words win.

Used by the routers beside it for :meth:`~fairlead.routers.base.Router.events`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

_KEPT = 256


class Outage(str):
    """A word of which everybody should know whose requests go this way: some of them were lost, or will be."""

    __slots__ = ()


class Words:
    """Words told while nobody listened go to the first one who does."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[str]] = set()
        self._missed: deque[str] = deque(maxlen=_KEPT)

    def tell(self, word: str) -> None:
        if not self._listeners:
            self._missed.append(word)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(word)

    async def follow(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(_KEPT)
        while self._missed:
            queue.put_nowait(self._missed.popleft())
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
