"""The API's server: one aiohttp application on a unix socket that its owner alone may open.

Called by `controller.runtime`'s caller, which gives it the controller; one file a resource beside this one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from fairlead.api import (
    controller,
    down,
    events,
    exec,
    history,
    logs,
    operations,
    pauses,
    plan,
    processes,
    projects,
    releases,
    replicas,
    scale,
    stats,
    unix,
)
from fairlead.api.bodies import NOTICE_HEADER
from fairlead.api.streams import CLOSING
from fairlead.api.wire import CONTROLS, controls_of, error_reply
from fairlead.controller.controls import Controls
from fairlead.errors import FairleadError, NotFoundError, RefusedError, UsageError

LARGEST_BODY_BYTES = 32 * 2**20
CLOSE_TIMEOUT_S = 3.0
_TURNS_UNTIL_KNOWN = 4

_RESOURCES = (
    controller,
    down,
    events,
    exec,
    history,
    logs,
    operations,
    pauses,
    plan,
    processes,
    projects,
    releases,
    replicas,
    scale,
    stats,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


def create_app(controls: Controls) -> web.Application:
    """The application that serves ``controls``; every resource is under ``/v1``."""
    app = web.Application(client_max_size=LARGEST_BODY_BYTES, middlewares=[_errors])
    app[CONTROLS] = controls
    app[CLOSING] = asyncio.Event()
    app.on_shutdown.append(_close_streams)
    for resource in _RESOURCES:
        app.add_routes(resource.routes)
    return app


@asynccontextmanager
async def listening(controls: Controls, socket_path: Path) -> AsyncIterator[None]:
    """Serve ``controls`` on ``socket_path`` while the block runs.

    A socket that nobody answers on any more is taken away first.

    :raises ControllerError: another controller serves there.
    """
    with unix.listener(socket_path) as listener:
        # Without this limit a stream that nobody reads could hold up the controller's end.
        runner = web.AppRunner(create_app(controls), access_log=None, shutdown_timeout=CLOSE_TIMEOUT_S)
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            try:
                yield
            finally:
                await _accept_no_more(listener)
        finally:
            await runner.cleanup()


async def _accept_no_more(listener: socket.socket) -> None:
    """Take no new connection, and let those just taken become known to aiohttp, which closes what it knows.

    A connection whose set-up meets a closed server is dropped by asyncio without being closed.
    """
    asyncio.get_running_loop().remove_reader(listener)
    for _ in range(_TURNS_UNTIL_KNOWN):
        await asyncio.sleep(0)


async def serve(controls: Controls, socket_path: Path) -> None:
    """Serve ``controls`` on ``socket_path`` until cancelled; the rest as :func:`listening`."""
    async with listening(controls, socket_path):
        await asyncio.Event().wait()


async def _close_streams(app: web.Application) -> None:
    app[CLOSING].set()


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a resource raises into the wire form of an error; a traceback goes to the log alone."""
    try:
        response = await handler(request)
        notice = controls_of(request).notice()
        if notice and not response.prepared:
            response.headers[NOTICE_HEADER] = notice.encode("ascii", "backslashreplace").decode().replace("\n", " ")
        return response
    except FairleadError as error:
        return error_reply(error)
    except web.HTTPRequestEntityTooLarge:
        limit = LARGEST_BODY_BYTES // 2**20
        return error_reply(RefusedError(f"the request is larger than {limit} MiB"), 413)
    except web.HTTPNotFound:
        missing = NotFoundError(f"the API has no {request.path!r}", hint="is the controller of another version?")
        return error_reply(missing)
    except web.HTTPException as error:
        return error_reply(UsageError(f"{request.method} {request.path!r}: {error.reason}"), error.status)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error_reply(
            FairleadError("the controller met an error of its own", hint="its log has the details; please report it")
        )
