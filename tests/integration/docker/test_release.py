"""The promise on Docker: whatever changes, not one request fails and no stream is cut."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_world import BUSYBOX, DEBIAN, need_daemon, need_images
from tests.e2e.load import EVERYTHING, IDEMPOTENT, Load, not_begun, shown
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.live import docker, docker_sandbox, web

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def checked_image(tmp_path: Path) -> Iterator[str]:
    """An image that is healthy while there is a file `open` in its folder `/gate`. Asked for before the sandbox, it
    outlives its containers."""
    need_daemon()
    need_images()
    name = f"fairlead-test/checked:{uuid.uuid4().hex[:10]}"
    check = "HEALTHCHECK --interval=500ms --retries=2 CMD test -e /gate/open"
    (tmp_path / "Dockerfile").write_text(f'FROM {BUSYBOX}\n{check}\nCMD ["sleep", "1000"]\n')
    docker("build", "-q", "-t", name, str(tmp_path))
    yield name
    docker("rmi", name)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with docker_sandbox() as made:
        yield made


@pytest.fixture
def project() -> str:
    return f"fl{uuid.uuid4().hex[:10]}"


@pytest.fixture
def port(sandbox: Sandbox) -> int:
    return sandbox.port()


@pytest.fixture
def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def up(sandbox: Sandbox, project: str, services: dict[str, Any], **top: Any) -> None:
    file = sandbox.write(services, name=f"{project}.yaml", **top)
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", project, timeout_s=180)


def published(port: int, version: str = "v1", **changes: Any) -> dict[str, Any]:
    return web(version, ports=[f"127.0.0.1:{port}:8000"], **changes)


def test_release_scale_and_rollback_lose_nothing(sandbox: Sandbox, project: str, port: int, url: str) -> None:
    up(sandbox, project, {"api": published(port)})
    with Load(url, *EVERYTHING, "--versions=v1,v2") as load:
        up(sandbox, project, {"api": published(port, "v2")})
        sandbox.fairlead("scale", "api=2", "-p", project)
        sandbox.fairlead("scale", "api=5", "-p", project)
        sandbox.fairlead("rollback", "1", "-p", project)
        load.wait_until_flowing(50)
    assert load.report["failed"] == 0, shown(load.report)
    assert sorted(load.report["versions"]) == ["v1", "v2"]
    assert all(replica.startswith(f"{project}.api.") for replica in load.report["replicas"])


@pytest.mark.parametrize("how", ["kill", "remove", "freeze"])
def test_a_lost_replica_is_replaced(sandbox: Sandbox, project: str, port: int, url: str, how: str) -> None:
    probes = {"readiness": {"http": "/health", "interval": "250ms", "timeout": "1s", "failure_threshold": 2}}
    probes["liveness"] = {**probes["readiness"], "failure_threshold": 4}
    up(sandbox, project, {"api": published(port, **{"x-fairlead": {"probes": probes}})})
    victim = sandbox.replicas(project, state="ready")[0]
    with Load(url, *IDEMPOTENT, "--timeout=60") as load:
        container = victim["native_id"]
        if how == "kill":
            os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGKILL)
        elif how == "remove":
            docker("rm", "-f", container)
        else:
            os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGSTOP)

        def is_whole() -> bool:
            rows = sandbox.replicas(project, state="ready")
            return len(rows) == 4 and victim["id"] not in {row["id"] for row in rows}

        sandbox.wait_for(is_whole, "four replicas again, without the one that was lost", timeout_s=60)
        load.wait_until_flowing(50)
    assert not_begun(load.report, victim["id"]) == [], shown(load.report)
    assert victim["id"] in sandbox.fairlead("events", "-p", project).stdout


def test_a_controller_that_dies_in_a_release_is_not_missed(sandbox: Sandbox, project: str, port: int, url: str) -> None:
    up(sandbox, project, {"api": published(port)})
    file = sandbox.write({"api": published(port, "v2")}, name=f"{project}.yaml")
    with Load(url, *EVERYTHING, "--versions=v1,v2") as load:
        release = sandbox.start("up", "-d", "-f", str(file), "-p", project)
        sandbox.wait_for(lambda: len(sandbox.replicas(project)) > 4, "the first new replica")
        sandbox.kill_controller()
        release.communicate(timeout=60)
        sandbox.fairlead("up", "-d", "-f", str(file), "-p", project)
        load.wait_until_flowing(50)
    assert load.report["failed"] == 0, shown(load.report)
    assert len(sandbox.replicas(project, state="ready")) == 4


CALLER = """
import collections, json, os, time, urllib.request
answers, errors = collections.Counter(), []
while True:
    try:
        with urllib.request.urlopen("http://api:8000/", timeout=30) as answer:
            answers[json.load(answer)["version"]] += 1
    except Exception as error:
        errors.append(repr(error))
    with open("/tmp/new", "w") as out:
        json.dump([answers, errors], out)
    os.rename("/tmp/new", "/tmp/out")
"""


def test_a_service_is_called_by_name_while_it_is_released(sandbox: Sandbox, project: str) -> None:
    """On a network without a way out, by a service that is not released itself."""
    networks = {"back": {"internal": True}}

    def services(version: str) -> dict[str, Any]:
        caller = {
            "image": DEBIAN,
            "command": ["python3", "-c", CALLER],
            "networks": ["back"],
            "init": True,
        }
        api = web(version, replicas=2, expose=["8000"], networks=["back"])
        return {"api": api, "caller": {**caller, "depends_on": ["api"]}}

    up(sandbox, project, services("v1"), networks=networks)
    (caller,) = [row for row in sandbox.replicas(project) if row["service"] == "caller"]

    def seen() -> tuple[dict[str, int], list[str]]:
        text = docker("exec", caller["native_id"], "cat", "/tmp/out", check=False)
        answers, errors = json.loads(text) if text else ({}, [])
        return answers, errors

    sandbox.wait_for(lambda: seen()[0].get("v1"), "the first answer")
    for version in ("v2", "v3"):
        up(sandbox, project, services(version), networks=networks)
        sandbox.wait_for(lambda version=version: seen()[0].get(version), f"an answer of {version}")  # type: ignore[misc]
    answers, errors = seen()
    assert errors == []
    assert set(answers) == {"v1", "v2", "v3"}
    (still,) = [row for row in sandbox.replicas(project) if row["service"] == "caller"]
    assert still["native_id"] == caller["native_id"], "nobody touched the caller"


def test_names_taken_off_their_network_lead_to_the_service_again(sandbox: Sandbox, project: str) -> None:
    """Nothing is released meanwhile: nobody tells the router anything."""
    script = "mkdir /www; echo here > /www/index.html; exec httpd -f -p 8000 -h /www"
    api = {"image": BUSYBOX, "init": True, "command": ["sh", "-c", script], "expose": ["8000"]}
    up(sandbox, project, {"api": api, "caller": {"image": DEBIAN, "init": True, "command": ["sleep", "1000"]}})
    (caller,) = [row["native_id"] for row in sandbox.replicas(project) if row["service"] == "caller"]
    (names,) = docker(
        "ps", "-q", "--filter", "label=fairlead.role=names", "--filter", f"network={project}_default"
    ).split()
    before = docker("inspect", "--format", "{{.State.StartedAt}}", names)

    def answers() -> bool:
        ask = "import urllib.request as u; print(u.urlopen('http://api:8000/', timeout=5).read().decode())"
        return docker("exec", caller, "python3", "-c", ask, check=False) == "here"

    sandbox.wait_for(answers, "the first answer")
    docker("network", "disconnect", "-f", f"{project}_default", names)
    docker("network", "disconnect", "-f", f"{project}_default", caller)
    sandbox.wait_for(answers, "an answer over the network that was taken away")
    assert docker("inspect", "--format", "{{.State.StartedAt}}", names) == before, "it was put back, not made anew"


def test_a_release_that_fails_leaves_the_old_one_serving(sandbox: Sandbox, project: str, port: int, url: str) -> None:
    up(sandbox, project, {"api": published(port)})
    broken = published(port, "v2", command=["no-such-command"])
    with Load(url, *EVERYTHING, "--versions=v1") as load:
        file = sandbox.write({"api": broken}, name=f"{project}.yaml")
        done = sandbox.fairlead("up", "-d", "-f", str(file), "-p", project, check=False)
        assert done.returncode != 0
        assert "command not found: no-such-command" in done.stdout + done.stderr
        absent = published(port, "v2", image="localhost:1/nobody/has-this:1")
        file = sandbox.write({"api": absent}, name=f"{project}.yaml")
        done = sandbox.fairlead("up", "-d", "-f", str(file), "-p", project, check=False)
        assert done.returncode != 0
        assert "cannot be pulled" in done.stdout + done.stderr
        load.wait_until_flowing(20)
    assert load.report["failed"] == 0, shown(load.report)


def test_a_replica_that_docker_finds_unhealthy_is_replaced(sandbox: Sandbox, project: str) -> None:
    # Time enough for the controller to hear of Docker's first verdict: only then does it leave the check to Docker.
    check = {"test": "test ! -e /tmp/sick", "interval": "500ms", "retries": 6}
    service = {"image": BUSYBOX, "init": True, "command": ["sleep", "1000"], "healthcheck": check}
    up(sandbox, project, {"job": service})
    (first,) = sandbox.replicas(project, state="ready")
    health = ("inspect", "--format", "{{.State.Health.Status}}", first["native_id"])
    sandbox.wait_for(lambda: docker(*health) == "healthy", "Docker's own verdict")
    docker("exec", first["native_id"], "touch", "/tmp/sick")

    def successor() -> bool:
        return any(row["id"] != first["id"] for row in sandbox.replicas(project, state="ready"))

    sandbox.wait_for(successor, "another replica")
    assert "healthcheck: unhealthy" in sandbox.fairlead("events", "-p", project).stdout


def test_the_health_check_of_an_image_gates_and_replaces(
    checked_image: str, sandbox: Sandbox, project: str, tmp_path: Path
) -> None:
    """The file says nothing of health but that somebody waits for it."""
    gate = tmp_path / "gate"
    gate.mkdir()
    api = {"image": checked_image, "init": True, "volumes": [f"{gate}:/gate:ro"]}
    waits = {"api": {"condition": "service_healthy"}}
    caller = {"image": BUSYBOX, "init": True, "command": ["sleep", "1000"], "depends_on": waits}
    file = sandbox.write({"api": api, "caller": caller}, name=f"{project}.yaml")
    release = sandbox.start("up", "-d", "-f", str(file), "-p", project)
    sandbox.wait_for(lambda: sandbox.json("status", "--all"), "the project")
    sandbox.wait_for(
        lambda: any("the image's HEALTHCHECK" in row["reason"] for row in sandbox.replicas(project, state="starting")),
        "a replica that is not ready for what its image asks",
    )
    assert [row["service"] for row in sandbox.replicas(project)] == ["api"]
    (gate / "open").touch()
    output, _ = release.communicate(timeout=60)
    assert release.returncode == 0, output
    first, _ = sandbox.replicas(project, state="ready")
    assert first["service"] == "api"
    health = ("inspect", "--format", "{{.State.Health.Status}}", first["native_id"])
    sandbox.wait_for(lambda: docker(*health) == "healthy", "Docker's own verdict")
    (gate / "open").unlink()

    def is_given_up() -> bool:
        told = sandbox.fairlead("events", "-p", project).stdout.splitlines()
        return any("liveness probe failed" in line and "the image's HEALTHCHECK" in line for line in told)

    sandbox.wait_for(is_given_up, "the end of trust in it")
    (gate / "open").touch()

    def successor() -> bool:
        ready = [row["id"] for row in sandbox.replicas(project, state="ready") if row["service"] == "api"]
        return bool(ready) and first["id"] not in ready

    sandbox.wait_for(successor, "another replica")
