"""A home of its own for the real `fairlead` command, which leaves nothing behind, whatever happens.

Used by the end-to-end tests, the demo (`examples/quickstart/demo.py`) and the benchmarks. Every process that belongs to
a home is known by its environment or its command line, so that even what a crash left over is found and ended.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import psutil
import yaml

from fairlead.api.client import Client, ConnectionLostError, NotRunningError
from fairlead.errors import DeadlineError, NotFoundError
from fairlead.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"
BIN = Path(sys.executable).parent

COMMAND_TIMEOUT_S = 90.0
FACT_TIMEOUT_S = 30.0
_LOOK_INTERVAL_S = 0.05

Fact = TypeVar("Fact")


class CommandFailed(Exception):
    """A command that was to succeed did not; the text is all it said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        said = f"{done.stdout}{done.stderr}".strip()
        super().__init__(f"{' '.join(done.args[1:])}: exit code {done.returncode}\n{said}")
        self.done = done


class Sandbox:
    """One ``FAIRLEAD_HOME``. Use it as a context manager."""

    def __init__(self, *, prefix: str = "fl-", environment: Mapping[str, str] | None = None) -> None:
        # Short, because the path of a unix socket has to fit into 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        self.home = self.directory / "home"
        self.environment = _clean_environment() | dict(environment or {}) | {"FAIRLEAD_HOME": str(self.home)}
        self._reservations: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fairlead(
        self, *arguments: str, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end.

        :raises CommandFailed: the exit code is not 0, unless ``check`` is False.
        """
        done = subprocess.run(
            [str(BIN / "fairlead"), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.directory,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise CommandFailed(done)
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command that the test wants to outrun."""
        return subprocess.Popen(
            [str(BIN / "fairlead"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=self.directory,
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self.fairlead(*arguments, "--json").stdout)

    def replicas(self, project: str, *, state: str | None = None) -> list[dict[str, Any]]:
        """The rows of `ps`, those in ``state`` alone if it is given.

        What waits looks often, and a command a look would be most of what the machine does: a controller that runs
        is asked for the rows without one. Where none answers, `ps` starts it.
        """
        rows = self._asked(project)
        if rows is None:
            rows = self.json("ps", "-p", project)
        return [row for row in rows if state is None or row["state"] == state]

    def _asked(self, project: str) -> list[dict[str, Any]] | None:
        client = Client(Settings.from_environ(self.environment).socket_path)
        try:
            rows = client.replicas(project)
        except NotFoundError:
            return []
        except (NotRunningError, ConnectionLostError, DeadlineError):
            return None
        found: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(rows))
        return found

    def controller_pid(self) -> int:
        return int(self.json("controller", "status")["pid"])

    def kill_controller(self, *, before: Callable[[], None] = lambda: None) -> int:
        """``kill -9``, and wait until it is gone; its pid.

        ``before`` is done while it stands still: a command that follows a release starts its successor at once.
        """
        pid = self.controller_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            before()
        finally:
            os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: not _lives(pid), f"the end of controller {pid}")
        return pid

    def wait_for(self, fact: Callable[[], Fact], what: str, timeout_s: float = FACT_TIMEOUT_S) -> Fact:
        """The first true value of ``fact``."""
        deadline_s = time.monotonic() + timeout_s
        while not (found := fact()):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"waited {timeout_s:g} s for {what}\n{self.controller_log()}")
            time.sleep(_LOOK_INTERVAL_S)
        return found

    def port(self) -> int:
        """A free port, kept from everybody who asks the kernel for one until the sandbox is closed."""
        reservation = socket.socket()
        # Bound and not listening, with SO_REUSEADDR on both sides: a listener may still have the port.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        self._reservations.append(reservation)
        return int(reservation.getsockname()[1])

    def write(self, services: Mapping[str, Any], *, name: str = "compose.yaml", **top: Any) -> Path:
        """A Compose file in the sandbox; its path."""
        path = self.directory / name
        path.write_text(yaml.safe_dump({"services": dict(services), **top}, sort_keys=False))
        return path

    def processes(self) -> list[psutil.Process]:
        """Everything alive that belongs to this home: controller, keeper, load balancer, replicas."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and self._owns(process):
                    found.append(process)
        return found

    def controller_log(self, lines: int = 40) -> str:
        path = self.home / "controller.log"
        if not path.exists():
            return "(no controller log)"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> list[str]:
        """Down with every project, then the controller; whatever is still there is killed. What had to be killed."""
        try:
            self._end_politely()
        finally:
            killed = self._kill_the_rest()
            for reservation in self._reservations:
                reservation.close()
            shutil.rmtree(self.directory, ignore_errors=True)
        return killed

    def _end_politely(self) -> None:
        if not any(self.processes()):
            return
        # A test that failed may have left anything behind; what polite words do not end, the kill after them does.
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError, CommandFailed):
            for project in self.json("status", "--all"):
                self.fairlead("down", "-p", project["name"], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired, TimeoutError):
            self.fairlead("controller", "stop", check=False)
            self.wait_for(lambda: not self.processes(), "the end of every process")

    def _kill_the_rest(self) -> list[str]:
        killed = []
        # Twice, because one of them may just have been starting another.
        for _ in range(2):
            left = self.processes()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    killed.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
                    process.kill()
            psutil.wait_procs(left, timeout=10)
        return killed

    def _owns(self, process: psutil.Process) -> bool:
        home = str(self.home)
        if any(home in argument for argument in process.cmdline()):
            return True
        environment = process.environ()
        return environment.get("FAIRLEAD_HOME") == home or environment.get("FAIRLEAD_RUN", "").startswith(f"{home}/")


def quickstart(port: int, *, replicas: int = 4, version: str = "v1", **changes: Any) -> dict[str, Any]:
    """The service of `examples/quickstart`, with this interpreter and this port; ``changes`` replace its keys."""
    command = [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "$$PORT"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    patience = ["--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "8"]
    service: dict[str, Any] = {
        "build": str(QUICKSTART),
        "command": [*command, *quiet, *patience],
        "environment": {"VERSION": version},
        "ports": [f"127.0.0.1:{port}:8000"],
        "stop_grace_period": "10s",
        "deploy": {"replicas": replicas},
        "x-fairlead": {"probes": {"readiness": {"http": "/health", "interval": "250ms"}}},
    }
    return service | changes


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def occupied(port: int) -> Iterator[None]:
    """Somebody else listens there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _clean_environment() -> dict[str, str]:
    """Ours without what changes Fairlead or Compose, and with the commands beside this interpreter first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "COMPOSE_"))}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '/usr/bin:/bin')}"}
