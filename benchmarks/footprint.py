"""What Fairlead costs when nothing happens: its processes at rest with twenty replicas, and the start of the command.

Called by `run`.
"""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.e2e.sandbox import BIN, Sandbox

PROJECT = "footprint"
REPLICAS = 20
SETTLE_S = 10.0
WATCH_S = 30.0
HELP_ROUNDS = 21


@dataclass(frozen=True)
class AtRest:
    """One of Fairlead's own processes: proportional memory in MB, share of one core in percent."""

    name: str
    memory_mb: float
    cpu_percent: float


@dataclass(frozen=True)
class Footprint:
    at_rest: tuple[AtRest, ...]
    help_ms: float
    python_ms: float
    """An interpreter that does nothing: what no command of it can be faster than."""


def measure() -> Footprint:
    return Footprint(at_rest=_at_rest(), help_ms=_started([str(BIN / "fairlead"), "--help"]), python_ms=_python())


def _at_rest() -> tuple[AtRest, ...]:
    with Sandbox(prefix="fairlead-bench-") as sandbox:
        service = {
            "command": [sys.executable, str(Path(__file__).with_name("upstream.py"))],
            "ports": [f"127.0.0.1:{sandbox.port()}:8000"],
            "deploy": {"replicas": REPLICAS},
        }
        sandbox.fairlead("up", "-d", "-f", str(sandbox.write({"web": service})), "-p", PROJECT)
        replicas = {row["pid"] for row in sandbox.replicas(PROJECT, state="ready")}
        if len(replicas) != REPLICAS:
            raise RuntimeError(f"{len(replicas)} of {REPLICAS} replicas are ready")
        # Connections of the start-up close, and memory that only it needed is given back.
        time.sleep(SETTLE_S)
        own = {_name(sandbox, process): process for process in sandbox.processes() if process.pid not in replicas}
        before_s = {name: _cpu_s(process) for name, process in own.items()}
        time.sleep(WATCH_S)
        return tuple(
            AtRest(
                name=name,
                memory_mb=process.memory_full_info().pss / 1e6,
                cpu_percent=100.0 * (_cpu_s(process) - before_s[name]) / WATCH_S,
            )
            for name, process in sorted(own.items())
        )


def _name(sandbox: Sandbox, process: psutil.Process) -> str:
    if process.pid == sandbox.controller_pid():
        return "controller"
    if "haproxy" in process.name():
        parent = process.parent()
        return "haproxy, worker" if parent is not None and "haproxy" in parent.name() else "haproxy, master"
    return "keeper" if any("keeper" in argument for argument in process.cmdline()) else process.name()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _python() -> float:
    return _started([sys.executable, "-c", "pass"])


def _started(argv: list[str]) -> float:
    """The median time of a whole run, in milliseconds."""
    took_ms = []
    for _ in range(HELP_ROUNDS):
        started_s = time.perf_counter()
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
        took_ms.append((time.perf_counter() - started_s) * 1000.0)
    return statistics.median(took_ms)


if __name__ == "__main__":
    print(measure())
