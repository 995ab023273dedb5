"""The HAProxy router: one HAProxy a home, started detached, driven by its Runtime API.

Made by the controller's assembly, called by `controller.execute` (apply, shed), `controller.observe` (observe,
traffic) and `controller.supervise` (supervise, events). Endpoints, weights and states change without a reload;
a reload happens only when the *structure* (listeners, rules, backends) differs from what the running worker has.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import resource
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fairlead.errors import PortTakenError, RouterError, RouterUnavailableError
from fairlead.routers.base import RouterCapabilities, TrafficSample
from fairlead.routers.haproxy import pool, ports
from fairlead.routers.haproxy.api import Master, Processes, Worker, WorkerGoneError
from fairlead.routers.haproxy.files import files_under, write_beside
from fairlead.routers.haproxy.launch import Launcher, LocalLauncher, find_binary
from fairlead.routers.haproxy.layout import Frontend, frontends
from fairlead.routers.haproxy.names import quoted, unquoted
from fairlead.routers.haproxy.render import HOLD_LUA, Environment, config, fingerprint, hold_map
from fairlead.routers.haproxy.state import Desired, load, save
from fairlead.routers.haproxy.status import Counters, PassiveHealth, WorkerReport, report, samples, statuses
from fairlead.routing import Route, RouteStatus

START_DEADLINE_S = 20.0
RELOAD_DEADLINE_S = 30.0
LOCK_DEADLINE_S = 60.0
_LOOK_AGAIN_S = 0.02
_SWEEP_EVERY_S = 0.5
_REVIVE_PAUSE_S = 0.5
_EVENTS_KEPT = 256
_MOST_CONNECTIONS = 20_000


@dataclass(frozen=True, slots=True)
class _Live:
    """The running HAProxy: its processes, and the structure that its current worker serves."""

    processes: Processes
    worker: Worker
    mark: str


class HAProxyRouter:
    """Implements :class:`fairlead.routers.base.Router`."""

    def __init__(
        self,
        home: Path,
        *,
        binary: str | None = None,
        launcher: Launcher | None = None,
        max_connections: int | None = None,
    ) -> None:
        self._files = files_under(home)
        self._launcher = launcher or LocalLauncher(self._files, find_binary(binary))
        self._environment = Environment(
            files=self._launcher.files,
            max_connections=max_connections or _max_connections(),
            dual_stack=ports.dual_stack(),
            drop_to=self._launcher.drop_to,
        )
        self._master = Master(self._files.master_socket)
        self._desired = load(self._files.state)
        self._busy = asyncio.Lock()
        self._started = asyncio.Event()
        self._counters = Counters()
        self._health = PassiveHealth()
        self._listeners: set[asyncio.Queue[str]] = set()
        self._missed: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._sweeper: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def launcher(self) -> Launcher:
        """How this HAProxy is run: for tests, and for a doctor that wants to know its processes."""
        return self._launcher

    @property
    def capabilities(self) -> RouterCapabilities:
        return RouterCapabilities(
            name="haproxy",
            lossless_changes=True,
            weights=True,
            holds_requests=True,
            sticky=True,
            tcp=True,
            counts_streams=True,
        )

    # ── change ──────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, project: str, routes: Sequence[Route]) -> None:
        async with self._exclusive():
            before = load(self._files.state)
            desired = before.with_project(project, routes, ports.free_port)
            wanted = frontends(desired)
            live = await self._live()
            if live is None and not desired.routes:
                self._keep(desired)
                return
            if live is None or live.mark != fingerprint(wanted, self._environment):
                await self._check_ports(wanted, live)
                await self._prepare(wanted)
            self._keep(desired)
            try:
                await self._realise(wanted, live)
            except RouterError:
                if live is None or await self._mark_now() == live.mark:
                    self._keep(before)
                raise

    async def _realise(self, wanted: Sequence[Frontend], live: _Live | None) -> None:
        if live is None:
            live = await self._start(wanted)
        elif live.mark != fingerprint(wanted, self._environment):
            live = await self._reload(wanted, live)
        await self._set_holds(live.worker, hold_map(wanted))
        await self._set_pools(live.worker, wanted)

    async def _set_pools(self, worker: Worker, wanted: Sequence[Frontend]) -> None:
        backends = await pool.running(worker)
        routes = [route for frontend in wanted for route in frontend.routes]
        changed = [route for route in routes if not _settled(route, backends)]
        for route in changed:
            await pool.change(worker, route, backends.get(quoted(route.key), {}))
        if not changed:
            return
        backends = await pool.running(worker)
        for route in changed:
            if wrong := pool.difference(route, backends.get(quoted(route.key), {})):
                raise RouterError(f"HAProxy does not serve {route.key} as told: {wrong}")
        if any(not _settled(route, backends) for route in changed):
            self._sweep_later()

    async def _set_holds(self, worker: Worker, wished: Mapping[str, str]) -> None:
        path = self._environment.files.hold_map
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

    # ── start and reload ────────────────────────────────────────────────────────────────────────────────────

    async def _check_ports(self, wanted: Sequence[Frontend], live: _Live | None) -> None:
        served = (await report(live.worker, current=True)).open_frontends if live else frozenset()
        new = [frontend.listen for frontend in wanted if frontend.name not in served]
        if new:
            ours = await asyncio.to_thread(self._launcher.pids)
            for listen in new:
                await asyncio.to_thread(ports.check_free, listen, ours)

    async def _prepare(self, wanted: Sequence[Frontend]) -> None:
        """Everything but the configuration itself, and the configuration beside it, accepted by HAProxy."""
        write_beside(self._files.hold_lua, HOLD_LUA)
        self._write_hold_map(hold_map(wanted))
        candidate = self._files.config.with_name("candidate.cfg")
        write_beside(candidate, config(wanted, self._environment))
        await self._launcher.check(candidate)

    def _write_hold_map(self, wished: Mapping[str, str]) -> None:
        write_beside(self._files.hold_map, "".join(f"{name} {ms}\n" for name, ms in sorted(wished.items())))

    async def _start(self, wanted: Sequence[Frontend]) -> _Live:
        write_beside(self._files.config, config(wanted, self._environment))
        await self._launcher.start()
        self._counters.forget()
        mark = fingerprint(wanted, self._environment)
        try:
            live = await self._until_serving(mark, START_DEADLINE_S)
        except RouterError:
            said = self._launcher.last_words()
            await self._launcher.stop()
            raise RouterError(f"HAProxy does not start: {said}") from None
        self._started.set()
        return live

    async def _reload(self, wanted: Sequence[Frontend], live: _Live) -> _Live:
        self._counters.add([await report(live.worker, current=True)])
        previous = self._files.config.read_text() if self._files.config.exists() else None
        write_beside(self._files.config, config(wanted, self._environment))
        try:
            await self._ask_for_reload(live.processes)
            return await self._until_serving(fingerprint(wanted, self._environment), RELOAD_DEADLINE_S)
        except RouterError as error:
            if previous is not None:
                write_beside(self._files.config, previous)
            raise RouterError(f"HAProxy did not take the new listeners: {error.message}", hint=error.hint) from error

    async def _ask_for_reload(self, before: Processes) -> None:
        """2.6 answers before it has reloaded, later ones after; the counters of `show proc` tell in all of them."""
        try:
            await self._master.ask("reload")
        except RouterUnavailableError:
            pass  # the master replaces itself and may cut the asker off; what counts is read below
        async with _deadline(RELOAD_DEADLINE_S, "HAProxy does not finish its reload"):
            while True:
                now = await self._processes()
                if now and now.reloads != before.reloads and now.failed:
                    raise RouterError(f"its reload failed: {self._launcher.last_words()}")
                if now and now.current is not None and now.current != before.current:
                    return
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _until_serving(self, mark: str, deadline_s: float) -> _Live:
        async with _deadline(deadline_s, "HAProxy does not come up"):
            while True:
                live = await self._live()
                if live and live.mark == mark:
                    return live
                await asyncio.sleep(_LOOK_AGAIN_S)

    # ── look ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _processes(self) -> Processes | None:
        try:
            return await self._master.processes()
        except RouterError:
            return None

    async def _live(self) -> _Live | None:
        """The running HAProxy, None where none runs; waits while it is between two workers."""
        async with _deadline(START_DEADLINE_S, "HAProxy's master has no worker"):
            while True:
                if not self._files.master_socket.exists():
                    return None
                try:
                    processes = await self._master.processes()
                    if processes.current is not None:
                        worker = self._master.worker(processes.current)
                        mark = (await worker.info()).get("description", "").removeprefix("fairlead ")
                        return _Live(processes, worker, mark)
                except RouterUnavailableError:
                    if not await asyncio.to_thread(self._launcher.pids):
                        return None
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _mark_now(self) -> str | None:
        live = await self._live()
        return live.mark if live else None

    async def _reports(self) -> list[WorkerReport]:
        """Every worker's report, the current one first; empty where no HAProxy runs."""
        async with _deadline(RELOAD_DEADLINE_S, "HAProxy's workers do not answer"):
            while True:
                live = await self._live()
                if live is None:
                    return []
                try:
                    reports = [await report(live.worker, current=True)]
                    for pid in live.processes.old:
                        reports.append(await report(self._master.worker(pid), current=False))  # noqa: PERF401
                except WorkerGoneError:
                    await asyncio.sleep(_LOOK_AGAIN_S)  # it ended in between: the next list has it no more
                else:
                    self._counters.add(reports)
                    return reports

    async def observe(self, project: str) -> Mapping[str, RouteStatus]:
        reports = await self._reports()
        if not reports:
            return {}
        now_s = asyncio.get_running_loop().time()
        failing, words = self._health.look(self._counters, reports[0].rows.keys(), now_s)
        for word in words:
            self._tell(word)
        return statuses(project, self._desired, reports[0], reports[1:], failing)

    async def traffic(self, project: str) -> tuple[TrafficSample, ...]:
        reports = await self._reports()
        return samples(project, reports, self._counters) if reports else ()

    async def shed(self, project: str, replica_id: str, share: float) -> int:
        live = await self._live()
        if live is None:
            return 0
        server = quoted(replica_id)
        found = []
        for pid in (*live.processes.old, live.processes.current):
            worker = self._master.worker(pid) if pid else live.worker
            try:
                sessions = await worker.sessions()
            except WorkerGoneError:
                continue  # with all its sessions
            found += [
                (session.age_s, session.id, worker)
                for session in sessions
                if session.server == server and unquoted(session.backend).startswith(f"{project}/")
            ]
        # The oldest first: those are the streams, short requests end by themselves.
        found.sort(key=lambda item: (-item[0], item[1]))
        chosen = found[: math.ceil(len(found) * min(1.0, max(0.0, share)))]
        for _, session_id, worker in chosen:
            await worker.order(f"shutdown session {session_id}", "No such session")
        return len(chosen)

    # ── keep alive ──────────────────────────────────────────────────────────────────────────────────────────

    async def events(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(_EVENTS_KEPT)
        while self._missed:
            queue.put_nowait(self._missed.popleft())
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def _tell(self, word: str) -> None:
        if not self._listeners:
            self._missed.append(word)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()  # the newest say more than the oldest
            queue.put_nowait(word)

    async def supervise(self) -> None:
        while True:
            processes = await self._processes()
            if processes is not None:
                await self._launcher.ended(processes.master_pid)
                continue
            self._started.clear()
            if not self._desired.routes or self._ended:
                await self._started.wait()
                continue
            try:
                await self._revive()
            except RouterError as error:
                self._tell(f"haproxy cannot be brought back: {error.message}")
                await asyncio.sleep(_REVIVE_PAUSE_S)

    async def _revive(self) -> None:
        async with self._exclusive():
            if await self._live() is not None:
                return
            self._tell("haproxy ended")
            await self._launcher.stop()
            desired = load(self._files.state)
            wanted, lost = await self._without_taken(frontends(desired))
            if wanted:
                await self._prepare(wanted)
                live = await self._start(wanted)
                await self._set_pools(live.worker, wanted)
                self._tell("haproxy was brought back")
            for problem in lost:
                self._tell(f"haproxy could not take a listener back: {problem}")
            if not wanted:
                raise RouterError("no listener is free")

    async def _without_taken(self, wanted: Sequence[Frontend]) -> tuple[list[Frontend], list[str]]:
        """A port that somebody took meanwhile must not keep every other route down."""
        kept, lost = [], []
        for frontend in wanted:
            try:
                await asyncio.to_thread(ports.check_free, frontend.listen, frozenset())
                kept.append(frontend)
            except PortTakenError as error:
                lost.append(error.message)
        return kept, lost

    def _sweep_later(self) -> None:
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        """Delete servers that left their pool as soon as nothing uses them."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            try:
                async with self._exclusive():
                    if not await self._sweep_once():
                        return
            except RouterError as error:
                self._tell(f"haproxy keeps a server that has left: {error.message}")
                return

    async def _sweep_once(self) -> bool:
        """Is there still something to delete?"""
        live = await self._live()
        if live is None:
            return False
        backends = await pool.running(live.worker)
        busy = False
        for route in self._desired.routes:
            present = backends.get(quoted(route.key), {})
            left = sorted(present.keys() - {quoted(endpoint.replica_id) for endpoint in route.endpoints})
            if left and await pool.remove(live.worker, quoted(route.key), left):
                busy = True
        return busy

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None

    async def shutdown(self) -> None:
        async with self._exclusive():
            if not load(self._files.state).routes:
                await self._launcher.stop()
        await self.close()

    # ── state ───────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, desired: Desired) -> None:
        if desired != load(self._files.state):
            save(self._files.state, desired)
        self._desired = desired

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        """One change at a time: in this process by a lock, beside another controller by a file lock.

        The kernel lets a file lock go with its process, so none is ever left behind.
        """
        async with self._busy:
            descriptor = os.open(self._files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                async with _deadline(LOCK_DEADLINE_S, "another controller is changing the same HAProxy"):
                    while not _lock(descriptor):
                        await asyncio.sleep(_LOOK_AGAIN_S)
                yield
            finally:
                os.close(descriptor)


def _settled(route: Route, backends: pool.Backends) -> bool:
    """Exactly the wished servers, without leftovers?"""
    present = backends.get(quoted(route.key), {})
    return not pool.difference(route, present) and len(present) == len(route.endpoints)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def _deadline(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise RouterUnavailableError(f"{otherwise} within {seconds:g} s") from None


def _max_connections() -> int:
    """Each connection takes two descriptors, and HAProxy itself some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    usable = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    return max(100, min(_MOST_CONNECTIONS, (usable - 200) // 3))
