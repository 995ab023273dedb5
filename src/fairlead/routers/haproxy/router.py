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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fairlead.errors import PortTakenError, RouterError
from fairlead.routers.base import RouterCapabilities, RouterEvent, RouterEventKind, TrafficSample
from fairlead.routers.feed import Feed
from fairlead.routers.haproxy import pool, ports
from fairlead.routers.haproxy.api import Worker, WorkerGoneError
from fairlead.routers.haproxy.binary import find_binary
from fairlead.routers.haproxy.files import files_under
from fairlead.routers.haproxy.launch import Launcher, LocalLauncher
from fairlead.routers.haproxy.layout import Frontend, frontends
from fairlead.routers.haproxy.names import quoted, unquoted
from fairlead.routers.haproxy.proxy import LOOK_AGAIN_S, RELOAD_DEADLINE_S, Live, Proxy, deadline
from fairlead.routers.haproxy.record import recorded
from fairlead.routers.haproxy.render import Environment, hold_map
from fairlead.routers.haproxy.state import DamagedStateError, Desired, load, save, set_aside
from fairlead.routers.haproxy.status import Counters, PassiveHealth, WorkerReport, report, samples, statuses
from fairlead.routing import Reach, Route, RouteStatus

LOCK_DEADLINE_S = 60.0
CAPABILITIES = RouterCapabilities(
    name="haproxy",
    lossless_changes=True,
    weights=True,
    holds_requests=True,
    sticky=True,
    tcp=True,
    counts_streams=True,
)
_SWEEP_EVERY_S = 0.5
_REVIVE_PAUSE_S = 0.5
_MOST_CONNECTIONS = 20_000


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
        environment = Environment(
            files=self._launcher.files,
            max_connections=max_connections or _max_connections(),
            dual_stack=self._launcher.dual_stack,
            drop_to=self._launcher.drop_to,
        )
        self._proxy = Proxy(self._files, self._launcher, environment)
        self._busy = asyncio.Lock()
        self._started = asyncio.Event()
        self._counters = Counters()
        self._health = PassiveHealth()
        self._feed = Feed()
        self._told: set[str] = set()
        self._desired = Desired()
        self._desired = self._stored()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def launcher(self) -> Launcher:
        """How this HAProxy is run: for tests, and for a doctor that wants to know its processes."""
        return self._launcher

    @property
    def is_idle(self) -> bool:
        """Whether it has no route to serve."""
        return not self._desired.routes

    @property
    def capabilities(self) -> RouterCapabilities:
        return CAPABILITIES

    async def reach(self) -> Reach | None:
        """Replicas are on this machine."""
        return None

    # ── change ──────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, project: str, routes: Sequence[Route]) -> None:
        async with self._exclusive():
            live = await self._proxy.live()
            before = await self._known(live)
            desired = before.with_project(project, routes, ports.free_port)
            wanted = frontends(desired)
            if live is None and not desired.routes:
                self._keep(desired)
                return
            if live is None:
                # One that nobody can reach any more (its sockets were deleted) still holds the ports.
                await self._launcher.stop()
            if live is None or not self._proxy.serves(live, wanted):
                await self._proxy.check_ports(wanted, live)
                await self._proxy.prepare(wanted)
            self._keep(desired)
            try:
                await self._realise(wanted, live)
            except RouterError:
                if live is None or await self._proxy.mark_now() in (live.mark, None):
                    self._keep(before)
                raise

    async def _realise(self, wanted: Sequence[Frontend], live: Live | None) -> None:
        if live is None:
            live = await self._start(wanted)
        elif not self._proxy.serves(live, wanted):
            self._counters.add([await report(live.worker, current=True)])
            live = await self._proxy.reload(wanted, live)
        await self._proxy.set_holds(live.worker, hold_map(wanted))
        await self._set_pools(live.worker, wanted)

    async def _start(self, wanted: Sequence[Frontend]) -> Live:
        live = await self._proxy.start(wanted)
        self._counters.forget()
        self._started.set()
        return live

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

    # ── look ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _reports(self) -> list[WorkerReport]:
        """Every worker's report, the current one first; empty where no HAProxy runs."""
        async with deadline(RELOAD_DEADLINE_S, "HAProxy's workers do not answer"):
            while True:
                live = await self._proxy.live()
                if live is None:
                    return []
                try:
                    reports = [await report(live.worker, current=True)]
                    for pid in live.processes.old:
                        reports.append(await report(self._proxy.master.worker(pid), current=False))  # noqa: PERF401
                except WorkerGoneError:
                    await asyncio.sleep(LOOK_AGAIN_S)  # it ended in between: the next list has it no more
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
            self._feed.tell(word)
        return statuses(project, self._desired, reports[0], reports[1:], failing)

    async def traffic(self, project: str) -> tuple[TrafficSample, ...]:
        reports = await self._reports()
        return samples(project, reports, self._counters) if reports else ()

    async def shed(self, project: str, replica_id: str, share: float) -> int:
        live = await self._proxy.live()
        if live is None:
            return 0
        server = quoted(replica_id)
        found = []
        for pid in (*live.processes.old, live.processes.current):
            worker = self._proxy.master.worker(pid) if pid else live.worker
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

    def events(self) -> AsyncIterator[RouterEvent]:
        return self._feed.follow()

    async def supervise(self) -> None:
        while True:
            processes = await self._proxy.processes()
            if processes is not None:
                self._told.clear()
                await self._launcher.ended(processes.master_pid)
                continue
            self._started.clear()
            if not self._desired.routes:
                await self._started.wait()
                continue
            try:
                await self._revive()
            except RouterError as error:
                self._tell(f"haproxy cannot be brought back: {error.message}")
                await asyncio.sleep(_REVIVE_PAUSE_S)

    async def _revive(self) -> None:
        async with self._exclusive():
            if await self._proxy.live() is not None:
                return
            self._tell("haproxy ended")
            await self._launcher.stop()
            desired = self._stored()
            wanted, lost = await self._without_taken(frontends(desired))
            if wanted:
                await self._proxy.prepare(wanted)
                live = await self._start(wanted)
                await self._set_pools(live.worker, wanted)
                self._tell("haproxy was brought back")
            for problem in lost:
                self._tell(f"haproxy could not take a listener back: {problem}")
            if not wanted:
                raise RouterError("no listener is free")

    def _tell(self, word: str) -> None:
        """Once an outage: bringing it back is tried twice a second."""
        if word not in self._told:
            self._told.add(word)
            self._feed.tell(word, RouterEventKind.OUTAGE)

    async def _without_taken(self, wanted: Sequence[Frontend]) -> tuple[list[Frontend], list[str]]:
        """A port that somebody took meanwhile must not keep every other route down."""
        kept, lost = [], []
        for frontend in wanted:
            try:
                await self._launcher.check_free(frontend.listen, frozenset())
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
                self._feed.tell(f"haproxy keeps a server that has left: {error.message}")
                return

    async def _sweep_once(self) -> bool:
        """Is there still something to delete?"""
        live = await self._proxy.live()
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
            if not self._stored().routes:
                await self._launcher.stop()
        await self.close()

    # ── state ───────────────────────────────────────────────────────────────────────────────────────────────

    def _stored(self) -> Desired:
        """What is stored; where it was lost or damaged, what this process knows."""
        return self._read() or self._desired

    def _read(self) -> Desired | None:
        try:
            return load(self._files.state)
        except DamagedStateError as error:
            aside = set_aside(self._files.state)
            self._feed.tell(f"{error.message}; it is kept as {aside.name} and written anew")
            return None

    async def _known(self, live: Live | None) -> Desired:
        """What is stored; where that was lost, what the running HAProxy serves: other projects have routes there too,
        and a change of one must not close theirs."""
        stored = self._read()
        if stored is not None or live is None:
            return stored or self._desired
        config = self._files.config
        found = recorded(config.read_text() if config.exists() else "")
        backends = await pool.running(live.worker)
        projects = {name: tuple(pool.filled(r, backends) for r in routes) for name, routes in found.projects.items()}
        mine = self._desired
        known = Desired({**projects, **mine.projects}, {**found.chosen, **mine.chosen})
        if known.routes:
            self._feed.tell("the record of the routes was lost; it was read back from the running haproxy")
        return known

    def _keep(self, desired: Desired) -> None:
        if desired != self._read():
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
                async with deadline(LOCK_DEADLINE_S, "another controller is changing the same HAProxy"):
                    while not _lock(descriptor):
                        await asyncio.sleep(LOOK_AGAIN_S)
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


def _max_connections() -> int:
    """Each connection takes two descriptors, and HAProxy itself some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    usable = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    return max(100, min(_MOST_CONNECTIONS, (usable - 200) // 3))
