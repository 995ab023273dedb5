"""A controller that follows another one: with its store, with an empty one, with an engine that does not answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.controller.controls import OperationState
from fairlead.errors import EngineUnavailableError, RefusedError
from fairlead.store.base import Commit

from .house import CRASH, Gate, House, Store, ended, eventually, replicas, request, service, succeeded, versions


async def test_a_controller_that_starts_again_goes_on_with_what_runs(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(**replicas(2)))))
    async with house.running() as controller:
        assert [row.id for row in await controller.replicas("shop")] == ["shop.api.1", "shop.api.2"]
        house.engine.kill("shop.api.1", CRASH)

        async def healed() -> bool:
            rows = await controller.replicas("shop")
            return "shop.api.1" not in {row.id for row in rows} and [row.state for row in rows] == ["ready"] * 2

        await eventually(healed, "the crashed replica has a successor")
        told = [event.message async for event in controller.events("shop")]
        assert any("exited with status 3" in message for message in told)


async def test_a_request_that_was_pending_is_taken_up_again(house: House) -> None:
    house.engine.preparing = Gate()
    async with house.running() as controller:
        operation = await controller.up(request(service()))
    async with house.running() as controller:
        assert (await succeeded(controller, operation)).release == 1
    assert house.store.documents("request") == {}


async def test_pending_requests_keep_their_order(house: House) -> None:
    house.engine.preparing = Gate()
    async with house.running() as controller:
        operations = [await controller.up(request(service(version=f"v{n}"))) for n in range(12)]
    async with house.running() as controller:
        await succeeded(controller, operations[-1])
        (spec,) = await house.engine.recall("shop")
        assert spec.revision.service.environment["VERSION"] == "v11"


async def test_a_pending_request_that_cannot_be_read_any_more_fails(house: House) -> None:
    house.engine.preparing = Gate()
    async with house.running() as controller:
        operation = await controller.up(request(service()))
    key = ("request", "shop", operation.id)
    epoch = house.store.acquire("a test")
    house.store.commit(epoch, Commit(put={key: {"what": "is this"}}))
    async with house.running() as controller:
        done = await ended(controller, operation)
        assert (done.state, "another version" in done.message) == (OperationState.FAILED, True)
        await succeeded(controller, await controller.up(request(service())))


async def test_an_empty_store_finds_again_what_runs(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(**replicas(2)))))
        before = await versions(controller)
    house.store = Store()
    async with house.running() as controller:
        assert [status.name for status in await controller.projects()] == ["shop"]

        async def is_back() -> bool:
            return (await controller.project("shop")).state == "running"

        await eventually(is_back, "the project serves")
        rows = await controller.replicas("shop")
        assert [(row.id, row.state) for row in rows] == [("shop.api.1", "ready"), ("shop.api.2", "ready")]
        assert await versions(controller) == before
        (release,) = await controller.history("shop")
        assert (release.kind, release.state, release.current) == ("adopted", "succeeded", True)
        done = await succeeded(controller, await controller.up(request(service(**replicas(2)))))
        assert [row.id for row in await controller.replicas("shop")] == ["shop.api.1", "shop.api.2"]
        assert done.state is OperationState.SUCCEEDED


async def test_another_engine_is_asked_before_the_first_release_on_it(tmp_path: Path) -> None:
    house = House(tmp_path, engine_name="docker")
    house.settings = replace(house.settings, engine="docker")
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"))))
    house.store, house.settings = Store(), replace(house.settings, engine=None)
    async with house.running() as controller:
        (step,) = (await controller.plan(request(service(version="v1"), engine="docker")))["operations"]
        assert step["action"] == "keep"
        with pytest.raises(RefusedError, match="runs on the engine docker"):
            await controller.up(request(service(version="v1"), engine="process"))


async def test_an_engine_that_does_not_answer_at_the_start_is_no_reason_not_to_start(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
    house.store = Store()
    house.engine = house.engine.reopened()
    house.engine.spoiled["projects"] = EngineUnavailableError("no answer")
    async with house.running() as controller:
        assert await controller.projects() == ()
        await succeeded(controller, await controller.up(request(service())))
        assert (await controller.history("shop"))[-1].kind == "adopted"


async def test_the_first_look_is_waited_for_and_not_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
    house.engine = house.engine.reopened()
    house.engine.may_observe.clear()
    async with house.running() as controller:
        asked = asyncio.create_task(controller.replicas("shop"))
        await asyncio.sleep(0)
        assert not asked.done()
        house.engine.may_observe.set()
        (row,) = await asked
        assert (row.native_id, row.health) == ("memory-1", "unknown")
    monkeypatch.setattr("fairlead.controller.runtime.FIRST_LOOK_TIMEOUT_S", 0.01)
    house.engine = house.engine.reopened()
    house.engine.may_observe.clear()
    async with house.running() as controller:
        (row,) = await controller.replicas("shop")
        assert (row.id, row.native_id) == ("shop.api.1", "")
        house.engine.may_observe.set()
