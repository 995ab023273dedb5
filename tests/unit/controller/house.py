"""A whole controller on engines, routers and a store in memory, which outlive it as the real ones do.

For the imperative room: what the controller does with time, errors, its own end and its next start. Every wait is for
a fact, with a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead.capabilities import EngineCapabilities
from fairlead.clock import SteadyClock
from fairlead.controller.adapters import Adapters
from fairlead.controller.controls import Operation, OperationState, UpRequest
from fairlead.controller.runtime import Controller
from fairlead.engines.base import Report
from fairlead.engines.memory import MemoryEngine
from fairlead.errors import FairleadError, StartFailedError, StoreFullError
from fairlead.observed import Exit, ExitCause, ObservedReplica
from fairlead.routers.memory import MemoryRouter
from fairlead.settings import Settings
from fairlead.spec.model import Deploy, Port, Probe, ProbeKind, Probes, Project, Service, ServiceOptions
from fairlead.spec.revision import Revision
from fairlead.store.base import Commit
from fairlead.store.memory import MemoryStore

DEADLINE_S = 30.0

Prepare = Callable[[Project, Report], Awaitable[Project]]


class Engine(MemoryEngine):
    """An engine in memory whose preparations and observations a test can spoil or hold up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.preparing: Prepare | None = None
        self.cannot_start: set[str] = set()
        self.spoiled: dict[str, Exception] = {}
        self.may_observe = asyncio.Event()
        self.may_observe.set()
        self.cleaned_up: list[tuple[str, bool]] = []
        self.may_clean_up = asyncio.Event()
        self.may_clean_up.set()
        self.declared: EngineCapabilities | None = None

    @property
    def capabilities(self) -> EngineCapabilities:
        return self.declared or super().capabilities

    def reopened(self) -> Engine:
        later = Engine(self.behaviours, self._clock)
        later._replicas, later._count = self._replicas, self._count
        return later

    async def prepare(self, project: Project, report: Report) -> Project:
        return await self.preparing(project, report) if self.preparing is not None else project

    async def check(self, project: str, revisions: Sequence[Revision]) -> None:
        for revision in revisions:
            if revision.service.name in self.cannot_start:
                raise StartFailedError(f"{revision.service.name}: its folder is gone")

    async def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        await self.may_observe.wait()
        self._spoil("observe")
        return await super().observe(project)

    async def projects(self) -> tuple[str, ...]:
        self._spoil("projects")
        return await super().projects()

    async def cleanup(self, project: str, *, volumes: bool) -> None:
        await self.may_clean_up.wait()
        self.cleaned_up.append((project, volumes))
        self._spoil("cleanup")

    def _spoil(self, what: str) -> None:
        """Raise once what the test has put there."""
        if what in self.spoiled:
            raise self.spoiled.pop(what)


class Store(MemoryStore):
    """A store in memory; ``full``: nothing can be written."""

    full = False

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        if self.full:
            raise StoreFullError("no space left")
        return super().commit(epoch, commit)


class House:
    """What outlives a controller, and the means to run one. ``engine`` is the newest over the same replicas."""

    def __init__(self, home: Path, engine_name: str = "process") -> None:
        self.settings = Settings(home=home)
        self.engine_name = engine_name
        self.engine = Engine()
        self.router = MemoryRouter()
        self.store = Store()
        self.clock = SteadyClock()

    def adapters(self) -> Adapters:
        return Adapters(self.settings, {self.engine_name: self.engine}, {self.engine_name: self.router})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Controller]:
        """A controller at work; at the end of the block it ends in order."""
        self.engine = self.engine.reopened() if self.engine._closed else self.engine
        controller = Controller(self.settings, self.store, self.clock, adapters=self.adapters())
        work = asyncio.create_task(controller.work())
        # One turn, in which it begins.
        await asyncio.sleep(0)
        try:
            yield controller
        finally:
            controller.end()
            async with asyncio.timeout(DEADLINE_S):
                await work


def service(name: str = "api", version: str = "v1", *, port: int | None = 8080, **fields: Any) -> Service:
    """A service that is ready when the command ``ready VERSION`` succeeds beside it, as it does by default."""
    probe = Probe(kind=ProbeKind.COMMAND, command=("ready", version), interval_s=0.02)
    options = {"options": ServiceOptions(probes=Probes(readiness=probe))}
    ports = (Port(target=8000, published=port),) if port is not None else ()
    return Service(name=name, command=("serve",), environment={"VERSION": version}, ports=ports, **(options | fields))


def request(*services: Service, name: str = "shop", **fields: Any) -> UpRequest:
    """What `fairlead up` would ask for."""
    project = Project(name=name, working_dir="/srv/shop", services={s.name: s for s in services})
    return UpRequest(project=project, **fields)


def replicas(count: int) -> dict[str, Any]:
    return {"deploy": Deploy(replicas=count)}


CRASH = Exit(cause=ExitCause.EXITED, code=3)


async def eventually(fact: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until ``fact`` is true; fail at the deadline, saying ``what`` did not come true."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while True:
        answer = fact()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert asyncio.get_running_loop().time() < deadline, f"did not come true in {DEADLINE_S:.0f} s: {what}"
        await asyncio.sleep(0.005)


async def ended(controller: Controller, operation: Operation) -> Operation:
    """The operation as it ended."""

    async def over() -> bool:
        return (await controller.operation(operation.project, operation.id)).ended_at_s is not None

    await eventually(over, f"{operation.kind} {operation.id} has ended")
    return await controller.operation(operation.project, operation.id)


async def succeeded(controller: Controller, operation: Operation) -> Operation:
    done = await ended(controller, operation)
    assert done.state is OperationState.SUCCEEDED, done.message
    return done


async def refused(call: Awaitable[Any], kind: type[FairleadError], says: str, house: House) -> None:
    """``call`` is refused in these words, and nothing of the store has changed."""
    before = everything(house.store)
    with pytest.raises(kind) as found:
        await call
    assert says in found.value.message
    assert everything(house.store) == before


def everything(store: MemoryStore) -> tuple[Any, ...]:
    kinds = ("project", "service", "definition", "release", "operation", "request")
    return tuple(dict(store.documents(kind)) for kind in kinds), store.events(), store.open_intents()


class Gate:
    """A preparation that stands still until it is let on; ``asked``: the versions it was asked for, in order."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, project: Project, report: Report) -> Project:
        self.asked.append(project.services["api"].environment["VERSION"])
        await self.open.wait()
        return project


async def versions(controller: Controller) -> set[str]:
    """The revisions that run."""
    return {row.revision for row in await controller.replicas("shop")}
