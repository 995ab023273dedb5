"""Websockets and event streams: each has a planned deadline, and whoever ends it earlier has failed it.

Called by `run`, one task for each stream that is to be open all the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from fairlead.load import checks
from fairlead.load.connection import Connection
from fairlead.load.plan import Kind, LoadPlan
from fairlead.load.report import FailureKind, Fault, Report
from fairlead.load.websocket import WebSocket


@dataclass(slots=True)
class Streams:
    """Lives of streams of one plan. ``over``: set when the run ends, which is every stream's own deadline too."""

    plan: LoadPlan
    report: Report
    over: asyncio.Event

    async def once(self, kind: Kind, nonce: str, life_s: float) -> None:
        """:raises Fault: it ended before ``life_s``, or said something wrong."""
        deadline_s = time.monotonic() + life_s
        async with self._patience("a connection"):
            connection = await Connection.open(self.plan.host, self.plan.port)
        try:
            live = self._websocket if kind is Kind.WEBSOCKET else self._event_stream
            await live(connection, nonce, deadline_s)
        finally:
            connection.close()

    async def _websocket(self, connection: Connection, nonce: str, deadline_s: float) -> None:
        async with self._patience("the handshake"):
            socket = await WebSocket.open(connection, f"{self.plan.base}/ws")
        listening = asyncio.ensure_future(socket.receive())
        identity, number = None, 0
        try:
            while not self._is_over(deadline_s):
                socket.send(f"{nonce}.{number}")
                async with self._patience(f"the echo of message {number}"):
                    message = await asyncio.shield(listening)
                identity = checks.check_message(self.plan, message, {"echo": f"{nonce}.{number}"}, identity)
                self.report.kinds[Kind.WEBSOCKET].messages += 1
                number += 1
                # Listening goes on between two messages, so that an end is seen when it comes.
                listening = asyncio.ensure_future(socket.receive())
                await asyncio.wait({listening}, timeout=self._beat_s(deadline_s))
                if listening.done():
                    raise Fault(FailureKind.NONCE, f"a message nobody asked for: {listening.result()[:80]!r}")
            socket.say_goodbye()
        except Fault as fault:
            fault.replica = identity[1] if identity else ""
            raise
        finally:
            listening.cancel()
            await asyncio.wait({listening})

    async def _event_stream(self, connection: Connection, nonce: str, deadline_s: float) -> None:
        target = f"{self.plan.base}/events?beat={self.plan.beat_s:g}&nonce={nonce}"
        connection.send("GET", target, {"Accept": "text/event-stream", "X-Nonce": nonce})
        async with self._patience("the head"):
            head = await connection.head()
        identity = checks.check_head(self.plan, head, nonce)
        number = 0
        try:
            async with aclosing(_events(connection.body(head))) as events:
                while not self._is_over(deadline_s):
                    data = await self._next(events, number)
                    checks.check_message(self.plan, data, {"n": number, "nonce": nonce}, identity)
                    self.report.kinds[Kind.EVENTS].messages += 1
                    number += 1
        except Fault as fault:
            fault.replica = identity[1]
            raise

    async def _next(self, events: AsyncIterator[bytes], number: int) -> bytes:
        try:
            async with self._patience(f"event {number}"):
                return await anext(events)
        except StopAsyncIteration as error:
            raise Fault(FailureKind.CLOSED, f"the server ended it after {number} events") from error
        except Fault as fault:
            if fault.kind is FailureKind.TRUNCATED:
                raise Fault(FailureKind.CUT, f"{fault.cause}, after {number} events") from fault
            raise

    @asynccontextmanager
    async def _patience(self, awaited: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                yield
        except TimeoutError as error:
            raise Fault(FailureKind.TIMEOUT, f"{awaited} did not come in {self.plan.timeout_s:g} s") from error

    def _is_over(self, deadline_s: float) -> bool:
        return self.over.is_set() or time.monotonic() >= deadline_s

    def _beat_s(self, deadline_s: float) -> float:
        return max(0.0, min(self.plan.beat_s, deadline_s - time.monotonic()))


async def _events(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The ``data`` of each event, however the body was cut into parts."""
    pending = b""
    async for part in parts:
        *complete, pending = (pending + part).split(b"\n\n")
        for event in complete:
            lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
            if lines:
                yield b"\n".join(lines)
