"""A revision: the immutable, content-addressed definition of one service.

Made by the planner from a :class:`~fairlead.spec.model.Service`; carried by every replica, stored with every
release. Two services with the same definition have the same revision; what only says how many replicas run or
how they are replaced is no part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from fairlead.spec.model import Deploy, Project, RolloutOptions, RouteOptions, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """``id`` is ``service@xxxxxxxx``, the first 8 hex digits of the SHA-256 of the canonical JSON.

    ``resources`` holds the project's definitions that the service refers to (networks, volumes, secrets,
    configs), each under its kind and name, so that a release can be brought back without the file.
    """

    id: str
    service: Service
    working_dir: str
    resources: Mapping[str, Mapping[str, Mapping[str, Any]]]

    @property
    def short(self) -> str:
        """The hex digits alone."""
        return self.id.rpartition("@")[2]


def revision_of(project: Project, service: Service) -> Revision:
    """The revision that ``service`` of ``project`` defines."""
    resources = _referenced(project, service)
    identity = {
        "service": msgspec.to_builtins(_replica_part(service)),
        "working_dir": project.working_dir,
        "resources": resources,
    }
    digest = hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()[:8]
    return Revision(
        id=f"{service.name}@{digest}", service=service, working_dir=project.working_dir, resources=resources
    )


def _replica_part(service: Service) -> Service:
    """``service`` without what does not change a replica: counts, rollout, routing, dependencies."""
    deploy = Deploy(limits=service.deploy.limits, reservations=service.deploy.reservations)
    options = replace(service.options, rollout=RolloutOptions(), route=RouteOptions(), autoscale=None)
    return replace(
        service,
        deploy=deploy,
        options=options,
        scale=None,
        depends_on={},
        profiles=(),
        restart=None,
        ports=tuple(replace(port, published=None, host_ip=None) for port in service.ports),
    )


def _referenced(project: Project, service: Service) -> dict[str, dict[str, Mapping[str, Any]]]:
    named = {
        "networks": (project.networks, service.networks),
        "volumes": (project.volumes, [m.source for m in service.volumes if m.type == "volume" and m.source]),
        "secrets": (project.secrets, [reference.source for reference in service.secrets]),
        "configs": (project.configs, [reference.source for reference in service.configs]),
    }
    return {
        kind: {name: known[name] for name in sorted(set(used)) if name in known}
        for kind, (known, used) in named.items()
    }
