"""How long changes take under load: a release of four replicas, and the way back to full strength after a kill.

Called by `run`. The load checks every answer; a change that lost a request is reported as such, not as a time.
"""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.e2e.load import Load, died_with
from tests.e2e.sandbox import QUICKSTART, Sandbox, listening, quickstart

from fairlead.api.client import Client
from fairlead.settings import Settings

PROJECT = "changes"
REPLICAS = 4
ROUNDS = 5
CALM_ANSWERS = 200
TRAFFIC = ("--rate=200", "--mix=75,15,10,0")
_LOOK_INTERVAL_S = 0.01


@dataclass(frozen=True)
class Changes:
    """Medians and ranges over the rounds, in seconds. ``lost``: POSTs that had reached a replica when it was killed."""

    release_s: float
    release_range_s: tuple[float, float]
    heal_s: float
    heal_range_s: tuple[float, float]
    boot_s: float
    """Four of the application started at once with nothing around them, until each answers: no release is faster."""
    sent: int
    failed: int
    lost: int


def measure() -> Changes:
    with Sandbox(prefix="fairlead-bench-") as sandbox:
        port = sandbox.port()
        file = sandbox.write({"api": quickstart(port, replicas=REPLICAS)})
        sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT)
        client = Client(Settings.from_environ(sandbox.environment).socket_path)
        kills: list[tuple[str, float]] = []
        with Load(f"http://127.0.0.1:{port}", *TRAFFIC) as load:
            releases_s = [_release(sandbox, load, number) for number in range(ROUNDS)]
            # Each time another one: a replica that ends again and again is started ever later, as it should be.
            heals_s = [_heal(client, load, slot, kills) for slot in range(1, REPLICAS + 1)]
    boot_s = statistics.median(_boot() for _ in range(ROUNDS))
    lost = sum(len(died_with(load.report, replica, at_s)) for replica, at_s in kills)
    return Changes(
        release_s=statistics.median(releases_s),
        release_range_s=(min(releases_s), max(releases_s)),
        heal_s=statistics.median(heals_s),
        heal_range_s=(min(heals_s), max(heals_s)),
        boot_s=boot_s,
        sent=load.report["sent"],
        failed=load.report["failed"] - lost,
        lost=lost,
    )


def _release(sandbox: Sandbox, load: Load, number: int) -> float:
    started_s = time.monotonic()
    sandbox.fairlead("deploy", "api", "--env", f"VERSION=v{number + 2}", "-p", PROJECT)
    took_s = time.monotonic() - started_s
    print(f"    release {number + 1} of {ROUNDS}: {took_s:.2f} s", flush=True)
    load.wait_until_flowing(CALM_ANSWERS)
    return took_s


def _heal(client: Client, load: Load, slot: int, kills: list[tuple[str, float]]) -> float:
    victim = next(row for row in client.replicas(PROJECT) if row.state == "ready" and row.slot == slot)
    assert victim.pid is not None
    kills.append((victim.id, time.time()))
    started_s = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    while not _is_whole(client, victim.pid):
        if time.monotonic() - started_s > 60:
            raise TimeoutError("the killed replica was not replaced within 60 s")
        time.sleep(_LOOK_INTERVAL_S)
    took_s = time.monotonic() - started_s
    print(f"    kill {len(kills)} of {REPLICAS}: whole again after {took_s:.2f} s", flush=True)
    load.wait_until_flowing(CALM_ANSWERS)
    return took_s


def _is_whole(client: Client, killed_pid: int) -> bool:
    pids = [row.pid for row in client.replicas(PROJECT) if row.state == "ready"]
    return len(pids) == REPLICAS and killed_pid not in pids


def _boot() -> float:
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(REPLICAS):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
            probe.close()
        started_s = time.monotonic()
        for port in ports:
            argv = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
            process = subprocess.Popen(argv, cwd=QUICKSTART, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        while not all(listening(port) for port in ports):
            if time.monotonic() - started_s > 60:
                raise TimeoutError("the application does not listen")
            time.sleep(_LOOK_INTERVAL_S)
        return time.monotonic() - started_s


if __name__ == "__main__":
    print(measure())
