"""One free port for each container port of a replica.

Ports are chosen below the kernel's ephemeral range, where no outgoing connection takes one between the choice
and the replica's bind; what remains is another program that binds that very port in that moment.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection

from fairlead.errors import StartFailedError
from fairlead.local_ports import below_ephemeral
from fairlead.spec.model import Service
from fairlead.spec.ports import PortError, container_ports

LOWEST = 20_000
ATTEMPTS = 400


def targets(service: Service) -> tuple[int, ...]:
    """The container ports of ``service``.

    :raises StartFailedError: one cannot be read.
    """
    try:
        return container_ports(service)
    except PortError as error:
        raise StartFailedError(f"{service.name}: {error}") from error


def free_ports(count: int, taken: Collection[int]) -> list[int]:
    """``count`` ports on which nobody listens and that are not in ``taken``.

    :raises StartFailedError: there are not that many.
    """
    range_ = below_ephemeral(LOWEST)
    chosen: list[int] = []
    for _ in range(ATTEMPTS * count):
        if len(chosen) == count:
            break
        port = random.choice(range_) if range_ else _from_kernel()
        if port not in taken and port not in chosen and _is_free(port):
            chosen.append(port)
    if len(chosen) < count:
        raise StartFailedError(f"no {count} free ports found for a replica", hint="see `ss -ltn` for what listens")
    return chosen


def _from_kernel() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    """Whether every address of this machine has ``port`` free, for TCP and UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
    return True
