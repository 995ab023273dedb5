"""A daemon on another machine: everything that works beside one works from here too, and nothing is left over there."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Self

import pytest

from fairlead.docker_api.scope import scope_of
from tests.docker_world import BUSYBOX
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.other_machine import HOST_NAME, OtherMachine, other_machine

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ANSWER_TIMEOUT_S = 30
CALLERS = 3
SERVE = "mkdir -p /www && echo $$VERSION >/www/index.html && exec httpd -f -p 8000 -h /www"
CALL = "while :; do wget -q -O - http://web:8000/ && echo called; sleep 0.2; done"


@pytest.fixture(scope="module")
def machine() -> Iterator[OtherMachine]:
    with other_machine(BUSYBOX) as made:
        yield made


class Callers:
    """Threads that ask again and again; ``seen`` counts answers by their text, and what was no answer."""

    def __init__(self, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while not self._over.wait(0.01):
            self.seen[answer_of(self._url)] += 1


def answer_of(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as answer:
            return str(answer.read().decode().strip())
    except OSError as error:
        return f"failed: {error}"


@contextlib.contextmanager
def controlled(machine: OtherMachine, way: Mapping[str, str]) -> Iterator[tuple[Sandbox, str]]:
    """A home here whose daemon is there, and a project's name; in the end nothing of it is there any more."""
    project = f"fl{uuid.uuid4().hex[:10]}"
    with Sandbox(environment={"FAIRLEAD_ENGINE": "docker", **way}) as sandbox:
        yield sandbox, project
        sandbox.fairlead("down", "-p", project, "--volumes", "--yes")
        scope = f"label=fairlead.scope={scope_of(sandbox.home)}"
        # What the daemon is still removing is its own affair.
        states = [f"--filter=status={state}" for state in ("created", "running", "paused", "exited")]
        assert machine.docker("ps", "-aq", "--filter", scope, *states) == "", "`down` left a container"
        assert machine.docker("volume", "ls", "-q", "--filter", scope) == "", "`down` left a volume"
        sandbox.fairlead("controller", "stop")


def up(sandbox: Sandbox, project: str, version: str, replicas: int, **others: Any) -> None:
    web = {
        "image": BUSYBOX,
        "init": True,
        "command": ["sh", "-c", SERVE],
        "environment": {"VERSION": version},
        "ports": ["8080:8000"],
        "deploy": {"replicas": replicas},
        "x-fairlead": {"probes": {"readiness": {"http": "/", "interval": "500ms"}}},
    }
    file = sandbox.write({"web": web, **others}, name=f"{project}.yaml")
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", project)


def running(machine: OtherMachine, sandbox: Sandbox, role: str) -> list[str]:
    labels = [f"--filter=label=fairlead.role={role}", f"--filter=label=fairlead.scope={scope_of(sandbox.home)}"]
    return machine.docker("ps", "-q", *labels).split()


def test_everything_over_tls(machine: OtherMachine) -> None:
    url = f"http://{machine.address}:8080/"
    caller = {"image": BUSYBOX, "init": True, "command": ["sh", "-c", CALL]}
    with controlled(machine, machine.tls) as (sandbox, project):
        up(sandbox, project, "v1", 2, caller=caller)
        with Callers(url) as callers:
            up(sandbox, project, "v2", 2, caller=caller)
            # Nobody's request goes through the relay, nor through the controller.
            machine.docker("kill", *running(machine, sandbox, "relay"))
            sandbox.fairlead("scale", "web=3", "-p", project)
            sandbox.kill_controller()
            sandbox.fairlead("rollback", "1", "-p", project)
            asked = callers.seen.total()
            sandbox.wait_for(lambda: callers.seen.total() > asked + 50, "more answers")
        assert set(callers.seen) == {"v1", "v2"}, callers.seen
        victim = sandbox.replicas(project, state="ready")[0]
        told = sandbox.fairlead("exec", "-p", project, victim["id"], "--", "hostname").stdout
        assert victim["native_id"].startswith(told.strip())
        assert "called" in sandbox.fairlead("logs", "-p", project, "caller").stdout
        machine.docker("kill", victim["native_id"])
        machine.docker("kill", *running(machine, sandbox, "router"))

        def is_whole() -> bool:
            ready = [row["id"] for row in sandbox.replicas(project, state="ready") if ".web." in row["id"]]
            return len(ready) == 3 and victim["id"] not in ready and answer_of(url) == "v1"

        sandbox.wait_for(is_whole, "another replica and the router")


def test_over_ssh_and_as_the_doctor_says(machine: OtherMachine) -> None:
    with controlled(machine, machine.ssh) as (sandbox, project):
        assert f"containers run on {HOST_NAME}: a relay" in sandbox.fairlead("doctor", check=False).stdout
        held = ["--network=host", "--init", BUSYBOX, "httpd", "-f", "-p", "8080"]
        holder = machine.docker("run", "-d", "--rm", *held)
        with pytest.raises(Exception, match="port 8080 of the daemon's machine is taken"):
            up(sandbox, project, "v1", 1)
        machine.docker("kill", holder)
        up(sandbox, project, "v1", 1)
        assert answer_of(f"http://{machine.address}:8080/") == "v1"
