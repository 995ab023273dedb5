"""What the options of a file ask for and Fairlead does not carry out on any engine, so that it is told and not lost.

Called by `preflight`. A row leaves the table with the change that carries it out. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fairlead.spec.model import Mark, Project, RouteOptions, RouteProtocol, Service, ServiceOptions, Strategy

_ROLLING_TOO = (Strategy.ROLLING, Strategy.RECREATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheeded:
    """One key of a service that has no effect, and why."""

    service: str
    key: str
    reason: str
    mark: Mark | None


def unheeded(project: Project) -> Iterator[Unheeded]:
    """Every option of ``project`` without effect."""
    for name, service in sorted(project.services.items()):
        for key, asks, reason in _TABLE:
            if asks(service.options):
                text = reason.format(strategy=service.options.rollout.strategy)
                yield Unheeded(service=name, key=key, reason=text, mark=_mark(project.marks, name, key))


def unpublished(project: Project) -> Iterator[Unheeded]:
    """UDP and SCTP ports, for an engine that leaves publishing to the load balancer."""
    for name, service in sorted(project.services.items()):
        for index, port in enumerate(service.ports):
            if not port.routed:
                port_name, protocol = f"{port.published or port.target}/{port.protocol}", port.protocol.upper()
                reason = f"{port_name} is published by nobody: the load balancer carries no {protocol}"
                yield Unheeded(service=name, key="ports", reason=reason, mark=_port_mark(project, service, index))


def _mark(marks: Mapping[str, Mark], service: str, key: str) -> Mark | None:
    """The service's own key, else the default at the top of the file."""
    return marks.get(f"services.{service}.{key}") or marks.get(key)


def _port_mark(project: Project, service: Service, index: int) -> Mark | None:
    path = f"services.{service.name}.ports"
    return project.marks.get(f"{path}[{index}]") or project.marks.get(path)


_TABLE: tuple[tuple[str, Callable[[ServiceOptions], bool], str], ...] = (
    (
        "x-fairlead.rollout.strategy",
        lambda options: options.rollout.strategy not in _ROLLING_TOO,
        "the release is rolling, not {strategy}: new replicas get their full share as soon as they are ready",
    ),
    (
        "x-fairlead.rollout.steps",
        lambda options: bool(options.rollout.steps),
        "traffic is not shifted in steps; update_config.parallelism and delay are what slows a release down",
    ),
    (
        "x-fairlead.rollout.bake",
        lambda options: options.rollout.bake_s is not None,
        "there are no steps that could last; rollout.watch says how long a release is watched",
    ),
    (
        "x-fairlead.rollout.analysis",
        lambda options: bool(options.rollout.analysis),
        "a release is judged by its probes and crashes, not by its traffic",
    ),
    (
        "x-fairlead.autoscale",
        lambda options: options.autoscale is not None,
        "nothing scales by itself; `fairlead scale` does",
    ),
    (
        "x-fairlead.route.protocol",
        lambda options: options.route.protocol is RouteProtocol.UDP,
        "its TCP ports are published by nobody then, and the load balancer carries no UDP",
    ),
    (
        "x-fairlead.route.weight",
        lambda options: options.route.weight != RouteOptions().weight,
        "the replicas of a service get equal shares",
    ),
)
