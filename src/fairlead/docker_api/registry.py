"""Credentials for a registry, from where `docker login` has put them.

Called by `images` before a pull. A credential helper is a program that answers on its standard output; nothing it
says is kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from fairlead.docker_api.endpoint import docker_config
from fairlead.errors import StartFailedError

HUB = "https://index.docker.io/v1/"
HELPER_TIMEOUT_S = 30.0
_TOKEN_USER = "<token>"  # noqa: S105  (what a helper writes for a user name beside an identity token)


def registry_of(image: str) -> str:
    """The registry that ``image`` comes from, under the name that Docker's configuration uses for it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return HUB if first in ("docker.io", "index.docker.io") else first
    return HUB


async def registry_auth(image: str, environ: Mapping[str, str]) -> str | None:
    """The value of `X-Registry-Auth` for ``image``; None where nobody has logged in."""
    config, registry = docker_config(environ), registry_of(image)
    helper = (config.get("credHelpers") or {}).get(registry) or config.get("credsStore")
    auth = await _from_helper(str(helper), registry, environ) if helper else None
    auth = auth or _from_file(config.get("auths") or {}, registry)
    if auth is None:
        return None
    return base64.urlsafe_b64encode(json.dumps({**auth, "serveraddress": registry}).encode()).decode()


def _from_file(auths: Mapping[str, Any], registry: str) -> dict[str, str] | None:
    entry = auths.get(registry) or auths.get(f"https://{registry}") or auths.get(f"https://{registry}/v1/")
    if not entry:
        return None
    if entry.get("identitytoken"):
        return {"identitytoken": str(entry["identitytoken"])}
    if not entry.get("auth"):
        return None
    user, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return {"username": user, "password": password.rstrip("\0")}


async def _from_helper(helper: str, registry: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    program = f"docker-credential-{helper}"
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environ),
        )
    except OSError as error:
        raise StartFailedError(
            f"{program} cannot be run, and Docker's configuration asks for it: {error.strerror}",
            hint=f"install {program}, or remove it from `credsStore` and `credHelpers`",
        ) from error
    try:
        async with asyncio.timeout(HELPER_TIMEOUT_S):
            output, _ = await process.communicate(registry.encode())
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise StartFailedError(f"{program} gave no answer in {HELPER_TIMEOUT_S:g} s") from error
    if process.returncode != 0:
        return None
    answer = json.loads(output)
    if answer.get("Username") == _TOKEN_USER:
        return {"identitytoken": str(answer["Secret"])}
    return {"username": str(answer["Username"]), "password": str(answer["Secret"])}
