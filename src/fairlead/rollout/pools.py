"""Whether the running proxy serves what it should, and if not, in what it differs.

Called by `release`. Pools are compared with what the proxy itself says; the rest of a route (balance, timeouts)
with a digest of what was last applied, since no proxy reports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec

from fairlead.rollout.states import members
from fairlead.routing import EndpointState, Route, RouteStatus

_E = members(EndpointState)
_SETTINGS = tuple(name for name in Route.__struct_fields__ if name != "endpoints")


def settings_digest(routes: Sequence[Route]) -> str:
    """A digest of everything about ``routes`` but their endpoints."""
    settings = [[getattr(route, name) for name in _SETTINGS] for route in routes]
    return sha256(msgspec.json.encode(settings)).hexdigest()[:16]


def difference(routes: Sequence[Route], statuses: Mapping[str, RouteStatus], applied: str) -> str:
    """Empty when the proxy serves ``routes``, else the first difference in words.

    ``applied``: the digest of what it was told last.
    """
    why = difference_of_pools(routes, statuses)
    if not why and routes and settings_digest(routes) != applied:
        return "the routes' settings changed"
    return why


def difference_of_pools(routes: Sequence[Route], statuses: Mapping[str, RouteStatus]) -> str:
    """As :func:`difference`, as far as the proxy itself says what it serves."""
    wanted = {route.key: route for route in routes}
    extra = statuses.keys() - wanted.keys()
    if extra:
        return f"route {min(extra)} is not wanted any more"
    for key, route in wanted.items():
        why = _route_difference(route, statuses.get(key))
        if why:
            return f"route {key}: {why}"
    return ""


def _route_difference(route: Route, status: RouteStatus | None) -> str:
    if status is None or not status.listening:
        return "not listening"
    seen = {endpoint.replica_id: endpoint for endpoint in status.endpoints}
    for endpoint in route.endpoints:
        there = seen.pop(endpoint.replica_id, None)
        if there is None:
            return f"{endpoint.replica_id} is missing"
        if there.state is not endpoint.state or (endpoint.state is _E.READY and there.weight != endpoint.weight):
            return f"{endpoint.replica_id} should be {endpoint.state}"
    for left in seen.values():
        if left.state is _E.READY:
            return f"{left.replica_id} should be gone"
    return ""
