"""Which ports of this machine nobody comes by through chance.

Asked by `engines.process.ports` for replicas and by `routers.haproxy.ports` for what a file publishes without a number,
each for a part of its own.
"""

from __future__ import annotations

from pathlib import Path

SMALLEST = 1_000
"""How many ports a range needs at least, to be worth choosing from."""

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def below_ephemeral(first: int, end: int | None = None) -> range | None:
    """The ports from ``first``, before ``end``, of which the kernel gives none to outgoing connections.

    A port out of that ephemeral range may belong to a connection by the time at which somebody wants to listen there.
    None: there are hardly any, or the system does not tell.
    """
    try:
        ephemeral = int(_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    found = range(first, ephemeral if end is None else min(end, ephemeral))
    return found if len(found) >= SMALLEST else None
