"""What the process engine does with every service key of the Compose specification, as a table.

Read once by `engine` into its capabilities. The rule: a key whose loss would make the service less safe or mean
something else is refused; one whose loss a person should know of is ignored with a notice.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.capabilities import EngineCapabilities, KeySupport, Support
from fairlead.engines.process.variables import DEFERRED

_HONOURED = [
    "command",
    "depends_on",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "healthcheck",
    "init",
    "logging",
    "network_mode=host",
    "ipc=host",
    "pid=host",
    "uts=host",
    "userns_mode=host",
    "cgroup=host",
    "oom_score_adj",
    "ports",
    "post_start",
    "pre_stop",
    "privileged=False",
    "profiles",
    "read_only=False",
    "restart",
    "scale",
    "security_opt=no-new-privileges",
    "security_opt=no-new-privileges:true",
    "security_opt=no-new-privileges=true",
    "stop_grace_period",
    "stop_signal",
    "oom_kill_disable=False",
    "stdin_open=False",
    "tty=False",
    "ulimits",
    "working_dir",
    "x-fairlead",
    "deploy.mode",
    "deploy.replicas",
    "deploy.restart_policy",
    "deploy.rollback_config",
    "deploy.update_config",
    "deploy.resources",
    "logging.driver=json-file",
    "logging.driver=local",
    "logging.driver=none",
]

_NETWORK = "a process uses this machine's network"
_FILES = "a process sees this machine's files; nothing is mounted for it"
_NAMESPACES = "a process shares this machine's namespaces"
_IMAGE = "no container is made; the command runs on this machine"
_ONE_MACHINE = "there is one machine"

_IGNORED = {
    "annotations": "there is nothing to put them on",
    "attach": "logs are kept for `fairlead logs`",
    "blkio_config": "disk bandwidth is not limited",
    "build": "nothing is built; `build.context` is the working directory",
    "cgroup": _NAMESPACES,
    "cgroup_parent": "Fairlead chooses the cgroup",
    "container_name": "a replica is named project.service.number",
    "cpu_count": "only Windows has it",
    "cpu_percent": "only Windows has it",
    "cpu_rt_period": "real-time scheduling is not set up",
    "cpu_rt_runtime": "real-time scheduling is not set up",
    "cpuset": "a process may use every core",
    "deploy": "nothing on this engine reads it",
    "deploy.endpoint_mode": "the router balances by itself",
    "deploy.labels": "nobody reads the labels of a process",
    "deploy.placement": _ONE_MACHINE,
    "deploy.resources.reservations": "nothing is set aside on this engine",
    "develop": "it is for development",
    "devices": "a process sees the devices that its user may open",
    "dns": "a process uses this machine's resolver",
    "dns_opt": "a process uses this machine's resolver",
    "dns_search": "a process uses this machine's resolver",
    "domainname": _NAMESPACES,
    "driver_opts": _NETWORK,
    "external_links": _NETWORK,
    "extra_hosts": "a process uses this machine's /etc/hosts; put the names there",
    "gpus": "a process sees the devices that its user may open",
    "hostname": _NAMESPACES,
    "image": _IMAGE,
    "ipc": _NAMESPACES,
    "isolation": _IMAGE,
    "label_file": "nobody reads the labels of a process",
    "labels": "nobody reads the labels of a process",
    "links": _NETWORK,
    "logging.driver": "output goes to rotated files, whatever the driver",
    "mac_address": _NETWORK,
    "mem_swappiness": "swapping is left to this machine",
    "memswap_limit": "swapping is left to this machine",
    "network_mode": _NETWORK,
    "networks": _NETWORK,
    "oom_kill_disable": "the kernel's choice is left alone",
    "pid": _NAMESPACES,
    "platform": _IMAGE,
    "post_start.privileged": "a hook has the rights of its replica",
    "pre_stop.privileged": "a hook has the rights of its replica",
    "privileged": "a process has the rights of the user who runs Fairlead, no more",
    "pull_policy": _IMAGE,
    "pull_refresh_after": _IMAGE,
    "shm_size": "a process uses this machine's /dev/shm",
    "stdin_open": "standard input is empty",
    "storage_opt": _FILES,
    "tmpfs": _FILES,
    "tty": "output goes to a log, not to a terminal",
    "use_api_socket": "a process reaches the socket if its user may",
    "userns_mode": _NAMESPACES,
    "uts": _NAMESPACES,
    "volumes": _FILES,
    "volumes_from": _FILES,
}

_REFUSED = {
    "cap_add": "a process has the capabilities of the user who runs Fairlead",
    "cap_drop": "capabilities cannot be taken from a process of root; run Fairlead as another user",
    "configs": "files cannot be mounted for a process; name a path of this machine instead",
    "credential_spec": "it needs a container",
    "device_cgroup_rules": "it needs a container",
    "models": "it needs Docker's model runner",
    "network_mode=none": "a process cannot be cut off from the network",
    "provider": "it needs the provider's own program",
    "read_only": "a process can write wherever its user may",
    "runtime": "it needs a container",
    "secrets": "files cannot be mounted for a process; hand them over in `environment` or `env_file`",
    "security_opt": "profiles need a container; only no-new-privileges is honoured",
    "sysctls": "they would change this whole machine",
}

_LIMITS = {
    "memory": (
        "mem_limit",
        "mem_reservation",
        "deploy.resources.limits.memory",
        "deploy.resources.reservations.memory",
    ),
    "cpu": ("cpus", "cpu_period", "cpu_quota", "cpu_shares", "deploy.resources.limits.cpus"),
    "pids": ("pids_limit", "deploy.resources.limits.pids"),
}


def capabilities(missing: Mapping[str, str], *, root: bool) -> EngineCapabilities:
    """The engine's capabilities on this machine. ``missing``: why a cgroup controller is not at hand."""
    honoured = KeySupport(support=Support.HONOURED)
    keys = dict.fromkeys(_HONOURED, honoured)
    keys |= {key: KeySupport(support=Support.IGNORED, reason=reason) for key, reason in _IGNORED.items()}
    keys |= {key: KeySupport(support=Support.REFUSED, reason=reason) for key, reason in _REFUSED.items()}
    for controller, limits in _LIMITS.items():
        reason = missing.get(controller)
        keys |= dict.fromkeys(limits, honoured if reason is None else _without(controller, reason))
    keys |= _by_user(root)
    return EngineCapabilities(
        name="process",
        keys=keys,
        limits_memory="memory" not in missing,
        limits_cpu="cpu" not in missing,
        runs_images=False,
        publishes_udp=False,
        deferred_variables=DEFERRED,
        notices=tuple(f"no {controller} limits: {reason}" for controller, reason in sorted(missing.items())),
    )


def _without(controller: str, reason: str) -> KeySupport:
    return KeySupport(support=Support.IGNORED, reason=f"no {controller} limits: {reason}")


def _by_user(root: bool) -> dict[str, KeySupport]:
    """What depends on who runs Fairlead: only root becomes another user, only others lack capabilities."""
    honoured = KeySupport(support=Support.HONOURED)
    if root:
        return {"user": honoured, "group_add": honoured, "cap_add": honoured}
    ignored = KeySupport(support=Support.IGNORED, reason="only root can run a process as another user")
    return {"user": ignored, "group_add": ignored, "cap_drop": honoured}
