"""The port that drives a real load balancer. Adapters are siblings of this file; `memory` is the fake.

Called by `controller` only. Adapters raise :class:`~fairlead.errors.RouterError` and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from fairlead.routing import Reach, Route, RouteStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterCapabilities:
    """What a load balancer can do. ``lossless_changes``: a change of endpoints never fails a request."""

    name: str
    lossless_changes: bool
    weights: bool
    holds_requests: bool
    sticky: bool
    tcp: bool
    counts_streams: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSample:
    """What one endpoint did since the proxy started; counters only grow while the endpoint stays.

    ``status``: responses by class, ``{"2xx": n, …}``. ``connect_errors``: could not be reached.
    ``response_errors``: broke off. ``latency_ms``: the proxy's moving average.
    """

    route: str
    replica_id: str
    requests: int
    status: Mapping[str, int] = field(default_factory=dict)
    connect_errors: int = 0
    response_errors: int = 0
    latency_ms: float = 0.0
    in_flight: int = 0
    queued: int = 0


class RouterEventKind(StrEnum):
    OUTAGE = "outage"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterEvent:
    """A reason to observe. An outage befell the whole proxy: requests were lost, or will be, whosever they are."""

    kind: RouterEventKind
    message: str


class Router(Protocol):
    """Drives one load balancer, shared by every project of this machine."""

    @property
    def capabilities(self) -> RouterCapabilities: ...

    async def apply(self, project: str, routes: Sequence[Route]) -> None:
        """Make these the whole routes of ``project``; others of it go away, other projects are not touched.

        Returns when the running proxy serves exactly this, read back from it, not before. Idempotent. Starts
        the proxy where none runs. A change of endpoints, weights or states never reloads.

        :raises PortTakenError: a listener's port belongs to somebody else (the message says to whom).
        """
        ...

    async def observe(self, project: str) -> Mapping[str, RouteStatus]:
        """What the running proxy says of each route of ``project``, by route key. Empty if no proxy runs."""
        ...

    async def reach(self) -> Reach | None:
        """How a probe gets to the replicas where this process cannot; None where it can."""
        ...

    async def shed(self, project: str, replica_id: str, share: float) -> int:
        """Close ``share`` (0 to 1) of the connections still open to a draining endpoint; how many were closed."""
        ...

    async def traffic(self, project: str) -> tuple[TrafficSample, ...]:
        """Counters of every endpoint of ``project``, sorted by route and replica."""
        ...

    def events(self) -> AsyncIterator[RouterEvent]:
        """Whenever the proxy died and was brought back, or an endpoint's passive health changed.

        What happens in an outage is told once, however often it is tried to bring the proxy back.
        """
        ...

    async def supervise(self) -> None:
        """Bring the proxy back within a second, with the same state, whenever it dies. Runs for ever."""
        ...

    async def close(self) -> None:
        """Let go of the proxy, which goes on serving."""
        ...

    async def shutdown(self) -> None:
        """Stop the proxy if it has no routes left."""
        ...
