"""The controller dies around the n-th journalled command of an operation, with real processes and the real proxy.

`FAIRLEAD_CRASH_AT=n:before` (or `after`) makes a controller kill itself with SIGKILL. After each crash another
controller takes over, and the end has to be that of an undisturbed operation. Every fifth command is tried as a rule,
all of them with `FAIRLEAD_CRASH_POINTS=all`; the simulation goes through the same points by the million.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from .sandbox import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROJECT = "shop"
MOST_COMMANDS = 40
LEAVING = ("draining", "stopping", "stopped", "failed")
STEP = 1 if os.environ.get("FAIRLEAD_CRASH_POINTS") == "all" else 5


def service(port: int, replicas: int, order: str) -> dict[str, Any]:
    """A web server that is there at once, so that many releases fit into a minute."""
    return {
        "command": [sys.executable, "-m", "http.server", "$$PORT", "--bind", "127.0.0.1"],
        "environment": {"V": "0"},
        "ports": [f"127.0.0.1:{port}:8000"],
        "deploy": {"replicas": replicas, "update_config": {"order": order}},
        "x-fairlead": {"probes": {"readiness": {"http": "/", "interval": "100ms"}}},
    }


@pytest.fixture
def ports(sandbox: Sandbox) -> dict[str, int]:
    return {"api": sandbox.port(), "single": sandbox.port()}


@pytest.fixture
def running(sandbox: Sandbox, ports: dict[str, int]) -> Sandbox:
    """`api` with two replicas, and `single`, which is replaced stop-first."""
    sandbox.write({"api": service(ports["api"], 2, "start-first"), "single": service(ports["single"], 1, "stop-first")})
    up(sandbox)
    return sandbox


def up(sandbox: Sandbox) -> None:
    file = str(sandbox.directory / "compose.yaml")
    sandbox.fairlead("up", "-d", "-f", file, "-p", PROJECT, "--engine", "process")


def end_state(sandbox: Sandbox) -> dict[str, tuple[int, int, set[str]]]:
    """By service: how many replicas there are, how many are ready, and of which revisions."""
    rows = sandbox.replicas(PROJECT)
    return {
        name: (
            sum(row["service"] == name for row in rows),
            sum(row["service"] == name and row["state"] == "ready" for row in rows),
            {row["revision"] for row in rows if row["service"] == name},
        )
        for name in sorted({row["service"] for row in rows})
    }


def answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
        return bool(response.status == 200)


def crash(sandbox: Sandbox, point: str, *command: str) -> bool:
    """Run ``command`` on a controller that dies at ``point``; whether it did. Another one has taken over then."""
    sandbox.fairlead("controller", "stop")
    environment = sandbox.environment | {"FAIRLEAD_CRASH_AT": point}
    armed = subprocess.Popen(
        [sys.executable, "-P", "-m", "fairlead.cli", "controller", "run"],
        env=environment,
        cwd=sandbox.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        sandbox.wait_for(lambda: armed.poll() is not None or serves(sandbox, armed.pid), "the armed controller")
        sandbox.fairlead(*command, check=False, timeout_s=120)
        # The command does not wait for the end of what was signalled; that has its points too.
        sandbox.wait_for(lambda: armed.poll() is not None or not is_clearing_up(sandbox), "the end of old replicas")
        return armed.poll() is not None
    finally:
        if armed.poll() is None:
            sandbox.fairlead("controller", "stop", check=False)
        armed.wait(timeout=30)


def is_clearing_up(sandbox: Sandbox) -> bool:
    done = sandbox.fairlead("ps", "-p", PROJECT, "--json", check=False)
    return done.returncode == 0 and any(row["state"] in LEAVING for row in json.loads(done.stdout))


def serves(sandbox: Sandbox, pid: int) -> bool:
    done = sandbox.fairlead("controller", "status", "--json", check=False)
    return done.returncode == 0 and json.loads(done.stdout)["pid"] == pid


def points() -> Iterator[str]:
    for number in range(1, MOST_COMMANDS, STEP):
        yield f"{number}:before"
        yield f"{number}:after"


def through_all_points(
    sandbox: Sandbox,
    operation: Callable[[int], list[str]],
    expect: Callable[[int], bool],
    prepare: Callable[[int], None] = lambda number: None,
) -> None:
    """The operation once for each point, numbered from 1, until the point lies beyond its last command."""
    crashes = 0
    for number, point in enumerate(points(), start=1):
        prepare(number)
        words = operation(number)
        died = crash(sandbox, point, *words, "-p", PROJECT)
        sandbox.wait_for(partial(expect, number), f"the end of {words} after a crash at {point}", timeout_s=60)
        crashes += died
        if not died:
            break
    assert crashes >= 2, "no controller died: the hook is not there, or the operation has no commands"


@pytest.mark.parametrize("name", ["api", "single"])
def test_a_release_ends_as_if_nobody_had_died(running: Sandbox, ports: dict[str, int], name: str) -> None:
    """`api` is exchanged start-first, `single` stop-first."""
    count = {"api": 2, "single": 1}
    seen = [end_state(running)]

    def is_exchanged(number: int) -> bool:
        now = end_state(running)
        total, ready, revisions = now.get(name, (0, 0, set()))
        if (total, ready) != (count[name], count[name]) or len(revisions) != 1:
            return False
        if revisions == seen[-1][name][2]:
            return False
        assert answers(ports[name])
        seen.append(now)
        return True

    through_all_points(running, lambda number: ["deploy", name, "--env", f"V={number}"], is_exchanged)
    other = "single" if name == "api" else "api"
    assert all(state[other] == seen[0][other] for state in seen), "the other service was touched"


def test_a_scale_ends_as_if_nobody_had_died(running: Sandbox, ports: dict[str, int]) -> None:
    wanted = {0: 2, 1: 3}

    def is_there(number: int) -> bool:
        total, ready, revisions = end_state(running).get("api", (0, 0, set()))
        return total == ready == wanted[number % 2] and len(revisions) == 1 and answers(ports["api"])

    through_all_points(running, lambda number: ["scale", f"api={wanted[number % 2]}"], is_there)


def test_a_rollback_ends_as_if_nobody_had_died(running: Sandbox, ports: dict[str, int]) -> None:
    (first,) = end_state(running)["api"][2]

    def release(number: int) -> None:
        running.fairlead("deploy", "api", "--env", f"V=r{number}", "-p", PROJECT)

    def is_back(number: int) -> bool:
        total, ready, revisions = end_state(running).get("api", (0, 0, set()))
        return (total, ready, revisions) == (2, 2, {first}) and answers(ports["api"])

    through_all_points(running, lambda number: ["rollback", "1"], is_back, release)


def test_down_ends_as_if_nobody_had_died(running: Sandbox) -> None:
    def again(number: int) -> None:
        up(running)

    def is_gone(number: int) -> bool:
        done = running.fairlead("ps", "-p", PROJECT, "--json", check=False)
        return done.returncode != 0 or done.stdout.strip() in ("", "[]")

    through_all_points(running, lambda number: ["down"], is_gone, again)
