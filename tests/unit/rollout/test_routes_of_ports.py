"""Which routes the ports of a service make."""

from __future__ import annotations

from typing import Any

from fairlead.rollout.definition import definition_of
from fairlead.routing import Route
from fairlead.spec.model import Port, Project, RouteOptions, RouteProtocol, Service, ServiceOptions
from fairlead.spec.revision import revision_of

HTTP, TCP = RouteProtocol.HTTP, RouteProtocol.TCP
RULES = RouteOptions(host="shop.example.org", path="/shop", sticky_cookie="seat")


def routes(*ports: Port, **options: Any) -> dict[int, Route]:
    """By container port."""
    service = Service(name="web", command=("serve",), ports=ports, options=ServiceOptions(**options))
    project = Project(name="shop", working_dir="/srv", services={"web": service})
    made = definition_of("shop", revision_of(project, service), cores=2).routes
    return {route.target: route for route in made}


def rules(route: Route) -> tuple[Any, ...]:
    return route.protocol, route.host, route.path, route.sticky_cookie


def test_what_only_requests_have_is_for_the_http_ports_of_a_service_that_has_both() -> None:
    made = routes(Port(target=8000, published=8080), Port(target=22, published=2222), route=RULES)
    assert rules(made[8000]) == (HTTP, "shop.example.org", "/shop", "seat")
    assert rules(made[22]) == (TCP, None, None, None)


def test_a_port_that_no_load_balancer_carries_has_no_route() -> None:
    made = routes(*(Port(target=target, published=target, protocol=p) for target, p in ((80, "sctp"), (81, "udp"))))
    assert made == {}


def test_a_service_without_an_http_port_keeps_them_so_that_they_are_refused() -> None:
    made = routes(Port(target=22, published=2222), Port(target=53, published=53, protocol="udp"), route=RULES)
    assert rules(made[22]) == (TCP, "shop.example.org", "/shop", "seat")
