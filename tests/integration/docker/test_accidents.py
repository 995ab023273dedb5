"""What happens to replicas that nobody here asked for: each is seen, told apart and survived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fairlead.engines.base import EngineEvent, EngineEventKind
from fairlead.observed import ExitCause, ReplicaState
from fairlead.spec.model import Deploy, Resources, Service
from tests.docker_world import BUSYBOX
from tests.integration.docker.conftest import DEADLINE_S, World, eventually

pytestmark = pytest.mark.docker

SLEEPER = Service(name="app", image=BUSYBOX, command=("sleep", "1000"), init=True)


async def event_of(events: AsyncIterator[EngineEvent], kind: EngineEventKind, replica_id: str) -> EngineEvent:
    async with asyncio.timeout(DEADLINE_S):
        async for event in events:
            if event.kind is kind and event.replica_id == replica_id:
                return event
    raise AssertionError(f"no event {kind}")


async def test_out_of_memory_is_told_from_other_deaths(world: World) -> None:
    eater = replace(
        SLEEPER,
        command=("sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done"),
        init=False,
        deploy=Deploy(limits=Resources(memory_bytes=16 << 20)),
        extra={"memswap_limit": 16 << 20},
    )
    events = world.engine.events()
    spec = await world.started(world.project(eater), "app")
    event = await event_of(events, EngineEventKind.EXITED, spec.id)
    assert event.exit is not None
    assert event.exit.cause is ExitCause.OOM
    seen = (await world.one(spec)).exit
    assert seen is not None
    assert seen.cause is ExitCause.OOM


async def test_a_container_that_somebody_removed_is_gone_and_pushed(world: World) -> None:
    events = world.engine.events()
    spec = await world.started(world.project(SLEEPER), "app")
    native = (await world.one(spec)).native_id
    await world.engine.client.delete(f"/containers/{native}", force=True)
    await event_of(events, EngineEventKind.EXITED, spec.id)
    assert await world.engine.observe(world.name) == ()
    await world.engine.start(replace(spec, id=f"{world.name}.app.2"))
    assert [each.id for each in await world.engine.observe(world.name)] == [f"{world.name}.app.2"]


async def test_a_network_that_somebody_removed_is_made_again(world: World) -> None:
    project = world.project(SLEEPER)
    spec = await world.started(project, "app")
    native = (await world.one(spec)).native_id
    network = f"{world.name}_default"
    await world.engine.client.post(f"/networks/{network}/disconnect", {"Container": native, "Force": True})

    async def has_no_address() -> bool:
        detail = await world.engine.client.get(f"/containers/{native}/json")
        return not detail["NetworkSettings"]["Networks"]

    await eventually(has_no_address, "the replica has lost its network")
    await world.engine.client.delete(f"/networks/{network}")
    second = await world.started(project, "app", 2)
    detail = await world.inspect(second)
    assert list(detail["NetworkSettings"]["Networks"]) == [network]


async def test_a_lost_address_is_seen_at_the_next_look(world: World) -> None:
    service = replace(SLEEPER, expose=("8000",))
    spec = await world.started(world.project(service), "app")
    before = await world.one(spec)
    assert list(before.addresses) == [8000]
    network = f"{world.name}_default"
    body = {"Container": before.native_id, "Force": True}
    await world.engine.client.post(f"/networks/{network}/disconnect", body)

    async def is_lost() -> bool:
        return not (await world.one(spec)).addresses

    await eventually(is_lost, "no address is reported")


async def test_an_interrupted_start_is_made_again(world: World) -> None:
    spec = world.replica(world.project(SLEEPER), "app")
    await world.engine.start(spec)
    detail = await world.inspect(spec)
    await world.engine.stop(spec.id, 0.0)
    await world.engine.remove(spec.id)
    body = {"Image": BUSYBOX, "Labels": detail["Config"]["Labels"], "Cmd": ["false"]}
    leftover = await world.engine.client.post("/containers/create", body, name=spec.id)
    assert (await world.one(spec)).state is ReplicaState.CREATED
    await world.engine.start(spec)
    seen = await world.one(spec)
    assert seen.state is ReplicaState.RUNNING
    assert seen.native_id != leftover["Id"]


async def test_strangers_are_never_touched(world: World) -> None:
    """A one-off container of Compose with the same project, service and name, and one of another Fairlead home."""
    client, spec = world.engine.client, world.replica(world.project(SLEEPER), "app")
    labels = {"com.docker.compose.project": world.name, "com.docker.compose.service": "app"}
    labels["com.docker.compose.oneoff"] = "True"
    other_home = {
        "fairlead.replica": spec.id,
        "fairlead.project": world.name,
        "fairlead.service": "app",
        "fairlead.revision": "app@0",
        "fairlead.slot": "1",
        "fairlead.generation": "0",
        "fairlead.scope": "another",
    }
    ids = []
    for name, given in ((spec.id, labels), (f"{spec.id}x", other_home)):
        made = await client.post(
            "/containers/create", {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "Labels": given}, name=name
        )
        ids.append(str(made["Id"]))
        await client.post(f"/containers/{made['Id']}/start")
    try:
        assert await world.engine.observe(world.name) == ()
        assert world.name not in await world.engine.projects()
        await world.engine.start(spec)
        (ours,) = await world.engine.observe(world.name)
        assert ours.native_id not in ids
        await world.engine.signal(spec.id, "SIGKILL")
        await world.engine.stop(spec.id, 0.0)
        await world.engine.remove(spec.id)
        await world.engine.cleanup(world.name, volumes=True)
        for container_id in ids:
            assert (await client.get(f"/containers/{container_id}/json"))["State"]["Running"]
    finally:
        for container_id in ids:
            await client.delete(f"/containers/{container_id}", force=True)


async def test_a_replica_taken_off_its_networks_is_put_back_at_once(world: World) -> None:
    networks = {"front": {}, "back": {"aliases": ["store"]}}
    service = replace(SLEEPER, networks=networks, labels={"fairlead.names": "direct"})
    project = world.project(service, networks={"front": {}, "back": {"internal": True}})
    events = world.engine.events()
    spec = await world.started(project, "app")
    await event_of(events, EngineEventKind.STARTED, spec.id)
    native = (await world.one(spec)).native_id
    names = {f"{world.name}_front", f"{world.name}_back"}
    for network in sorted(names):
        body = {"Container": native, "Force": True}
        await world.engine.client.post(f"/networks/{network}/disconnect", body)

    async def is_back() -> bool:
        now = (await world.inspect(spec))["NetworkSettings"]["Networks"]
        return set(now) == names and "store" in now[f"{world.name}_back"]["Aliases"]

    await eventually(is_back, "both networks, with their names")
