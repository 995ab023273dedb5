"""The promise, watched: `examples/quickstart` under constant load through a release, a kill, scaling and a rollback.

Run by `make demo`. It works in a home of its own, on a free port, and cleans up after itself, on Ctrl-C too. Exit code
0: not one request failed, but for what no load balancer can save: streams that were open on the replica that is killed,
and a POST that had reached it. Those are counted by themselves.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from tests.e2e.load import Load, died_with, shown
from tests.e2e.sandbox import QUICKSTART, CommandFailed, Sandbox

PROJECT = "quickstart"
REPLICAS = 4
CALM_ANSWERS = 100
TRAFFIC = ("--rate=100", "--mix=65,15,15,5", "--websockets=10", "--event-streams=5", "--stream-life=5")


@dataclass
class Demo:
    """The steps in their order; each prints one line with what it took."""

    sandbox: Sandbox
    port: int
    load: Load | None = None
    killed: str = ""
    killed_at_s: float = 0.0
    colour: bool = field(default_factory=sys.stdout.isatty)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def whole(self) -> int:
        print(self._bold("Fairlead demo"), f"· examples/quickstart · {REPLICAS} replicas behind {self.url}")
        self._step(f"up, {REPLICAS} replicas of v1", self._up)
        load = Load(self.url, *TRAFFIC, "--versions=v1,v2", journal=self.sandbox.directory / "journal")
        with load:
            self.load = load
            print("  load flows: 100 requests a second, 10 websockets, 5 event streams; every answer is checked")
            self._step("release v2", self._release)
            self._step("kill -9 a replica, heal", self._kill, lost="died with it")
            self._step("scale to 6", lambda: self._scale(6))
            self._step(f"scale back to {REPLICAS}", lambda: self._scale(REPLICAS))
            self._step("roll back to v1", self._rollback)
        return self._verdict(load.report)

    def _up(self) -> str:
        self._fairlead("up", "-d", "-f", str(QUICKSTART / "compose.yaml"), "--engine", "process")
        return ""

    def _release(self) -> str:
        self._fairlead("deploy", "api", "--env", "VERSION=v2")
        return "fairlead deploy api --env VERSION=v2"

    def _kill(self) -> str:
        victim = self._ready()[0]
        self.killed, self.killed_at_s = victim["id"], time.time()
        os.kill(victim["pid"], signal.SIGKILL)
        self.sandbox.wait_for(lambda: self._at_full_strength(without=victim["pid"]), "full strength")
        return f"{victim['id']}, pid {victim['pid']}"

    def _scale(self, replicas: int) -> str:
        self._fairlead("scale", f"api={replicas}")
        found = len(self._ready())
        if found != replicas:
            raise AssertionError(f"{found} replicas are ready instead of {replicas}")
        return f"fairlead scale api={replicas}"

    def _rollback(self) -> str:
        self._fairlead("rollback")
        return "fairlead rollback"

    def _at_full_strength(self, without: int) -> bool:
        ready = self._ready()
        return len(ready) == REPLICAS and all(row["pid"] != without for row in ready)

    def _ready(self) -> list[dict[str, Any]]:
        return self.sandbox.replicas(PROJECT, state="ready")

    def _fairlead(self, verb: str, *arguments: str) -> None:
        self.sandbox.fairlead(verb, *arguments, "-p", PROJECT)

    def _step(self, title: str, act: Callable[[], str], lost: str = "failed") -> None:
        before = self._progress()
        started_s = time.monotonic()
        detail = act()
        took_s = time.monotonic() - started_s
        if self.load is not None:
            # A while of calm, so that a failure shows up at the step that caused it.
            self.load.wait_until_flowing(CALM_ANSWERS)
        after = self._progress()
        sent, failed = after["sent"] - before["sent"], after["failed"] - before["failed"]
        traffic = f"{sent:>6} sent {self._count(failed)} {lost}" if self.load is not None else ""
        print(f"  {title:<26} {took_s:>6.1f} s  {traffic:<30}  {self._dim(detail)}".rstrip(), flush=True)

    def _progress(self) -> dict[str, Any]:
        return dict(self.load.progress) if self.load is not None else {"sent": 0, "failed": 0}

    def _verdict(self, report: dict[str, Any]) -> int:
        streams = sum(report["kinds"].get(kind, {}).get("sent", 0) for kind in ("websocket", "event-stream"))
        requests = report["sent"] - streams
        answered = ", ".join(f"{version}: {found['count']}" for version, found in report["versions"].items())
        latency = report["latency_ms"]
        died = len(died_with(report, self.killed, self.killed_at_s, self.sandbox.directory / "journal"))
        failed = report["failed"] - died
        print(f"  answered by {answered}; latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms")
        if died:
            print(f"  {died} died with the replica that was killed (streams open on it, a POST that had reached it)")
        print(self._bold(f"{requests} requests and {streams} streams sent, {failed} failed."))
        if failed:
            print(shown(report), file=sys.stderr)
            return 1
        return 0

    def _count(self, failed: int) -> str:
        text = f"{failed:>3}"
        return self._bold(text) if failed else text

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.colour and text else text


def interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, interrupted)
    with Sandbox(prefix="fairlead-demo-") as sandbox:
        port = sandbox.port()
        sandbox.environment |= {
            "QUICKSTART_PORT": str(port),
            "QUICKSTART_JOURNAL": str(sandbox.directory / "journal"),
        }
        try:
            return Demo(sandbox, port).whole()
        except KeyboardInterrupt:
            # A second Ctrl-C must not leave behind what this one is cleaning up.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("\ninterrupted; cleaning up", file=sys.stderr)
            return 130
        except (CommandFailed, TimeoutError, AssertionError) as error:
            print(f"\nerror: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
