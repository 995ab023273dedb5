"""A controller that is killed, a keeper that is killed, a guard that is killed, a machine that was restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fairlead.engines.process import ProcessEngine
from fairlead.engines.process.launching import launch_fields
from fairlead.engines.process.procfs import boot_id, read_stat
from fairlead.engines.process.rundir import ProcessRecord, RunDirectory
from fairlead.observed import Exit, ExitCause, ReplicaState
from tests.contract.engines.harness import DEADLINE_S, eventually, processes_of
from tests.integration.process_engine.world import (
    World,
    alive,
    ended,
    is_gone,
    keeper_of,
    lines,
    one,
    own_session,
    pid_of,
    says,
    start_in_a_controller,
)


async def test_replicas_outlive_a_killed_controller(world: World) -> None:
    specs = [world.spec(number) for number in (1, 2, 3)]
    start_in_a_controller(world.home, specs, die_at="started")
    engine = await world.open()
    for spec in specs:
        seen = await one(engine, spec)
        assert seen.state is ReplicaState.RUNNING
        assert own_session(int(seen.native_id))
        await engine.start(spec)
        assert await one(engine, spec) == seen


async def test_how_an_orphan_ended_is_known_exactly(world: World) -> None:
    go = world.directory / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.02; done;"
    scripts = {1: f"{wait} exit 42", 2: f"{wait} kill -KILL $$", 3: f"{wait} exit 137", 4: f"{wait} exit 0"}
    specs = [world.sh(script, number) for number, script in scripts.items()]
    start_in_a_controller(world.home, specs, die_at="started")
    go.touch()
    records = [world.run_directory(spec) / "process.json" for spec in specs]
    pids = [msgspec.json.decode(path.read_bytes(), type=ProcessRecord).pid for path in records]
    await eventually(lambda: alive(pids) == [], "all have ended while no controller runs")
    engine = await world.open()
    exits = [await ended(engine, spec) for spec in specs]
    assert [(found.cause, found.code) for found in exits] == [
        (ExitCause.EXITED, 42),
        (ExitCause.KILLED, -9),
        (ExitCause.EXITED, 137),
        (ExitCause.EXITED, 0),
    ]


@pytest.mark.parametrize("point", ["intent", "asked", "started"])
async def test_a_start_that_was_cut_short_is_finished_once(world: World, point: str) -> None:
    starts = world.directory / "starts"
    spec = world.sh(f"echo $$ >> {starts}; exec sleep 1000")
    start_in_a_controller(world.home, [spec], die_at=point)
    engine = await world.open()
    seen = await one(engine, spec)
    assert seen.state in (ReplicaState.CREATED, ReplicaState.RUNNING)
    await asyncio.gather(engine.start(spec), engine.start(spec))
    again = await one(engine, spec)
    assert again.state is ReplicaState.RUNNING
    assert again.addresses == seen.addresses
    await eventually(lambda: starts.exists() and bool(starts.read_text()), "it has begun")
    await engine.stop(spec.id, DEADLINE_S)
    assert starts.read_text().split() == [again.native_id]


async def test_whoever_comes_second_ends_without_a_command(world: World, engine: ProcessEngine) -> None:
    """The record is a link, which cannot be made twice; the second launch leaves nothing, not even its guard."""
    spec = world.spec()
    await engine.start(spec)
    pid = await pid_of(engine, spec)
    directory = RunDirectory(world.run_directory(spec))
    record = directory.process
    assert record is not None
    answer = await engine._keeper.request("launch", **launch_fields(directory))
    assert answer["stage"] == "record"
    assert await pid_of(engine, spec) == pid
    await eventually(lambda: processes_of(world.home) == sorted([pid, record.guard]), "only the first is left")


async def test_a_killed_keeper_costs_nothing(world: World, engine: ProcessEngine) -> None:
    go = world.directory / "go"
    spec = world.sh(f"echo before; while [ ! -e {go} ]; do sleep 0.02; done; echo after; exec sleep 1000")
    await engine.start(spec)
    await says(engine, spec, "before")
    first = await keeper_of(world.home)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: is_gone(first), "the keeper is gone")
    go.touch()

    async def is_back() -> bool:
        return (await one(engine, spec)).state is ReplicaState.RUNNING and "after" in await lines(engine, spec)

    await eventually(is_back, "another keeper has taken the log up")
    assert await lines(engine, spec) == ["before", "after"]
    assert await keeper_of(world.home) != first
    other = world.spec(2)
    await engine.start(other)
    assert (await one(engine, other)).state is ReplicaState.RUNNING


async def test_a_killed_guard_makes_the_status_unknown_and_no_more(world: World, engine: ProcessEngine) -> None:
    spec = world.spec()
    await engine.start(spec)
    record = msgspec.json.decode((world.run_directory(spec) / "process.json").read_bytes(), type=ProcessRecord)
    os.kill(record.guard, signal.SIGKILL)
    await eventually(lambda: is_gone(record.guard), "the guard is gone")
    assert (await one(engine, spec)).state is ReplicaState.RUNNING
    await engine.stop(spec.id, DEADLINE_S)
    found = await ended(engine, spec)
    assert found.cause in (ExitCause.GONE, ExitCause.EXITED)
    assert is_gone(record.pid)


@asynccontextmanager
async def stranger() -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process of somebody else, which must never be taken for a replica."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def forge(world: World, path: Path, pid: int, **changes: object) -> None:
    """Write a record as if the replica had been process ``pid``."""
    stat = read_stat(pid)
    assert stat is not None
    record = {"pid": pid, "start_ticks": stat.start_ticks, "boot_id": boot_id(), "guard": pid, "started_at_s": 1.0}
    (path / "process.json").write_bytes(msgspec.json.encode(record | {"guard_start_ticks": 0} | changes))


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"start_ticks": 1}, "its guard was killed, so how it ended is unknown"),
        ({"boot_id": "another"}, "this machine was started again"),
    ],
)
async def test_a_pid_that_is_somebody_elses_is_left_alone(
    world: World, changes: dict[str, object], detail: str
) -> None:
    spec = world.spec()
    start_in_a_controller(world.home, [spec], die_at="intent")
    async with stranger() as process:
        forge(world, world.run_directory(spec), process.pid, **changes)
        engine = await world.open()
        assert (await one(engine, spec)).exit == Exit(cause=ExitCause.GONE, detail=detail)
        await engine.signal(spec.id, "SIGKILL")
        await engine.stop(spec.id, 0.0)
        await engine.remove(spec.id)
        assert await engine.observe(spec.project) == ()
        assert process.poll() is None


async def test_what_a_loss_of_power_left_is_cleared_away(world: World) -> None:
    spec = world.spec()
    start_in_a_controller(world.home, [spec], die_at="intent")
    (world.run_directory(spec) / "launch.json").write_bytes(b"")
    engine = await world.open()
    assert await engine.observe(spec.project) == ()
    await engine.start(spec)
    assert (await one(engine, spec)).state is ReplicaState.RUNNING


async def test_two_engines_over_one_home_agree(world: World, engine: ProcessEngine) -> None:
    spec = world.spec()
    other = await world.open()
    await engine.start(spec)
    assert await one(other, spec) == await one(engine, spec)
    os.kill(await pid_of(engine, spec), signal.SIGKILL)
    assert await ended(engine, spec) == await ended(other, spec) == Exit(cause=ExitCause.KILLED, code=-9)
    await eventually(lambda: processes_of(world.home) == [], "its guard is gone too")
