"""Starting one replica: create, attach, fill, start; idempotent by the replica's id.

Called by `engine`. A container that was created and never started is leftover of an interrupted start; it is made
again, since nobody knows how far it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.docker_api import images
from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.handover import Handover
from fairlead.engines.docker.attachments import MANY_NETWORKS_API, Attachment, attachments_of
from fairlead.engines.docker.body import body_of, container_name, ports_of
from fairlead.engines.docker.containers import all_of, container_of
from fairlead.engines.docker.files import InjectedFile, archive_of, folders_of, injected_files
from fairlead.engines.docker.labels import SERVICE
from fairlead.engines.docker.mounts import named_volumes
from fairlead.engines.docker.output import run_in
from fairlead.engines.docker.resources import ProjectResources
from fairlead.errors import EngineError, StartFailedError
from fairlead.observed import ReplicaSpec
from fairlead.rollout.volumes import is_exclusive

CREATE_TIMEOUT_S = 120.0
START_TIMEOUT_S = 120.0
HOOK_TIMEOUT_S = 300.0

_PASSING = ("no space left", "resource temporarily unavailable", "cannot allocate memory", "already allocated")
"""What the daemon says when the same start may well work later."""


class Starter:
    """Starts replicas on one daemon. ``environ`` is where secrets of the kind `environment` come from."""

    def __init__(self, client: Client, scope: str, resources: ProjectResources, environ: Mapping[str, str]) -> None:
        self._client = client
        self._scope = scope
        self._resources = resources
        self._environ = environ
        self._handover = Handover(client)

    async def start(self, replica: ReplicaSpec) -> None:
        existing = await container_of(self._client, self._scope, replica.id)
        if existing is not None:
            if existing["State"] != "created":
                return
            await self._discard(str(existing["Id"]))
        files = injected_files(replica.revision, self._environ)
        try:
            await self._start_new(replica, files)
        except _NetworkGoneError:
            await self._start_new(replica, files)

    async def _start_new(self, replica: ReplicaSpec, files: tuple[InjectedFile, ...]) -> None:
        service = replica.revision.service
        await self._ensure_resources(replica)
        if is_exclusive(service):
            # Compose may still run this very database on the same volume.
            await self._handover.stop_service(replica.project, service.name)
        container_id = await self._create(replica, files)
        try:
            await self._attach(container_id, replica)
            await self._fill(container_id, replica, files)
            await self._run(container_id, replica)
            if not ports_of(service):
                # Nothing is routed to it, so the router will not tell that its predecessor may go.
                await self._handover.stop_service(replica.project, service.name)
        except BaseException as error:
            await self._discard(container_id)
            if isinstance(error, ApiError):
                raise _explained(replica, error) from error
            raise

    async def _ensure_resources(self, replica: ReplicaSpec) -> None:
        revision, api = replica.revision, await self._client.api_version()
        service = revision.service
        if not service.image:
            raise StartFailedError(f"{service.name} names no image", hint="give it an `image` or a `build`")
        await images.ensure(
            self._client,
            service.image,
            policy=None if service.pull_policy in images.ALWAYS else service.pull_policy,
            platform=service.platform,
            environ=self._environ,
            report=_silent,
        )
        keys = [attachment.key for attachment in attachments_of(revision, replica.project, api)]
        await self._resources.ensure_networks(replica.project, keys, revision.resources)
        await self._resources.ensure_volumes(replica.project, named_volumes(revision), revision.resources)

    async def _create(self, replica: ReplicaSpec, files: tuple[InjectedFile, ...]) -> str:
        api, service = await self._client.api_version(), replica.revision.service
        body = body_of(
            replica,
            self._scope,
            attachments_of(replica.revision, replica.project, api),
            api,
            network_mode=await self._network_mode(replica),
            extra_volumes=folders_of(files) if service.read_only else (),
        )
        body["HostConfig"] |= await self._shared_namespaces(replica)
        name, platform = container_name(replica.id), service.platform
        for candidate in (name, f"{name}-{self._scope}"):
            try:
                created = await self._client.post(
                    "/containers/create", body, name=candidate, platform=platform, timeout_s=CREATE_TIMEOUT_S
                )
            except ApiError as error:
                # The name is a courtesy: where a stranger has it, ours is longer. Identity is on the labels.
                if error.status == 409 and "is already in use" in error.message and candidate == name:
                    continue
                raise _explained(replica, error) from error
            return str(created["Id"])
        raise AssertionError("one of the names was tried last")

    async def _network_mode(self, replica: ReplicaSpec) -> str | None:
        return await self._resolved(replica, replica.revision.service.network_mode)

    async def _shared_namespaces(self, replica: ReplicaSpec) -> dict[str, Any]:
        """`ipc: service:x`, `pid: service:x` and `volumes_from` name services; the API wants containers."""
        extra = replica.revision.service.extra
        found: dict[str, Any] = {}
        for key, field in (("ipc", "IpcMode"), ("pid", "PidMode")):
            if extra.get(key):
                found[field] = await self._resolved(replica, str(extra[key]))
        if extra.get("volumes_from"):
            found["VolumesFrom"] = [await self._volumes_from(replica, str(entry)) for entry in extra["volumes_from"]]
        return found

    async def _volumes_from(self, replica: ReplicaSpec, entry: str) -> str | None:
        if entry.startswith("container:"):
            return entry.removeprefix("container:")
        service, colon, mode = entry.partition(":")
        container = (await self._resolved(replica, f"service:{service}") or "").removeprefix("container:")
        return f"{container}{colon}{mode}"

    async def _resolved(self, replica: ReplicaSpec, mode: str | None) -> str | None:
        if not mode or not mode.startswith("service:"):
            return mode
        wanted = mode.removeprefix("service:")
        for listed in await all_of(self._client, self._scope, replica.project):
            if listed["Labels"].get(SERVICE) == wanted and listed["State"] == "running":
                return f"container:{listed['Id']}"
        raise EngineError(f"{replica.service} joins {wanted}, of which no replica runs")

    async def _attach(self, container_id: str, replica: ReplicaSpec) -> None:
        api = await self._client.api_version()
        attachments: Sequence[Attachment] = attachments_of(replica.revision, replica.project, api)
        for attachment in () if api >= MANY_NETWORKS_API else attachments[1:]:
            body = {"Container": container_id, "EndpointConfig": dict(attachment.endpoint)}
            await self._client.post(f"/networks/{attachment.name}/connect", body)

    async def _fill(self, container_id: str, replica: ReplicaSpec, files: tuple[InjectedFile, ...]) -> None:
        read_only = replica.revision.service.read_only
        for folder in folders_of(files):
            await self._put(container_id, files, folder, through_root=not read_only)

    async def _put(
        self, container_id: str, files: tuple[InjectedFile, ...], folder: str, *, through_root: bool
    ) -> None:
        """Into a folder that may not exist yet the files go with their whole path, from the root."""
        path = "/" if through_root else folder
        prefix = folder.lstrip("/") if through_root else ""
        content = archive_of(files, folder, prefix)
        await self._client.put(f"/containers/{container_id}/archive", content, "application/x-tar", path=path)

    async def _run(self, container_id: str, replica: ReplicaSpec) -> None:
        await self._client.post(f"/containers/{container_id}/start", timeout_s=START_TIMEOUT_S)
        for hook in replica.revision.service.post_start:
            result = await run_in(self._client, container_id, hook, HOOK_TIMEOUT_S)
            if result.status != 0:
                raise StartFailedError(
                    f"post_start of {replica.service} ended with status {result.status}: {result.output.strip()[-500:]}"
                )

    async def _discard(self, container_id: str) -> None:
        try:
            await self._client.delete(f"/containers/{container_id}", force=True, v=True)
        except ApiError as error:
            if error.status not in (404, 409):
                raise


class _NetworkGoneError(EngineError):
    """A network was removed after it had been seen; it is made again."""


def _explained(replica: ReplicaSpec, error: ApiError) -> EngineError:
    """What went wrong, as something to try again or as something to change in the file."""
    text = error.message
    if "network" in text and ("not found" in text or "ambiguous" in text):
        return _NetworkGoneError(f"{replica.id} could not be started: {text}")
    if "executable file not found" in text:
        service = replica.revision.service
        command = " ".join((service.entrypoint or service.command or ())[:1])
        return StartFailedError(f"{service.name}: command not found: {command}", hint=_hint(text))
    if any(words in text.lower() for words in _PASSING):
        return EngineError(f"{replica.id} could not be started: {text}")
    return StartFailedError(f"{replica.id} cannot be started: {text}", hint=_hint(text))


def _hint(text: str) -> str | None:
    lowered = text.lower()
    if "executable file not found" in lowered or "no such file or directory" in lowered:
        return "is the command in the image? see `command` and `entrypoint`"
    if "permission denied" in lowered:
        return "is the command executable (`chmod +x`) in the image?"
    if "could not select device driver" in lowered:
        return "the daemon has no driver for the devices that the file asks for"
    return None


def _silent(_: str) -> None:
    """A start has nobody to tell about the layers of a pull."""
