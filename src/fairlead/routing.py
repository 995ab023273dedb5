"""What the load balancer should do, as data: a route with one weighted pool of endpoints.

Written by `rollout` (it decides who is in the pool), carried out by `routers`. A route is identified by its
:attr:`Route.key` (project, service and published port) and is always stated whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from fairlead.spec.model import RouteProtocol


class EndpointState(StrEnum):
    """What the pool does with an endpoint.

    ``ready``: new requests go there. ``drain``: no new request; what is in flight goes on. ``absent``: the
    proxy does not know it (only ever reported, never asked for: leave the endpoint out instead).
    """

    READY = "ready"
    DRAIN = "drain"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one port of a replica listens, as the router reaches it."""

    host: str
    port: int


Reach = Callable[[Address, bytes, float], Awaitable[bytes]]
"""Connects to a replica that cannot be reached from here: `(address, request, timeout_s)` → the head of its answer.

An empty request connects only. Raises OSError and TimeoutError, as a connection from here would, and RouterError where
nobody could be asked, which says nothing of the replica.
"""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One replica in a pool. ``weight`` is relative within the route (1 to 256, 100 as a rule)."""

    replica_id: str
    address: Address
    state: EndpointState = EndpointState.READY
    weight: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """A published port. ``host`` None: every address. ``port`` 0: the router chooses a free one."""

    port: int
    host: str | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One published port of one service, and the whole pool behind it.

    ``hold_timeout_s``: how long a request waits for a first ready endpoint when the pool is empty before it
    gets 503 (0: at once). ``retries``: connection attempts on other endpoints for idempotent requests.
    ``timeout_s``: how long a response may take between two bytes; None: the router's default.
    ``connect_timeout_s``: how long an endpoint may take to accept a connection before another one is asked.
    ``inside``: the listener is not on this machine's addresses but on these networks of the engine, under these
    names (network → names); it is there for other services, not for the world.
    """

    project: str
    service: str
    target: int
    listen: Listen
    protocol: RouteProtocol = RouteProtocol.HTTP
    endpoints: tuple[Endpoint, ...] = ()
    host: str | None = None
    path: str | None = None
    balance: str = "least_conn"
    sticky_cookie: str | None = None
    hold_timeout_s: float = 30.0
    retries: int = 4
    timeout_s: float | None = None
    connect_timeout_s: float = 0.5
    send_proxy: bool = False
    inside: Mapping[str, tuple[str, ...]] = {}

    @property
    def key(self) -> str:
        """``project/service/published``: the route's identity, the same before and after a release.

        The published port and not the container's, since two revisions may listen on different ports behind
        one published port. ``auto8000`` stands for a port of the router's choice, ``127.0.0.1:80`` and
        ``53/udp`` where the address or the protocol is part of what was published, ``inside:8000`` for a
        listener inside the engine's networks.
        """
        if self.inside:
            return f"{self.project}/{self.service}/inside:{self.listen.port}"
        port = str(self.listen.port) if self.listen.port else f"auto{self.target}"
        host = f"{self.listen.host}:" if self.listen.host else ""
        suffix = "/udp" if self.protocol is RouteProtocol.UDP else ""
        return f"{self.project}/{self.service}/{host}{port}{suffix}"


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the running proxy says of one endpoint.

    ``in_flight`` counts everything the proxy still has open towards it, ``streams`` the part of it that is
    a websocket or an event stream. ``failing``: passive failure detection has it out for the moment.
    """

    replica_id: str
    state: EndpointState
    weight: int = 100
    in_flight: int = 0
    streams: int = 0
    failing: bool = False


class RouteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the running proxy says of one route. ``listening``: the published port accepts connections.

    ``port``: the one it listens on, also where the choice was the router's; 0: none yet.
    """

    key: str
    listening: bool
    endpoints: tuple[EndpointStatus, ...] = ()
    port: int = 0
