"""What the environment sets, read once at the edge and handed on as a value.

Made by `cli` and by the controller's entry point; nothing else reads the environment.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fairlead.errors import UsageError

SOCKET_PATH_LIMIT_BYTES = 107
"""What fits into ``sockaddr_un`` on Linux with its closing zero; longer paths cannot be bound or connected to."""

LOG_LEVELS = ("debug", "info", "warning", "error")
ENGINES = ("process", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``home`` holds all state. ``haproxy`` None: from PATH, then the wheel. ``engine`` None: the default."""

    home: Path
    log_level: str = "info"
    haproxy: Path | None = None
    engine: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read ``environ``; an empty variable counts as unset.

        :raises UsageError: a value is wrong; the message names the variable, the hint the fix.
        """
        return cls(
            home=_home(environ),
            log_level=_choice(environ, "FAIRLEAD_LOG_LEVEL", LOG_LEVELS) or "info",
            haproxy=_haproxy(environ),
            engine=_choice(environ, "FAIRLEAD_ENGINE", ENGINES),
        )

    @property
    def database_path(self) -> Path:
        return self.home / "state.db"

    @property
    def log_path(self) -> Path:
        return self.home / "controller.log"

    @property
    def socket_path(self) -> Path:
        """Where the controller listens: in ``home``, or in a short directory when that path would not fit.

        The short one depends on the user and on ``home`` alone. It is not under ``XDG_RUNTIME_DIR``: that is unset
        in a cron job, where the same controller must be found, and it is removed when the user logs out.
        """
        preferred = self.home / "controller.sock"
        if len(os.fsencode(preferred)) <= SOCKET_PATH_LIMIT_BYTES:
            return preferred
        key = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return _short_directory() / f"{key}.sock"

    def prepare(self) -> None:
        """Make ``home`` and the directory of the socket, each with mode 0700 where it is new.

        :raises UsageError: one cannot be made, is no directory, or belongs to somebody else.
        """
        _prepare(self.home, "set FAIRLEAD_HOME to a directory that you own and may write to")
        directory = self.socket_path.parent
        if directory != self.home:
            _prepare(directory, "set FAIRLEAD_HOME to a shorter path, so that the socket fits into it", private=True)


def _home(environ: Mapping[str, str]) -> Path:
    explicit = environ.get("FAIRLEAD_HOME", "")
    if explicit:
        _refuse_control_characters("FAIRLEAD_HOME", explicit)
        return Path(os.path.abspath(_expand(explicit, environ)))  # noqa: PTH100 - resolves "..", follows no link
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    if state.startswith("/"):
        _refuse_control_characters("XDG_STATE_HOME", state)
        return Path(state) / "fairlead"
    return _user_home(environ) / ".local" / "state" / "fairlead"


def _haproxy(environ: Mapping[str, str]) -> Path | None:
    text = environ.get("FAIRLEAD_HAPROXY", "")
    if not text:
        return None
    path = Path(_expand(text, environ))
    if not path.is_absolute():
        raise UsageError(
            f"FAIRLEAD_HAPROXY is not an absolute path: {text}",
            hint="set it to the full path of the program, for example FAIRLEAD_HAPROXY=/usr/sbin/haproxy",
        )
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UsageError(
            f"FAIRLEAD_HAPROXY is not a program that can be run: {text}",
            hint="set it to the haproxy program, or unset it to have one found",
        )
    return path


def _choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    text = environ.get(name, "").strip().lower()
    if not text:
        return None
    if text not in allowed:
        raise UsageError(f"{name} is {environ[name]!r}", hint=f"set {name} to one of {', '.join(allowed)}")
    return text


def _expand(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with a leading ``~/`` replaced, which a shell leaves alone inside quotes."""
    if text == "~" or text.startswith("~/"):
        return str(_user_home(environ)) + text[1:]
    return text


def _user_home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise UsageError(
            f"HOME is not set, and user {os.getuid()} is not in the user database",
            hint="set FAIRLEAD_HOME to the directory that shall hold Fairlead's state",
        ) from None


def _refuse_control_characters(name: str, text: str) -> None:
    if any(ord(character) < 32 for character in text):
        raise UsageError(f"{name} has a control character in it: {text!r}", hint=f"set {name} to a plain path")


def _short_directory() -> Path:
    return Path("/tmp") / f"fairlead-{os.getuid()}"


def _prepare(directory: Path, fix: str, *, private: bool = False) -> None:
    """Make ``directory``. ``private``: others may own what is above it, so nobody else may have any right in it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat() if private else directory.stat()
    except OSError as error:
        raise UsageError(f"cannot make the directory {directory}: {error.strerror}", hint=fix) from error
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{directory} is not a directory", hint=fix)
    if found.st_uid != os.getuid():
        raise UsageError(f"{directory} belongs to another user (uid {found.st_uid})", hint=fix)
    if private and stat.S_IMODE(found.st_mode) != 0o700:
        raise UsageError(f"{directory} has mode {stat.S_IMODE(found.st_mode):o} instead of 700", hint=fix)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"{directory} cannot be written to", hint=fix)
