"""Whether two replicas of a service may run at a time, judged by what they would both write to or both need.

Called by `policy`. Two writers on one volume corrupt it; a fixed address, or a port that goes past the router, can be
had once. Such a service is replaced stop-first while the router holds its requests.
"""

from __future__ import annotations

from fairlead.spec.model import Mount, Order, Service

_SHARED_BY_NATURE = ("/var/run/docker.sock", "/run/docker.sock", "/etc/", "/proc", "/sys", "/dev")


def is_exclusive(service: Service) -> bool:
    """True for a single replica with a writable volume or a fixed place, unless the file itself says start-first."""
    update = service.deploy.update
    if service.replicas != 1 or (update and update.order is Order.START_FIRST):
        return False
    return any(_is_written(mount) for mount in service.volumes) or _has_a_fixed_place(service)


def _has_a_fixed_place(service: Service) -> bool:
    addresses = any(
        (options or {}).get("ipv4_address") or (options or {}).get("ipv6_address")
        for options in service.networks.values()
    )
    return addresses or any(not port.routed and port.published for port in service.ports)


def _is_written(mount: Mount) -> bool:
    if mount.read_only or mount.type not in ("volume", "bind", "cluster"):
        return False
    return not (mount.source or mount.target).startswith(_SHARED_BY_NATURE)
