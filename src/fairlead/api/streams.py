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
from typing import Any

from aiohttp import web

from fairlead.api.wire import encode
from fairlead.errors import ControllerError, FairleadError

HEARTBEAT_S = 5.0
_FIRST_LINE_S = 0.1

CLOSING: web.AppKey[asyncio.Event] = web.AppKey("closing", asyncio.Event)

log = logging.getLogger(__name__)


async def stream(request: web.Request, values: AsyncIterator[Any]) -> web.StreamResponse:
    """Send ``values`` as they come, until they end, the client goes, or the controller closes."""
    closing = asyncio.ensure_future(request.app[CLOSING].wait())
    turn = asyncio.ensure_future(anext(values))
    try:
        # An error that comes at once (no such project) still gets its own HTTP status.
        await asyncio.wait({turn}, timeout=_FIRST_LINE_S)
        if turn.done() and isinstance(error := turn.exception(), FairleadError):
            raise error
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while True:
            await asyncio.wait({turn, closing}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                await response.write(_last_line(_stopped()) if closing.done() else b"\n")
                if closing.done():
                    break
                continue
            line, over = _line_of(turn)
            await response.write(line)
            if over:
                break
            turn = asyncio.ensure_future(anext(values))
        await response.write_eof()
    except ConnectionError:
        # The client has gone; nobody is left to tell.
        return response
    finally:
        await _cancelled(closing)
        await _cancelled(turn)
        if close := getattr(values, "aclose", None):
            await close()
    return response


def _line_of(turn: asyncio.Future[Any]) -> tuple[bytes, bool]:
    """The line for what ``turn`` brought, and whether it is the last."""
    error = turn.exception()
    if error is None:
        return encode(turn.result()) + b"\n", False
    if isinstance(error, StopAsyncIteration):
        return b"", True
    if isinstance(error, FairleadError):
        return _last_line(error), True
    log.error("a stream broke off", exc_info=error)
    return _last_line(ControllerError("the stream broke off", hint="the controller's log says why")), True


def _last_line(error: FairleadError) -> bytes:
    return encode({"error": error.to_json()}) + b"\n"


def _stopped() -> FairleadError:
    return ControllerError(
        "the controller was stopped",
        hint="replicas and router go on; the next command starts it again",
    )


async def _cancelled(future: asyncio.Future[Any]) -> None:
    future.cancel()
    with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
        await future
