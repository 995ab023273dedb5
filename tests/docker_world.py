"""The Docker daemon that tests use, and its images: both made by ``scripts/ci``, neither needing a registry.

Tests that use it are marked `docker` and are skipped only where no daemon answers.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from fairlead.docker_api.endpoint import endpoint_of

BUSYBOX = "fairlead-test/busybox:latest"
DEBIAN = "fairlead-test/debian:latest"
SCRIPTS = Path(__file__).parent.parent / "scripts" / "ci"
PING_TIMEOUT_S = 30


@functools.cache
def daemon_answers() -> bool:
    endpoint = endpoint_of(os.environ)
    if endpoint.socket is not None and not Path(endpoint.socket).exists():
        return False
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        timeout=PING_TIMEOUT_S,
        check=False,
    )
    return asked.returncode == 0


def need_daemon() -> None:
    """Skip the test where no Docker daemon answers, unless `FAIRLEAD_NEED_DOCKER` says that one must."""
    if not daemon_answers():
        assert not os.environ.get("FAIRLEAD_NEED_DOCKER"), "no Docker daemon answers"
        pytest.skip("no Docker daemon answers: scripts/ci/docker-up.sh starts one")


@functools.cache
def docker_compose() -> str:
    """The path of Docker Compose: the one that is installed, else Debian's, fetched once."""
    if installed := shutil.which("docker-compose"):
        return installed
    target = Path(tempfile.gettempdir(), "fairlead-ci-tools", "docker-compose")
    _prepared("docker-compose.sh", str(target))
    return str(target)


@functools.cache
def need_images() -> None:
    """Build the images that are missing."""
    _prepared("docker-images.sh")


def _prepared(script: str, *arguments: str) -> None:
    """Run a script of ``scripts/ci`` by itself, even where several test processes ask for it at a time."""
    with Path(tempfile.gettempdir(), "fairlead-test-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["bash", str(SCRIPTS / script), *arguments], capture_output=True, text=True, timeout=900, check=False
        )
    assert done.returncode == 0, f"scripts/ci/{script}: {done.stdout}{done.stderr}"
