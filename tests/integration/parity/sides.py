"""The two sides of the comparison: Docker Compose as a process, Fairlead in this process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from fairlead.errors import SpecError
from fairlead.spec.load import LoadOptions, load_tree
from fairlead.spec.render import canonical, to_json
from tests.integration.parity.projects import Candidate

ORACLE_TIMEOUT_S = 60
ENVIRONMENT = {"HOME": "/home/parity", "PATH": os.environ.get("PATH", "")}


@dataclass(frozen=True)
class Outcome:
    """``tree`` None: rejected, with ``error``. ``crash``: it ended in another way than by saying what is wrong."""

    tree: Any
    error: str
    seconds: float
    crash: bool = False


def run_oracle(binary: str, candidate: Candidate) -> Outcome:
    """What Docker Compose prints."""
    command = [binary, *(("-f", candidate.file) if candidate.file else ()), "config", "--format", "json"]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=candidate.folder,
            env=ENVIRONMENT,
            capture_output=True,
            timeout=ORACLE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, "timeout", ORACLE_TIMEOUT_S, crash=True)
    seconds = time.monotonic() - started
    error = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode != 0:
        return Outcome(None, error, seconds, crash="goroutine" in error)
    return Outcome(json.loads(done.stdout), error, seconds)


def run_fairlead(candidate: Candidate) -> Outcome:
    """What Fairlead prints."""
    options = LoadOptions(
        files=(candidate.file,) if candidate.file else (),
        environment=ENVIRONMENT,
        cwd=os.path.abspath(candidate.folder),
    )
    started = time.monotonic()
    try:
        tree = json.loads(to_json(canonical(load_tree(options))))
    except SpecError as error:
        return Outcome(None, str(error), time.monotonic() - started)
    except Exception as error:
        return Outcome(None, f"{type(error).__name__}: {error}", time.monotonic() - started, crash=True)
    return Outcome(tree, "", time.monotonic() - started)
