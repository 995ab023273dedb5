"""Building an image through the API: with BuildKit where the daemon prefers it, else with the classic builder.

Called by `project`. The context is sent as a tar; progress comes back line by line.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import IO, Any

from fairlead.docker_api import context as contexts
from fairlead.docker_api.client import ApiError, Client, Report
from fairlead.docker_api.trace import Trace
from fairlead.docker_api.units import size_bytes
from fairlead.errors import StartFailedError
from fairlead.spec.model import Build

CHUNK_BYTES = 64 * 1024
NEEDS_SESSION = ("ssh", "secrets", "additional_contexts", "entitlements", "privileged", "cache_to")
"""Keys of `build` that need a BuildKit client on this side of the connection."""


async def build_image(
    client: Client,
    name: str,
    build: Build,
    *,
    tag: str,
    platform: str | None,
    environ: Mapping[str, str],
    report: Report,
) -> str:
    """Build ``build`` for the service ``name``, call it ``tag``; the image's id.

    `DOCKER_BUILDKIT` (0 or 1) in ``environ`` chooses the builder, as for the `docker` command.
    """
    _refuse_what_needs_a_session(name, build)
    chosen = environ.get("DOCKER_BUILDKIT")
    buildkit = chosen != "0" if chosen else (await client.ping()).get("Builder-Version") == "2"
    remote = build.context if "://" in build.context or build.context.startswith("git@") else None
    packed = None if remote else await asyncio.to_thread(contexts.packed, build)
    params = _params(build, tag, platform) | {"version": "2" if buildkit else "1"}
    params |= {"remote": remote, "dockerfile": packed.dockerfile if packed else build.dockerfile}
    report(f"{name}: building {tag}")
    try:
        async with client.stream(
            "POST",
            "/build",
            data=None if packed is None else _chunks(packed.file),
            headers={"Content-Type": "application/x-tar"},
            **params,
        ) as response:
            image_id = await _follow(name, _messages(response.content.iter_any()), report)
    except ApiError as error:
        raise StartFailedError(f"{name} cannot be built: {error.message}") from error
    finally:
        if packed is not None:
            packed.file.close()
    return image_id or str((await client.get(f"/images/{tag}/json"))["Id"])


def _refuse_what_needs_a_session(name: str, build: Build) -> None:
    used = [key for key in NEEDS_SESSION if build.extra.get(key) or getattr(build, key, None)]
    used = [key for key in used if key != "cache_to"]
    if used:
        raise StartFailedError(
            f"{name}: `build.{used[0]}` cannot be done through the daemon's API",
            hint="build the image with `docker buildx build` and name it with `image`",
        )


def _params(build: Build, tag: str, platform: str | None) -> dict[str, Any]:
    arguments = {key: value for key, value in build.args.items() if value is not None}
    platforms = build.platforms or ((platform,) if platform else ())
    params: dict[str, Any] = {
        "t": tag,
        "rm": True,
        "forcerm": True,
        "buildargs": dict(sorted(arguments.items())),
        "labels": dict(sorted(build.labels.items())),
        "target": build.target,
        "cachefrom": list(build.cache_from) or None,
        "networkmode": build.network,
        "nocache": build.no_cache or None,
        "pull": build.pull or None,
        "shmsize": build.shm_size_bytes,
        "platform": platforms[0] if len(platforms) == 1 else None,
    }
    if hosts := build.extra.get("extra_hosts"):
        pairs = hosts.items() if isinstance(hosts, Mapping) else (str(entry).partition("=")[::2] for entry in hosts)
        params["extrahosts"] = ",".join(f"{key}:{value}" for key, value in pairs)
    if limits := build.extra.get("ulimits"):
        params["ulimits"] = [_ulimit(name, value) for name, value in sorted(limits.items())]
    if build.extra.get("mem_limit"):
        params["memory"] = size_bytes(build.extra["mem_limit"])
    return params


def _ulimit(name: str, value: Any) -> dict[str, Any]:
    limit = value if isinstance(value, Mapping) else {"soft": value, "hard": value}
    return {"Name": name, "Soft": int(limit["soft"]), "Hard": int(limit["hard"])}


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk


async def _messages(chunks: AsyncIterator[bytes]) -> AsyncIterator[Mapping[str, Any]]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)


async def _follow(name: str, messages: AsyncIterator[Mapping[str, Any]], report: Report) -> str | None:
    image_id, trace = None, Trace()
    async for message in messages:
        if error := message.get("error"):
            raise StartFailedError(f"{name} cannot be built: {error}{trace.tail()}")
        for line in _progress(message, trace):
            report(f"{name}: {line}")
        aux = message.get("aux")
        if isinstance(aux, Mapping) and aux.get("ID"):
            image_id = str(aux["ID"])
    return image_id


def _progress(message: Mapping[str, Any], trace: Trace) -> Iterator[str]:
    if message.get("id") == "moby.buildkit.trace":
        yield from trace.lines(base64.b64decode(str(message["aux"])))
    elif text := str(message.get("stream") or "").strip():
        trace.remember(text)
        yield from text.splitlines()
