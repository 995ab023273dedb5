"""Idle kept-alive connections. Used by `requests`: it takes one, and gives it back when the answer was complete."""

from __future__ import annotations

import time
from collections import deque

from fairlead.load.connection import Connection

MAX_IDLE_S = 4.0
"""Well below what servers and proxies keep an idle connection for, as careful clients do."""


class Pool:
    """First in, first out, so that every connection goes on being used and an old one is often put to the test."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: deque[Connection] = deque()
        self.idle_closed = 0

    async def take(self) -> Connection:
        while self._idle:
            connection = self._idle.popleft()
            if not connection.is_fit():
                self.idle_closed += 1
            elif time.monotonic() - connection.idle_since_s <= MAX_IDLE_S:
                return connection
            connection.close()
        return await self.open()

    async def open(self) -> Connection:
        return await Connection.open(self._host, self._port)

    def give_back(self, connection: Connection) -> None:
        connection.idle_since_s = time.monotonic()
        self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.popleft().close()
