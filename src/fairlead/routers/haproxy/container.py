"""HAProxy in a container of the daemon that runs the replicas: the router of the Docker engine.

Used by `docker`. The container shares the network of the daemon's machine: ports
can come and go without another container, the client's own address arrives, and every bridge network of the machine,
internal ones included, can be reached. See ``docs/engines/docker.md`` for what else was weighed.
"""

from __future__ import annotations

import asyncio
import io
import os
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from fairlead.docker_api import images
from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.machine import is_this_machine
from fairlead.docker_api.scope import ROLE, SCOPE
from fairlead.errors import EngineError, EngineUnavailableError, RouterError, RouterUnavailableError
from fairlead.routers.haproxy import rootfs
from fairlead.routers.haproxy.files import Files
from fairlead.routers.haproxy.launch import CHECK_DEADLINE_S, find_binary

DEFAULT_IMAGE = "haproxy:3.0"
CHECK_OF = "fairlead.check-of"
_NOBODY = 65534
_LAST_LINES = 20


class ContainerLauncher:
    """One container that runs HAProxy in master-worker mode, named after the home that owns it."""

    role = "router"

    def __init__(
        self,
        files: Files,
        client: Client,
        scope: str,
        *,
        image: str | None,
        binary: str | None,
        environ: Mapping[str, str],
    ) -> None:
        self._files = files
        self._client = client
        self._scope = scope
        self._image = image
        self._binary = binary
        self._environ = environ
        self._said = ""

    @property
    def files(self) -> Files:
        return self._files

    @property
    def drop_to(self) -> tuple[int, int] | None:
        return (_NOBODY, _NOBODY) if os.geteuid() == 0 else None

    @property
    def name(self) -> str:
        return f"fairlead-router-{self._scope}"

    @property
    def labels(self) -> dict[str, str]:
        """What tells this container from every other one of the daemon."""
        return {SCOPE: self._scope, ROLE: self.role}

    async def check(self, config: Path) -> None:
        async with in_our_words():
            image, binary = await self._ready_image()
            body = self._body(image, [*binary, "-c", "-q", "-f", str(config)])
            body["Labels"] = {SCOPE: self._scope, CHECK_OF: self.name}
            body["NetworkingConfig"] = {}
            body["HostConfig"]["NetworkMode"] = "none"
            created = await self._client.post("/containers/create", body)
            container_id = str(created["Id"])
            try:
                await self._client.post(f"/containers/{container_id}/start")
                ended = await self._client.post(f"/containers/{container_id}/wait", timeout_s=CHECK_DEADLINE_S)
                if ended["StatusCode"]:
                    said = alerts(await self._output(container_id))
                    raise RouterError(f"HAProxy refuses its configuration: {said}")
            finally:
                await self._remove(container_id)

    async def start(self) -> None:
        async with in_our_words():
            await self._stop()
            image, binary = await self._ready_image()
            arguments = ["-W", "-f", str(self._files.config), "-S", self._mark(), "-C", str(self._files.folder)]
            body = self._body(image, [*binary, *arguments])
            created = await self._client.post("/containers/create", body, name=self.name)
            self._said = ""
            await self._attach(str(created["Id"]))
            await self._client.post(f"/containers/{created['Id']}/start")

    async def _attach(self, container_id: str) -> None:
        """Whatever a container needs between being made and being started; on the machine's own network, nothing."""

    async def ended(self, master_pid: int) -> None:
        """Returns when the container has ended. A daemon that is away says nothing about HAProxy, so we wait."""
        while True:
            try:
                async with in_our_words():
                    async with self._client.stream(
                        "POST", f"/containers/{self.name}/wait", condition="not-running"
                    ) as response:
                        await response.read()
                    self._said = alerts(await self._output(self.name))
                return
            except RouterUnavailableError:
                if not await asyncio.to_thread(self.pids):
                    return
                await asyncio.sleep(0.2)
            except RouterError:
                return

    async def stop(self) -> None:
        async with in_our_words():
            await self._stop()

    def pids(self) -> frozenset[int]:
        """A container's processes are this machine's too, under numbers of their own, where the daemon is here."""
        mark, found = self._mark(), set()
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and mark in process.cmdline():
                    found.add(process.pid)
            except psutil.Error:
                continue
        return frozenset(found)

    def last_words(self) -> str:
        return self._said

    def _mark(self) -> str:
        return f"{self._files.master_socket},mode,600"

    def _body(self, image: str, command: list[str]) -> dict[str, Any]:
        folders = sorted({str(self._files.folder), str(self._files.sockets)})
        return {
            "Image": image,
            "Entrypoint": command[:1],
            "Cmd": command[1:],
            "User": f"{os.getuid()}:{os.getgid()}",
            "WorkingDir": "/",
            "Labels": self.labels,
            "HostConfig": {
                "NetworkMode": "host",
                "UsernsMode": "host",
                "Binds": [f"{folder}:{folder}" for folder in folders],
                "RestartPolicy": {"Name": "no"},
                "ReadonlyRootfs": True,
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            },
        }

    async def _ready_image(self) -> tuple[str, list[str]]:
        """An image that is on the daemon, and how HAProxy is called in it."""
        if self._image is None and await self._same_machine():
            return await self._own_image()
        image = self._image or DEFAULT_IMAGE
        await images.ensure(
            self._client, image, policy=None, platform=None, environ=self._environ, report=lambda _: None
        )
        return image, ["haproxy"]

    async def _same_machine(self) -> bool:
        """Whether the daemon runs on this kernel, so that this machine's HAProxy runs there too."""
        if platform.system() != "Linux":
            return False
        return is_this_machine(self._client.endpoint, await self._client.get("/info"))

    async def _own_image(self) -> tuple[str, list[str]]:
        binary = await asyncio.to_thread(os.path.realpath, find_binary(self._binary))
        libraries = await rootfs.libraries_of(binary)
        mark = await asyncio.to_thread(rootfs.fingerprint, binary, libraries)
        repository = "fairlead/haproxy"
        if await images.inspect(self._client, f"{repository}:{mark}") is None:
            content = await asyncio.to_thread(rootfs.archive, binary, libraries)
            await self._import(content, repository, mark)
        return f"{repository}:{mark}", [binary]

    async def _import(self, content: bytes, repository: str, tag: str) -> None:
        headers = {"Content-Type": "application/x-tar"}
        async with self._client.stream(
            "POST", "/images/create", data=io.BytesIO(content), headers=headers, fromSrc="-", repo=repository, tag=tag
        ) as response:
            answer = (await response.read()).decode(errors="replace")
        if '"error"' in answer:
            raise RouterError(f"the daemon does not take HAProxy's image: {answer.strip()[-300:]}")

    async def _stop(self) -> None:
        """The container, and a check that a daemon which went away has left behind."""
        for labels in (self.labels, {SCOPE: self._scope, CHECK_OF: self.name}):
            wanted = [f"{key}={value}" for key, value in labels.items()]
            listed = await self._client.get("/containers/json", all=True, filters={"label": wanted})
            await asyncio.gather(*(self._remove(str(container["Id"])) for container in listed))

    async def _remove(self, container_id: str) -> None:
        try:
            await self._client.delete(f"/containers/{container_id}", force=True, v=True)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _output(self, container_id: str) -> str:
        try:
            raw = await self._client.get(f"/containers/{container_id}/logs", stdout=True, stderr=True, tail=_LAST_LINES)
        except ApiError:
            return ""
        return unframed(bytes(raw))


def unframed(raw: bytes) -> str:
    """The text of a log that the daemon sends in frames of eight bytes of header and a payload."""
    text = b""
    while len(raw) >= 8:
        length = int.from_bytes(raw[4:8], "big")
        text += raw[8 : 8 + length]
        raw = raw[8 + length :]
    return text.decode(errors="replace")


def alerts(text: str) -> str:
    """The lines that say what is wrong, without HAProxy's own prefix; else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [line.partition(" : ")[2] for line in lines if line.startswith("[ALERT]") and "Fatal errors" not in line]
    return "; ".join(found[:3]) or (lines[-1] if lines else "")


@asynccontextmanager
async def in_our_words() -> AsyncIterator[None]:
    """What the daemon says, as a router's errors."""
    try:
        yield
    except EngineUnavailableError as error:
        raise RouterUnavailableError(error.message, hint=error.hint) from error
    except EngineError as error:
        raise RouterError(error.message, hint=error.hint) from error
    except ApiError as error:
        raise RouterError(f"Docker refused the router's container: {error.message}") from error
