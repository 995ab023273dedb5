"""How long a Compose file takes to load, beside Docker Compose with the same file in the same run.

``python -m benchmarks.compose_load [--docker PATH] [--compose PATH] [--write]``. Measures in turns: loading, validating
and planning 500 services in one process, and the whole process of ``fairlead config`` on 5 and on 500 services. Without
Docker's binaries it measures Fairlead alone.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import machine, table, write_section
from fairlead.plan.planner import Wanted, plan
from fairlead.spec.load import LoadOptions, load
from fairlead.spec.revision import revision_of

ROUNDS = 15
LOAD_TARGET_S = 0.5
CONFIG_TARGET = 1.5


@dataclass(frozen=True)
class Row:
    """Medians and minima in seconds, of each side; None: not measured."""

    what: str
    fairlead_s: Sequence[float]
    docker_s: Sequence[float]
    compose_s: Sequence[float]


def compose_text(services: int) -> str:
    """A file with so many services, each with what real ones have: 28 lines."""
    lines = ["services:"]
    for number in range(services):
        before = f"    depends_on: {{svc{number - 1}: {{condition: service_started}}}}\n" if number % 10 else ""
        lines.append(
            f"""  svc{number}:
    image: registry.example.org/team/svc{number}:${{TAG:-v1}}
    command: ["python", "-m", "app{number}", "--port", "8000"]
    environment:
      DATABASE_URL: postgres://db/{number}
      LOG_LEVEL: ${{LOG_LEVEL:-info}}
      WORKERS: 4
    ports:
      - "{10000 + number}:8000"
    volumes:
      - data{number % 20}:/data
      - ./config:/etc/app:ro
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8000/health"]
      interval: 10s
      timeout: 3s
      retries: 3
    deploy:
      replicas: 2
      resources:
        limits: {{cpus: "0.5", memory: 256m}}
{before}    labels:
      team: t{number % 7}
      traefik.enable: "true"
    restart: unless-stopped"""
        )
    return "\n".join([*lines, "volumes:", *(f"  data{number}: {{}}" for number in range(20)), ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="compose_load")
    parser.add_argument("--docker", default=shutil.which("docker"), help="the docker command, with its compose plugin")
    parser.add_argument("--compose", default=shutil.which("docker-compose"), help="the binary of Docker Compose alone")
    parser.add_argument("--write", action="store_true", help="also write the table to README.md here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairlead-bench-") as folder:
        for count in (5, 500):
            Path(folder, f"{count}.yaml").write_text(compose_text(count))
        loads_s = [_timed(lambda: _load_and_plan(folder)) for _ in range(ROUNDS)]
        rows = [_processes(folder, count, arguments.docker, arguments.compose) for count in (5, 500)]
    text = _text(loads_s, rows)
    print(text)
    if arguments.write:
        write_section("compose", text)
    return 0


def _load_and_plan(folder: str) -> None:
    project = load(LoadOptions(files=("500.yaml",), environment={}, cwd=folder))
    revisions = {name: revision_of(project, service) for name, service in project.services.items()}
    wanted = {
        name: Wanted(revision=revision, replicas=revision.service.replicas) for name, revision in revisions.items()
    }
    plan(project.name, {}, wanted)


def _processes(folder: str, count: int, docker: str | None, compose: str | None) -> Row:
    file = f"{count}.yaml"
    fairlead = [str(Path(sys.executable).with_name("fairlead")), "config", "-q", "-f", file]
    commands: list[list[str] | None] = [
        fairlead,
        [docker, "compose", "-f", file, "config", "-q"] if docker else None,
        [compose, "-f", file, "config", "-q"] if compose else None,
    ]
    found: list[list[float]] = [[], [], []]
    for _ in range(ROUNDS):
        for command, times in zip(commands, found, strict=True):
            if command:
                times.append(_timed(lambda command=command: _run(command, folder)))
    return Row(f"`config` of {count} services, whole process", *found)


def _run(command: list[str], folder: str) -> None:
    # Python's own cache of compiled modules is part of an installation, so it may be written and used.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def _timed(action: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _text(loads_s: Sequence[float], rows: Sequence[Row]) -> str:
    lines = [
        ["load, validate and plan 500 services", _shown(loads_s), "", "", f"≤ {LOAD_TARGET_S} s"],
        *([row.what, _shown(row.fairlead_s), _shown(row.docker_s), _shown(row.compose_s), _ratio(row)] for row in rows),
    ]
    heads = ["what", "Fairlead", "docker compose", "docker-compose binary alone", "Fairlead / docker compose"]
    notes = (
        f"Medians (and minima) of {ROUNDS} rounds in turns. At most {CONFIG_TARGET} × `docker compose` is the target."
    )
    return f"## Compose files\n\n{machine()}.\n\n{table(heads, lines)}\n\n{notes}"


def _shown(times_s: Sequence[float]) -> str:
    return f"{statistics.median(times_s) * 1000:.0f} ms ({min(times_s) * 1000:.0f})" if times_s else "not measured"


def _ratio(row: Row) -> str:
    if not row.docker_s:
        return ""
    medians = statistics.median(row.fairlead_s) / statistics.median(row.docker_s)
    return f"{medians:.2f} ({min(row.fairlead_s) / min(row.docker_s):.2f})"


if __name__ == "__main__":
    sys.exit(main())
