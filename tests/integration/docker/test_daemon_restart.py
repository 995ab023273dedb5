"""The daemon is restarted under a running project: with live-restore nobody notices, without it all come back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker_world import BUSYBOX
from tests.e2e.load import Load, shown
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.daemon import PrivateDaemon, private_daemon
from tests.integration.docker.live import end

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.alone]

PROJECT = "restarted"


@pytest.fixture
def daemon(request: pytest.FixtureRequest) -> Iterator[PrivateDaemon]:
    with private_daemon(*getattr(request, "param", ())) as made:
        yield made


@pytest.fixture
def sandbox(daemon: PrivateDaemon) -> Iterator[Sandbox]:
    with Sandbox(environment={"FAIRLEAD_ENGINE": "docker", "DOCKER_HOST": daemon.host}) as made:
        yield made
        end(made)


def served(sandbox: Sandbox, port: int) -> None:
    script = "mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 8000 -h /www"
    service: dict[str, Any] = {
        "image": BUSYBOX,
        "command": ["sh", "-c", script],
        "init": True,
        "ports": [f"127.0.0.1:{port}:8000"],
        "deploy": {"replicas": 2},
    }
    file = sandbox.write({"web": service})
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT)


def ready(sandbox: Sandbox) -> set[str]:
    return {row["id"] for row in sandbox.replicas(PROJECT, state="ready")}


@pytest.mark.parametrize("daemon", [("--live-restore",)], indirect=True)
def test_with_live_restore_nobody_notices(daemon: PrivateDaemon, sandbox: Sandbox) -> None:
    port = sandbox.port()
    served(sandbox, port)
    before = ready(sandbox)
    with Load(f"http://127.0.0.1:{port}", "--rate=50", "--app=any", "--contains=served") as load:
        daemon.stop()
        load.wait_until_flowing(50)
        daemon.start()
        load.wait_until_flowing(50)
        assert ready(sandbox) == before
        # The events flow again: a death is seen and made good.
        victim = sandbox.replicas(PROJECT, state="ready")[0]
        daemon.docker("kill", victim["native_id"])
        sandbox.wait_for(lambda: len(ready(sandbox) - {victim["id"]}) == 2, "the replacement")
        load.wait_until_flowing(50)
    assert load.report["failed"] == 0, shown(load.report)


def test_without_live_restore_everything_comes_back(daemon: PrivateDaemon, sandbox: Sandbox) -> None:
    port = sandbox.port()
    served(sandbox, port)
    before = ready(sandbox)
    daemon.stop()
    daemon.start()
    sandbox.wait_for(lambda: len(ready(sandbox) - before) == 2, "two new replicas", timeout_s=60)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bool(answer.read() == b"served\n")
        except OSError:
            return False

    sandbox.wait_for(answers, "the published port", timeout_s=60)
    told = [json.loads(line) for line in sandbox.fairlead("events", "-p", PROJECT, "--json").stdout.splitlines()]
    assert before <= {event["replica_id"] for event in told if event["severity"] != "info"}, "each loss is told"
