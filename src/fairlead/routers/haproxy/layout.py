"""Routes of all projects → listeners with their rules, pure; every conflict between routes is found here.

Called by `router` before anything is touched. The result is what `render` writes down.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from fairlead.errors import RouterError
from fairlead.routers.haproxy.names import frontend_name
from fairlead.routers.haproxy.state import Desired
from fairlead.routing import Listen, Route
from fairlead.spec.model import RouteProtocol
from fairlead.spec.route_words import COOKIE, HOST, PATH

BALANCE = {
    # The less busy of two drawn by weight. HAProxy's own `leastconn` starves a light canary while there is
    # little traffic (an idle pool always prefers the heaviest) and pours everything on a server that just came.
    "least_conn": ("balance random(2)",),
    "round_robin": ("balance roundrobin",),
    "source": ("balance source", "hash-type consistent"),
}
_WILD = (None, "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Frontend:
    """One listen address; HTTP routes in the order in which their rules are tried, or a single TCP route."""

    listen: Listen
    protocol: RouteProtocol
    routes: tuple[Route, ...]

    @property
    def name(self) -> str:
        return frontend_name(self.listen)


def frontends(desired: Desired) -> tuple[Frontend, ...]:
    """One frontend a listen address, sorted.

    :raises RouterError: two routes want the same requests, or a value cannot be expressed.
    """
    by_listen: dict[Listen, list[Route]] = {}
    seen: dict[str, Route] = {}
    for route in desired.routes:
        _check(route)
        if route.key in seen:
            raise RouterError(f"route {route.key} is stated twice")
        seen[route.key] = route
        by_listen.setdefault(desired.listen(route), []).append(route)
    _check_overlaps(by_listen)
    ordered = sorted(by_listen.items(), key=lambda item: (item[0].port, item[0].host or ""))
    return tuple(_frontend(listen, shared) for listen, shared in ordered)


def _frontend(listen: Listen, routes: list[Route]) -> Frontend:
    protocols = {route.protocol for route in routes}
    first, *others = sorted(routes, key=_specific_first)
    if others and protocols != {RouteProtocol.HTTP}:
        raise _conflict(listen, first, others[0], "only HTTP routes can share a port")
    rules: dict[tuple[str, str], Route] = {}
    for route in (first, *others):
        rule = ((route.host or "").lower(), _prefix(route.path))
        if rule in rules:
            raise _conflict(listen, rules[rule], route, "give them different hosts or paths (x-fairlead.route)")
        rules[rule] = route
    return Frontend(listen, first.protocol, (first, *others))


def _specific_first(route: Route) -> tuple[object, ...]:
    host = route.host or ""
    kind = 2 if not host else 1 if host.startswith("*.") else 0
    return (kind, -len(host), host, -len(_prefix(route.path)), _prefix(route.path), route.key)


def _prefix(path: str | None) -> str:
    return (path or "").rstrip("/")


def _conflict(listen: Listen, one: Route, other: Route, fix: str) -> RouterError:
    where = f"{listen.host or '*'}:{listen.port}"
    return RouterError(f"routes {one.key} and {other.key} both want {where}", hint=fix)


def _check_overlaps(by_listen: dict[Listen, list[Route]]) -> None:
    everywhere = {listen.port: listen for listen in by_listen if listen.host in _WILD}
    for listen, routes in sorted(by_listen.items(), key=lambda item: item[1][0].key):
        wild = everywhere.get(listen.port)
        if wild and wild != listen:
            fix = "publish the port on every address, or on single ones only"
            raise _conflict(listen, by_listen[wild][0], routes[0], fix)


def _check(route: Route) -> None:
    if route.protocol is RouteProtocol.UDP:
        raise RouterError(f"route {route.key}: HAProxy carries no UDP", hint="publish the port without Fairlead")
    if route.protocol is RouteProtocol.TCP and (route.host or route.path or route.sticky_cookie):
        raise RouterError(f"route {route.key}: a TCP route has no host, path or cookie", hint="use protocol: http")
    if route.balance not in BALANCE:
        raise RouterError(f"route {route.key}: unknown balance {route.balance!r}", hint=f"one of {', '.join(BALANCE)}")
    for what, value, pattern in (
        ("host", route.host, HOST),
        ("path", route.path, PATH),
        ("sticky cookie", route.sticky_cookie, COOKIE),
    ):
        if value and not pattern.fullmatch(value):
            raise RouterError(f"route {route.key}: {what} {value!r} has characters that cannot stand there")
    if route.listen.host is not None:
        _check_address(route, route.listen.host)
    for endpoint in route.endpoints:
        _check_address(route, endpoint.address.host)
        if not 1 <= endpoint.weight <= 256:
            raise RouterError(f"route {route.key}: weight {endpoint.weight} of {endpoint.replica_id} is not 1 to 256")
    if len({endpoint.replica_id for endpoint in route.endpoints}) != len(route.endpoints):
        raise RouterError(f"route {route.key} names a replica twice")


def _check_address(route: Route, host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise RouterError(f"route {route.key}: {host!r} is not an IP address") from None
