"""The real `fairlead` command on the Docker daemon, in a home of its own that leaves nothing behind."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairlead.docker_api.scope import scope_of
from tests.docker_world import DEBIAN, need_daemon, need_images
from tests.e2e.sandbox import QUICKSTART, Sandbox

TIMEOUT_S = 120


def docker(*arguments: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=env
    )
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@contextlib.contextmanager
def docker_sandbox() -> Iterator[Sandbox]:
    """A sandbox whose commands use the Docker engine."""
    need_daemon()
    need_images()
    with Sandbox(environment={"FAIRLEAD_ENGINE": "docker"}) as sandbox:
        scope = scope_of(sandbox.home)
        try:
            yield sandbox
            end(sandbox)
            assert docker("ps", "-aq", "--filter", f"label=fairlead.scope={scope}") == "", "a container was left"
        finally:
            left = docker("ps", "-aq", "--filter", f"label=fairlead.scope={scope}").split()
            if left:
                docker("rm", "-fv", *left, check=False)


def end(sandbox: Sandbox) -> None:
    """Everything down, with its volumes: when `down` says so, nothing is left. Then the controller is stopped."""
    scope = f"label=fairlead.scope={scope_of(sandbox.home)}"
    # What the daemon is still removing is its own affair.
    states = [f"--filter=status={state}" for state in ("created", "running", "paused", "exited")]
    for project in sandbox.json("status", "--all"):
        sandbox.fairlead("down", "-p", project["name"], "--volumes", "--yes")
        networks = f"label=com.docker.compose.project={project['name']}"
        assert docker("network", "ls", "-q", "--filter", networks, env=sandbox.environment) == ""
    assert docker("ps", "-aq", "--filter", scope, *states, env=sandbox.environment) == "", "`down` left a container"
    sandbox.fairlead("controller", "stop", check=False)


def web(version: str = "v1", *, replicas: int = 4, **changes: Any) -> dict[str, Any]:
    """The application of `examples/quickstart` in a container, as a service that is an unmodified Compose one."""
    command = ["python3", "-m", "uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8000"]
    service: dict[str, Any] = {
        "image": DEBIAN,
        "command": [*command, "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "75"],
        "working_dir": "/app",
        "volumes": [f"{Path(QUICKSTART) / 'app.py'}:/app/app.py:ro"],
        "environment": {"VERSION": version},
        "deploy": {"replicas": replicas},
        "x-fairlead": {"probes": {"readiness": {"http": "/health", "interval": "250ms"}}},
    }
    return service | changes
