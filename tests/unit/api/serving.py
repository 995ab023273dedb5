"""The API's server on a real socket, in a thread of its own, beside tests that call it synchronously."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripted import ScriptedControls

from fairlead.api.server import listening

DEADLINE_S = 30.0


class Served:
    """Scripted controls behind a real server; every call into its loop has a deadline."""

    def __init__(self, socket_path: Path, **script: Any) -> None:
        self.socket_path = socket_path
        self._script = script
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="served")

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)
        return self

    def __exit__(self, *exc_info: object) -> None:
        # A test may have stopped the server by itself.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_S)

    def let_on(self, scenes: int = 1) -> None:
        for _ in range(scenes):
            self._loop.call_soon_threadsafe(self.controls.let_on)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.controls = ScriptedControls(**({"on_stop": self._stop.set} | self._script))
        async with listening(self.controls, self.socket_path):
            self._ready.set()
            await self._stop.wait()
