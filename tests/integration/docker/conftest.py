"""A project of its own on the Docker daemon for every test, and nothing left of it afterwards."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fairlead.engines.base import CommandResult
from fairlead.engines.docker import DockerEngine, create
from fairlead.observed import ObservedReplica, ReplicaSpec
from fairlead.spec.model import Project, Service
from fairlead.spec.revision import revision_of
from tests.docker_world import need_daemon, need_images

DEADLINE_S = 30.0


@dataclass
class World:
    """One project on the daemon that a test has for itself."""

    folder: Path
    engine: DockerEngine
    name: str = field(default_factory=lambda: f"fl{uuid.uuid4().hex[:10]}")
    services: dict[str, Service] = field(default_factory=dict)

    def project(self, *services: Service, **resources: Mapping[str, Mapping[str, Any]]) -> Project:
        by_name = {service.name: service for service in services}
        return Project(name=self.name, working_dir=str(self.folder), services=by_name, **resources)

    def replica(self, project: Project, service: str, number: int = 1, *, generation: int = 0) -> ReplicaSpec:
        return ReplicaSpec(
            id=f"{self.name}.{service}.{number}",
            project=self.name,
            slot=number,
            generation=generation,
            revision=revision_of(project, project.services[service]),
        )

    async def started(self, project: Project, service: str, number: int = 1) -> ReplicaSpec:
        spec = self.replica(project, service, number)
        await self.engine.start(spec)
        return spec

    async def sh(self, spec: ReplicaSpec, script: str) -> str:
        """What ``script`` prints inside the replica."""
        result: CommandResult = await self.engine.run(spec.id, ("CMD-SHELL", script), DEADLINE_S)
        assert result.status == 0, result.output
        return result.output.strip()

    async def one(self, spec: ReplicaSpec) -> ObservedReplica:
        (found,) = [each for each in await self.engine.observe(self.name) if each.id == spec.id]
        return found

    async def inspect(self, spec: ReplicaSpec) -> dict[str, Any]:
        detail: dict[str, Any] = await self.engine.client.get(f"/containers/{(await self.one(spec)).native_id}/json")
        return detail

    async def close(self) -> None:
        for replica in await self.engine.observe(self.name):
            await self.engine.stop(replica.id, 0.0)
            await self.engine.remove(replica.id)
        await self.engine.cleanup(self.name, volumes=True)
        await self.engine.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    need_daemon()
    need_images()
    made = World(tmp_path, create(tmp_path / "home", os.environ))
    try:
        yield made
    finally:
        await made.close()


async def eventually(fact: Callable[[], Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``fact`` is true; fail at the deadline, saying ``what`` did not come true."""
    deadline = asyncio.get_running_loop().time() + deadline_s
    while not await fact():
        assert asyncio.get_running_loop().time() < deadline, f"did not come true: {what}"
        await asyncio.sleep(0.05)
