"""From a replica's definition to what the keeper is asked to start. Called by `engine`, in a thread."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairlead.engines.process.cgroups import Cgroups
from fairlead.engines.process.command import (
    User,
    argv_of,
    directory_of,
    environment_of,
    exec_failure,
    executable,
    rlimits_of,
    user_of,
)
from fairlead.engines.process.keeper.wire import Message
from fairlead.engines.process.limits import limits_of, rotation_of
from fairlead.engines.process.ports import free_ports, targets
from fairlead.engines.process.procfs import boot_id
from fairlead.engines.process.rundir import Launch, RunDirectory
from fairlead.engines.process.variables import port_variables, substitute
from fairlead.errors import EngineError, EngineUnavailableError, StartFailedError
from fairlead.observed import ReplicaSpec
from fairlead.spec.model import Hook

SHORT_OF = (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO)
NO_NEW_PRIVILEGES = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")


class LaunchPlanner:
    """Everything that can be wrong with a service is found here, before anything is made."""

    def __init__(self, base: Mapping[str, str], groups: Cgroups) -> None:
        self._base = base
        self._cgroups = groups

    def plan(self, spec: ReplicaSpec, run: Path, taken: Collection[int]) -> Launch:
        """What to start for ``spec``.

        :raises StartFailedError: it cannot be started.
        """
        service = spec.revision.service
        opened = targets(service)
        chosen = free_ports(max(len(opened), 1), taken)
        ports = dict(zip(opened, chosen, strict=False))
        values = port_variables(chosen[0], ports)
        argv = argv_of(service, values)
        cwd = directory_of(spec)
        user = user_of(service, service.user, service.group_add)
        environment = environment_of(spec, self._base, values, user, str(run))
        path = executable(service.name, argv, environment, cwd)
        limits = limits_of(service)
        rlimits, rotation = rlimits_of(service), rotation_of(service)
        return Launch(
            argv=argv,
            path=path,
            environment=environment,
            cwd=cwd,
            port=chosen[0],
            ports=ports,
            uid=user.uid,
            gid=user.gid,
            groups=user.groups,
            rlimits=rlimits,
            cgroups=self.make_groups(spec, run),
            memory_limit_bytes=limits.memory_bytes if "memory" in self._cgroups.parents else None,
            oom_score_adj=_oom_score_adj(service.extra),
            no_new_privileges=any(item in NO_NEW_PRIVILEGES for item in service.extra.get("security_opt") or ()),
            rotation=rotation,
        )

    def check(self, spec: ReplicaSpec) -> None:
        """The part of :meth:`plan` that depends on the file and the machine alone.

        :raises StartFailedError: it can never be started.
        """
        service = spec.revision.service
        values = port_variables(0, dict.fromkeys(targets(service), 0))
        argv, cwd = argv_of(service, values), directory_of(spec)
        environment = environment_of(spec, self._base, values, User(), "")
        executable(service.name, argv, environment, cwd)
        user_of(service, service.user, service.group_add)
        limits_of(service), rlimits_of(service), rotation_of(service)

    def make_groups(self, spec: ReplicaSpec, run: Path) -> tuple[str, ...]:
        """Make the replica's cgroups, or see that they are there: a restart of the machine takes them away."""
        # The home is part of the name: two homes may have replicas of the same id.
        name = f"{hashlib.sha256(str(run.parent.parent).encode()).hexdigest()[:8]}-{spec.id}"
        try:
            return self._cgroups.create(name, limits_of(spec.revision.service))
        except OSError as error:
            raise StartFailedError(
                f"{spec.service}: its limits cannot be set: {error}", hint="see deploy.resources in the file"
            ) from error


def launch_fields(directory: RunDirectory) -> Message:
    """The request to start what ``directory`` intends."""
    return _fields(directory.launch) | {
        "dir": str(directory.path),
        "boot_id": boot_id(),
        "now_s": time.time(),
        "argv": list(directory.launch.argv),
        "path": directory.launch.path,
    }


def command_fields(directory: RunDirectory, argv: Sequence[str], hook: Hook | None = None) -> Message:
    """The request to run ``argv`` as the replica runs: its directory, environment, user, limits and cgroup.

    :raises StartFailedError: there is no such command.
    """
    spec, launch = directory.spec, directory.launch
    values = port_variables(launch.port, launch.ports)
    words = ("/bin/sh", "-c", *argv[1:]) if argv[0] == "CMD-SHELL" else tuple(argv)
    words = tuple(substitute(word, values) for word in words)
    fields = _fields(launch)
    if hook is not None:
        _apply_hook(fields, hook, spec, values)
    path = executable(spec.service, words, fields["env"], fields["cwd"])
    return fields | {"argv": list(words), "path": path}


def failure_of(directory: RunDirectory, stage: str, number: int) -> EngineError:
    """Why the launch of ``directory`` failed: for good, or for want of something that this machine may have again."""
    launch = directory.launch
    if stage == "keeper" or number in SHORT_OF:
        return EngineUnavailableError(f"{directory.replica_id}: cannot be started now: {stage}: {os.strerror(number)}")
    return exec_failure(directory.spec.service, stage, number, launch.argv, launch.path, launch.cwd)


def _fields(launch: Launch) -> dict[str, Any]:
    return {
        "env": dict(launch.environment),
        "cwd": launch.cwd,
        "uid": launch.uid,
        "gid": launch.gid,
        "groups": list(launch.groups) if launch.groups is not None else None,
        "rlimits": list(launch.rlimits),
        "cgroups": [f"{directory}/cgroup.procs" for directory in launch.cgroups],
        "oom_score_adj": launch.oom_score_adj,
        "no_new_privileges": launch.no_new_privileges,
    }


def _apply_hook(fields: dict[str, Any], hook: Hook, spec: ReplicaSpec, values: Mapping[str, str]) -> None:
    for name, value in hook.environment.items():
        if value is None:
            fields["env"].pop(name, None)
        else:
            fields["env"][name] = substitute(value, values)
    if hook.working_dir is not None:
        fields["cwd"] = str(Path(fields["cwd"], hook.working_dir))
    if hook.user is not None:
        user = user_of(spec.revision.service, hook.user)
        if user.uid is not None:
            groups = list(user.groups) if user.groups is not None else None
            fields |= {"uid": user.uid, "gid": user.gid, "groups": groups}


def _oom_score_adj(extra: Mapping[str, Any]) -> int | None:
    value = extra.get("oom_score_adj")
    return int(value) if value is not None else None
