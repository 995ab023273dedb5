"""A revision made ready for the machine: its rules and its routes, worked out once.

Made by `controller` when a revision becomes known, read by every module of `rollout`.
"""

from __future__ import annotations

import msgspec

from fairlead.rollout.policy import ServicePolicy, policy_of
from fairlead.routing import Listen, Route
from fairlead.spec.model import Order, Port, RouteOptions, RouteProtocol, Service
from fairlead.spec.revision import Revision

NOT_HTTP = frozenset(
    {21, 22, 25, 53, 110, 143, 465, 587, 993, 995, 1433, 1521, 1883, 2049, 3306, 4222, 5060, 5222, 5432, 5433}
    | {5671, 5672, 6379, 6380, 6432, 8883, 9042, 9092, 9093, 11211, 25565, 26379, 27017, 27018, 33060}
)
"""Container ports that speak something else than HTTP as a rule (IANA's registry and the products' defaults)."""

INSIDE_TIMEOUT_S = 3600.0
"""A service that calls another waits as long as it did without a router in between."""

CONNECT_TIMEOUT_S = 0.5
"""Replicas are near: who does not accept at once is gone, address and all, and another one is asked."""

CONNECT_ALONE_S = 5.0
"""The same with nobody else to ask: long enough for the kernel's second and third attempt, after 1 and 3 s (RFC 6298,
2.1 and 5.5)."""

_HTTP_PROTOCOLS = frozenset({"http", "https", "h2c", "http2", "grpc", "ws", "wss", "kubernetes.io/h2c"})


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """``routes`` are templates without endpoints, sorted by key; ``by_key`` the same, by key."""

    revision: Revision
    policy: ServicePolicy
    routes: tuple[Route, ...]
    by_key: dict[str, Route]


def definition_of(project: str, revision: Revision, *, cores: int, job: bool = False) -> Definition:
    """``revision`` with its rules and routes."""
    service = revision.service
    policy = policy_of(service, cores=cores, job=job)
    routes = (_route(project, service, port, policy) for port in service.ports)
    known = {route.key: route for route in routes if route is not None}
    by_key = {key: known[key] for key in sorted(known)}
    return Definition(revision=revision, policy=policy, routes=tuple(by_key.values()), by_key=by_key)


def protocol_of(service: Service, port: Port) -> RouteProtocol:
    """HTTP by default; TCP where the port says so by `app_protocol`, `x-fairlead` or its number.

    UDP stands for all that no load balancer carries, SCTP too.
    """
    if not port.routed:
        return RouteProtocol.UDP
    if service.options.route.protocol is not None:
        return service.options.route.protocol
    if port.app_protocol is not None:
        return RouteProtocol.HTTP if port.app_protocol.lower() in _HTTP_PROTOCOLS else RouteProtocol.TCP
    return RouteProtocol.TCP if port.target in NOT_HTTP else RouteProtocol.HTTP


def _route(project: str, service: Service, port: Port, policy: ServicePolicy) -> Route | None:
    options = service.options.route
    protocol = protocol_of(service, port)
    if protocol is RouteProtocol.UDP:
        return None
    if port.inside:
        return _inside_route(project, service, port, policy)
    rules = _rules(service, protocol)
    host = None if port.host_ip in (None, "", "0.0.0.0") else port.host_ip
    return Route(
        project=project,
        service=service.name,
        target=port.target,
        listen=Listen(port=port.published or 0, host=host),
        protocol=protocol,
        host=rules.host,
        path=rules.path,
        balance=options.balance,
        sticky_cookie=rules.sticky_cookie,
        hold_timeout_s=policy.hold_timeout_s,
        retries=4 if options.retries is None else options.retries,
        timeout_s=options.timeout_s,
        connect_timeout_s=_connect_timeout_s(policy),
        send_proxy=options.send_proxy,
    )


def _rules(service: Service, protocol: RouteProtocol) -> RouteOptions:
    """What only requests have is meant for the HTTP ports; without one it has no meaning, and the router refuses it."""
    published = (port for port in service.ports if not port.inside)
    has_http = any(protocol_of(service, port) is RouteProtocol.HTTP for port in published)
    return RouteOptions() if protocol is RouteProtocol.TCP and has_http else service.options.route


def _connect_timeout_s(policy: ServicePolicy) -> float:
    """Where the pool is emptied on purpose there is no other endpoint to ask: a request that gave up would fail."""
    return CONNECT_ALONE_S if policy.update.order is Order.STOP_FIRST else CONNECT_TIMEOUT_S


def _inside_route(project: str, service: Service, port: Port, policy: ServicePolicy) -> Route:
    """The way by which other services reach this one; host, path and cookie are for the world, not for them."""
    options = service.options.route
    return Route(
        project=project,
        service=service.name,
        target=port.target,
        listen=Listen(port=port.target),
        protocol=protocol_of(service, port),
        balance=options.balance,
        hold_timeout_s=policy.hold_timeout_s,
        retries=4 if options.retries is None else options.retries,
        timeout_s=options.timeout_s or INSIDE_TIMEOUT_S,
        connect_timeout_s=_connect_timeout_s(policy),
        inside=port.inside,
    )
