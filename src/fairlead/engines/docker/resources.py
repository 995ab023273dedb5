"""A project's networks and volumes: made where they are missing, named and labelled as Compose does.

Called by `engine` (prepare, cleanup) and by `start`, which makes a removed network again before it starts a
replacement. What exists is taken as it is, whoever made it; a volume goes only when `cleanup` is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.docker.labels import COMPOSE_NETWORK, COMPOSE_PROJECT, COMPOSE_VOLUME, PROJECT
from fairlead.engines.docker.names import Resources, is_external, network_name, volume_name
from fairlead.errors import EngineError, StartFailedError

BUILT_IN = ("bridge", "host", "none")


class ProjectResources:
    """Makes and removes networks and volumes on one daemon."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # The daemon lets two networks of one name come to be when they are asked for at the same moment.
        self._making = asyncio.Lock()

    async def ensure_networks(self, project: str, keys: Sequence[str], resources: Resources) -> None:
        """Every network of ``keys`` exists afterwards."""
        async with self._making:
            for key in keys:
                await self._ensure_network(project, key, resources)

    async def ensure_volumes(self, project: str, keys: Sequence[str], resources: Resources) -> None:
        """Every volume of ``keys`` exists afterwards."""
        for key in keys:
            await self._ensure_volume(project, key, resources)

    async def remove_networks(self, project: str) -> None:
        """Remove the project's networks that nobody uses any more.

        Containers of Compose's that were stopped for ours know theirs by its id, and could not be started without it.
        """
        found = await self._client.get("/networks", filters={"label": [f"{COMPOSE_PROJECT}={project}"]})
        for network in sorted(found, key=lambda each: str(each["Name"])):
            filters = {"label": [f"{COMPOSE_PROJECT}={project}"], "network": [network["Id"]]}
            if not await self._client.get("/containers/json", all=True, filters=filters):
                await self._remove_network(str(network["Id"]))

    async def remove_volumes(self, project: str) -> None:
        """Remove the project's volumes, with everything in them."""
        found = await self._client.get("/volumes", filters={"label": [f"{COMPOSE_PROJECT}={project}"]})
        in_use = []
        for volume in found.get("Volumes") or ():
            try:
                await self._client.delete(f"/volumes/{volume['Name']}")
            except ApiError as error:
                if error.status == 409:
                    in_use.append(volume["Name"])
                elif error.status != 404:
                    raise
        if in_use:
            raise EngineError(
                f"in use by a container that Fairlead did not make, so not removed: {', '.join(sorted(in_use))}",
                hint="see `docker ps -a --filter volume=NAME`",
            )

    async def _ensure_network(self, project: str, key: str, resources: Resources) -> None:
        definition = resources.get("networks", {}).get(key) or {}
        name = network_name(project, key, resources)
        if name in BUILT_IN or await self._exists(f"/networks/{name}"):
            return
        if is_external(definition):
            raise StartFailedError(
                f"the external network {name!r} does not exist", hint=f"docker network create {name}"
            )
        try:
            made = await self._client.post("/networks/create", _network_body(project, key, name, definition))
        except ApiError as error:
            if error.status == 409:
                return
            raise StartFailedError(f"the network {name!r} cannot be made: {error.message}") from error
        await self._keep_the_first(name, str(made["Id"]))

    async def _keep_the_first(self, name: str, ours: str) -> None:
        """Another process may have made a network of the same name just now: everybody keeps the older one."""
        found = await self._client.get("/networks", filters={"name": [f"^{name}$"]})
        same = sorted((str(each["Created"]), str(each["Id"])) for each in found if each["Name"] == name)
        if len(same) > 1 and same[0][1] != ours:
            await self._remove_network(ours)

    async def _remove_network(self, network_id: str) -> None:
        try:
            await self._client.delete(f"/networks/{network_id}")
        except ApiError as error:
            if error.status not in (403, 404, 409):
                raise

    async def _ensure_volume(self, project: str, key: str, resources: Resources) -> None:
        definition = resources.get("volumes", {}).get(key) or {}
        name = volume_name(project, key, resources)
        if await self._exists(f"/volumes/{name}"):
            return
        if is_external(definition):
            raise StartFailedError(f"the external volume {name!r} does not exist", hint=f"docker volume create {name}")
        body = {
            "Name": name,
            "Driver": definition.get("driver") or "local",
            "DriverOpts": {str(k): str(v) for k, v in (definition.get("driver_opts") or {}).items()},
            "Labels": {**_labels(definition), COMPOSE_PROJECT: project, COMPOSE_VOLUME: key, PROJECT: project},
        }
        try:
            await self._client.post("/volumes/create", body)
        except ApiError as error:
            raise StartFailedError(f"the volume {name!r} cannot be made: {error.message}") from error

    async def _exists(self, path: str) -> bool:
        try:
            await self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            # Several of one name: one of them is on its way out again.
            if "ambiguous" in error.message:
                return True
            raise
        return True


def _network_body(project: str, key: str, name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    labels = {COMPOSE_PROJECT: project, COMPOSE_NETWORK: key, PROJECT: project}
    body: dict[str, Any] = {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": definition.get("driver") or "bridge",
        "Options": {str(k): str(v) for k, v in (definition.get("driver_opts") or {}).items()},
        "Internal": bool(definition.get("internal")),
        "Attachable": bool(definition.get("attachable")),
        "EnableIPv6": bool(definition.get("enable_ipv6")),
        "Labels": {**_labels(definition), **labels},
    }
    if definition.get("enable_ipv4") is False:
        body["EnableIPv4"] = False
    if ipam := definition.get("ipam"):
        body["IPAM"] = {
            "Driver": ipam.get("driver") or "default",
            "Config": [_subnet(entry) for entry in ipam.get("config") or ()],
            "Options": dict(ipam.get("options") or {}),
        }
    return body


def _subnet(entry: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "subnet": "Subnet",
        "gateway": "Gateway",
        "ip_range": "IPRange",
        "aux_addresses": "AuxiliaryAddresses",
    }
    return {field: entry[key] for key, field in fields.items() if entry.get(key)}


def _labels(definition: Mapping[str, Any]) -> dict[str, str]:
    labels = definition.get("labels") or {}
    pairs = labels.items() if isinstance(labels, Mapping) else (str(entry).partition("=")[::2] for entry in labels)
    return {str(key): str(value) for key, value in pairs}
