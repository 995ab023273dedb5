"""Ports that would pass from one service to another in one release."""

from __future__ import annotations

from typing import Any

from fairlead.plan.sharing import handovers
from fairlead.spec.model import Port, RouteOptions, Service, ServiceOptions


def web(name: str, published: int | None, *, host: str | None = None, **fields: Any) -> Service:
    ports = (Port(target=80, published=published, **fields),)
    return Service(name=name, ports=ports, options=ServiceOptions(route=RouteOptions(host=host)))


def passing(going: Service, *desired: Service) -> list[tuple[str, str]]:
    found = handovers({going.name: going}, {service.name: service for service in desired})
    return [(clash.earlier.service.name, clash.later.service.name) for clash in found]


def test_a_port_passes_from_who_goes_to_who_wants_it() -> None:
    assert passing(web("a", 80), web("b", 80)) == [("a", "b")]
    assert passing(web("a", 80), web("a", 81), web("b", 80)) == [("a", "b")]
    assert passing(web("a", 80, host_ip="127.0.0.1"), web("b", 80)) == [("a", "b")]


def test_what_has_no_other_owner_passes_to_nobody() -> None:
    assert passing(web("a", 80), web("a", 80), web("b", 81)) == []
    assert passing(web("a", 80, protocol="udp"), web("b", 80)) == []
    assert passing(web("a", None), web("b", None)) == []
    assert passing(web("a", 80, host="a.org"), web("b", 80, host="b.org")) == []


def test_a_rule_of_a_port_that_its_owner_keeps_changes_at_once() -> None:
    assert passing(web("a", 80, host="a.org"), web("a", 80, host="b.org"), web("b", 80, host="a.org")) == []
