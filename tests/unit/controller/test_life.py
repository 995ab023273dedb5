"""The controller's own life: what cannot end it, what does, and what it leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.controller.controls import Operation, OperationKind, OperationState
from fairlead.controller.runtime import Controller
from fairlead.engines.base import Report
from fairlead.engines.memory import Behaviour
from fairlead.errors import EngineUnavailableError, StoreConflictError, StoreFullError
from fairlead.observed import ObservedReplica
from fairlead.spec.model import Project, ServiceOptions
from fairlead.store.base import Severity

from .house import CRASH, DEADLINE_S, Gate, House, ended, eventually, request, service, succeeded


@pytest.mark.parametrize("error", [EngineUnavailableError("no answer"), KeyError("a mistake of ours")])
async def test_a_look_that_fails_is_tried_again(house: House, error: Exception) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.engine.spoiled["observe"] = error
        house.engine.kill("shop.api.1", CRASH)
        await eventually(lambda: not house.engine.spoiled, "the look that failed")

        async def healed() -> bool:
            return [(row.id, row.state) for row in await controller.replicas("shop")] == [("shop.api.2", "ready")]

        await eventually(healed, "the crashed replica has a successor")


@pytest.mark.parametrize("error", [EngineUnavailableError("no answer"), KeyError("a mistake of ours")])
async def test_a_project_is_gone_even_where_its_rest_cannot_be_put_away(house: House, error: Exception) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.engine.spoiled["cleanup"] = error
        await succeeded(controller, await controller.down("shop", volumes=False))
        assert not house.engine.spoiled, "down has ended, so it was tried to put it away"
        told = [event async for event in controller.events("shop") if event.severity is Severity.WARNING]
        tried_again = isinstance(error, EngineUnavailableError)
        assert [event.kind for event in told] == ([] if tried_again else ["cleanup-failed"])
        await succeeded(controller, await controller.up(request(service())))


async def test_down_ends_when_everything_is_put_away(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.engine.may_clean_up.clear()
        operation = await controller.down("shop", volumes=True)
        await eventually(lambda: not house.engine._replicas, "the last replica to go")

        async def is_empty() -> bool:
            return not await house.router.observe("shop") and controller._core.is_empty("shop")

        await eventually(is_empty, "the project to be empty")
        assert (await controller.operation("shop", operation.id)).ended_at_s is None
    house.engine = house.engine.reopened()
    async with house.running() as controller:
        await succeeded(controller, operation)
        assert house.engine.cleaned_up == [("shop", True)], "the next controller does what this one has not"
        assert await controller.projects() == ()


async def test_a_full_disk_holds_things_up_and_ends_nothing(house: House) -> None:
    gate = Gate()

    async def tell_and_wait(project: Project, report: Report) -> Project:
        report("this cannot be stored")
        return await gate(project, report)

    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"))))
        house.engine.preparing = tell_and_wait
        operation = await controller.up(request(service(version="v2")))
        house.store.full = True
        await eventually(lambda: gate.asked == ["v2"], "it is being prepared")
        with pytest.raises(StoreFullError):
            await controller.scale("shop", {"api": 2})
        house.engine.kill("shop.api.1", CRASH)
        gate.open.set()
        # Nothing can be decided now, since nothing can be written down; there is nothing to wait for but a turn.
        for _ in range(10):
            await asyncio.sleep(0)
        house.store.full = False
        over = await ended(controller, operation)
        assert over.state in (OperationState.FAILED, OperationState.SUCCEEDED)

        async def healed() -> bool:
            return [row.state for row in await controller.replicas("shop")] == ["ready"]

        await eventually(healed, "the crashed replica has a successor")


async def test_what_cannot_be_written_down_is_told_all_the_same(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        assert controller.notice() == ""
        house.store.full = True
        house.engine.kill("shop.api.1", CRASH)

        async def told() -> bool:
            return [(row.state, row.reason) for row in await controller.replicas("shop")] == [("failed", str(CRASH))]

        await eventually(told, "the replica that ended is not shown as ready")
        (row,) = (await controller.project("shop")).services
        assert (row.ready, row.replicas) == (0, 1)
        assert "no space left" in controller.notice()
        house.store.full = False

        async def healed() -> bool:
            return [row.state for row in await controller.replicas("shop")] == ["ready"]

        await eventually(healed, "it has a successor")
        assert controller.notice() == ""


async def test_a_controller_with_nothing_to_do_notices_that_another_took_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.controller.runtime.LEASE_INTERVAL_S", 0.01)
    controller = Controller(house.settings, house.store, house.clock, adapters=house.adapters())
    house.store.acquire("another")
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ExceptionGroup) as caught:
            await controller.work()
    assert caught.group_contains(StoreConflictError)


async def test_a_proxy_that_dies_is_brought_back(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.router.die()

        async def serves() -> bool:
            routes = await house.router.observe("shop")
            return [e.replica_id for e in routes["shop/api/8080"].endpoints] == ["shop.api.1"] if routes else False

        await eventually(serves, "the routes are there again")


async def test_a_replica_that_crashes_leaves_its_last_words(house: House) -> None:
    house.engine.behaviours["api"] = Behaviour(output=("cannot find my keys",))
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.engine.kill("shop.api.1", CRASH)

        async def are_kept() -> bool:
            told = [event async for event in controller.events("shop")]
            return any(e.kind == "replica-output" and "cannot find my keys" in e.message for e in told)

        await eventually(are_kept, "the last words are in the events")


async def test_a_load_balancer_that_died_is_told_to_every_project_that_it_serves(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        await succeeded(controller, await controller.up(request(service(port=8081), name="blog")))
        await succeeded(controller, await controller.up(request(service(port=8082), name="left")))
        await succeeded(controller, await controller.down("left", volumes=False))
        house.router.die()

        async def outages(project: str) -> list[tuple[str, Severity]]:
            told = [event async for event in controller.events(project) if event.kind == "router"]
            return [(event.message, event.severity) for event in told]

        expected = [
            ("load balancer: memory router ended", Severity.WARNING),
            ("load balancer: memory router was brought back", Severity.WARNING),
        ]
        for project in ("shop", "blog"):

            async def is_told(project: str = project) -> bool:
                return await outages(project) == expected

            await eventually(is_told, f"both words are in the events of {project}")
        assert await outages("left") == []


async def test_a_full_disk_does_not_end_listening_to_the_load_balancer(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.store.full = True
        house.router.die()
        await eventually(lambda: house.router._alive, "it is brought back")
        house.store.full = False
        house.router.die()

        async def is_told() -> bool:
            return any([event.kind == "router" async for event in controller.events("shop")])

        await eventually(is_told, "its second end is in the events")


async def test_one_without_a_probe_that_vanished_unseen_is_replaced(house: House) -> None:
    """Nobody asks it anything, so nothing but the engine's list can tell that it has gone."""
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(port=None, options=ServiceOptions()))))
        del house.engine._replicas["shop.api.1"]
        controller._supervisor.wake("shop")

        async def is_replaced() -> bool:
            return [(row.id, row.state) for row in await controller.replicas("shop")] == [("shop.api.2", "ready")]

        await eventually(is_replaced, "the one that vanished has a successor")


async def test_a_controller_that_has_lost_the_lease_ends(house: House) -> None:
    controller = Controller(house.settings, house.store, house.clock, adapters=house.adapters())
    work = asyncio.create_task(controller.work())
    await asyncio.sleep(0)
    await succeeded(controller, await controller.up(request(service())))
    house.store.acquire("another controller")
    with pytest.raises(StoreConflictError):
        await controller.scale("shop", {"api": 2})
    house.engine.kill("shop.api.1", CRASH)
    with pytest.raises(ExceptionGroup) as found:
        async with asyncio.timeout(DEADLINE_S):
            await work
    assert found.value.subgroup(StoreConflictError) is not None
    seen = await house.engine.observe("shop")
    assert [replica.id for replica in seen] == ["shop.api.1"], "it has acted without the lease"


async def test_stop_controller_leaves_replicas_and_routes(house: House) -> None:
    async with house.running() as controller:
        operation: Operation = await succeeded(controller, await controller.up(request(service())))
        await controller.stop_controller()
    assert operation.kind is OperationKind.UP
    assert [replica.id for replica in await house.engine.observe("shop")] == ["shop.api.1"]
    assert "shop/api/8080" in await house.router.observe("shop")


async def test_a_list_from_before_the_stop_does_not_bring_a_replica_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that began before a replica was stopped, and ends after it, still shows it running."""
    looked, asked, stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()
    stop, observe = house.engine.stop, house.engine.observe

    async def stop_during_a_look(*args: Any, **kwargs: Any) -> None:
        asked.set()
        controller._supervisor.wake("shop")
        await looked.wait()
        await stop(*args, **kwargs)
        stopped.set()

    async def old_list(project: str) -> tuple[ObservedReplica, ...]:
        seen = await observe(project)
        if asked.is_set() and not stopped.is_set():
            looked.set()
            await stopped.wait()
            # What follows from the stop is written down in these turns.
            for _ in range(10):
                await asyncio.sleep(0)
        return seen

    async with house.running() as controller, asyncio.timeout(DEADLINE_S):
        await succeeded(controller, await controller.up(request(service())))
        monkeypatch.setattr(house.engine, "stop", stop_during_a_look)
        monkeypatch.setattr(house.engine, "observe", old_list)
        await succeeded(controller, await controller.scale("shop", {"api": 0}))
        told = [event.kind async for event in controller.events("shop")]
    assert told.count("replica-draining") == 1
    assert told.count("replica-stopping") == 1
