"""What the router adds: the same replica asked directly, through Fairlead's HAProxy, and through two set up by hand.

Called by `run`. One of them does by hand what Fairlead's does for every request: forwarded headers, retries of what may
be repeated. The other is the least that HAProxy can be. The paths take turns in every round, so that the machine's
moods hit all of them, and ratios are taken within a round.
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

DIRECT, FAIRLEAD, BY_HAND, BARE_WAY = "direct", "fairlead", "by hand", "bare"

BARE = """
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
SAME_DUTIES = """
defaults
    mode http
    timeout connect 500ms
    timeout client 60s
    timeout server 60s
    option redispatch 1
frontend published
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance random(2)
    retries 4
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS TRACE PUT DELETE }}
    option forwardfor
    http-request set-header x-forwarded-proto http
    http-request set-header x-forwarded-host %[req.hdr(host)]
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
    """By way, the median over the rounds in milliseconds; ratios are medians of what each round gives."""

    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    ratio: float
    """Fairlead's whole median latency over that of the proxy set up by hand for the same duties."""
    ratio_bare: float
    """The same, over the proxy that does nothing but balance."""
    sent: int
    failed: int
    haproxy: str

    def added_ms(self, way: str) -> float:
        return self.p50_ms[way] - self.p50_ms[DIRECT]


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
        with (
            _by_hand(sandbox, binary, SAME_DUTIES, replica["address"]) as same,
            _by_hand(sandbox, binary, BARE, replica["address"]) as bare,
        ):
            ways = [
                Way(DIRECT, f"http://{replica['address']}/"),
                Way(FAIRLEAD, f"http://127.0.0.1:{published}/"),
                Way(BY_HAND, f"http://127.0.0.1:{same}/"),
                Way(BARE_WAY, f"http://127.0.0.1:{bare}/"),
            ]
            _take_turns(ways)
        return _result(ways, _version_of(binary))


def _take_turns(ways: list[Way]) -> None:
    for way in ways:
        _round(way, duration_s=1.0)  # connections and caches: not counted
    for number in range(ROUNDS):
        print(f"    round {number + 1} of {ROUNDS}", flush=True)
        # Another one first in every round.
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
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
    by_name = {way.name: way for way in ways}
    return Routing(
        p50_ms={way.name: statistics.median(way.p50_ms) for way in ways},
        p99_ms={way.name: statistics.median(way.p99_ms) for way in ways},
        ratio=_ratio(by_name[FAIRLEAD], by_name[BY_HAND]),
        ratio_bare=_ratio(by_name[FAIRLEAD], by_name[BARE_WAY]),
        sent=sum(way.sent for way in ways),
        failed=sum(way.failed for way in ways),
        haproxy=haproxy,
    )


def _ratio(ours: Way, theirs: Way) -> float:
    return statistics.median(a / b for a, b in zip(ours.p50_ms, theirs.p50_ms, strict=True))


@contextlib.contextmanager
def _by_hand(sandbox: Sandbox, binary: str, text: str, upstream: str) -> Iterator[int]:
    port = sandbox.port()
    configuration = sandbox.directory / f"by-hand-{port}.cfg"
    configuration.write_text(text.format(port=port, upstream=upstream).lstrip())
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
