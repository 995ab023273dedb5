"""Images: found, pulled when the policy says so, and pinned to their content.

Called by `project` before a release and by `start` when an image has gone. A pinned image is what makes a
revision content-addressed: a tag that moves is a new revision, and a rollback gets the old content back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fairlead.docker_api.client import ApiError, Client, Report
from fairlead.docker_api.registry import registry_auth
from fairlead.errors import StartFailedError

ALWAYS = ("always", "daily", "weekly")
NEVER = "never"


async def inspect(client: Client, image: str) -> dict[str, Any] | None:
    """What the daemon knows of ``image``, None where it has none."""
    try:
        found: dict[str, Any] = await client.get(f"/images/{image}/json")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found


def pinned(image: str, detail: Mapping[str, Any]) -> str:
    """The name of exactly this content: a digest of the same repository where there is one, else the image's id."""
    if "@sha256:" in image or image.startswith("sha256:"):
        return image
    repository = repository_of(image)
    digests = sorted(str(digest) for digest in detail.get("RepoDigests") or ())
    return next((digest for digest in digests if digest.partition("@")[0] == repository), str(detail["Id"]))


def repository_of(image: str) -> str:
    """``image`` without its tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


async def ensure(
    client: Client, image: str, *, policy: str | None, platform: str | None, environ: Mapping[str, str], report: Report
) -> dict[str, Any]:
    """``image`` as the daemon has it, after pulling it where ``policy`` asks for that."""
    found = await inspect(client, image)
    if found is not None and (policy not in ALWAYS or image.startswith("sha256:")):
        return found
    if policy == NEVER or image.startswith("sha256:"):
        raise StartFailedError(
            f"the image {image!r} is not on this daemon" + (", and pull_policy is never" if policy == NEVER else ""),
            hint="build or load it first",
        )
    try:
        await _pull(client, image, platform, environ, report)
    except StartFailedError:
        if found is None:
            raise
        report(f"{image}: cannot be pulled, going on with the one that is here")
    found = await inspect(client, image)
    if found is None:
        raise StartFailedError(f"the image {image!r} was pulled and is not there")
    return found


async def _pull(client: Client, image: str, platform: str | None, environ: Mapping[str, str], report: Report) -> None:
    auth = await registry_auth(image, environ)
    headers = {"X-Registry-Auth": auth} if auth else {}
    name, tag = _split(image)
    report(f"{image}: pulling")
    try:
        async with client.stream(
            "POST", "/images/create", headers=headers, fromImage=name, tag=tag, platform=platform
        ) as response:
            async for line in response.content:
                _check(image, json.loads(line), report)
    except ApiError as error:
        raise StartFailedError(
            f"the image {image!r} cannot be pulled: {error.message}", hint=_hint(error.message)
        ) from error


def _split(image: str) -> tuple[str, str | None]:
    """Name and tag as the API wants them; a digest travels as the tag."""
    name, at, digest = image.partition("@")
    if at:
        return repository_of(name), digest
    repository = repository_of(name)
    return repository, name[len(repository) + 1 :] or "latest"


def _check(image: str, message: Mapping[str, Any], report: Report) -> None:
    if error := message.get("error"):
        raise StartFailedError(f"the image {image!r} cannot be pulled: {error}", hint=_hint(str(error)))
    status = str(message.get("status") or "")
    if status and not message.get("progressDetail"):
        report(f"{image}: {status}" + (f" {message['id']}" if message.get("id") else ""))


def _hint(message: str) -> str:
    text = message.lower()
    if "unauthorized" in text or "denied" in text or "authentication" in text:
        return "log in with `docker login`, or check the name"
    if "manifest unknown" in text or "not found" in text:
        return "check the name and the tag"
    return "is the registry reachable from the Docker daemon?"
