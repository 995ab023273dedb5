"""A store that was lost: replicas are found again on their containers, whole, and nothing secret is on a label."""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from collections.abc import Iterator

import pytest

from fairlead.engines.docker.labels import DEFINITION
from fairlead.engines.docker.recall import written_down
from fairlead.spec.model import Build, FileReference, Hook, Logging, Mount, Service
from fairlead.spec.revision import revision_of
from tests.docker_world import BUSYBOX
from tests.e2e.load import EVERYTHING, Load, shown
from tests.e2e.sandbox import Sandbox
from tests.integration.docker.conftest import World
from tests.integration.docker.live import docker_sandbox, web

pytestmark = pytest.mark.docker


async def test_a_replica_is_recalled_whole_without_a_secret_on_a_label(world: World) -> None:
    secrets = ("pass=word\nwith lines", "inline-secret", "inline-config", "tmpfs-option", "logging-option")
    service = Service(
        name="app",
        image=BUSYBOX,
        command=("sleep", "1000"),
        init=True,
        environment={"PASSWORD": secrets[0], "EMPTY": ""},
        secrets=(FileReference(source="token", target="nested/token", mode=0o400),),
        configs=(FileReference(source="settings", target="/etc/settings.json"),),
        volumes=(Mount(type="volume", source="data", target="/data"),),
        logging=Logging(driver="json-file", options={"tag": secrets[4]}),
        pre_stop=(Hook(command=("true",)),),
        extra={"cap_drop": ["ALL"]},
    )
    project = world.project(
        service,
        secrets={"token": {"content": secrets[1]}},
        configs={"settings": {"content": secrets[2]}},
        volumes={"data": {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,nr_inodes=99"}}},
    )
    specs = tuple([await world.started(project, "app", number) for number in (1, 2)])
    assert await world.engine.recall(world.name) == specs
    labels = (await world.inspect(specs[0]))["Config"]["Labels"]
    told = json.dumps(labels) + written_down_text(labels[DEFINITION])
    assert not [each for each in (*secrets, "nr_inodes") if each in told]
    await world.engine.stop(specs[0].id, 0.0)
    assert await world.engine.recall(world.name) == specs, "an ended one carries it as well"


def written_down_text(label: str) -> str:
    return zlib.decompress(base64.b64decode(label)).decode()


def test_arguments_of_a_build_are_not_written_down(world: World) -> None:
    service = Service(name="app", image=BUSYBOX, build=Build(context="/", args={"TOKEN": "hidden"}))
    assert "hidden" not in written_down_text(written_down(revision_of(world.project(service), service)))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with docker_sandbox() as made:
        yield made


@pytest.mark.slow
def test_a_lost_store_is_no_outage(sandbox: Sandbox) -> None:
    """And nobody says a second time which engine it was."""
    del sandbox.environment["FAIRLEAD_ENGINE"]
    project, port = f"fl{uuid.uuid4().hex[:10]}", sandbox.port()
    file = sandbox.write({"api": web(replicas=2, ports=[f"127.0.0.1:{port}:8000"])})
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", project, "--engine", "docker")
    before = {row["id"]: row["native_id"] for row in sandbox.replicas(project, state="ready")}
    with Load(f"http://127.0.0.1:{port}", *EVERYTHING) as load:
        sandbox.kill_controller()
        for lost in sandbox.home.glob("state.db*"):
            lost.unlink()

        def are_back() -> bool:
            return {row["id"]: row["native_id"] for row in sandbox.replicas(project, state="ready")} == before

        sandbox.wait_for(lambda: project in {each["name"] for each in sandbox.json("status", "--all")}, "the project")
        sandbox.wait_for(are_back, "the same replicas, ready")
        (operation,) = sandbox.json("plan", "-f", str(file), "-p", project)["operations"]
        assert operation["action"] == "keep"
        sandbox.fairlead("deploy", "api", "--env", "VERSION=v2", "-p", project)
        load.wait_until_flowing(50)
    assert load.report["failed"] == 0, shown(load.report)
    assert sorted(load.report["versions"]) == ["v1", "v2"]
