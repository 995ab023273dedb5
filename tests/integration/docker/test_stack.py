"""A whole shop on Docker: web × 4, PostgreSQL, Redis, a worker, and a migration that must complete first."""

from __future__ import annotations

import json
import shutil
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.load import Load, shown
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.live import docker, docker_sandbox

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]

STACK = Path(__file__).parent / "stack"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with docker_sandbox() as made:
        yield made


def totals(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/totals", timeout=30) as answer:
        found: dict[str, int] = json.load(answer)
    return found


def test_the_shop_is_released_while_it_sells(sandbox: Sandbox) -> None:
    folder = sandbox.directory / "shop"
    shutil.copytree(STACK, folder)
    project, port = f"fl{uuid.uuid4().hex[:10]}", sandbox.port()
    url = f"http://127.0.0.1:{port}"

    def up(version: str) -> None:
        (folder / ".env").write_text(f"VERSION={version}\nWEB_PORT={port}\n")
        sandbox.fairlead("up", "-d", "-f", str(folder / "compose.yaml"), "-p", project, timeout_s=240)

    def native(service: str) -> set[str]:
        rows = sandbox.replicas(project)
        return {row["native_id"] for row in rows if row["service"] == service and row["state"] == "ready"}

    up("v1")
    (database,) = native("db")
    (cache,) = native("cache")
    assert docker("exec", database, "cat", "/run/secrets/db_password") == "correct horse battery staple"
    with Load(url, "--rate=40", "--app=any", "--contains=order") as load:
        up("v2")
        load.wait_until_flowing(100)
    assert load.report["failed"] == 0, shown(load.report)
    assert native("db") == {database}, "the database was not touched"
    assert native("cache") == {cache}
    found = totals(url)
    assert found["ordered"] >= load.report["ok"], "every order that was confirmed is there"
    assert found["versions"] == 2
    sandbox.wait_for(lambda: totals(url)["shipped"] == totals(url)["ordered"], "the worker to ship everything")

    before = totals(url)["ordered"]
    sandbox.fairlead("down", "-p", project)
    assert docker("volume", "ls", "-q", "--filter", f"name={project}_data") == f"{project}_data"
    up("v2")
    assert totals(url)["ordered"] == before, "the data is there after down and up"
