"""One replica's run directory: everything the engine knows of it, so that it can be found again by anyone.

    <home>/run/<project>/<replica id>/
      spec.json       the ReplicaSpec, whole
      launch.json     the intent: ports, command, environment, cgroups; written before anything is started
      process.json    pid, start time, boot and guard; made by the replica itself, once, just before its command
      exit.json       how it ended; written once it has
      stopping        the engine has asked it to end        signalled   or has sent a signal that ends
      started         its post_start hooks have run
      stdout, stderr  named pipes to the keeper        log, log.1 …  what came through them
      rotation        for the keeper: bytes a file, number of files

Files appear whole (written beside and renamed), the directory itself too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from fairlead.engines.process.procfs import Identity, boot_id
from fairlead.errors import EngineError
from fairlead.observed import Exit, ReplicaSpec

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to be started. ``ports``: container port to the port here; ``rotation``: bytes, files."""

    argv: tuple[str, ...]
    path: str
    environment: Mapping[str, str]
    cwd: str
    port: int
    ports: Mapping[int, int] = field(default_factory=dict)
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    rlimits: tuple[tuple[int, int, int], ...] = ()
    cgroups: tuple[str, ...] = ()
    memory_limit_bytes: int | None = None
    oom_score_adj: int | None = None
    no_new_privileges: bool = False
    rotation: tuple[int, int] = (10_000_000, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """What the replica wrote of itself before its command took over."""

    pid: int
    start_ticks: int
    boot_id: str
    guard: int
    guard_start_ticks: int
    started_at_s: float

    @property
    def identity(self) -> Identity:
        return Identity(pid=self.pid, start_ticks=self.start_ticks, boot_id=self.boot_id)

    @property
    def guard_identity(self) -> Identity:
        return Identity(pid=self.guard, start_ticks=self.guard_start_ticks, boot_id=self.boot_id)


class RunDirectory:
    """Reads and writes one replica's files. Values that never change once written are read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._spec: ReplicaSpec | None = None
        self._launch: Launch | None = None
        self._process: ProcessRecord | None = None
        self._exit: Exit | None = None

    @property
    def replica_id(self) -> str:
        return self.path.name

    @property
    def log_path(self) -> Path:
        return self.path / "log"

    @classmethod
    def create(cls, path: Path, spec: ReplicaSpec, launch: Launch) -> RunDirectory:
        """The whole directory at once, or nothing."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = path.parent / f".new-{path.name}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        _write(making / "spec.json", spec)
        _write(making / "launch.json", launch)
        (making / "rotation").write_text(f"{launch.rotation[0]} {launch.rotation[1]}\n", encoding="ascii")
        for name in ("stdout", "stderr"):
            os.mkfifo(making / name, 0o600)
        making.rename(path)
        return cls(path)

    def is_wreck(self) -> bool:
        """Whether its files cannot be read and nothing runs: what a loss of power may leave. It is deleted then."""
        try:
            return self.spec is None or self.launch is None
        except EngineError as error:
            if not self.exists():
                return True
            if (self.path / "process.json").exists() and self._lives():
                raise
            _log.warning("%s; nothing runs there, it is deleted", error)
            self.delete()
            return True

    def _lives(self) -> bool:
        record = self.process
        return record is not None and record.boot_id == boot_id()

    def exists(self) -> bool:
        return self.path.is_dir()

    @property
    def spec(self) -> ReplicaSpec:
        if self._spec is None:
            self._spec = self._read("spec.json", ReplicaSpec)
            if self._spec is None:
                raise EngineError(f"{self.path}: spec.json is missing", hint="remove the directory by hand")
        return self._spec

    @property
    def launch(self) -> Launch:
        if self._launch is None:
            self._launch = self._read("launch.json", Launch)
            if self._launch is None:
                raise EngineError(f"{self.path}: launch.json is missing", hint="remove the directory by hand")
        return self._launch

    @property
    def process(self) -> ProcessRecord | None:
        if self._process is None:
            self._process = self._read("process.json", ProcessRecord)
        return self._process

    @property
    def exit(self) -> Exit | None:
        if self._exit is None:
            self._exit = self._read("exit.json", Exit)
        return self._exit

    def record_exit(self, ended: Exit) -> None:
        """Remember how it ended; true in memory even where the disk is full (:class:`OSError`)."""
        self._exit = ended
        _write(self.path / "exit.json", ended)

    def has(self, mark: str) -> bool:
        return (self.path / mark).exists()

    def mark(self, mark: str) -> None:
        """Leave an empty file. Losing one to a full disk costs precision, never a replica."""
        with contextlib.suppress(OSError):
            (self.path / mark).touch()

    def delete(self) -> None:
        """Gone at once for everyone who looks, then taken apart."""
        leaving = self.path.parent / f".old-{self.path.name}"
        shutil.rmtree(leaving, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(leaving)
            shutil.rmtree(leaving, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            data = (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            raise EngineError(f"{self.path / name} cannot be read: {error}") from error


def project_directories(root: Path) -> Iterator[Path]:
    """The directories of projects, sorted by name."""
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def replica_directories(project: Path) -> Iterator[Path]:
    """The directories of replicas, sorted by id; what is only half made or half gone is left out."""
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(path for path in project.iterdir() if path.is_dir() and not path.name.startswith("."))


def _write(path: Path, value: object) -> None:
    # Two engines over one home may write the same ending at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(value))
    temporary.rename(path)
