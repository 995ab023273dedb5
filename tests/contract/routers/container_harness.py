"""HAProxy in a container under the contract suite; its upstreams are the processes of the plain harness."""

from __future__ import annotations

import os
from pathlib import Path

from fairlead.routers.haproxy.docker import DockerRouter, create
from tests.contract.routers.harness import HAProxyHarness
from tests.docker_world import need_daemon


class ContainerHarness(HAProxyHarness):
    def __init__(self, directory: Path) -> None:
        need_daemon()
        super().__init__(directory)

    async def open(self) -> DockerRouter:
        router = create(self.home, os.environ)
        self._routers.append(router)
        return router

    async def close(self) -> None:
        await super().close()
        for router in self._routers:
            await router.close()
