"""What runs, read from the daemon: one list, and a closer look only at containers that changed.

Called by `engine`. Inspecting a container costs a round trip each; what an ended container says never changes, and
a running one's facts change only with an event, so they are kept for as long as the list shows the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.scope import SCOPE
from fairlead.engines.docker.containers import all_of
from fairlead.engines.docker.healthcheck import healthcheck_in
from fairlead.engines.docker.labels import PROJECT, Identity, identity_of
from fairlead.observed import Exit, ExitCause, Health, ObservedReplica, ReplicaState
from fairlead.routing import Address

_STATES = {
    "created": ReplicaState.CREATED,
    "running": ReplicaState.RUNNING,
    "paused": ReplicaState.RUNNING,
    "restarting": ReplicaState.RUNNING,
}
_HEALTH = {"starting": Health.STARTING, "healthy": Health.READY, "unhealthy": Health.UNREADY}
SIGNALLED = 128
MOST_SIGNAL = 64


class Observer:
    """Reads replicas, and remembers what cannot have changed. ``reachable``: bridge addresses work from here."""

    def __init__(self, client: Client, scope: str) -> None:
        self._client = client
        self._scope = scope
        self._seen: dict[str, tuple[str, dict[str, Any]]] = {}
        self._asked: set[str] = set()

    async def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        listed = await all_of(self._client, self._scope, project)
        details = await asyncio.gather(*(self._inspect(container) for container in listed))
        self._forget({str(container["Id"]) for container in listed}, project)
        replicas = [
            _replica(identity, detail, asked=self.was_asked(str(detail["Id"])))
            for detail in details
            if detail is not None and (identity := identity_of(detail["Config"]["Labels"]))
        ]
        return tuple(sorted(replicas, key=lambda replica: replica.id))

    async def projects(self) -> tuple[str, ...]:
        listed = await all_of(self._client, self._scope)
        return tuple(sorted({str(container["Labels"][PROJECT]) for container in listed}))

    def asked_to_end(self, container_id: str) -> None:
        """Fairlead ends this container itself: its signal is no kill from outside."""
        self._asked.add(container_id)

    def was_asked(self, container_id: str) -> bool:
        return container_id in self._asked

    def changed(self, container_id: str) -> None:
        """Something happened to this container: look again next time."""
        self._seen.pop(container_id, None)

    def changed_everywhere(self) -> None:
        self._seen.clear()

    async def _inspect(self, listed: Mapping[str, Any]) -> dict[str, Any] | None:
        container_id, mark = str(listed["Id"]), _mark(listed)
        known = self._seen.get(container_id)
        if known and known[0] == mark:
            return known[1]
        try:
            detail: dict[str, Any] = await self._client.get(f"/containers/{container_id}/json")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        if detail["Config"]["Labels"].get(SCOPE) != self._scope:
            return None
        self._seen[container_id] = (mark, detail)
        return detail

    def _forget(self, alive: set[str], project: str) -> None:
        for container_id, (_, detail) in list(self._seen.items()):
            if container_id not in alive and detail["Config"]["Labels"].get(PROJECT) == project:
                del self._seen[container_id]
                self._asked.discard(container_id)


def _mark(listed: Mapping[str, Any]) -> str:
    """What of a list's entry must be the same for the details to be the same."""
    networks = (listed.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = sorted((name, str(network.get("IPAddress"))) for name, network in networks.items())
    status = str(listed.get("Status", ""))
    health = status[status.find("(") :] if "(" in status else ""
    return f"{listed['State']} {health} {addresses}"


def _replica(identity: Identity, detail: Mapping[str, Any], *, asked: bool) -> ObservedReplica:
    state = _STATES.get(str(detail["State"]["Status"]), ReplicaState.EXITED)
    return ObservedReplica(
        id=identity.id,
        project=identity.project,
        service=identity.service,
        revision_id=identity.revision_id,
        slot=identity.slot,
        generation=identity.generation,
        state=state,
        addresses=_addresses(identity, detail) if state is ReplicaState.RUNNING else {},
        exit=exit_of(detail["State"], asked=asked) if state is ReplicaState.EXITED else None,
        native_id=str(detail["Id"]),
        started_at_s=seconds_of(detail["State"].get("StartedAt")),
        native_health=_native_health(detail["State"]) if state is ReplicaState.RUNNING else None,
        native_check=healthcheck_in(detail["Config"]),
    )


def exit_of(state: Mapping[str, Any], *, asked: bool) -> Exit:
    """How a container ended, from its state."""
    code = int(state.get("ExitCode") or 0)
    return exit_from(code, oom=bool(state.get("OOMKilled")), asked=asked, detail=str(state.get("Error") or ""))


def exit_from(code: int, *, oom: bool, asked: bool, detail: str = "") -> Exit:
    """Docker reports a signal as 128 plus its number, as a shell does. ``asked``: we sent it."""
    if oom and not asked and code == SIGNALLED + 9:
        return Exit(cause=ExitCause.OOM, code=-9, detail=detail)
    if SIGNALLED < code <= SIGNALLED + MOST_SIGNAL:
        cause = ExitCause.EXITED if asked else ExitCause.KILLED
        return Exit(cause=cause, code=SIGNALLED - code, detail=detail)
    return Exit(cause=ExitCause.EXITED, code=code, detail=detail)


def _addresses(identity: Identity, detail: Mapping[str, Any]) -> dict[int, Address]:
    host = "127.0.0.1" if detail["HostConfig"]["NetworkMode"] == "host" else _first_address(detail)
    return {port: Address(host=host, port=port) for port in identity.ports} if host else {}


def _first_address(detail: Mapping[str, Any]) -> str | None:
    """The address on the network the container was made with, else on the first that has one."""
    networks: Mapping[str, Any] = detail["NetworkSettings"].get("Networks") or {}
    preferred = networks.get(detail["HostConfig"]["NetworkMode"]) or {}
    candidates = [preferred, *(networks[name] for name in sorted(networks))]
    return next((str(each["IPAddress"]) for each in candidates if each.get("IPAddress")), None)


def _native_health(state: Mapping[str, Any]) -> Health | None:
    return _HEALTH.get(str((state.get("Health") or {}).get("Status")))


def seconds_of(text: Any) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; Docker writes year 1 for never."""
    if not text or str(text).startswith("0001-"):
        return None
    head, _, tail = str(text).rstrip("Z").partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float(f"0.{tail[:9] or 0}")
