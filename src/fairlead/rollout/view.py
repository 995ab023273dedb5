"""One service at one moment, as the machine reads it: the observation cut down to that service.

Made by `release` from :class:`~fairlead.observed.Observation` once a step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from fairlead.observed import Observation, ObservedReplica, ReplicaHealth
from fairlead.rollout.states import members
from fairlead.routing import EndpointState, EndpointStatus, RouteStatus

_E = members(EndpointState)


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What the running proxy says of one replica, over all routes of its service.

    ``in_pool``: every route sends it new requests. ``out``: none does. ``requests`` and ``streams`` are open.
    """

    in_pool: bool
    out: bool
    requests: int = 0
    streams: int = 0


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """``routed``: the service has published ports. ``listening``: each of them accepts connections.

    ``proxied``: the proxy may send requests to a replica of it. ``confirmed``: the proxy answered, so that silence
    about a replica means that it is out. ``unchanging``: nothing that was asked of the proxy before is still to take
    effect. ``taken_at_s``: as in the observation.
    """

    replicas: Mapping[str, ObservedReplica]
    health: Mapping[str, ReplicaHealth]
    presence: Mapping[str, Presence]
    routed: bool
    proxied: bool
    listening: bool
    confirmed: bool
    unchanging: bool
    taken_at_s: float | None = None

    def is_serving(self, replica_id: str) -> bool:
        """In every pool, confirmed; true of any replica of a service without published ports."""
        if not self.routed:
            return True
        presence = self.presence.get(replica_id)
        return self.confirmed and presence is not None and presence.in_pool

    def is_out(self, replica_id: str) -> bool:
        """In no pool, confirmed."""
        if not self.proxied:
            return True
        presence = self.presence.get(replica_id)
        return self.confirmed and self.unchanging and (presence is None or presence.out)


def view_of(
    route_keys: Collection[str],
    routes: Mapping[str, RouteStatus],
    replicas: Mapping[str, ObservedReplica],
    observation: Observation,
    *,
    proxied: bool = True,
    unchanging: bool = True,
) -> ServiceView:
    """The part of ``observation`` that is about one service: its ``replicas``, and ``routes`` as the proxy has them.

    ``route_keys``: those that it should have.
    """
    there = [routes[key] for key in route_keys if key in routes]
    leftover = [status for key, status in routes.items() if key not in route_keys]
    return ServiceView(
        replicas=replicas,
        health=observation.health,
        presence=_presence(there, leftover, len(route_keys)),
        routed=bool(route_keys),
        proxied=proxied or bool(route_keys or leftover),
        listening=len(there) == len(route_keys) and all(route.listening for route in there),
        confirmed=observation.routes_known,
        unchanging=unchanging,
        taken_at_s=observation.taken_at_s,
    )


def _presence(routes: list[RouteStatus], leftover: list[RouteStatus], wanted: int) -> dict[str, Presence]:
    """``leftover``: routes that are not wanted any more and that the proxy still has; ``wanted``: how many are."""
    found: dict[str, list[EndpointStatus]] = {}
    serving: dict[str, int] = {}
    for route in routes:
        for endpoint in route.endpoints:
            found.setdefault(endpoint.replica_id, []).append(endpoint)
            if endpoint.state is _E.READY:
                serving[endpoint.replica_id] = serving.get(endpoint.replica_id, 0) + 1
    for route in leftover:
        for endpoint in route.endpoints:
            found.setdefault(endpoint.replica_id, []).append(endpoint)
    return {
        replica_id: _presence_of(statuses, in_pool=wanted > 0 and serving.get(replica_id, 0) == wanted)
        for replica_id, statuses in found.items()
    }


def _presence_of(statuses: list[EndpointStatus], *, in_pool: bool) -> Presence:
    requests = streams = 0
    out = True
    for status in statuses:
        out = out and status.state is not _E.READY
        requests += max(status.in_flight - status.streams, 0)
        streams += status.streams
    return Presence(in_pool=in_pool, out=out, requests=requests, streams=streams)
