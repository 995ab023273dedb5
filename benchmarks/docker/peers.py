"""How each peer starts four replicas, releases another image, and is taken down. Used by `rounds`.

Each is set up as its own documentation recommends for no downtime, behind a load balancer that follows it.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from benchmarks.docker.shell import sh

REPLICAS = 4
IMAGE = "fairlead-bench/app"
PORT = 28780
URL = f"http://127.0.0.1:{PORT}"


class Peer(ABC):
    name: str

    def __init__(self, tools: Path, folder: Path) -> None:
        self.tools = tools
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def up(self, version: str) -> None:
        """Four replicas of ``version`` serve at :data:`URL` when it returns."""

    @abstractmethod
    def release(self, version: str) -> None:
        """Replace them; returns when the tool says that it is done."""

    @abstractmethod
    def containers(self) -> list[str]:
        """The replicas' container ids."""

    @abstractmethod
    def down(self) -> None: ...


def ids(*filters: str) -> list[str]:
    return sh("docker", "ps", "-q", "--no-trunc", *(arg for each in filters for arg in ("--filter", each))).split()


def _until_done(*argv: str, deadline_s: float = 30.0) -> None:
    """Again until it succeeds: a swarm that has just been left and made anew refuses for a moment."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            sh(*argv)
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def wait_for_answers(count: int, deadline_s: float = 60.0) -> None:
    """Until ``count`` different replicas have answered."""
    seen: set[str] = set()
    deadline = time.monotonic() + deadline_s
    while len(seen) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(seen)} of {count} replicas answer")
        try:
            with urllib.request.urlopen(f"{URL}/", timeout=5) as answer:
                seen.add(json.load(answer)["replica"])
        except (OSError, ValueError):
            time.sleep(0.05)


class Compose(Peer):
    """`docker compose up -d` behind Traefik's Docker provider, which reads the containers' labels."""

    name = "Docker Compose"
    project = "bench-compose"

    def up(self, version: str) -> None:
        self._traefik = subprocess.Popen(
            [
                str(self.tools / "traefik"),
                f"--entrypoints.web.address=:{PORT}",
                "--providers.docker=true",
                "--providers.docker.exposedbydefault=false",
                "--log.level=ERROR",
            ],
            stdout=subprocess.DEVNULL,
        )
        self._compose(version, "up", "-d", "--wait")
        wait_for_answers(REPLICAS)

    def release(self, version: str) -> None:
        self._compose(version, "up", "-d")

    def containers(self) -> list[str]:
        return ids(f"label=com.docker.compose.project={self.project}")

    def down(self) -> None:
        self._compose("v1", "down", "-t", "1")
        self._traefik.terminate()
        self._traefik.wait()

    def _compose(self, version: str, *args: str) -> str:
        file = self.folder / "compose.json"
        labels = {
            "traefik.enable": "true",
            "traefik.http.routers.api.rule": "PathPrefix(`/`)",
            "traefik.http.services.api.loadbalancer.server.port": "8000",
            "traefik.http.middlewares.again.retry.attempts": "4",
            "traefik.http.routers.api.middlewares": "again",
        }
        image = f"{IMAGE}:{version}"
        service = {"image": image, "labels": labels, "restart": "always", "deploy": {"replicas": REPLICAS}}
        file.write_text(json.dumps({"services": {"api": service}}))
        return sh(str(self.tools / "docker-compose"), "-p", self.project, "-f", str(file), *args)


class Rollout(Compose):
    """What docker-rollout does: twice the replicas, wait for Docker's health, stop and remove the old ones."""

    name = "scale up, wait for health, remove the old (docker-rollout's way)"
    project = "bench-rollout"

    def release(self, version: str) -> None:
        old = self.containers()
        self._compose(version, "up", "-d", "--no-recreate", "--scale", f"api={2 * REPLICAS}")
        new = [each for each in self.containers() if each not in old]
        while any(self._health(each) != "healthy" for each in new):
            time.sleep(0.2)
        sh("docker", "stop", *old)
        sh("docker", "rm", *old)

    @staticmethod
    def _health(container: str) -> str:
        return sh("docker", "inspect", "--format", "{{.State.Health.Status}}", container).strip()


class Swarm(Peer):
    """Swarm, start-first, behind Traefik on the same overlay network."""

    def __init__(self, tools: Path, folder: Path, parallelism: int) -> None:
        super().__init__(tools, folder)
        self.parallelism = parallelism
        self.name = f"Docker Swarm, start-first, parallelism {parallelism}, monitor 1 s"

    def up(self, version: str) -> None:
        sh("docker", "swarm", "init", "--advertise-addr", "127.0.0.1")
        _until_done("docker", "network", "create", "--driver", "overlay", "bench")
        sh(
            "docker", "service", "create", "--name", "traefik", "--network", "bench",
            "--constraint", "node.role==manager",
            "--publish", f"mode=host,published={PORT},target=80",
            "--mount", "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock",
            "fairlead-bench/traefik", "--entrypoints.web.address=:80", "--providers.swarm.exposedbydefault=false",
            "--providers.swarm.endpoint=unix:///var/run/docker.sock", "--providers.swarm.refreshSeconds=1",
            "--log.level=ERROR",
        )  # fmt: skip
        sh(
            "docker", "service", "create", "--name", "api", "--network", "bench", "--replicas", str(REPLICAS),
            "--update-order", "start-first", "--update-parallelism", str(self.parallelism), "--update-monitor", "1s",
            "--label", "traefik.enable=true", "--label", "traefik.http.routers.api.rule=PathPrefix(`/`)",
            "--label", "traefik.http.services.api.loadbalancer.server.port=8000",
            # Swarm's virtual addresses need IPVS, which not every kernel has; Traefik goes to the replicas itself.
            "--endpoint-mode", "dnsrr",
            "--label", "traefik.http.middlewares.again.retry.attempts=4",
            "--label", "traefik.http.routers.api.middlewares=again",
            f"{IMAGE}:{version}",
        )  # fmt: skip
        wait_for_answers(REPLICAS)

    def release(self, version: str) -> None:
        sh("docker", "service", "update", "--quiet", "--image", f"{IMAGE}:{version}", "api")

    def containers(self) -> list[str]:
        return ids("label=com.docker.swarm.service.name=api")

    def down(self) -> None:
        sh("docker", "swarm", "leave", "--force")
        while ids("label=com.docker.swarm.service.name"):
            time.sleep(0.2)


class Fairlead(Peer):
    name = "**Fairlead**"

    def up(self, version: str) -> None:
        self._release(version)
        wait_for_answers(REPLICAS)

    def release(self, version: str) -> None:
        self._release(version)

    def containers(self) -> list[str]:
        return ids("label=fairlead.project=bench-fairlead")

    def down(self) -> None:
        self._fairlead("down", "-p", "bench-fairlead")
        self._fairlead("controller", "stop")

    def _release(self, version: str) -> None:
        file = self.folder / "compose.json"
        service = {"image": f"{IMAGE}:{version}", "ports": [f"{PORT}:8000"], "deploy": {"replicas": REPLICAS}}
        probes = {"readiness": {"http": "/health", "interval": "1s"}}
        project = {"name": "bench-fairlead", "services": {"api": {**service, "x-fairlead": {"probes": probes}}}}
        file.write_text(json.dumps(project))
        self._fairlead("up", "-d", "-f", str(file), "--engine", "docker")

    def _fairlead(self, *args: str) -> str:
        return sh("fairlead", *args, env=self._environ())

    def _environ(self) -> Mapping[str, str]:
        import sys

        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {"FAIRLEAD_HOME": str(self.folder / "home"), "PATH": path}
