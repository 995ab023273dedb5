"""One running HAProxy as a whole: is it there, which structure does it serve, start it, reload it.

Used by `router`, which decides what it should serve. A start or a reload counts as done when the new worker answers
with the structure's fingerprint, and as failed when the master says so; then the old configuration is put back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fairlead.errors import RouterError, RouterUnavailableError
from fairlead.routers.haproxy.api import Master, Processes, Worker
from fairlead.routers.haproxy.files import CANDIDATE, Files, write_beside
from fairlead.routers.haproxy.launch import Launcher
from fairlead.routers.haproxy.layout import Frontend
from fairlead.routers.haproxy.render import HOLD_LUA, Environment, config, fingerprint, hold_map

START_DEADLINE_S = 20.0
RELOAD_DEADLINE_S = 30.0
LOOK_AGAIN_S = 0.02
_LOOK_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class Live:
    """The running HAProxy: its processes, and the structure that its current worker serves."""

    processes: Processes
    worker: Worker
    mark: str


class Proxy:
    """Starts, reloads and looks at one HAProxy; ``files`` as this process sees them."""

    def __init__(self, files: Files, launcher: Launcher, environment: Environment) -> None:
        self.files = files
        self.launcher = launcher
        self.environment = environment
        self.master = Master(launcher.way)

    def serves(self, live: Live, wanted: Sequence[Frontend]) -> bool:
        """No reload is needed for ``wanted``."""
        return live.mark == fingerprint(wanted, self.environment)

    async def check_ports(self, wanted: Sequence[Frontend], live: Live | None) -> None:
        served = await live.worker.open_frontends() if live else frozenset()
        new = [frontend.listen for frontend in wanted if frontend.name not in served]
        if new:
            ours = await asyncio.to_thread(self.launcher.pids)
            for listen in new:
                await self.launcher.check_free(listen, ours)

    async def prepare(self, wanted: Sequence[Frontend]) -> None:
        """Everything but the configuration itself, and the configuration beside it, accepted by HAProxy."""
        write_beside(self.files.hold_lua, HOLD_LUA)
        self._write_hold_map(hold_map(wanted))
        candidate = self.files.config.with_name(CANDIDATE)
        write_beside(candidate, config(wanted, self.environment))
        await self.launcher.check(candidate)

    def _write_hold_map(self, wished: Mapping[str, str]) -> None:
        write_beside(self.files.hold_map, "".join(f"{name} {ms}\n" for name, ms in sorted(wished.items())))

    async def start(self, wanted: Sequence[Frontend]) -> Live:
        write_beside(self.files.config, config(wanted, self.environment))
        await self.launcher.start()
        serving = asyncio.create_task(self._until_serving(fingerprint(wanted, self.environment), START_DEADLINE_S))
        try:
            while not (await asyncio.wait([serving], timeout=_LOOK_AFTER_S))[0]:
                if not await self.launcher.alive():
                    raise RouterError("it ended at once")
            return await serving
        except RouterError as error:
            said = self.launcher.last_words() or error.message
            await self.launcher.stop()
            raise RouterError(f"HAProxy does not start: {said}") from None
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def reload(self, wanted: Sequence[Frontend], live: Live) -> Live:
        previous = self.files.config.read_text() if self.files.config.exists() else None
        write_beside(self.files.config, config(wanted, self.environment))
        try:
            await self.launcher.deliver()
            await self._ask_for_reload(live.processes)
            return await self._until_serving(fingerprint(wanted, self.environment), RELOAD_DEADLINE_S)
        except RouterError as error:
            if previous is not None:
                write_beside(self.files.config, previous)
            raise RouterError(f"HAProxy did not take the new listeners: {error.message}", hint=error.hint) from error

    async def _ask_for_reload(self, before: Processes) -> None:
        """2.6 answers before it has reloaded, later ones after; the counters of `show proc` tell in all of them."""
        try:
            await self.master.ask("reload")
        except RouterUnavailableError:
            pass  # the master replaces itself and may cut the asker off; what counts is read below
        async with deadline(RELOAD_DEADLINE_S, "HAProxy does not finish its reload"):
            while True:
                now = await self.processes()
                if now and now.reloads != before.reloads and now.failed:
                    raise RouterError(f"its reload failed: {self.launcher.last_words()}")
                if now and now.current is not None and now.current != before.current:
                    return
                if now is None and not await self.launcher.alive():
                    raise RouterError(f"it ended instead: {self.launcher.last_words()}")
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _until_serving(self, mark: str, deadline_s: float) -> Live:
        async with deadline(deadline_s, "HAProxy does not come up"):
            while True:
                live = await self.live()
                if live and live.mark == mark:
                    return live
                await asyncio.sleep(LOOK_AGAIN_S)

    async def processes(self) -> Processes | None:
        try:
            return await self.master.processes()
        except RouterError:
            return None

    async def live(self) -> Live | None:
        """The running HAProxy, None where none runs; waits while it is between two workers."""
        async with deadline(START_DEADLINE_S, "HAProxy's master has no worker"):
            while True:
                if not self.master.way.may_lead_there():
                    return None
                try:
                    processes = await self.master.processes()
                    if processes.current is not None:
                        worker = self.master.worker(processes.current)
                        mark = (await worker.info()).get("description", "").removeprefix("fairlead ")
                        return Live(processes, worker, mark)
                except RouterUnavailableError:
                    if not await self.launcher.alive():
                        return None
                await asyncio.sleep(LOOK_AGAIN_S)

    async def mark_now(self) -> str | None:
        live = await self.live()
        return live.mark if live else None

    async def set_holds(self, worker: Worker, wished: Mapping[str, str]) -> None:
        path = self.environment.files.hold_map
        present = {}
        for line in (await worker.ask(f"show map {path}")).splitlines():
            words = line.split()
            if len(words) == 3:
                present[words[1]] = words[2]
        differing = sorted(name for name in wished if present.get(name) != wished[name])
        for name in differing:
            verb = "set" if name in present else "add"
            await worker.order(f"{verb} map {path} {name} {wished[name]}")
        if differing:
            self._write_hold_map(wished)


@asynccontextmanager
async def deadline(seconds: float, otherwise: str) -> AsyncIterator[None]:
    """:raises RouterUnavailableError: it took longer; ``otherwise`` says what."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise RouterUnavailableError(f"{otherwise} within {seconds:g} s") from None
