"""`ports` and `expose`."""

from __future__ import annotations

from typing import Any

import pytest

from .loading import problem, project, service


def entry(
    target: int, published: str | None = None, protocol: str = "tcp", host_ip: str | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"mode": "ingress", "target": target, "protocol": protocol}
    return made | ({"published": published} if published else {}) | ({"host_ip": host_ip} if host_ip else {})


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("80", [entry(80)]),
        ('"8080:80"', [entry(80, "8080")]),
        ('"8080:80/UDP"', [entry(80, "8080", "udp")]),
        ('"127.0.0.1:8080:80"', [entry(80, "8080", host_ip="127.0.0.1")]),
        ('"127.0.0.1::80"', [entry(80, host_ip="127.0.0.1")]),
        ('"[::1]:8080:80"', [entry(80, "8080", host_ip="::1")]),
        ('"8000-8001:9000-9001"', [entry(9000, "8000"), entry(9001, "8001")]),
        ('"9-10"', [entry(10), entry(9)]),
        ('"3000-3005:80"', [entry(80, "3000-3005")]),
        ("22:22", [entry(22, "22")]),
    ],
)
def test_short_forms(text: str, entries: list[dict[str, Any]]) -> None:
    assert service(f"ports: [{text}]")["ports"] == entries


def test_the_long_form_gets_its_defaults() -> None:
    found = service('ports: [{target: "80", published: 8080, app_protocol: http, name: web, x-a: 1}]')["ports"]
    assert found == [entry(80, "8080") | {"app_protocol": "http", "name": "web"}]


def test_the_same_port_twice_is_one() -> None:
    assert len(service('ports: ["8080:80", "8080:80", {target: 80, published: "8080"}]')["ports"]) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"x:80"', "'x' in 'x:80' is not a port"),
        ('"70000:80"', "0 to 65535"),
        ('"8080:"', "names no container port"),
        ('"80:80/icmp"', "'icmp' is none of the protocols"),
        ('"1-3:80-81"', "maps 3 host ports to 2"),
        ('"82-80"', "runs backwards"),
        ('"nohost:80:80"', "is not an IP address"),
        ('"::1:80:80"', "is not an IP address"),
        ("{published: 80}", "the port has no target"),
        ("80.5", "is not a port"),
        ("{target: 80, publish: 1}", "unknown key 'publish'"),
    ],
)
def test_what_is_no_port(text: str, words: str) -> None:
    found = problem(f"ports:\n  - {text}")
    assert words in found.message
    assert found.line == 5
    assert found.fix


def test_ranges_are_bounded() -> None:
    assert "more than 70000 ports" in problem('ports: ["0-65535:0-65535", "0-65535:0-65535/udp", "1:1"]').message


def test_typed() -> None:
    (first, second) = project('services: {a: {image: x, ports: ["1.2.3.4:8080:80", 90]}}').services["a"].ports
    assert (first.target, first.published, first.host_ip) == (80, 8080, "1.2.3.4")
    assert second.published is None


def test_the_case_of_a_protocol_does_not_matter() -> None:
    text = 'services: {a: {image: x, ports: ["53:53/UDP", {target: 80, published: 80, protocol: TCP}]}}'
    assert [port.protocol for port in project(text).services["a"].ports] == ["udp", "tcp"]


def test_expose() -> None:
    assert service('expose: [80, "81-82/udp"]')["expose"] == ["80", "81-82/udp"]
    assert "not a port" in problem("expose: [1.5]").message
