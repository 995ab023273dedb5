"""Another machine, seen from here: its routers' files in a volume there, and a relay that stands among its replicas.

Made by `docker` where the daemon is not on this machine. The relay is a container that lives as long as its stream to
this controller. It carries what is asked of HAProxy's sockets, and probes; traffic never goes through it, so a relay
that ends costs nobody a request, and the next question starts another one.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import secrets
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.docker_api.scope import ROLE, SCOPE
from fairlead.errors import PortTakenError, RouterUnavailableError
from fairlead.routers.haproxy import relay_program
from fairlead.routers.haproxy.daemon_errors import in_our_words
from fairlead.routers.haproxy.files import Files
from fairlead.routers.haproxy.image import RouterImage
from fairlead.routers.haproxy.relay import Relay
from fairlead.routers.haproxy.way import Way
from fairlead.routing import Address, Listen

LOOK_TIMEOUT_S = 2.0
GONE_TIMEOUT_S = 20.0
SOCKET = "/relay/way.sock"
_ROLE = "relay"
_LOOK_AGAIN_S = 0.1


class Elsewhere:
    """The machine of ``client``'s daemon. Nothing happens there before :meth:`open`."""

    def __init__(self, client: Client, scope: str, image: RouterImage) -> None:
        self._client = client
        self._scope = scope
        self._image = image
        self._starting: asyncio.Task[Relay] | None = None
        self._relay: Relay | None = None
        self._container = ""
        self._deserted = False
        self.ipv6 = False

    @property
    def root(self) -> Path:
        """Where the volume is mounted, in every container of this home."""
        return Path("/fairlead", self._scope)

    @property
    def volume(self) -> str:
        return f"fairlead-routers-{self._scope}"

    def files(self, *names: str) -> Files:
        """The files of one HAProxy there."""
        folder = self.root.joinpath(*names)
        return Files(folder, folder / "run")

    # ── what is asked there ─────────────────────────────────────────────────────────────────────────────────

    def way(self, socket: Path) -> Way:
        return _Relayed(self, socket)

    async def reach(self, address: Address, request: bytes, timeout_s: float) -> bytes:
        """See :meth:`Relay.reach`.

        :raises RouterUnavailableError: there is no relay at this moment; one is being started.
        """
        if self._relay is None or self._relay.over:
            if not self._deserted:
                self._start_soon()
            raise RouterUnavailableError("the relay is being started")
        return await self._relay.reach(address, request, timeout_s)

    async def converse(self, socket: Path, command: str, timeout_s: float) -> bytes:
        """See :meth:`Way.converse`."""
        relay = await self._relay_now()
        return await relay.converse(socket, command, timeout_s)

    async def check_free(self, listen: Listen) -> None:
        """:raises PortTakenError: somebody answers there."""
        relay = await self.open()
        host = "127.0.0.1" if listen.host in (None, "0.0.0.0") else listen.host
        try:
            await relay.reach(Address(host=host, port=listen.port), b"", LOOK_TIMEOUT_S)
        except (OSError, TimeoutError):
            return
        raise PortTakenError(
            f"port {listen.port} of the daemon's machine is taken",
            hint=f"see who: sudo ss -ltnp 'sport = :{listen.port}' over there",
        )

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────────

    async def deliver(self, contents: Mapping[Path, bytes]) -> None:
        """Write these files there, their folders too."""
        await self.open()
        async with in_our_words():
            await self._put(self._container, contents)

    async def _put(self, container_id: str, contents: Mapping[Path, bytes]) -> None:
        tar = _archive({path.relative_to(self.root): content for path, content in contents.items()})
        await self._client.put(f"/containers/{container_id}/archive", tar, "application/x-tar", path=str(self.root))

    # ── the relay ───────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> Relay:
        """The relay that runs, started where none does.

        :raises RouterError: there is no image for it, or the daemon refuses.
        """
        self._deserted = False
        return await self._relay_now()

    async def _relay_now(self) -> Relay:
        """As :meth:`open`; but where everything was ended, nobody who only looks brings it back."""
        if self._deserted:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if self._relay is not None and not self._relay.over:
            return self._relay
        # Whoever asks first may give up early, and must not take the others' relay along.
        return await asyncio.shield(self._start_soon())

    def _start_soon(self) -> asyncio.Task[Relay]:
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._start(), name="start of the relay")
            self._starting.add_done_callback(_look_at)
        return self._starting

    async def _start(self) -> Relay:
        async with in_our_words():
            relay = self._relay = await self._started()
        return relay

    async def _started(self) -> Relay:
        await self._remove_relays()
        image, haproxy = await self._image.ready()
        await self._client.post("/volumes/create", {"Name": self.volume, "Labels": {SCOPE: self._scope}})
        home = self.root / _ROLE
        lua, config = home / "relay.lua", home / "relay.cfg"
        body = self._body(image, [*haproxy, "-db", "-f", str(config)])
        created = await self._client.post("/containers/create", body, name=self._name())
        self._container = str(created["Id"])
        program = {lua: relay_program.lua(SOCKET), config: relay_program.config(SOCKET, str(lua))}
        await self._put(self._container, {path: text.encode() for path, text in program.items()})
        relay = Relay(await self._client.attached(self._container))
        try:
            await self._client.post(f"/containers/{self._container}/start")
            await relay.greet()
        except BaseException:
            await relay.close()
            raise
        self.ipv6 = relay.ipv6
        return relay

    def _name(self) -> str:
        # Never that of one which is about to go.
        return f"fairlead-relay-{self._scope}-{secrets.token_hex(2)}"

    def _body(self, image: str, command: list[str]) -> dict[str, Any]:
        return {
            "Image": image,
            "Entrypoint": command[:1],
            "Cmd": command[1:],
            "User": "0:0",
            "WorkingDir": "/",
            "Labels": {SCOPE: self._scope, ROLE: _ROLE},
            "OpenStdin": True,
            "StdinOnce": True,
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": {
                "NetworkMode": "host",
                "UsernsMode": "host",
                "AutoRemove": True,
                "ReadonlyRootfs": True,
                "Binds": [f"{self.volume}:{self.root}"],
                "Tmpfs": {str(PurePosixPath(SOCKET).parent): "mode=0700"},
                "LogConfig": {"Type": "none", "Config": {}},
            },
        }

    async def _remove_relays(self) -> None:
        wanted = [f"{SCOPE}={self._scope}", f"{ROLE}={_ROLE}"]
        for found in await self._client.get("/containers/json", all=True, filters={"label": wanted}):
            with suppress(ApiError):
                await self._client.delete(f"/containers/{found['Id']}", force=True, v=True)

    async def close(self) -> None:
        """Let go of the relay, which ends with its stream. What it served goes on."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._relay is not None:
            relay, self._relay = self._relay, None
            await relay.close()

    async def end(self) -> None:
        """Leave nothing behind: no router runs there any more."""
        self._deserted = True
        await self.close()
        async with in_our_words():
            deadline = asyncio.get_running_loop().time() + GONE_TIMEOUT_S
            while self._deserted:
                await self._remove_relays()
                try:
                    await self._client.delete(f"/volumes/{self.volume}")
                    return
                except ApiError as error:
                    if error.status == 404:
                        return
                    # A container that is being removed still holds it.
                    if error.status != 409 or asyncio.get_running_loop().time() > deadline:
                        raise
                await asyncio.sleep(_LOOK_AGAIN_S)


class _Relayed(Way):
    def __init__(self, there: Elsewhere, socket: Path) -> None:
        self._there = there
        self._socket = socket

    def __str__(self) -> str:
        return f"the daemon's machine ({self._socket})"

    def may_lead_there(self) -> bool:
        return True

    async def converse(self, command: str, timeout_s: float) -> bytes:
        return await self._there.converse(self._socket, command, timeout_s)


def _look_at(task: asyncio.Task[Relay]) -> None:
    """Nobody need be left to hear why it failed."""
    if not task.cancelled():
        task.exception()


def _archive(contents: Mapping[Path, bytes]) -> bytes:
    buffer = io.BytesIO()
    folders = {PurePosixPath(folder) for path in contents for folder in path.parents} - {PurePosixPath(".")}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted(folders):
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for path, content in sorted(contents.items()):
            entry = tarfile.TarInfo(str(path))
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
