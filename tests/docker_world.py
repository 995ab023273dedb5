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
def need_images() -> None:
    """Build the images that are missing, once, even where several test processes ask at a time."""
    with Path(tempfile.gettempdir(), "fairlead-test-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(
            ["bash", str(SCRIPTS / "docker-images.sh")], capture_output=True, text=True, timeout=900, check=False
        )
    assert built.returncode == 0, f"scripts/ci/docker-images.sh: {built.stdout}{built.stderr}"
