"""The image that HAProxy's containers are made of: the one that was named, else this machine's own HAProxy.

Used by `container` for the routers, and by `elsewhere` for the relay, which is a HAProxy too.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping

from fairlead.docker_api import images
from fairlead.docker_api.client import Client
from fairlead.docker_api.machine import runs_programs_of_ours
from fairlead.errors import RouterError
from fairlead.routers.haproxy import rootfs
from fairlead.routers.haproxy.binary import find_binary

DEFAULT_IMAGE = "haproxy:3.0"
REPOSITORY = "fairlead/haproxy"


class RouterImage:
    """``image``: what somebody named. ``binary``: the HAProxy of this machine that is meant, None: the one found."""

    def __init__(self, client: Client, *, image: str | None, binary: str | None, environ: Mapping[str, str]) -> None:
        self._client = client
        self._image = image
        self._binary = binary
        self._environ = environ

    async def ready(self) -> tuple[str, list[str]]:
        """An image that is on the daemon, and how HAProxy is called in it."""
        if self._image is None:
            info = await self._client.get("/info")
            if runs_programs_of_ours(self._client.endpoint, info):
                return await self._own()
        image = self._image or DEFAULT_IMAGE
        await images.ensure(
            self._client, image, policy=None, platform=None, environ=self._environ, report=lambda _: None
        )
        return image, ["haproxy"]

    def _binary_here(self) -> str:
        return os.path.realpath(find_binary(self._binary))

    async def _own(self) -> tuple[str, list[str]]:
        binary = await asyncio.to_thread(self._binary_here)
        libraries = await rootfs.libraries_of(binary)
        mark = await asyncio.to_thread(rootfs.fingerprint, binary, libraries)
        if await images.inspect(self._client, f"{REPOSITORY}:{mark}") is None:
            content = await asyncio.to_thread(rootfs.archive, binary, libraries)
            await self._import(content, mark)
        return f"{REPOSITORY}:{mark}", [binary]

    async def _import(self, content: bytes, tag: str) -> None:
        headers = {"Content-Type": "application/x-tar"}
        async with self._client.stream(
            "POST", "/images/create", data=io.BytesIO(content), headers=headers, fromSrc="-", repo=REPOSITORY, tag=tag
        ) as response:
            answer = (await response.read()).decode(errors="replace")
        if '"error"' in answer:
            raise RouterError(f"the daemon does not take HAProxy's image: {answer.strip()[-300:]}")
