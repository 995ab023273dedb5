"""What a replica may use and may do: resources, ulimits, capabilities, devices, namespaces.

Called by `body`. Each entry maps one key of the service to its place in the API's host configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairlead.docker_api.units import duration_s, size_bytes
from fairlead.errors import StartFailedError
from fairlead.spec.model import Resources, Service

Convert = Callable[[Any], Any]


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(entry) for entry in value]


def _micros(value: Any) -> int:
    """A CPU period or quota: a number of microseconds, or a duration."""
    return int(value) if str(value).lstrip("-").isdigit() else round(duration_s(value) * 1e6)


def _mapping(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): str(entry) for key, entry in value.items()}
    return dict(str(entry).partition("=")[::2] for entry in value)


def _extra_hosts(value: Any) -> list[str]:
    """``name:address`` for each; a name may have several addresses."""
    if not isinstance(value, Mapping):
        return [str(entry).replace("=", ":", 1) if "=" in str(entry) else str(entry) for entry in value]
    pairs = ((name, [each] if isinstance(each, str) else each) for name, each in value.items())
    return [f"{name}:{address}" for name, addresses in pairs for address in addresses]


_HOST_KEYS: Mapping[str, tuple[str, Convert]] = {
    "cap_add": ("CapAdd", _listed),
    "cap_drop": ("CapDrop", _listed),
    "cgroup": ("CgroupnsMode", str),
    "cgroup_parent": ("CgroupParent", str),
    "cpu_count": ("CpuCount", int),
    "cpu_percent": ("CpuPercent", lambda value: int(float(value))),
    "cpu_period": ("CpuPeriod", _micros),
    "cpu_quota": ("CpuQuota", _micros),
    "cpu_rt_period": ("CpuRealtimePeriod", _micros),
    "cpu_rt_runtime": ("CpuRealtimeRuntime", _micros),
    "cpu_shares": ("CpuShares", int),
    "cpus": ("NanoCpus", lambda value: round(float(value) * 1e9)),
    "cpuset": ("CpusetCpus", str),
    "device_cgroup_rules": ("DeviceCgroupRules", _listed),
    "dns": ("Dns", _listed),
    "dns_opt": ("DnsOptions", _listed),
    "dns_search": ("DnsSearch", _listed),
    "extra_hosts": ("ExtraHosts", _extra_hosts),
    "ipc": ("IpcMode", str),
    "isolation": ("Isolation", str),
    "mem_limit": ("Memory", size_bytes),
    "mem_reservation": ("MemoryReservation", size_bytes),
    "mem_swappiness": ("MemorySwappiness", int),
    "memswap_limit": ("MemorySwap", size_bytes),
    "oom_kill_disable": ("OomKillDisable", bool),
    "oom_score_adj": ("OomScoreAdj", int),
    "pid": ("PidMode", str),
    "pids_limit": ("PidsLimit", int),
    "runtime": ("Runtime", str),
    "security_opt": ("SecurityOpt", _listed),
    "shm_size": ("ShmSize", size_bytes),
    "storage_opt": ("StorageOpt", _mapping),
    "sysctls": ("Sysctls", _mapping),
    "userns_mode": ("UsernsMode", str),
    "uts": ("UTSMode", str),
}
HOST_KEYS = frozenset({*_HOST_KEYS, "blkio_config"})
"""The keys of a service, beyond the typed ones, that this module puts in force."""


def limits_of(service: Service) -> dict[str, Any]:
    """The part of the host configuration that limits and permits."""
    host: dict[str, Any] = {}
    for key, (field, convert) in _HOST_KEYS.items():
        if (value := service.extra.get(key)) is not None:
            host[field] = convert(value)
    host |= _blkio(service.extra.get("blkio_config") or {})
    host |= _deploy(service.deploy.limits or Resources(), service.deploy.reservations or Resources())
    if service.ulimits:
        host["Ulimits"] = [
            {"Name": name, "Soft": limit.soft, "Hard": limit.hard} for name, limit in sorted(service.ulimits.items())
        ]
    if devices := service.extra.get("devices"):
        host["Devices"] = [_device(device) for device in devices if _cdi(device) is None]
    host["DeviceRequests"] = _device_requests(service)
    return host


def _deploy(limits: Resources, reservations: Resources) -> dict[str, Any]:
    host: dict[str, Any] = {}
    if limits.cpus is not None:
        host["NanoCpus"] = round(limits.cpus * 1e9)
    if limits.memory_bytes is not None:
        host["Memory"] = limits.memory_bytes
    if limits.pids is not None:
        host["PidsLimit"] = limits.pids
    if reservations.memory_bytes is not None:
        host["MemoryReservation"] = reservations.memory_bytes
    return host


def _blkio(config: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "device_read_bps": "BlkioDeviceReadBps",
        "device_read_iops": "BlkioDeviceReadIOps",
        "device_write_bps": "BlkioDeviceWriteBps",
        "device_write_iops": "BlkioDeviceWriteIOps",
    }
    host: dict[str, Any] = {
        field: [{"Path": rule["path"], "Rate": size_bytes(rule["rate"])} for rule in _lower(config[key])]
        for key, field in fields.items()
        if config.get(key)
    }
    if config.get("weight") is not None:
        host["BlkioWeight"] = int(config["weight"])
    if config.get("weight_device"):
        host["BlkioWeightDevice"] = [
            {"Path": rule["path"], "Weight": int(rule["weight"])} for rule in _lower(config["weight_device"])
        ]
    return host


def _lower(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rules with their keys as the file writes them; Compose's canonical form capitalises them."""
    return [{key.lower(): value for key, value in rule.items()} for rule in rules]


def _device(device: Any) -> dict[str, str]:
    """``/host[:/container[:rwm]]`` or the long form."""
    if isinstance(device, Mapping):
        source = str(device["source"])
        target, permissions = str(device.get("target") or source), str(device.get("permissions") or "rwm")
    else:
        parts = str(device).split(":")
        source = parts[0]
        target = parts[1] if len(parts) > 1 and parts[1] else source
        permissions = parts[2] if len(parts) > 2 else "rwm"
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions}


def _cdi(device: Any) -> str | None:
    """The name of a device of the Container Device Interface (``vendor.com/gpu=0``), None for a path."""
    source = str(device.get("source", "")) if isinstance(device, Mapping) else str(device)
    return source if "=" in source and not source.startswith("/") else None


def _device_requests(service: Service) -> list[dict[str, Any]]:
    requests = [_request(device) for device in (service.deploy.reservations or Resources()).devices]
    gpus = service.extra.get("gpus")
    if gpus == "all":
        requests.append({"Driver": "", "Count": -1, "Capabilities": [["gpu"]]})
    elif gpus:
        requests += [_request({"capabilities": ["gpu"], **device}) for device in gpus]
    cdi = [name for device in service.extra.get("devices") or () if (name := _cdi(device))]
    if cdi:
        requests.append({"Driver": "cdi", "DeviceIDs": cdi})
    return requests


def _request(device: Mapping[str, Any]) -> dict[str, Any]:
    """One `devices` entry; without `count` and `device_ids` all devices are meant, as the specification says."""
    ids: Sequence[str] = device.get("device_ids") or ()
    count = device.get("count")
    if ids and count is not None:
        raise StartFailedError("a device reservation takes count or device_ids, not both")
    number = 0 if ids else -1 if count in (None, "all") else int(count)
    return {
        "Driver": device.get("driver") or "",
        "Count": number,
        "DeviceIDs": list(ids),
        "Capabilities": [[str(entry) for entry in device.get("capabilities") or ()]],
        "Options": _mapping(device.get("options") or {}),
    }
