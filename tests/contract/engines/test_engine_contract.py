"""What every engine promises, whatever runs below it. See `harness` for how to add one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fairlead.engines.base import Engine, EngineEvent, EngineEventKind, LogLine
from fairlead.errors import EngineError, StartFailedError
from fairlead.observed import ExitCause, ObservedReplica, ReplicaSpec, ReplicaState
from tests.contract.engines.harness import DEADLINE_S, Doing, EngineHarness, eventually


async def one(engine: Engine, spec: ReplicaSpec) -> ObservedReplica:
    (found,) = [replica for replica in await engine.observe(spec.project) if replica.id == spec.id]
    return found


async def ended(engine: Engine, spec: ReplicaSpec) -> ObservedReplica:
    async def is_ended() -> bool:
        return (await one(engine, spec)).state is ReplicaState.EXITED

    await eventually(is_ended, f"{spec.id} has ended")
    return await one(engine, spec)


async def next_event(events: AsyncIterator[EngineEvent], kind: EngineEventKind) -> EngineEvent:
    async with asyncio.timeout(DEADLINE_S):
        async for event in events:
            if event.kind is kind:
                return event
    raise AssertionError(f"no event {kind}")


async def lines(engine: Engine, spec: ReplicaSpec, tail: int | None = None) -> list[str]:
    return [line.text async for line in engine.logs(spec.id, tail=tail)]


async def test_a_started_replica_is_observed_with_its_identity(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(3)
    await engine.start(spec)
    seen = await one(engine, spec)
    assert seen.state is ReplicaState.RUNNING
    assert (seen.project, seen.service, seen.slot, seen.generation) == (spec.project, "api", 3, 0)
    assert seen.revision_id == spec.revision.id
    assert list(seen.addresses) == [8000]
    assert seen.native_id
    assert seen.started_at_s is not None
    assert seen.exit is None


async def test_replicas_are_recalled_as_they_were_started(engine: Engine, harness: EngineHarness) -> None:
    specs = tuple(harness.replica(number) for number in (1, 2))
    for spec in (*specs, harness.replica(1, project="zebra")):
        await engine.start(spec)
    later = await harness.open()
    assert await later.recall(harness.project) == specs
    assert await later.recall("nothing") == ()


async def test_starting_twice_is_starting_once(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1)
    await engine.start(spec)
    first = await one(engine, spec)
    await engine.start(spec)
    assert await one(engine, spec) == first


async def test_starting_at_the_same_time_is_starting_once(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(lines=("once",)))
    await asyncio.gather(*(engine.start(spec) for _ in range(5)))
    assert len(await engine.observe(spec.project)) == 1

    async def has_spoken() -> bool:
        return bool(await lines(engine, spec))

    await eventually(has_spoken, "the replica has written its line")
    await engine.stop(spec.id, 0.0)
    assert await lines(engine, spec) == ["once"]


async def test_one_that_has_ended_is_not_started_again(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(exits=0))
    await engine.start(spec)
    first = await ended(engine, spec)
    await engine.start(spec)
    assert await one(engine, spec) == first


async def test_replicas_of_one_service_listen_apart(engine: Engine, harness: EngineHarness) -> None:
    specs = [harness.replica(number) for number in range(1, 5)]
    await asyncio.gather(*(engine.start(spec) for spec in specs))
    seen = await engine.observe(harness.project)
    assert [replica.id for replica in seen] == sorted(spec.id for spec in specs)
    assert len({replica.addresses[8000] for replica in seen}) == 4


async def test_an_exit_status_is_told_and_pushed(engine: Engine, harness: EngineHarness) -> None:
    events = engine.events()
    spec = harness.replica(1, Doing(exits=7))
    await engine.start(spec)
    event = await next_event(events, EngineEventKind.EXITED)
    seen = await ended(engine, spec)
    assert event.replica_id == spec.id
    assert seen.exit is not None
    assert event.exit == seen.exit
    assert (seen.exit.cause, seen.exit.code) == (ExitCause.EXITED, 7)


async def test_a_kill_from_outside_is_told_apart(engine: Engine, harness: EngineHarness) -> None:
    events = engine.events()
    spec = harness.replica(1)
    await engine.start(spec)
    await harness.kill_from_outside(engine, await one(engine, spec))
    event = await next_event(events, EngineEventKind.EXITED)
    assert event.exit is not None
    assert (event.exit.cause, event.exit.code) == (ExitCause.KILLED, -9)
    assert (await one(engine, spec)).exit == event.exit


async def test_every_consumer_gets_every_event(engine: Engine, harness: EngineHarness) -> None:
    consumers = [engine.events() for _ in range(3)]
    spec = harness.replica(1)
    await engine.start(spec)
    for consumer in consumers:
        assert (await next_event(consumer, EngineEventKind.STARTED)).replica_id == spec.id


async def test_events_end_when_the_engine_is_closed(engine: Engine, harness: EngineHarness) -> None:
    events = engine.events()
    await engine.close()
    async with asyncio.timeout(DEADLINE_S):
        assert [event async for event in events] == []


async def test_stop_returns_when_it_has_ended(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1)
    await engine.start(spec)
    await engine.stop(spec.id, DEADLINE_S)
    seen = await one(engine, spec)
    assert seen.state is ReplicaState.EXITED
    assert seen.exit is not None
    assert seen.exit.cause is ExitCause.EXITED
    await engine.stop(spec.id, DEADLINE_S)
    assert await one(engine, spec) == seen


async def test_one_that_will_not_stop_is_killed_after_its_grace(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(deaf=True, lines=("deaf",)))
    await engine.start(spec)

    async def is_deaf() -> bool:
        return bool(await lines(engine, spec))

    await eventually(is_deaf, "the replica ignores signals from here on")
    await engine.stop(spec.id, 0.2)
    seen = await one(engine, spec)
    assert seen.exit is not None
    assert (seen.exit.cause, seen.exit.code) == (ExitCause.EXITED, -9)


async def test_a_replica_that_does_not_exist_is_let_be(engine: Engine) -> None:
    await engine.stop("contract.api.99", 0.0)
    await engine.remove("contract.api.99")
    await engine.signal("contract.api.99", "SIGHUP")
    assert await engine.stats(["contract.api.99"]) == {}
    assert [line async for line in engine.logs("contract.api.99", follow=True)] == []
    assert await engine.observe("contract") == ()


async def test_remove_forgets_an_ended_replica(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(exits=0))
    await engine.start(spec)
    await ended(engine, spec)
    await engine.remove(spec.id)
    await engine.remove(spec.id)
    assert await engine.observe(spec.project) == ()
    assert await engine.projects() == ()


async def test_remove_refuses_one_that_runs(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1)
    await engine.start(spec)
    with pytest.raises(EngineError):
        await engine.remove(spec.id)
    assert (await one(engine, spec)).state is ReplicaState.RUNNING


async def test_what_cannot_be_started_leaves_nothing(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(impossible=True))
    with pytest.raises(StartFailedError, match="api: command not found"):
        await engine.start(spec)
    assert await engine.observe(spec.project) == ()


async def test_projects_are_kept_apart(engine: Engine, harness: EngineHarness) -> None:
    await engine.start(harness.replica(1, project="zebra"))
    await engine.start(harness.replica(1, project="ant"))
    assert await engine.projects() == ("ant", "zebra")
    assert [replica.id for replica in await engine.observe("ant")] == ["ant.api.1"]


async def test_stats_are_of_those_that_run(engine: Engine, harness: EngineHarness) -> None:
    running, over = harness.replica(1), harness.replica(2, Doing(exits=0), service="job")
    await engine.start(running)
    await engine.start(over)
    await ended(engine, over)
    stats = await engine.stats([running.id, over.id])
    assert list(stats) == [running.id]
    assert stats[running.id].memory_bytes > 0


async def test_processes_are_of_one_that_runs(engine: Engine, harness: EngineHarness) -> None:
    running, over = harness.replica(1), harness.replica(2, Doing(exits=0), service="job")
    await engine.start(running)
    await engine.start(over)
    await ended(engine, over)
    found = await engine.processes(running.id)
    assert found
    assert all(process.pid > 0 and process.command for process in found)
    assert [process.pid for process in found] == sorted(process.pid for process in found)
    assert await engine.processes(over.id) == ()
    assert await engine.processes("contract.api.99") == ()


async def test_logs_are_in_order_and_the_tail_is_the_end(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(exits=0, lines=("one", "two", "three")))
    await engine.start(spec)
    await ended(engine, spec)
    assert await lines(engine, spec) == ["one", "two", "three"]
    assert await lines(engine, spec, tail=2) == ["two", "three"]
    assert await lines(engine, spec, tail=0) == []
    (first, *_) = [line async for line in engine.logs(spec.id)]
    assert (first.replica_id, first.stream) == (spec.id, "stdout")
    assert first.time_s > 0


async def test_following_a_log_ends_when_the_replica_is_removed(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1, Doing(lines=("one", "two")))
    await engine.start(spec)
    seen: list[LogLine] = []

    async def follow() -> None:
        async for line in engine.logs(spec.id, follow=True):
            seen.append(line)  # noqa: PERF401  (the test looks at it while it grows)

    following = asyncio.create_task(follow())
    await eventually(lambda: len(seen) == 2, "both lines have been read")
    await engine.stop(spec.id, 0.0)
    await engine.remove(spec.id)
    async with asyncio.timeout(DEADLINE_S):
        await following
    assert [line.text for line in seen] == ["one", "two"]


async def test_a_command_runs_beside_a_replica(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1)
    await engine.start(spec)
    result = await engine.run(spec.id, harness.status_3_command, DEADLINE_S)
    assert (result.status, result.output, result.timed_out) == (3, "beside\n", False)


async def test_no_command_runs_beside_what_does_not_run(engine: Engine, harness: EngineHarness) -> None:
    with pytest.raises(EngineError):
        await engine.run("contract.api.99", harness.status_3_command, DEADLINE_S)


async def test_another_engine_finds_what_runs_and_goes_on(engine: Engine, harness: EngineHarness) -> None:
    spec = harness.replica(1)
    await engine.start(spec)
    before = await one(engine, spec)
    await engine.close()
    later = await harness.open()
    assert await one(later, spec) == before
    await later.start(spec)
    assert await one(later, spec) == before
    await later.stop(spec.id, DEADLINE_S)
    assert (await one(later, spec)).state is ReplicaState.EXITED
    await later.remove(spec.id)
    assert await later.projects() == ()
    await later.close()
