"""Identity on labels: what makes a container a replica, readable with nothing else at hand.

Written by `body`, read by `observe` and `watch`. A container without these labels is nobody's business here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.docker_api.scope import SCOPE
from fairlead.observed import ReplicaSpec
from fairlead.spec.model import Hook

REPLICA = "fairlead.replica"
PROJECT = "fairlead.project"
SERVICE = "fairlead.service"
REVISION = "fairlead.revision"
SLOT = "fairlead.slot"
GENERATION = "fairlead.generation"
PORTS = "fairlead.ports"
PRE_STOP = "fairlead.pre-stop"
DEFINITION = "fairlead.definition"

COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_NETWORK = "com.docker.compose.network"
COMPOSE_VOLUME = "com.docker.compose.volume"
COMPOSE_SERVICE = "com.docker.compose.service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a container is, as its labels say."""

    id: str
    project: str
    service: str
    revision_id: str
    slot: int
    generation: int
    ports: tuple[int, ...]


def labels_of(replica: ReplicaSpec, scope: str, ports: Sequence[int]) -> dict[str, str]:
    """The labels that carry ``replica``'s identity, and its hooks, which outlive the file they came from."""
    labels = {
        REPLICA: replica.id,
        SCOPE: scope,
        PROJECT: replica.project,
        SERVICE: replica.service,
        REVISION: replica.revision.id,
        SLOT: str(replica.slot),
        GENERATION: str(replica.generation),
        PORTS: ",".join(map(str, ports)),
    }
    if replica.revision.service.pre_stop:
        labels[PRE_STOP] = json.dumps([_hook_json(hook) for hook in replica.revision.service.pre_stop])
    return labels


def identity_of(labels: Mapping[str, str]) -> Identity | None:
    """The identity on ``labels``; None where they are not ours or damaged."""
    try:
        return Identity(
            id=labels[REPLICA],
            project=labels[PROJECT],
            service=labels[SERVICE],
            revision_id=labels[REVISION],
            slot=int(labels[SLOT]),
            generation=int(labels[GENERATION]),
            ports=tuple(int(port) for port in labels.get(PORTS, "").split(",") if port),
        )
    except (KeyError, ValueError):
        return None


def pre_stop_of(labels: Mapping[str, str]) -> tuple[Hook, ...]:
    return tuple(_hook(value) for value in json.loads(labels.get(PRE_STOP, "[]")))


def _hook_json(hook: Hook) -> dict[str, Any]:
    return {
        "command": list(hook.command),
        "user": hook.user,
        "privileged": hook.privileged,
        "working_dir": hook.working_dir,
        "environment": dict(hook.environment),
    }


def _hook(value: Mapping[str, Any]) -> Hook:
    return Hook(
        command=tuple(value["command"]),
        user=value["user"],
        privileged=value["privileged"],
        working_dir=value["working_dir"],
        environment=value["environment"],
    )
