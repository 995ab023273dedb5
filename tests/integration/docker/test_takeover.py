"""Taking a project over from the real Docker Compose, and giving it back: the same file, the same data."""

from __future__ import annotations

import json
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_world import BUSYBOX, docker_compose
from tests.e2e.load import Load
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.live import TIMEOUT_S, docker, docker_sandbox

pytestmark = [pytest.mark.docker, pytest.mark.slow]

Compose = Callable[..., str]
SERVE = "mkdir /www; echo precious > /www/index.html; exec httpd -f -p 8000 -h /www"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with docker_sandbox() as made:
        yield made


@pytest.fixture
def file(sandbox: Sandbox) -> Path:
    """A web server, a database with a named volume, a worker on an internal network; one that Fairlead is not given."""

    def service(script: str, **keys: Any) -> dict[str, Any]:
        return {"image": BUSYBOX, "init": True, "command": ["sh", "-c", script], **keys}

    services = {
        "web": service(SERVE, ports=[f"{sandbox.port()}:8000"]),
        "db": service("exec sleep 1000", volumes=["data:/data"], networks=["default", "back"]),
        "worker": service("exec sleep 1000", networks=["back"]),
        "other": service("exec sleep 1000", profiles=["other"]),
    }
    path = sandbox.directory / "compose.yaml"
    top = {"name": f"fl{uuid.uuid4().hex[:10]}", "volumes": {"data": {}}, "networks": {"back": {"internal": True}}}
    path.write_text(json.dumps({**top, "services": services}))
    return path


@pytest.fixture
def compose(file: Path) -> Iterator[Compose]:
    binary = docker_compose()

    def run(*arguments: str) -> str:
        argv = [binary, "-f", str(file), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    yield run
    run("--profile", "other", "down", "--volumes", "--timeout", "0")


def test_a_project_goes_from_compose_to_fairlead_and_back(sandbox: Sandbox, file: Path, compose: Compose) -> None:
    definition = json.loads(file.read_text())
    name, url = definition["name"], f"http://127.0.0.1:{definition['services']['web']['ports'][0].split(':')[0]}"

    def id_of(*kind: str) -> str:
        return docker(*kind, "--no-trunc", "--quiet", "--filter", f"label=com.docker.compose.project={name}")

    def answer() -> str:
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read().decode().strip())

    compose("--profile", "other", "up", "-d")
    compose("exec", "-T", "db", "sh", "-c", "echo precious > /data/x")
    networks, volumes = id_of("network", "ls"), docker("volume", "ls", "-q", "--filter", f"name={name}_data")
    with Load(url, "--rate=20", "--app=any", "--mix=0,1,0,0") as load:
        sandbox.fairlead("up", "-d", "-f", str(file), timeout_s=TIMEOUT_S)
        load.wait_until_flowing(20)
    assert load.report["ok"] > 0
    assert answer() == "precious"
    running = ("--profile", "other", "ps", "--services", "--status", "running")
    assert compose(*running) == "other", "only what was in the way made room"
    (database,) = [row for row in sandbox.replicas(name, state="ready") if row["service"] == "db"]
    assert docker("exec", database["native_id"], "cat", "/data/x") == "precious"
    assert id_of("network", "ls") == networks
    docker("exec", database["native_id"], "sh", "-c", "echo more >> /data/x")

    sandbox.fairlead("down", "-p", name)
    compose("up", "-d")
    assert sorted(compose(*running).split()) == ["db", "other", "web", "worker"]
    assert compose("exec", "-T", "db", "cat", "/data/x").split() == ["precious", "more"]
    assert docker("volume", "ls", "-q", "--filter", f"name={name}_data") == volumes
    sandbox.wait_for(lambda: answer() == "precious", "the web server of Compose")
