"""What a replica was started from, on its container: so that a lost store finds it again with its definition.

Called by `labels` (to write it down) and by `engine` (to read it back). A label is read by everybody who may list
containers, so the values of the environment, inline secrets and configs and the options of drivers are not in it:
they are taken from the container and its volumes themselves. Arguments of a build are not kept, as its image is.
"""

from __future__ import annotations

import asyncio
import base64
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from fairlead import logs
from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.scope import SCOPE
from fairlead.engines.docker.containers import all_of
from fairlead.engines.docker.files import path_of
from fairlead.engines.docker.labels import DEFINITION, identity_of
from fairlead.engines.docker.names import volume_name
from fairlead.observed import ReplicaSpec
from fairlead.spec.model import Service
from fairlead.spec.revision import Revision

INLINE = "content"
OPTIONS = "driver_opts"
MOST_DEFINITION_BYTES = 4 << 20

_log = logs.room("engines.docker.recall")


def written_down(revision: Revision) -> str:
    """``revision`` as a label's value: JSON, compressed, without what :class:`Recall` finds elsewhere."""
    text = msgspec.json.encode(replace(revision, service=_public(revision.service), resources=_outlined(revision)))
    return base64.b64encode(zlib.compress(text, 9)).decode()


def _public(service: Service) -> Service:
    return replace(
        service,
        environment=dict.fromkeys(service.environment, ""),
        build=replace(service.build, args={}) if service.build else None,
        logging=replace(service.logging, options={}) if service.logging else None,
    )


def _outlined(revision: Revision) -> dict[str, dict[str, Any]]:
    hidden = {"secrets": INLINE, "configs": INLINE, "volumes": OPTIONS}
    return {
        kind: {name: _without(definition, hidden.get(kind)) for name, definition in definitions.items()}
        for kind, definitions in revision.resources.items()
    }


def _without(definition: Mapping[str, Any] | None, key: str | None) -> Mapping[str, Any] | None:
    """``definition`` with nothing but the fact that it has ``key``."""
    if not definition or not key or definition.get(key) is None:
        return definition
    return {**definition, key: "" if key == INLINE else {}}


class Recall:
    """Reads replicas back from one daemon."""

    def __init__(self, client: Client, scope: str) -> None:
        self._client = client
        self._scope = scope

    async def of(self, project: str) -> tuple[ReplicaSpec, ...]:
        """Every replica of ``project`` that carries what it was started from, sorted by id."""
        listed = await all_of(self._client, self._scope, project)
        found = await asyncio.gather(*(self._spec(str(container["Id"])) for container in listed))
        return tuple(sorted((spec for spec in found if spec is not None), key=lambda spec: spec.id))

    async def _spec(self, container_id: str) -> ReplicaSpec | None:
        try:
            return await self.from_container(await self._client.get(f"/containers/{container_id}/json"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def from_container(self, detail: Mapping[str, Any]) -> ReplicaSpec | None:
        """What the container of ``detail`` was started from; None where it is no replica, or does not carry it."""
        labels = detail["Config"]["Labels"] or {}
        identity, text = identity_of(labels), labels.get(DEFINITION)
        if identity is None or not text or labels.get(SCOPE) != self._scope:
            return None
        try:
            revision = await self._completed(_read(text), identity.project, detail)
        except (ValueError, KeyError, zlib.error, msgspec.DecodeError) as error:
            _log.warning("cannot be recalled", replica=identity.id, error=str(error))
            return None
        return ReplicaSpec(
            id=identity.id,
            project=identity.project,
            slot=identity.slot,
            generation=identity.generation,
            revision=revision,
        )

    async def _completed(self, revision: Revision, project: str, detail: Mapping[str, Any]) -> Revision:
        """``revision`` with what the label left out."""
        service = revision.service
        has = dict(entry.partition("=")[::2] for entry in detail["Config"]["Env"] or ())
        logged = detail["HostConfig"].get("LogConfig") or {}
        return replace(
            revision,
            service=replace(
                service,
                environment={name: has[name] for name in service.environment if name in has},
                logging=replace(service.logging, options=logged.get("Config") or {}) if service.logging else None,
            ),
            resources=await self._resources(revision, project, str(detail["Id"])),
        )

    async def _resources(self, revision: Revision, project: str, container_id: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {kind: dict(each) for kind, each in revision.resources.items()}
        for kind, references in (("secrets", revision.service.secrets), ("configs", revision.service.configs)):
            for reference in references:
                definition = found.get(kind, {}).get(reference.source) or {}
                if INLINE in definition:
                    content = await self._file(container_id, str(path_of(kind, reference)))
                    found[kind][reference.source] = {**definition, INLINE: content}
        for name, definition in found.get("volumes", {}).items():
            if OPTIONS in (definition or {}):
                volume = await self._client.get(f"/volumes/{volume_name(project, name, revision.resources)}")
                found["volumes"][name] = {**definition, OPTIONS: volume.get("Options") or {}}
        return found

    async def _file(self, container_id: str, path: str) -> str:
        packed = await self._client.get(f"/containers/{container_id}/archive", path=path)
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            member = tar.next()
            content = tar.extractfile(member) if member is not None else None
            if content is None:
                raise ValueError(f"{path} is no file")
            return content.read().decode()


def _read(text: str) -> Revision:
    unpacked = zlib.decompressobj().decompress(base64.b64decode(text), MOST_DEFINITION_BYTES)
    return msgspec.json.decode(unpacked, type=Revision)
