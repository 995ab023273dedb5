"""Where one HAProxy keeps its files, and where its sockets are when the home's path is not fit for them.

Used by `router`, `launch` and `render`. A container launcher gives the same names as HAProxy sees them inside.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fairlead.errors import RouterError

# A unix socket's path holds 108 bytes; HAProxy binds a temporary name beside it first (`.PID.tmp`).
LONGEST_SOCKET_PATH_BYTES = 88
CANDIDATE = "candidate.cfg"
_SOCKETS = "run"

_PLAIN = re.compile(r"[A-Za-z0-9._/@+-]+")
"""What a path may consist of to stand anywhere in a configuration or an order: some places know no quotes."""


@dataclass(frozen=True, slots=True)
class Files:
    """Every path that HAProxy or its driver opens. ``folder`` is ours (0700), ``sockets`` may lie elsewhere.

    What the configuration names lies with the sockets, whose path is short and plain.
    """

    folder: Path
    sockets: Path

    @property
    def config(self) -> Path:
        return self.folder / "haproxy.cfg"

    @property
    def hold_map(self) -> Path:
        return self.sockets / "hold.map"

    @property
    def hold_lua(self) -> Path:
        return self.sockets / "hold.lua"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def log(self) -> Path:
        return self.folder / "haproxy.log"

    @property
    def master_socket(self) -> Path:
        return self.sockets / "master.sock"

    @property
    def worker_socket(self) -> Path:
        return self.sockets / "worker.sock"


def files_under(home: Path) -> Files:
    """The files of the HAProxy of ``home``; makes the folders, 0700, and refuses a socket folder of somebody else."""
    folder = home.absolute() / "haproxy"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sockets = folder / _SOCKETS
    is_plain = _PLAIN.fullmatch(str(sockets)) is not None
    if not is_plain or len(os.fsencode(sockets / "master.sock")) > LONGEST_SOCKET_PATH_BYTES:
        sockets = _short_folder(folder)
    sockets.mkdir(mode=0o700, exist_ok=True)
    _own(sockets)
    return Files(folder, sockets)


def _short_folder(folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"fairlead-{os.getuid()}-{digest}")


def _own(folder: Path) -> None:
    # The short folder lies in a directory that everybody may write to: never follow what another user put there.
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise RouterError(
            f"{folder} is not a private directory of this user",
            hint=f"remove {folder}: Fairlead keeps the load balancer's sockets there",
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_beside(path: Path, text: str) -> None:
    """Replace ``path`` in one step: a reader, or a crash, sees the old text or the new one.

    :raises RouterError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        with open(beside, "w", opener=_private) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError as error:
        raise RouterError(f"cannot write {path}: {error.strerror}") from error
