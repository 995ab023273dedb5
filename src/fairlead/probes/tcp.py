"""The tcp probe: does the replica accept a connection?

Called by `runner`. The kernel accepts for a process until its backlog is full, so this sees a port that is closed and
a process that has hung for long, not one that answers nonsense: that takes an http probe.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fairlead.probes.base import ProbeResult, ProbeTarget
from fairlead.routing import Address, Reach
from fairlead.spec.model import Probe

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def probe(target: ProbeTarget, probe: Probe) -> ProbeResult:
    """Open a connection and close it again. Never raises for a target that fails.

    :raises RouterError: it could not be asked at all, because only the router reaches it.
    """
    address = target.address_of(probe.port)
    if address is None:
        return ProbeResult(passed=False, reason=no_address("tcp", probe), duration_s=0.0)
    started_s = time.monotonic()
    fault = await _fault(address, probe.timeout_s, target.reach)
    return ProbeResult(
        passed=fault is None,
        reason=f"tcp {shown(address)}: {fault or 'accepts connections'}",
        duration_s=time.monotonic() - started_s,
    )


def shown(address: Address) -> str:
    """``host:port``, or ``[host]:port`` for IPv6."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def no_address(kind: str, probe: Probe) -> str:
    """The reason where a probe has nothing to go to."""
    if probe.port is None:
        return f"{kind}: the replica opens no port"
    return f"{kind}: the replica does not open port {probe.port}"


def os_fault(error: OSError) -> str:
    """What the kernel says, in its own words (``connection refused``)."""
    return (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[socket.socket]:
    """A connection to ``address``, without blocking.

    :raises OSError: there is none.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address.host, address.port))
        if connection.getsockname()[:2] == connection.getpeername()[:2]:
            # The kernel may give this end the very port it connects to while nobody listens there. The replica could
            # not bind it while the closed connection lingers, so reset it.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        yield connection


async def _fault(address: Address, timeout_s: float, reach: Reach | None) -> str | None:
    try:
        if reach is not None:
            await reach(address, b"", timeout_s)
            return None
        async with asyncio.timeout(timeout_s), connected(address):
            return None
    except TimeoutError:
        return f"no connection within {timeout_s:g} s"
    except OSError as error:
        return os_fault(error)
