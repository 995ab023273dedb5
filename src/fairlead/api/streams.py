"""Streams of JSON lines that can go on for ever: events and logs.

Called by `api.events` and `api.logs`. Each line is one value. An empty line is a heartbeat, by which either
side learns within seconds that the other is gone. A stream that breaks off for a reason says it in a last
line ``{"error": {…}}``, the wire form of :class:`~fairlead.errors.FairleadError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from fairlead.api.wire import encode
from fairlead.errors import ControllerError, FairleadError

HEARTBEAT_S = 5.0
_FIRST_LINE_S = 0.1
_WAITING_LINES = 100

CLOSING: web.AppKey[asyncio.Event] = web.AppKey("closing", asyncio.Event)

log = logging.getLogger(__name__)


async def stream(request: web.Request, values: AsyncIterator[Any]) -> web.StreamResponse:
    """Send ``values`` as they come, until they end, the client goes, or the controller closes."""
    lines: asyncio.Queue[_Line] = asyncio.Queue(_WAITING_LINES)
    # One task does all the iterating: a generator may hold what must be let go of by the task that took it.
    pump = asyncio.create_task(_pump(values, lines))
    closing = asyncio.create_task(request.app[CLOSING].wait())
    turn = asyncio.create_task(lines.get())
    try:
        # An error that comes at once (no such project) still gets its own HTTP status.
        await asyncio.wait({turn}, timeout=_FIRST_LINE_S)
        if turn.done() and (error := turn.result().error) is not None:
            raise error
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while True:
            await asyncio.wait({turn, closing}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                # First: what never pauses would not let it be said, and its follower would start a controller again.
                line = _Line(error=_stopped(), last=True)
            elif turn.done():
                line = turn.result()
                turn = asyncio.create_task(lines.get())
            else:
                line = _Line(b"\n")
            await response.write(line.text if line.error is None else _last_line(line.error))
            if line.last:
                break
        await response.write_eof()
    except ConnectionError:
        # The client has gone; nobody is left to tell.
        return response
    finally:
        for task in (turn, closing, pump):
            await _cancelled(task)
    return response


@dataclass(frozen=True, slots=True)
class _Line:
    text: bytes = b""
    error: FairleadError | None = None
    last: bool = False


async def _pump(values: AsyncIterator[Any], lines: asyncio.Queue[_Line]) -> None:
    """Hand ``values`` over as lines, and how they ended as the last."""
    error: FairleadError | None = None
    try:
        async for value in values:
            await lines.put(_Line(encode(value) + b"\n"))
    except FairleadError as found:
        error = found
    except Exception:
        log.exception("a stream broke off")
        error = ControllerError("the stream broke off", hint="the controller's log says why")
    await lines.put(_Line(error=error, last=True))


def _last_line(error: FairleadError) -> bytes:
    return encode({"error": error.to_json()}) + b"\n"


def _stopped() -> FairleadError:
    return ControllerError(
        "the controller was stopped",
        hint="replicas and router go on; the next command starts it again",
    )


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
