"""What the router adds: the same replica asked directly, through Fairlead's HAProxy, and through one set up by hand.

Called by `run`. The three paths take turns in every round, so that the machine's moods hit all of them.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.sandbox import Sandbox, listening

RATE = 1000
ROUNDS = 15
ROUND_S = 2.5
PROJECT = "routing"

BY_HAND = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend published
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance leastconn
    server one {upstream}
"""


@dataclass
class Way:
    """One way to the replica and what each round measured on it, in milliseconds."""

    name: str
    url: str
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    sent: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Routing:
    """Medians over the rounds, in milliseconds; ``added`` ones are differences of such medians."""

    direct_p50: float
    added_p50: float
    added_by_hand_p50: float
    direct_p99: float
    fairlead_p99: float
    by_hand_p99: float
    ratio_by_hand: float
    """Fairlead's whole median latency over that of the proxy set up by hand."""
    sent: int
    failed: int
    haproxy: str


def measure() -> Routing:
    with Sandbox(prefix="fairlead-bench-") as sandbox:
        published = sandbox.port()
        service = {
            "command": [sys.executable, str(Path(__file__).with_name("upstream.py"))],
            "ports": [f"127.0.0.1:{published}:8000"],
        }
        sandbox.fairlead("up", "-d", "-f", str(sandbox.write({"web": service})), "-p", PROJECT)
        (replica,) = sandbox.replicas(PROJECT, state="ready")
        binary = _haproxy_of(sandbox)
        with _by_hand(sandbox, binary, replica["address"]) as other:
            ways = [
                Way("direct", f"http://{replica['address']}/"),
                Way("fairlead", f"http://127.0.0.1:{published}/"),
                Way("by hand", f"http://127.0.0.1:{other}/"),
            ]
            _take_turns(ways)
        return _result(ways, _version_of(binary))


def _take_turns(ways: list[Way]) -> None:
    for way in ways:
        _round(way, duration_s=1.0)  # connections and caches: not counted
    for number in range(ROUNDS):
        print(f"    round {number + 1} of {ROUNDS}", flush=True)
        # Another one first in every round.
        for way in ways[number % 3 :] + ways[: number % 3]:
            report = _round(way, ROUND_S)
            way.p50_ms.append(report["latency_ms"]["p50"])
            way.p99_ms.append(report["latency_ms"]["p99"])
            way.sent += report["sent"]
            way.failed += report["failed"]


def _round(way: Way, duration_s: float) -> dict[str, Any]:
    options = ["--app=any", "--mix=1,0,0,0", f"--rate={RATE}", f"--duration={duration_s}"]
    argv = [sys.executable, "-m", "fairlead.load", way.url, *options]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=duration_s + 60)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _result(ways: list[Way], haproxy: str) -> Routing:
    direct, fairlead, by_hand = ways
    p50 = {way.name: statistics.median(way.p50_ms) for way in ways}
    return Routing(
        direct_p50=p50["direct"],
        added_p50=p50["fairlead"] - p50["direct"],
        added_by_hand_p50=p50["by hand"] - p50["direct"],
        direct_p99=statistics.median(direct.p99_ms),
        fairlead_p99=statistics.median(fairlead.p99_ms),
        by_hand_p99=statistics.median(by_hand.p99_ms),
        ratio_by_hand=p50["fairlead"] / p50["by hand"],
        sent=sum(way.sent for way in ways),
        failed=sum(way.failed for way in ways),
        haproxy=haproxy,
    )


@contextlib.contextmanager
def _by_hand(sandbox: Sandbox, binary: str, upstream: str) -> Iterator[int]:
    port = sandbox.port()
    configuration = sandbox.directory / "by-hand.cfg"
    configuration.write_text(BY_HAND.format(port=port, upstream=upstream).lstrip())
    process = subprocess.Popen([binary, "-db", "-q", "-f", str(configuration)], stdin=subprocess.DEVNULL)
    try:
        sandbox.wait_for(lambda: listening(port), "the proxy set up by hand")
        yield port
    finally:
        process.kill()
        process.wait()


def _haproxy_of(sandbox: Sandbox) -> str:
    """The very binary that Fairlead runs."""
    for process in sandbox.processes():
        if "haproxy" in process.name():
            return process.exe()
    raise RuntimeError("Fairlead runs no HAProxy")


def _version_of(binary: str) -> str:
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=30).stdout.splitlines()[0]
    return " ".join(said.split()[:3])


if __name__ == "__main__":
    started_s = time.monotonic()
    print(measure(), f"{time.monotonic() - started_s:.0f} s")
