"""HAProxy in a container of the daemon that runs the replicas: the router of the Docker engine.

Used by `docker`. The container shares the network of the daemon's machine: ports
can come and go without another container, the client's own address arrives, and every bridge network of the machine,
internal ones included, can be reached. See ``docs/engines/docker.md`` for what else was weighed.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil

from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.scope import ROLE, SCOPE
from fairlead.errors import EngineUnavailableError, RouterError, RouterUnavailableError
from fairlead.routers.haproxy import ports
from fairlead.routers.haproxy.daemon_errors import in_our_words
from fairlead.routers.haproxy.elsewhere import Elsewhere
from fairlead.routers.haproxy.files import CANDIDATE, Files
from fairlead.routers.haproxy.image import RouterImage
from fairlead.routers.haproxy.launch import CHECK_DEADLINE_S
from fairlead.routers.haproxy.way import LocalSocket, Way
from fairlead.routing import Listen

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
        image: RouterImage,
        there: Elsewhere | None = None,
    ) -> None:
        self._local = files
        self._files = files if there is None else there.files(*self.place)
        self._client = client
        self._scope = scope
        self._image = image
        self._there = there
        self._said = ""

    @property
    def files(self) -> Files:
        return self._files

    @property
    def place(self) -> tuple[str, ...]:
        """Where its files are in the volume of another machine."""
        return ("edge",)

    @property
    def drop_to(self) -> tuple[int, int] | None:
        return (_NOBODY, _NOBODY) if self._there is not None or os.geteuid() == 0 else None

    @property
    def dual_stack(self) -> bool:
        return ports.dual_stack() if self._there is None else self._there.ipv6

    @property
    def way(self) -> Way:
        socket = self._files.master_socket
        return LocalSocket(socket) if self._there is None else self._there.way(socket)

    @property
    def name(self) -> str:
        return f"fairlead-router-{self._scope}"

    @property
    def labels(self) -> dict[str, str]:
        """What tells this container from every other one of the daemon."""
        return {SCOPE: self._scope, ROLE: self.role}

    async def deliver(self) -> None:
        if self._there is not None:
            await self._there.deliver(await asyncio.to_thread(_contents, self._local, self._files))

    async def check_free(self, listen: Listen, ours: frozenset[int]) -> None:
        if self._there is not None:
            await self._there.check_free(listen)
        else:
            await asyncio.to_thread(ports.check_free, listen, ours)

    async def check(self, config: Path) -> None:
        await self.deliver()
        config = self._files.folder / config.name
        async with in_our_words():
            image, binary = await self._image.ready()
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
        await self.deliver()
        async with in_our_words():
            await self._stop()
            image, binary = await self._image.ready()
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
                if not await self.alive():
                    return
                await asyncio.sleep(0.2)
            except RouterError:
                return

    async def stop(self) -> None:
        async with in_our_words():
            await self._stop()

    async def alive(self) -> bool:
        if self._there is None:
            return bool(await asyncio.to_thread(self.pids))
        try:
            detail = await self._client.get(f"/containers/{self.name}/json")
        except ApiError as error:
            return error.status != 404
        except EngineUnavailableError:
            return True  # a daemon that is away says nothing about HAProxy
        return bool(detail["State"]["Running"])

    def pids(self) -> frozenset[int]:
        """A container's processes are this machine's too, under numbers of their own, where the daemon is here."""
        if self._there is not None:
            return frozenset()
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
        binds = [f"{folder}:{folder}" for folder in folders]
        user = f"{os.getuid()}:{os.getgid()}"
        if self._there is not None:
            # Its owner is whoever may use the daemon, and so root over there.
            binds, user = [f"{self._there.volume}:{self._there.root}"], "0:0"
        return {
            "Image": image,
            "Entrypoint": command[:1],
            "Cmd": command[1:],
            "User": user,
            "WorkingDir": "/",
            "Labels": self.labels,
            "HostConfig": {
                "NetworkMode": "host",
                "UsernsMode": "host",
                "Binds": binds,
                "RestartPolicy": {"Name": "no"},
                "ReadonlyRootfs": True,
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            },
        }

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


def _contents(local: Files, there: Files) -> dict[Path, bytes]:
    """What HAProxy reads, by the path under which it does; the candidate too, for a check."""
    pairs = [
        (local.config, there.config),
        (local.config.with_name(CANDIDATE), there.config.with_name(CANDIDATE)),
        (local.hold_lua, there.hold_lua),
        (local.hold_map, there.hold_map),
    ]
    return {target: source.read_bytes() for source, target in pairs if source.exists()}


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
