"""What exactly to execute for a replica: command, environment, directory, user, limits.

Called by `engine` before anything is made. Every way in which this can be wrong is a
:class:`~fairlead.errors.StartFailedError` that names the service and the fix.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead.engines.process.variables import substitute
from fairlead.errors import StartFailedError
from fairlead.observed import ReplicaSpec
from fairlead.spec.model import Service

INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_URL = re.compile(r"^(?:\w+://|git@|github\.com/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who the replica runs as; all None: whoever runs Fairlead."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    name: str | None = None
    home: str | None = None


def argv_of(service: Service, values: Mapping[str, str]) -> tuple[str, ...]:
    argv = (*(service.entrypoint or ()), *(service.command or ()))
    if not argv:
        what = f"image {service.image}" if service.image else "no command"
        raise StartFailedError(
            f"{service.name}: {what}: the process engine cannot run an image",
            hint="give the service a `command`, or use an engine with containers (--engine docker)",
        )
    return tuple(substitute(word, values) for word in argv)


def directory_of(spec: ReplicaSpec) -> str:
    """`working_dir`, relative to `build.context`, relative to the project's directory."""
    service = spec.revision.service
    context = service.build.context if service.build is not None else ""
    if _URL.match(context):
        raise StartFailedError(
            f"{service.name}: build.context {context} is not a directory here",
            hint="clone it and name the directory, or use an engine with containers",
        )
    directory = Path(spec.revision.working_dir, context, service.working_dir or "")
    if not directory.is_dir():
        raise StartFailedError(
            f"{service.name}: working directory {directory} does not exist",
            hint="on the process engine `working_dir` is a directory of this machine",
        )
    return str(directory)


def environment_of(
    spec: ReplicaSpec, base: Mapping[str, str], values: Mapping[str, str], user: User, run: str
) -> dict[str, str]:
    """The inherited base, then the service's environment, then what the engine alone knows."""
    environment = {name: value for name, value in base.items() if name in INHERITED or name.startswith("LC_")}
    environment.setdefault("PATH", DEFAULT_PATH)
    if user.name is not None and user.home is not None:
        environment |= {"USER": user.name, "LOGNAME": user.name, "HOME": user.home}
    service = spec.revision.service
    environment |= {name: substitute(value, values) for name, value in service.environment.items()}
    return environment | {
        **values,
        "FAIRLEAD_PROJECT": spec.project,
        "FAIRLEAD_SERVICE": spec.service,
        "FAIRLEAD_REPLICA": spec.id,
        "FAIRLEAD_REVISION": spec.revision.id,
        "FAIRLEAD_SLOT": str(spec.slot),
        "FAIRLEAD_RUN": run,
    }


def executable(service: str, argv: Sequence[str], environment: Mapping[str, str], cwd: str) -> str:
    """The file that ``argv[0]`` means, found as exec would find it."""
    name = argv[0]
    if "/" in name:
        named = Path(cwd, name)
        if not named.exists():
            raise StartFailedError(f"{service}: command not found: {named}", hint=f"the command is {_shown(argv)}")
        _check_executable(service, named)
        return str(named)
    search = environment.get("PATH", DEFAULT_PATH)
    refused: Path | None = None
    for directory in search.split(":"):
        path = Path(cwd, directory, name)
        if _is_file(path):
            if os.access(path, os.X_OK):
                return str(path)
            refused = refused or path
    if refused is not None:
        _check_executable(service, refused)
    raise StartFailedError(
        f"{service}: command not found: {name} (looked in PATH {search})",
        hint="install it, write its full path, or set PATH in the service's environment",
    )


def _is_file(path: Path) -> bool:
    """Like exec, which goes on to the next directory where it may not look into one."""
    try:
        return path.is_file()
    except OSError:
        return False


def exec_failure(service: str, stage: str, number: int, argv: Sequence[str], path: str, cwd: str) -> StartFailedError:
    """What the kernel said in the forked child, in words."""
    reason = os.strerror(number)
    if stage == "directory":
        return StartFailedError(f"{service}: working directory {cwd}: {reason}")
    if stage != "exec":
        return StartFailedError(f"{service}: {stage}: {reason}")
    if reason == os.strerror(8):  # ENOEXEC
        return StartFailedError(
            f"{service}: {path} is neither a program nor a script",
            hint="a script needs a first line such as #!/bin/sh",
        )
    interpreter = _interpreter(path)
    if interpreter is not None and not Path(cwd, interpreter).exists():
        return StartFailedError(
            f"{service}: {path}: its interpreter {interpreter} does not exist",
            hint="correct the script's first line; an environment that was moved must be made again",
        )
    return StartFailedError(f"{service}: cannot execute {path}: {reason}", hint=f"the command is {_shown(argv)}")


def user_of(service: Service, user: str | None, group_add: Sequence[str] = ()) -> User:
    """Who to become. Only root can become somebody; anybody else stays who they are."""
    if os.geteuid() != 0 or not (user or group_add):
        return User()
    name, _, group = (user or str(os.geteuid())).partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError as error:
        if not name.isdecimal():
            raise StartFailedError(f"{service.name}: user {name!r} does not exist on this machine") from error
        entry = None
    gid = _group(service, group) if group else (entry.pw_gid if entry else 0)
    known = os.getgrouplist(entry.pw_name, gid) if entry else [gid]
    groups = (*known, *(_group(service, extra) for extra in group_add))
    return User(
        uid=entry.pw_uid if entry else int(name),
        gid=gid,
        groups=tuple(dict.fromkeys(groups)),
        name=entry.pw_name if entry else name,
        home=entry.pw_dir if entry else "/",
    )


def rlimits_of(service: Service) -> tuple[tuple[int, int, int], ...]:
    limits = []
    for name, limit in service.ulimits.items():
        which = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if which is None:
            raise StartFailedError(f"{service.name}: ulimits: {name!r} is no limit of this system")
        _, most = resource.getrlimit(which)
        hard = limit.hard
        if os.geteuid() != 0 and most != resource.RLIM_INFINITY and (hard < 0 or hard > most):
            raise StartFailedError(
                f"{service.name}: ulimits.{name}: {hard} is above this user's limit of {most}",
                hint="raise it in /etc/security/limits.conf or lower it in the file",
            )
        limits.append((which, limit.soft, hard))
    return tuple(limits)


def _group(service: Service, name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise StartFailedError(f"{service.name}: group {name!r} does not exist on this machine") from error


def _check_executable(service: str, path: Path) -> None:
    if path.is_dir():
        raise StartFailedError(f"{service}: cannot execute {path}: it is a directory")
    if not os.access(path, os.X_OK):
        raise StartFailedError(f"{service}: permission denied: {path} is not executable", hint=f"chmod +x {path}")


def _interpreter(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    return words[0].decode(errors="replace") if words else None


def _shown(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 200 else f"{text[:200]}…"
