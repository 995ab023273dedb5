"""Credentials: from the file, from helpers, and from nowhere."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fairlead.docker_api.images import pinned, repository_of
from fairlead.docker_api.registry import HUB, registry_auth, registry_of
from fairlead.errors import StartFailedError


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("postgres", HUB),
        ("library/postgres:16", HUB),
        ("docker.io/acme/api", HUB),
        ("ghcr.io/acme/api:v1", "ghcr.io"),
        ("localhost/api", "localhost"),
        ("box:5000/api@sha256:00", "box:5000"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def environ(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(config))
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def decoded(auth: str | None) -> dict[str, Any]:
    assert auth is not None
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(auth))
    return value


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_a_login_in_the_file(tmp_path: Path) -> None:
    login = base64.b64encode(b"me:pass:word").decode()
    given = environ(tmp_path, {"auths": {"ghcr.io": {"auth": login}, HUB: {"identitytoken": "tok"}}})
    found = decoded(await registry_auth("ghcr.io/acme/api", given))
    assert (found["username"], found["password"], found["serveraddress"]) == ("me", "pass:word", "ghcr.io")
    assert decoded(await registry_auth("acme/api", given))["identitytoken"] == "tok"
    assert await registry_auth("quay.io/acme/api", given) is None


async def test_a_helper_of_one_registry_and_the_store_of_all(tmp_path: Path) -> None:
    helper(tmp_path, "one", 'read host; echo "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"s\\"}"')
    helper(tmp_path, "all", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"tok\\"}"')
    given = environ(tmp_path, {"credsStore": "all", "credHelpers": {"ghcr.io": "one"}})
    assert decoded(await registry_auth("ghcr.io/x", given))["username"] == "ghcr.io"
    assert decoded(await registry_auth("quay.io/x", given))["identitytoken"] == "tok"


async def test_a_helper_that_knows_nothing_and_one_that_is_missing(tmp_path: Path) -> None:
    helper(tmp_path, "none", "echo credentials not found in native keychain; exit 1")
    assert await registry_auth("x", environ(tmp_path, {"credsStore": "none"})) is None
    with pytest.raises(StartFailedError, match="docker-credential-absent"):
        await registry_auth("x", environ(tmp_path, {"credsStore": "absent"}))


def test_no_configuration_is_no_login(tmp_path: Path) -> None:
    assert repository_of("box:5000/a/b:tag@sha256:0") == "box:5000/a/b"
    assert repository_of("postgres") == "postgres"


def test_a_pin_is_a_digest_of_the_same_repository() -> None:
    detail = {"Id": "sha256:id", "RepoDigests": ["other@sha256:1", "ghcr.io/acme/api@sha256:2"]}
    assert pinned("ghcr.io/acme/api:v1", detail) == "ghcr.io/acme/api@sha256:2"
    assert pinned("acme", detail) == "sha256:id"
    assert pinned("acme@sha256:9", detail) == "acme@sha256:9"
