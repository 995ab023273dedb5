"""The port for one health check, and what it returns.

Used by `probes.runner`, which runs probes on their intervals and feeds `probes.judge`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fairlead.observed import CommandResult, Health
from fairlead.routing import Address, Reach
from fairlead.spec.model import Healthcheck

RunCommand = Callable[[Sequence[str], float], Awaitable[CommandResult]]
"""Runs a command where the replica runs: ``(argv, timeout_s)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """What a probe goes to. ``address`` is the first port's, None: the replica opens no port.

    ``addresses`` maps container ports to where they listen, for probes that name one. ``native_check``: the health
    check that the engine runs by itself, the file's or the image's; ``native_health``: what it says of that. ``reach``:
    how to connect to it where that cannot be done from here.
    """

    replica_id: str
    address: Address | None
    run: RunCommand
    addresses: Mapping[int, Address] = field(default_factory=dict)
    native_health: Health | None = None
    native_check: Healthcheck | None = None
    reach: Reach | None = None

    def address_of(self, port: int | None) -> Address | None:
        """Where container port ``port`` listens, None if that is not known. None asks for the first port.

        A replica that has a host of its own listens on every port as such, on those too that the file does not name.
        """
        if port is None or not self.addresses:
            return self.address
        if port in self.addresses:
            return self.addresses[port]
        hosts = {address.host for address in self.addresses.values()}
        as_such = all(address.port == target for target, address in self.addresses.items())
        return Address(host=hosts.pop(), port=port) if as_such and len(hosts) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One attempt. ``reason`` says in words what was seen, passed or not.

    ``counted``: somebody else has made as many attempts as it takes, this is what they showed.
    """

    passed: bool
    reason: str
    duration_s: float
    counted: bool = False
