"""`depends_on`, and the keys that imply it."""

from __future__ import annotations

import pytest

from fairlead.spec.model import Condition

from .loading import problem, problems, project, service

STARTED = {"condition": "service_started", "required": True}


def test_short_and_long() -> None:
    assert service("depends_on: [b]")["depends_on"] == {"b": STARTED}
    long = service("depends_on: {b: {condition: service_healthy, restart: true, required: false}}")["depends_on"]
    assert long == {"b": {"condition": "service_healthy", "restart": True, "required": False}}


@pytest.mark.parametrize(
    ("attributes", "restart"),
    [
        ("links: ['b:alias']", True),
        ("network_mode: service:b", True),
        ("ipc: service:b", True),
        ("volumes_from: [b:ro]", False),
    ],
)
def test_implied(attributes: str, restart: bool) -> None:
    assert service(attributes)["depends_on"] == {"b": STARTED | ({"restart": True} if restart else {})}


def test_typed() -> None:
    text = "services: {a: {image: x, depends_on: {b: {condition: service_completed_successfully}}}, b: {image: y}}"
    assert project(text).services["a"].depends_on["b"].condition is Condition.COMPLETED


def test_a_service_that_is_not_there() -> None:
    found = problem("depends_on: [bb]")
    assert (found.key, found.fix) == ("services.a.depends_on.bb", "did you mean 'b'?")


def test_a_condition_with_a_typo() -> None:
    found = problem("depends_on: {b: {condition: service_helthy}}")
    assert found.fix == "did you mean 'service_healthy'?"


def test_a_service_of_another_profile_is_there_only_when_it_is_optional() -> None:
    text = """
    services:
      a: {image: x, depends_on: {b: {condition: service_started, required: REQUIRED}}}
      b: {image: y, profiles: [p]}
    """
    (found,) = problems(text.replace("REQUIRED", "true"))
    assert "no selected profile starts" in found.message
    assert "(p)" in found.fix
    assert project(text.replace("REQUIRED", "true"), profiles=("p",)).services["b"]
    assert "b" not in project(text.replace("REQUIRED", "false")).services


def test_every_circle_is_found_once() -> None:
    text = """
    services:
      a: {image: x, depends_on: [b]}
      b: {image: x, depends_on: [c]}
      c: {image: x, depends_on: [a]}
      d: {image: x, depends_on: [d]}
    """
    assert [found.message.rpartition(": ")[2] for found in problems(text)] == ["a → b → c → a", "d → d"]
