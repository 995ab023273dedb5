"""Which services are reached by name through the router, and on which ports: decided once a project, before a plan.

Called by `project`. A name that leads to the router reaches ready replicas only, and a release drains calls between
services as it drains those from outside. Where that would change what a service means, its replicas keep the name:
a database with a volume of its own (one replica, replaced stop-first), a service without a known TCP port, one in
another's network. See ``docs/engines/docker.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fairlead.engines.docker.attachments import names_of
from fairlead.engines.docker.body import ports_of
from fairlead.engines.docker.names import DEFAULT_NETWORK, network_name
from fairlead.rollout.volumes import is_exclusive
from fairlead.spec.model import Port, ProbeKind, Project, Service

DIRECT_LABEL = "fairlead.names"
DIRECT = "direct"
"""A service with this label is known by its replicas' own addresses, as Compose does it."""


def with_inside_ports(project: Project, exposed: Mapping[str, Sequence[int]]) -> Project:
    """``project`` with a port inside its networks for every way by which one service calls another.

    ``exposed``: the ports that each service's image says it listens on, used where the file names none.
    """
    services = {
        name: _with_ports(project, service, exposed.get(name, ())) for name, service in project.services.items()
    }
    return replace(project, services=services)


def _with_ports(project: Project, service: Service, exposed: Sequence[int]) -> Service:
    plain = tuple(port for port in service.ports if not port.inside)
    service = replace(service, ports=plain)
    networks = _networks(project, service)
    if not networks or not _has_callers(project, service) or not _goes_through_the_router(service):
        return service
    targets = ports_of(service) or tuple(exposed)
    inside = tuple(
        Port(target=target, published=target, inside=networks, app_protocol=_protocol(service, target))
        for target in targets
    )
    return replace(service, ports=plain + inside)


def _goes_through_the_router(service: Service) -> bool:
    direct = service.labels.get(DIRECT_LABEL) == DIRECT or service.deploy.labels.get(DIRECT_LABEL) == DIRECT
    return not direct and not is_exclusive(service)


def _networks(project: Project, service: Service) -> dict[str, tuple[str, ...]]:
    """The daemon's networks of the service, each with the service's names on it."""
    if service.network_mode:
        return {}
    resources = {"networks": project.networks}
    found = {}
    for key, options in sorted((service.networks or {DEFAULT_NETWORK: {}}).items()):
        aliases = (str(alias) for alias in (options or {}).get("aliases") or ())
        found[network_name(project.name, key, resources)] = tuple(dict.fromkeys((*names_of(service), *aliases)))
    return found


def _has_callers(project: Project, service: Service) -> bool:
    """Whether another service shares a network with this one."""
    own = set(service.networks or (DEFAULT_NETWORK,))
    others = (each for name, each in project.services.items() if name != service.name and not each.network_mode)
    return any(own & set(each.networks or (DEFAULT_NETWORK,)) for each in others)


def _protocol(service: Service, target: int) -> str | None:
    """What is spoken on a port: what the file says or implies; bytes are passed on untouched where it is silent."""
    declared = next((port for port in service.ports if port.target == target and port.routed), None)
    if declared is not None:
        return declared.app_protocol
    probes = service.options.probes
    asked = [probe for probe in (probes.startup, probes.readiness, probes.liveness) if probe is not None]
    speaks_http = any(probe.kind is ProbeKind.HTTP and probe.port in (None, target) for probe in asked)
    return "http" if speaks_http else "tcp"
