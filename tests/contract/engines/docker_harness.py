"""Docker under the contract suite: replicas of a busybox of two megabytes that `tests.docker_world` builds."""

from __future__ import annotations

import os
from pathlib import Path

from fairlead.engines.base import Engine
from fairlead.engines.docker import DockerEngine, create
from fairlead.observed import ObservedReplica
from fairlead.spec.model import Port, Service
from tests.contract.engines.harness import Doing, EngineHarness
from tests.docker_world import BUSYBOX, need_daemon, need_images


class DockerHarness(EngineHarness):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        need_daemon()
        need_images()
        self.home = directory / "home"
        self._engines: list[DockerEngine] = []

    async def open(self) -> DockerEngine:
        engine = create(self.home, os.environ)
        self._engines.append(engine)
        return engine

    def service(self, name: str, doing: Doing) -> Service:
        if doing.impossible:
            return Service(name=name, image=BUSYBOX, command=("no-such-command-anywhere",))
        script = ["trap '' TERM"] if doing.deaf else []
        script += [f"echo '{line}'" for line in doing.lines]
        script += ["exec sleep 1000"] if doing.exits is None else [f"exit {doing.exits}"]
        return Service(
            name=name,
            image=BUSYBOX,
            command=("sh", "-c", "\n".join(script)),
            ports=(Port(target=8000),),
            # The first process of a container ignores every signal that it does not handle; an init handles them.
            init=not doing.deaf,
        )

    async def kill_from_outside(self, engine: Engine, replica: ObservedReplica) -> None:
        assert isinstance(engine, DockerEngine)
        await engine.client.post(f"/containers/{replica.native_id}/kill", signal="SIGKILL")

    async def close(self) -> None:
        last = await self.open()
        for project in await last.projects():
            for replica in await last.observe(project):
                await last.stop(replica.id, 0.0)
                await last.remove(replica.id)
        for project in (self.project, "ant", "zebra"):
            await last.cleanup(project, volumes=True)
        left = await last.client.get("/containers/json", all=True, filters={"label": [f"fairlead.scope={last.scope}"]})
        for engine in self._engines:
            await engine.close()
        assert left == []
