"""The controller's process: lock, log, store, controller and API put together.

Called by `fairlead controller run`.
"""

from __future__ import annotations

import asyncio
import os
import signal

from fairlead import __version__, logs
from fairlead.api.server import listening
from fairlead.clock import SteadyClock
from fairlead.controller.lock import held_lock
from fairlead.controller.runtime import Controller
from fairlead.errors import StoreConflictError
from fairlead.settings import Settings
from fairlead.store.base import Store
from fairlead.store.sqlite import SqliteStore

_log = logs.room("controller")


def run(settings: Settings) -> int:
    """Run the controller in this process until it is asked to end; the exit status.

    :raises ControllerError: another one runs in this home.
    :raises StoreError: the state cannot be read or written.
    """
    settings.prepare()
    with logs.written_to(settings.log_path, settings.log_level), held_lock(settings.home / "controller.lock"):
        store, notices = SqliteStore.open(settings.database_path)
        for notice in notices:
            _log.warning("store", notice=notice)
        return _run_until_superseded(settings, store)


def _run_until_superseded(settings: Settings, store: Store) -> int:
    status = 0
    try:
        asyncio.run(_serve(settings, store))
    except* StoreConflictError:
        _log.error("another controller has taken over: this one ends")
        status = StoreConflictError.exit_code
    return status


async def _serve(settings: Settings, store: Store) -> None:
    controller = Controller(settings, store, SteadyClock(), os.environ.get("FAIRLEAD_CRASH_AT", ""))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, controller.end)
    _log.info("runs", pid=os.getpid(), home=settings.home, version=__version__)
    async with listening(controller, settings.socket_path):
        await controller.work()
    _log.info("ends")
