"""Probes that can never pass, because a replica has no port of the number that they ask for.

Called by `preflight` for engines whose replicas share this machine's network: a replica is reached under the ports that
the engine chose for those of the file, and under no other. The release would fail too, but only when its start timeout
is over. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairlead.plan.planner import jobs
from fairlead.spec.model import Mark, Probe, ProbeKind, Project
from fairlead.spec.ports import PortError, container_ports

_ROLES = ("startup", "readiness", "liveness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hopeless:
    """One probe of a service, and why it cannot pass."""

    service: str
    key: str
    reason: str
    mark: Mark | None


def hopeless_probes(project: Project) -> Iterator[Hopeless]:
    """Every tcp and http probe of ``project`` that goes to a port which its service does not declare.

    Nobody waits for the probes of a job, which may end before, nor for those of a service with no replicas.
    """
    ends = jobs(project.services)
    for name, service in sorted(project.services.items()):
        if name in ends or service.replicas == 0:
            continue
        try:
            declared = container_ports(service)
        except PortError:
            continue  # The engine says what is wrong with `expose`.
        for role in _ROLES:
            probe: Probe | None = getattr(service.options.probes, role)
            reason = _reason(probe, declared) if probe is not None else ""
            if reason:
                key = f"x-fairlead.probes.{role}"
                mark = project.marks.get(f"services.{name}.{key}") or project.marks.get(key)
                yield Hopeless(service=name, key=key, reason=reason, mark=mark)


def _reason(probe: Probe, declared: tuple[int, ...]) -> str:
    if probe.kind is ProbeKind.COMMAND or (declared and probe.port in (None, *declared)):
        return ""
    if probe.port is None:
        return "it can never pass, the service declares no port: name one in `ports` or `expose` and listen on $PORT"
    known = f"it declares {', '.join(map(str, declared))}" if declared else "it declares none"
    return (
        f"it can never pass, the service does not declare port {probe.port} ({known}): "
        f"add it to `expose` and listen on $PORT_{probe.port}"
    )
