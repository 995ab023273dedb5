"""What a daemon runs out of, under load: disk, an image. One clear word, the old goes on, all is well again after."""

from __future__ import annotations

import errno
import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_world import BUSYBOX
from tests.e2e.load import Load, shown
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.daemon import PrivateDaemon, private_daemon
from tests.integration.docker.live import docker, docker_sandbox, end

pytestmark = [pytest.mark.docker, pytest.mark.slow]

GET = ("--rate=25", "--app=any", "--contains=served")


def web(image: str, port: int, **changes: Any) -> dict[str, Any]:
    script = "mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 8000 -h /www"
    service = {"image": image, "init": True, "command": ["sh", "-c", script], "ports": [f"127.0.0.1:{port}:8000"]}
    return {**service, "deploy": {"replicas": 2}, **changes}


def warnings(sandbox: Sandbox, project: str) -> list[str]:
    told = [json.loads(line) for line in sandbox.fairlead("events", "-p", project, "--json").stdout.splitlines()]
    return [event["message"] for event in told if event["severity"] != "info"]


@pytest.fixture
def small() -> Iterator[PrivateDaemon]:
    with private_daemon(disk="160m") as made:
        yield made


@pytest.mark.alone
def test_a_full_disk_stops_a_release_and_nothing_else(small: PrivateDaemon) -> None:
    with Sandbox(environment={"FAIRLEAD_ENGINE": "docker", "DOCKER_HOST": small.host}) as sandbox:
        project, port = "full", sandbox.port()
        file = sandbox.write({"web": web(BUSYBOX, port)})
        sandbox.fairlead("up", "-d", "-f", str(file), "-p", project)
        before = {row["id"] for row in sandbox.replicas(project, state="ready")}
        with Load(f"http://127.0.0.1:{port}", *GET) as load:
            filler = filled(small.data / "filler")
            done = sandbox.fairlead("deploy", "web", "--env", "V=2", "-p", project, check=False)
            assert done.returncode != 0
            assert "no space left on device" in done.stdout + done.stderr
            assert {row["id"] for row in sandbox.replicas(project, state="ready")} == before
            load.wait_until_flowing(20)
            filler.unlink()
            sandbox.fairlead("deploy", "web", "--env", "V=2", "-p", project)
            load.wait_until_flowing(20)
        assert load.report["failed"] == 0, shown(load.report)
        end(sandbox)


def filled(path: Path) -> Path:
    """A file that takes all the space there is."""
    part = bytes(1 << 16)
    with path.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(part)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return path


def test_an_image_that_is_gone_is_told_and_waited_for() -> None:
    with docker_sandbox() as sandbox:
        project, port, image = f"fl{uuid.uuid4().hex[:10]}", sandbox.port(), f"fairlead-test/{uuid.uuid4().hex[:10]}:1"
        made = docker("create", BUSYBOX, "true")
        docker("commit", "--message", image, made, image)
        docker("rm", made)
        saved = sandbox.directory / "image.tar"
        docker("save", "-o", str(saved), image)
        try:
            worker = {"image": image, "init": True, "command": ["sleep", "1000"]}
            file = sandbox.write({"web": web(BUSYBOX, port), "worker": worker})
            sandbox.fairlead("up", "-d", "-f", str(file), "-p", project)
            (old,) = [row for row in sandbox.replicas(project, state="ready") if row["service"] == "worker"]
            with Load(f"http://127.0.0.1:{port}", *GET) as load:
                controller = sandbox.controller_pid()
                os.kill(controller, signal.SIGSTOP)
                try:
                    docker("rm", "-f", old["native_id"])
                    docker("rmi", "-f", image)
                finally:
                    os.kill(controller, signal.SIGCONT)

                def is_told() -> bool:
                    return any("is not on this daemon" in text for text in warnings(sandbox, project))

                sandbox.wait_for(is_told, "the word that the image is gone")
                load.wait_until_flowing(20)
                docker("load", "-i", str(saved))

                def is_back() -> bool:
                    rows = sandbox.replicas(project, state="ready")
                    return any(row["service"] == "worker" and row["id"] != old["id"] for row in rows)

                sandbox.wait_for(is_back, "the worker", timeout_s=90)
            assert load.report["failed"] == 0, shown(load.report)
        finally:
            end(sandbox)
            docker("rmi", "-f", image, check=False)
