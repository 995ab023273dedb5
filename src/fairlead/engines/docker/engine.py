"""Replicas as containers of one Docker daemon.

Made by `controller.adapters` through :func:`create`. This class is the map: each method names the module that does
the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from fairlead.capabilities import EngineCapabilities
from fairlead.docker_api.client import ApiError, Client, translated
from fairlead.docker_api.endpoint import Endpoint, endpoint_of
from fairlead.docker_api.scope import scope_of
from fairlead.engines.base import CommandResult, Engine, EngineEvent, LogLine, ReplicaProcess, ReplicaStats, Report
from fairlead.engines.docker.capabilities import capabilities
from fairlead.engines.docker.containers import container_of
from fairlead.engines.docker.observe import Observer
from fairlead.engines.docker.output import log_lines, run_in
from fairlead.engines.docker.processes import processes_in
from fairlead.engines.docker.project import Preparation
from fairlead.engines.docker.recall import Recall
from fairlead.engines.docker.rejoin import Rejoin
from fairlead.engines.docker.resources import ProjectResources
from fairlead.engines.docker.start import Starter
from fairlead.engines.docker.stop import Stopper
from fairlead.engines.docker.usage import Usage
from fairlead.engines.docker.watch import Watch
from fairlead.errors import EngineError, EngineUnavailableError
from fairlead.observed import ObservedReplica, ReplicaSpec
from fairlead.spec.model import Hook, Project


def create(home: Path, environ: Mapping[str, str]) -> DockerEngine:
    """The engine on the daemon that ``environ`` and Docker's configuration point to.

    ``home`` is Fairlead's state folder: containers made from another one are not touched.
    """
    return DockerEngine(endpoint_of(environ), scope_of(home), environ)


class DockerEngine(Engine):
    """See :class:`fairlead.engines.base.Engine` for what each method promises."""

    def __init__(self, endpoint: Endpoint, scope: str, environ: Mapping[str, str]) -> None:
        self.client = Client(endpoint)
        self.scope = scope
        self._resources = ProjectResources(self.client)
        self._observer = Observer(self.client, scope)
        self._starter = Starter(self.client, scope, self._resources, environ)
        self._stopper = Stopper(self.client, scope, self._observer)
        self._usage = Usage(self.client, scope)
        self._preparation = Preparation(self.client, self._resources, environ)
        self._recall = Recall(self.client, scope)
        rejoin = Rejoin(self.client, scope, self._recall, self._resources)
        self._watch = Watch(self.client, scope, self._observer, rejoin)
        self._closed = False
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def capabilities(self) -> EngineCapabilities:
        return capabilities()

    @translated
    async def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        return await self._observer.observe(project)

    @translated
    async def projects(self) -> tuple[str, ...]:
        return await self._observer.projects()

    @translated
    async def recall(self, project: str) -> tuple[ReplicaSpec, ...]:
        return await self._recall.of(project)

    @translated
    async def start(self, replica: ReplicaSpec) -> None:
        await self._watch.listening()
        async with self._lock(replica.id):
            await self._starter.start(replica)

    @translated
    async def signal(self, replica_id: str, signal: str) -> None:
        await self._stopper.signal(replica_id, signal)

    @translated
    async def stop(self, replica_id: str, grace_s: float, signal: str | None = None) -> None:
        await self._stopper.stop(replica_id, grace_s, signal)

    @translated
    async def remove(self, replica_id: str) -> None:
        async with self._lock(replica_id):
            await self._stopper.remove(replica_id)

    def events(self) -> AsyncIterator[EngineEvent]:
        return self._watch.subscribe()

    @translated
    async def stats(self, replica_ids: Sequence[str]) -> Mapping[str, ReplicaStats]:
        return await self._usage.of(replica_ids) if replica_ids else {}

    @translated
    async def processes(self, replica_id: str) -> tuple[ReplicaProcess, ...]:
        container = await container_of(self.client, self.scope, replica_id)
        return await processes_in(self.client, str(container["Id"])) if container is not None else ()

    async def logs(self, replica_id: str, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[LogLine]:
        try:
            container = await container_of(self.client, self.scope, replica_id)
            if container is None:
                return
            async for line in log_lines(self.client, str(container["Id"]), replica_id, follow=follow, tail=tail):
                yield line
        except ApiError as error:
            if error.status != 404:
                raise EngineError(f"Docker refused the logs of {replica_id}: {error.message}") from error
        except EngineUnavailableError:
            if not self._closed:
                raise

    @translated
    async def run(self, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        container = await container_of(self.client, self.scope, replica_id)
        if container is None:
            raise EngineError(f"there is no replica {replica_id}")
        return await run_in(self.client, str(container["Id"]), Hook(command=tuple(argv)), timeout_s)

    async def close(self) -> None:
        self._closed = True
        await self._watch.close()
        await self.client.close()

    @translated
    async def resolve(self, project: Project) -> Project:
        return await self._preparation.resolve(project)

    @translated
    async def prepare(self, project: Project, report: Report) -> Project:
        return await self._preparation.prepare(project, report)

    @translated
    async def cleanup(self, project: str, *, volumes: bool) -> None:
        await self._resources.remove_networks(project)
        if volumes:
            await self._resources.remove_volumes(project)

    def _lock(self, replica_id: str) -> asyncio.Lock:
        return self._locks.setdefault(replica_id, asyncio.Lock())
