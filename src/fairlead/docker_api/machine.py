"""Whether a daemon runs on this very machine, whatever way leads to it.

Used by the engine, which refuses one that does not, and by the router, which brings this machine's HAProxy along.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from fairlead.docker_api.client import Client
from fairlead.docker_api.endpoint import Endpoint
from fairlead.errors import RefusedError


def is_this_machine(endpoint: Endpoint, info: Mapping[str, Any]) -> bool:
    """``info``: what the daemon answers to `/info`. A local socket may lead into a VM, which has another kernel."""
    if info.get("KernelVersion") != platform.release():
        return False
    return endpoint.socket is not None or info.get("Name") == platform.node()


async def refuse_another(client: Client) -> None:
    """:raises RefusedError: the daemon was reached over the network, and is on another machine."""
    if client.endpoint.socket is not None:
        return
    info = await client.get("/info")
    if not is_this_machine(client.endpoint, info):
        raise RefusedError(
            f"the Docker daemon at {client.endpoint.url} runs on {info.get('Name')}, not on this machine:"
            " replicas are probed and the router is driven over that machine's own addresses",
            hint="run `fairlead` there, for example `ssh HOST fairlead up`",
        )
