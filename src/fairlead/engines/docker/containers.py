"""Finding the containers that are replicas, by their labels and by nothing else.

Called by every module that acts on one. A container without our labels, or of another Fairlead home, is never
returned, so nothing here can touch it.
"""

from __future__ import annotations

from typing import Any

from fairlead.docker_api.client import Client
from fairlead.docker_api.scope import SCOPE
from fairlead.engines.docker.labels import PROJECT, REPLICA

Listed = dict[str, Any]

GONE = ("removing", "dead")
"""States of a container whose removal has begun: nothing can be done with it but that, and the daemon goes on with
it by itself, at its next start at the latest."""


async def all_of(client: Client, scope: str, project: str | None = None) -> list[Listed]:
    """Every replica's container, ended ones too; of one project or of all."""
    return await _list(client, [f"{SCOPE}={scope}", REPLICA, *([f"{PROJECT}={project}"] if project else ())])


async def container_of(client: Client, scope: str, replica_id: str) -> Listed | None:
    """The container of one replica, None where there is none."""
    found = await _list(client, [f"{SCOPE}={scope}", f"{REPLICA}={replica_id}"])
    return found[0] if found else None


async def _list(client: Client, labels: list[str]) -> list[Listed]:
    found = await client.get("/containers/json", all=True, filters={"label": labels})
    return [each for each in found if each["State"] not in GONE]
