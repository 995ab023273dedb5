"""Is a port free, which one is, and who holds it: asked before HAProxy is told to listen.

Called by `router`. A reload with a port that somebody holds would fail as a whole; here it fails with a name.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass

import psutil

from fairlead.errors import PortTakenError, RouterError
from fairlead.local_ports import below_ephemeral
from fairlead.routing import Listen

CHOSEN = (10_000, 20_000)
"""From where ports are chosen for what is published without a number; replicas of processes have those above."""

ATTEMPTS = 100

_ENDING_S = 2.0
"""How long a port may stay taken by nobody who lives: a killed process is seen no more some milliseconds before it has
given its sockets back."""

_LOOK_EVERY_S = 0.01


@dataclass(frozen=True, slots=True)
class _Holder:
    """``ending``: it may be one that has been killed, and of which only the sockets are still there."""

    pid: int | None
    name: str
    ending: bool


def dual_stack() -> bool:
    """Can a listener on every address have IPv6 too?"""
    return not _bind_error(socket.AF_INET6, "::", 0)


def free_port(host: str | None, taken: Collection[int]) -> int:
    """A port that nobody listens on now, and that is not in ``taken``.

    It is kept for good, so it is one that no outgoing connection gets while HAProxy is away; where there are none, the
    kernel chooses.
    """
    family, address = _family(host or "0.0.0.0")
    possible = below_ephemeral(*CHOSEN)
    for port in random.sample(possible, ATTEMPTS) if possible else ():
        if port not in taken and not _bind_error(family, address, port):
            return port
    while (port := _from_kernel(family, address)) in taken:
        pass
    return port


def check_free(listen: Listen, ours: Collection[int]) -> None:
    """Can HAProxy listen there? ``ours``: pids that may hold it, because they are that HAProxy.

    :raises PortTakenError: another process has it; the message says which.
    :raises RouterError: the address is not of this machine, or the port needs rights that are missing.
    """
    wanted = [_family(listen.host)] if listen.host is not None else [_family("0.0.0.0")]
    if listen.host is None and dual_stack():
        wanted.append(_family("::"))
    for family, address in wanted:
        code = _bind_error(family, address, listen.port)
        if code == errno.EADDRINUSE:
            _check_holders(family, address, listen.port, ours)
        elif code == errno.EACCES:
            raise RouterError(
                f"not permitted to listen on {_where(listen)}",
                hint="publish a port above 1023, or lower net.ipv4.ip_unprivileged_port_start",
            )
        elif code:
            raise RouterError(f"cannot listen on {_where(listen)}: {errno.errorcode.get(code, code)}")


def _check_holders(family: socket.AddressFamily, address: str, port: int, ours: Collection[int]) -> None:
    """:raises PortTakenError: a living process that is not of ``ours`` has it, or nobody seen gives it back in time."""
    deadline = time.monotonic() + _ENDING_S
    while True:
        holders = _holders(port, address)
        if holders and {holder.pid for holder in holders} <= set(ours):
            return
        others = [holder for holder in holders if holder.pid not in ours]
        if not all(holder.ending for holder in others) or time.monotonic() > deadline:
            raise _taken(port, others)
        time.sleep(_LOOK_EVERY_S)
        if _bind_error(family, address, port) != errno.EADDRINUSE:
            return


def _where(listen: Listen) -> str:
    return f"{listen.host or '*'}:{listen.port}"


def _taken(port: int, holders: list[_Holder]) -> PortTakenError:
    if not holders or (holders[0].pid is None and os.geteuid() == 0):
        return PortTakenError(
            f"port {port} is taken, and nobody is seen who has it",
            hint=f"it may be a connection that has just ended; try again, or see who: sudo ss -tanp 'sport = :{port}'",
        )
    if holders[0].pid is None:
        return PortTakenError(
            f"port {port} is taken by a process of another user", hint=f"see who: sudo ss -ltnp 'sport = :{port}'"
        )
    holder = holders[0]
    return PortTakenError(
        f"port {port} is taken by {holder.name} (pid {holder.pid})",
        hint=f"stop it (kill {holder.pid}) or publish another port",
    )


def _from_kernel(family: socket.AddressFamily, address: str) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _family(host: str) -> tuple[socket.AddressFamily, str]:
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), host


def _bind_error(family: socket.AddressFamily, address: str, port: int) -> int:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def _holders(port: int, address: str) -> list[_Holder]:
    held = []
    for connection in psutil.net_connections(kind="tcp"):
        mine = connection.laddr
        if mine and mine.port == port and (mine.ip == address or {mine.ip, address} & {"0.0.0.0", "::"}):
            held.append((connection.status != psutil.CONN_LISTEN, connection.pid))
    return [_holder(pid) for _, pid in sorted(held, key=lambda item: (item[0], item[1] or 0))]


def _holder(pid: int | None) -> _Holder:
    if pid is None:
        return _Holder(None, "", ending=True)
    try:
        process = psutil.Process(pid)
        # The kernel takes a process's memory, and with it the command line, before its files.
        return _Holder(pid, process.name(), ending=not process.cmdline())
    except psutil.AccessDenied:
        return _Holder(pid, "a process", ending=False)
    except psutil.Error:
        return _Holder(pid, "a process that has just ended", ending=True)
