"""Commands of the peers, and the load client, as child processes. Used by `peers` and `rounds`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 180.0
RATE = 200


def sh(*argv: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Run a command to its end; what it printed."""
    done = subprocess.run(
        argv, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done.stdout


@dataclass
class Load:
    """A run of the load client: ``report`` is there after it has ended."""

    report: dict[str, Any] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return int(self.report["sent"])

    @property
    def failed(self) -> int:
        return int(self.report["failed"])


@contextlib.contextmanager
def load(url: str) -> Iterator[Load]:
    """Constant load around a block: kept connections, new ones and POSTs, every answer checked."""
    found = Load()
    process = subprocess.Popen(
        [sys.executable, "-m", "fairlead.load", url, f"--rate={RATE}", "--mix=0.7,0.2,0.1,0", "--progress=0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        process.stderr.readline()  # the load flows
        time.sleep(1)  # part of the protocol: the same second of calm before and after for every peer
        yield found
        time.sleep(1)
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    found.report = json.loads(out.strip().splitlines()[-1])
