"""``python -m benchmarks.docker``: measure every peer in turns, print it, and write it to ``benchmarks/README.md``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.docker.peers import REPLICAS, URL, Compose, Fairlead, Peer, Rollout, Swarm
from benchmarks.docker.shell import RATE, load, sh
from benchmarks.page import PAGE, machine, table, write_section

HERE = Path(__file__).parent
HEAL_DEADLINE_S = 60.0


@dataclass
class Found:
    release_s: list[float] = field(default_factory=list)
    heal_s: list[float] = field(default_factory=list)
    sent: int = 0
    failed: int = 0
    failed_at_kill: int = 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", type=Path, default=Path(tempfile.gettempdir()) / "fairlead-bench-tools")
    parser.add_argument("--only", help="part of a peer's name")
    arguments = parser.parse_args()
    subprocess.run(["bash", str(HERE / "tools.sh"), str(arguments.tools)], check=True, env=_environ())
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="fairlead-bench-") as folder:
        for _ in range(arguments.rounds):
            for peer in _peers(arguments.tools, Path(folder)):
                if not arguments.only or arguments.only.lower() in peer.name.lower():
                    measure(peer, found.setdefault(peer.name, Found()))
    text = page(found, arguments.rounds)
    print(text)
    if not arguments.only:
        write_section("docker", text)
        print(f"Written to {PAGE}")
    return 0


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHON": sys.executable}


def _peers(tools: Path, folder: Path) -> list[Peer]:
    return [
        Compose(tools, folder / "compose"),
        Rollout(tools, folder / "rollout"),
        Swarm(tools, folder / "swarm1", 1),
        Swarm(tools, folder / "swarm4", REPLICAS),
        Fairlead(tools, folder / "fairlead"),
    ]


def measure(peer: Peer, found: Found) -> None:
    print(f"  {peer.name}", flush=True)
    try:
        peer.up("v1")
        with load(URL) as during:
            began = time.monotonic()
            peer.release("v2")
            found.release_s.append(time.monotonic() - began)
        found.sent += during.sent
        found.failed += during.failed
        with load(URL) as around:
            found.heal_s.append(heal(peer))
        found.failed_at_kill += around.failed
    finally:
        peer.down()
    print(f"    release {found.release_s[-1]:.2f} s, heal {found.heal_s[-1]:.2f} s, failed {found.failed}", flush=True)


def heal(peer: Peer) -> float:
    """Seconds from `kill -9` of one replica until one that has never answered before answers."""
    known: set[str] = set()
    asked = 0
    while len(known) < REPLICAS or asked < 50:
        known.add(_who())
        asked += 1
    victim = int(sh("docker", "inspect", "--format", "{{.State.Pid}}", peer.containers()[0]))
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    while time.monotonic() - began < HEAL_DEADLINE_S:
        try:
            if _who() not in known:
                return time.monotonic() - began
        except OSError:
            time.sleep(0.01)
    return HEAL_DEADLINE_S


def _who() -> str:
    with urllib.request.urlopen(f"{URL}/", timeout=5) as answer:
        return str(json.load(answer)["replica"])


def page(found: dict[str, Found], rounds: int) -> str:
    rows = [
        [
            name,
            f"{statistics.median(each.release_s):.1f} s",
            f"{each.failed} of {each.sent:,}",
            "never" if max(each.heal_s) >= HEAL_DEADLINE_S else f"{statistics.median(each.heal_s):.1f} s",
            str(each.failed_at_kill),
        ]
        for name, each in found.items()
    ]
    head = ["", "release", "failed during it", "killed replica replaced", "failed at the kill"]
    note = (
        f"Medians of {rounds} rounds in turns, sums of failures. {REPLICAS} replicas of `examples/quickstart`, "
        f"{RATE} requests a second (70 % on kept connections, 20 % on new ones, 10 % POST), every answer checked. "
        "The release is the time until the tool's own command returns; a replica counts as replaced when one that has "
        "never answered before answers through the load balancer."
    )
    return f"## Docker\n\n{machine()}. Docker {_docker()}.\n\n{table(head, rows)}\n\n{note}"


def _docker() -> str:
    return sh("docker", "version", "--format", "{{.Server.Version}}").strip()


if __name__ == "__main__":
    sys.exit(main())
