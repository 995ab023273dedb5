"""How values and errors cross the wire: JSON bodies, one HTTP status for each branch of the error tree.

Called by every resource of `api` and by the error middleware of `api.server`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from fairlead.controller.controls import Controls
from fairlead.errors import (
    ControllerError,
    DeadlineError,
    EngineError,
    FairleadError,
    NotFoundError,
    RefusedError,
    ReleaseFailedError,
    RouterError,
    SpecError,
    StoreError,
    UsageError,
)

Value = TypeVar("Value")

CONTROLS: web.AppKey[Controls] = web.AppKey("controls")

_STATUS: tuple[tuple[type[FairleadError], int], ...] = (
    (UsageError, 400),
    (SpecError, 422),
    (NotFoundError, 404),
    (RefusedError, 409),
    (ReleaseFailedError, 409),
    (ControllerError, 503),
    (StoreError, 503),
    (EngineError, 502),
    (RouterError, 502),
    (DeadlineError, 504),
)


def status_of(error: FairleadError) -> int:
    """The HTTP status of ``error``; 500 for the root of the tree."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def encode(value: Any) -> bytes:
    """``value`` as JSON, in the shape that :func:`msgspec.to_builtins` gives it."""
    return msgspec.json.encode(value)


def reply(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=encode(value), status=status, content_type="application/json")


def error_reply(error: FairleadError, status: int | None = None) -> web.Response:
    return reply(error.to_json(), status_of(error) if status is None else status)


def controls_of(request: web.Request) -> Controls:
    return request.app[CONTROLS]


async def body_of(request: web.Request, kind: type[Value]) -> Value:
    """The request's body.

    :raises UsageError: it is not JSON of that shape.
    """
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the body of the request cannot be read: {error}") from error


def number_of(request: web.Request, name: str) -> int | None:
    """A whole number of the query, None where it is not given.

    :raises UsageError: it is something else.
    """
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UsageError(f"`{name}` must be a whole number from 0 up, not {text[:40]!r}")
    return int(text)


def flag_of(request: web.Request, name: str) -> bool:
    """A switch of the query: absent, ``0`` and ``false`` are off.

    :raises UsageError: it is something else.
    """
    text = request.query.get(name, "0").lower()
    if text not in _FLAGS:
        raise UsageError(f"`{name}` must be 1 or 0, not {text[:40]!r}")
    return _FLAGS[text]


_FLAGS = {"0": False, "false": False, "1": True, "true": True}
